"""What the whole suite shares: real media and model bundles if they can be had, said aloud if not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("verify", deadline=None)  # a slow machine is no failure
settings.load_profile("verify")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real faces and voices (VERIFY_DATA, default ../shared/data); skips without them."""
    path = Path(os.environ.get("VERIFY_DATA", ROOT.parent / "shared" / "data")).resolve()
    if not (path / "faces").is_dir() or not (path / "voices").is_dir():
        pytest.skip(f"no real media at {path}: set VERIFY_DATA to run this test")
    return path


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the default bundles; taken from VERIFY_TEST_MODELS or fetched; skips if neither works."""
    named = os.environ.get("VERIFY_TEST_MODELS")
    # one folder for all xdist workers: pulls are atomic and safe side by side
    folder = Path(named) if named else tmp_path_factory.getbasetemp().parent / "verify-models"
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"VERIFY_MODELS": str(folder)}
    command = [sys.executable, "-m", "verify", "models", "pull", "face", "voice"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode != 0:
        pytest.skip(f"the default models cannot be fetched here: {done.stderr.strip()[-400:]}")
    return folder


@pytest.fixture
def _models_env(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFY_MODELS", str(models_dir))


@pytest.fixture(scope="session")
def face_bundle(models_dir: Path):
    """YuNet + SFace."""
    from verify.models import open_bundle

    return open_bundle("face", models_dir=models_dir)


@pytest.fixture(scope="session")
def voice_bundle(models_dir: Path):
    """Silero VAD + CAM++."""
    from verify.models import open_bundle

    return open_bundle("voice", models_dir=models_dir)


@pytest.fixture(scope="session")
def samples(models_dir: Path) -> Path:
    """Credited portraits (faces/) and two-speaker speech (voices/), fetched like the models."""
    from verify.errors import VerifyError
    from verify.models.samples import pull_samples

    try:
        folder, _ = pull_samples(models_dir=models_dir)
    except VerifyError as error:
        pytest.skip(f"the sample media cannot be fetched here: {error}")
    return folder


class Disk:
    """A memory file system of one megabyte."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def mount(self):
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(self.folder)]
        return (
            sys.platform == "linux"
            and subprocess.run(command, capture_output=True, check=False).returncode == 0
        )

    def make(self, mode):
        subprocess.run(["mount", "-o", f"remount,{mode}", str(self.folder)], check=True)

    def unmount(self):
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    made = Disk(folder)
    try:
        mounted = made.mount()
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small tmpfs needs Linux and root")
    yield made
    made.unmount()
