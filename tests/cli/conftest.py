from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from tests.cli.runner import Runner


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(capsys)


@pytest.fixture
def home(tmp_path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: models at hand, a gallery of its own."""
    monkeypatch.setenv("VERIFY_MODELS", str(models_dir))
    monkeypatch.setenv("VERIFY_GALLERY", str(tmp_path / "gallery.db"))
    monkeypatch.delenv("VERIFY_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def faces(samples: Path) -> dict[str, Path]:
    return {
        "anna": samples / "faces/jacinda-ardern/2018.jpg",
        "anna again": samples / "faces/jacinda-ardern/2022.jpg",
        "bob": samples / "faces/emmanuel-macron/2025.jpg",
        "bob again": samples / "faces/emmanuel-macron/2014.jpg",
        "stranger": samples / "faces/barack-obama/portrait.jpg",
    }


@pytest.fixture(scope="session")
def voices(samples: Path) -> dict[str, Path]:
    return {
        "anna": samples / "voices/speaker-91/turn-1.wav",
        "anna again": samples / "voices/speaker-91/turn-2.wav",
        "bob": samples / "voices/speaker-90/turn-1.wav",
        "bob again": samples / "voices/speaker-90/turn-2.wav",
    }


def read(path: Path) -> np.ndarray:
    """(H, W, 3) BGR uint8."""
    image = cv2.imread(str(path))
    assert image is not None
    return image


def drawn_face(size: int = 320) -> np.ndarray:
    """A smiley: a circle, two eyes, a mouth."""
    image = np.full((size, size, 3), 255, np.uint8)
    centre = (size // 2, size // 2)
    cv2.circle(image, centre, size // 3, (80, 200, 255), -1)
    for x in (-1, 1):
        cv2.circle(image, (centre[0] + x * size // 8, centre[1] - size // 10), size // 25, (0, 0, 0), -1)
    cv2.ellipse(image, (centre[0], centre[1] + size // 12), (size // 7, size // 10), 0, 0, 180, (0, 0, 0), 4)
    return image


@pytest.fixture(scope="session")
def bad(
    tmp_path_factory: pytest.TempPathFactory, faces: dict[str, Path], voices: dict[str, Path]
) -> dict[str, Path]:
    """Every hostile file of the house, by name."""
    folder = tmp_path_factory.mktemp("bad")
    jpeg = faces["anna"].read_bytes()
    speech, rate = soundfile.read(voices["anna"], dtype="float32")
    rng = np.random.default_rng(0)
    files = {
        name: folder / name
        for name in ("empty.jpg", "cut.jpg", "text.jpg", "bomb.png", "cut.flac", "text.wav")
    }
    files["missing.jpg"] = folder / "missing.jpg"
    files["folder"] = folder
    files["empty.jpg"].write_bytes(b"")
    files["cut.jpg"].write_bytes(jpeg[: len(jpeg) // 2])
    files["text.jpg"].write_text("this is no photo, whatever its name says\n" * 20)
    files["text.wav"].write_text("this is no recording, whatever its name says\n" * 20)
    header = (
        b"\x89PNG\r\n\x1a\n"
        + bytes([0, 0, 0, 13])
        + b"IHDR"
        + (50_000).to_bytes(4, "big") * 2
        + b"\x08\x02\0\0\0"
    )
    files["bomb.png"].write_bytes(header + b"\0\0\0\0" + b"\0" * 100)
    flac = folder / "whole.flac"
    soundfile.write(flac, speech, rate)
    files["cut.flac"].write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])

    def image(name: str, pixels: np.ndarray) -> None:
        files[name] = folder / name
        cv2.imwrite(str(files[name]), pixels)

    def sound(name: str, wave: np.ndarray, rate_hz: int = rate, **how: str) -> None:
        files[name] = folder / name
        soundfile.write(files[name], wave, rate_hz, **how)

    one, other = read(faces["anna"]), read(faces["bob"])
    height = 500
    pair = [cv2.resize(p, (round(p.shape[1] * height / p.shape[0]), height)) for p in (one, other)]
    image("two.png", np.hstack(pair))
    files["cmyk.jpg"] = folder / "cmyk.jpg"
    pillow = pytest.importorskip("PIL.Image")
    pillow.open(faces["anna"]).convert("CMYK").save(files["cmyk.jpg"], quality=95)
    image("noise.png", rng.integers(0, 255, (300, 300, 3), dtype=np.uint8))
    image("drawn.png", drawn_face())
    image("deep.png", one.astype(np.uint16) * 257)
    image("grey.png", cv2.cvtColor(one, cv2.COLOR_BGR2GRAY))
    sound("silence.wav", np.zeros(5 * rate, np.float32))
    sound("short.wav", speech[rate : rate + rate * 3 // 10])
    sound("clipped.wav", np.clip(speech * 60, -1, 1))
    sound("telephone.wav", speech[::2], rate // 2)
    broken = speech.copy()
    broken[1000:1010] = np.nan
    sound("nan.wav", broken, subtype="FLOAT")
    return files
