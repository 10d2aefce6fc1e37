"""A population without media or models: files whose bytes say whose they are, and a capturer that reads them."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from verify.types import Capture, Modality, Reason, Template

MODEL_ID = "ab" * 32
DIM = 48
CARD = SimpleNamespace(locator_name=None, sources=(), input={"size_px": [112, 112]})


def write_people(root: Path, *, subjects: int, samples: int, failing: int = 0) -> Path:
    """One folder a subject; the first `failing` subjects have one more file that shows no face."""
    for subject in range(subjects):
        folder = root / f"person{subject:03d}"
        folder.mkdir(parents=True)
        for sample in range(samples):
            (folder / f"{sample}.jpg").write_text(f"{subject}:{sample}")
        if subject < failing:
            (folder / "nobody.jpg").write_text(f"nobody {subject}")
    return root


class PeopleCapturer:
    """Stands in for `verify.capture.Capturer`; counts what it captured, can be interrupted."""

    def __init__(self, *, noise: float = 1.0, interrupt_after: int | None = None) -> None:
        self.model_id = MODEL_ID
        self.modality = Modality.FACE
        self.policy = "probe"
        self.bundle = SimpleNamespace(name="people", path=Path("people"), is_zipped=False, card=CARD)
        self.noise = noise
        self.captured: list[str] = []
        self.interrupt_after = interrupt_after
        self.lock = threading.Lock()

    def capture_many(self, sources, *, workers=None):
        del workers
        for source in sources:
            if self.interrupt_after is not None and len(self.captured) >= self.interrupt_after:
                raise KeyboardInterrupt
            self.captured.append(str(source))
            yield self._capture(Path(source))

    def _capture(self, path: Path) -> Capture:
        text = path.read_text()
        if text.startswith("nobody"):
            return Capture(
                source=str(path), sha256="", modality=Modality.FACE, failure=Reason.NO_FACE, message="none"
            )
        subject = int(text.split(":")[0])
        vector = _normal(f"person {subject}") + self.noise * _normal(f"sample {text}")
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        template = Template(vector=vector, model_id=self.model_id, modality=Modality.FACE)
        return Capture(source=str(path), sha256="", modality=Modality.FACE, template=template)


def _normal(key: str):
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
    return np.random.default_rng(seed).standard_normal(DIM)
