"""A few rounds of the kill -9 bench: nothing acknowledged is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")
def test_five_rounds_of_kill_9_lose_nothing(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "tools" / "bench" / "kill9.py"),
        "--rounds",
        "5",
        "--folder",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=_environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines()[1:])
    assert int(counts["acknowledged"]) >= 5
    assert [counts[name] for name in ("lost", "altered", "doubled", "unsound")] == ["0"] * 4


def _environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(ROOT)}
