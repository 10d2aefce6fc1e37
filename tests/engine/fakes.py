"""A capturer without models: a source is a name, its template follows from the name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from verify.errors import MediaError
from verify.types import Capture, Modality, OperatingPoint, Quality, Rate, Reason, Template

MODEL_ID = "a" * 64
DIM = 64


def subject_direction(subject: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8])
    vector = np.random.default_rng(seed).normal(size=DIM)
    return vector / np.linalg.norm(vector)


def template(name: str, *, model_id: str = MODEL_ID) -> Template:
    """``anna-3`` is the third sample of anna: near anna's direction, with noise of its own."""
    subject = name.split("-", maxsplit=1)[0]
    vector = subject_direction(subject) + 0.35 * subject_direction(f"noise of {name}")
    return Template((vector / np.linalg.norm(vector)).astype(np.float32), model_id, Modality.FACE)


@dataclass
class FakeCapturer:
    """What the engine needs of a capturer; names that begin with ``!`` fail.

    ``anna-1@0.4`` has the sharpness 0.4 (else 1), ``anna-1@none`` no measures at all.
    """

    model_id: str = MODEL_ID
    modality: Modality = Modality.FACE
    points: tuple[OperatingPoint, ...] = ()
    seen: list[str] = field(default_factory=list)
    policies: list[object] = field(default_factory=list)
    folder: Path | None = None

    @property
    def bundle(self):
        return self

    @property
    def path(self):
        return self.folder

    def operating_points(self):
        return self.points

    def capture(self, source, *, policy=None) -> Capture:
        self.policies.append(policy)
        self.seen.append(source)
        if source == "!broken":
            message = "!broken: cut off"
            raise MediaError(message, reason=Reason.TRUNCATED)
        sha = hashlib.sha256(source.encode()).hexdigest()
        if source == "!empty":
            return Capture(source, sha, self.modality, failure=Reason.NO_FACE, message="!empty: no face")
        told = source.partition("@")[2]
        measures = {} if told == "none" else {"sharpness": float(told or 1.0)}
        made = template(source, model_id=self.model_id)
        return Capture(source, sha, self.modality, made, Quality(measures))

    def capture_many(self, sources, *, workers=None, policy=None):
        del workers
        for source in sources:
            try:
                yield self.capture(source, policy=policy)
            except MediaError as error:
                yield Capture(source, "", self.modality, failure=error.reason, message=str(error))

    def capture_pair(self, one, other, *, policy=None):
        return self.capture(one, policy=policy), self.capture(other, policy=policy)


def point(target: float, threshold: float, **changes: object) -> OperatingPoint:
    values = {
        "name": f"face-fmr-{target:g}",
        "model_id": MODEL_ID,
        "modality": Modality.FACE,
        "threshold": threshold,
        "target_fmr": target,
        "fmr": Rate(0, 10_000, 5e-4),
        "fnmr": Rate(10, 1000, 0.02),
    }
    return OperatingPoint(**(values | changes))


LADDER = (point(1e-2, 0.40), point(1e-3, 0.50), point(1e-4, 0.60))
