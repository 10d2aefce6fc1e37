"""Templates and enrolments for the gallery's tests."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import numpy as np

from verify.types import Modality, Template, TemplateRecord

WHEN = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)
MODEL = "model-a"


def raw_bytes(path) -> bytes:
    """Read a gallery's files through another process: closing them here would drop SQLite's locks."""
    code = "import sys; [sys.stdout.buffer.write(open(name, 'rb').read()) for name in sys.argv[1:]]"
    names = [str(file) for file in sorted(path.parent.glob(path.name + "*"))]
    return subprocess.run([sys.executable, "-c", code, *names], capture_output=True, check=True).stdout


def unit(seed: int, dim: int = 16) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(dim).astype(np.float32)
    return vector / np.linalg.norm(vector)


def template(vector: np.ndarray, *, model_id: str = MODEL, modality: Modality = Modality.FACE) -> Template:
    return Template(vector, model_id, modality)


def record(subject_id: str, *, source: str = "a.jpg", sha256: str = "aa", **changes: Any) -> TemplateRecord:
    values = {"modality": Modality.FACE, "model_id": MODEL, "created_at": WHEN} | changes
    return TemplateRecord(0, subject_id, source=source, source_sha256=sha256, **values)


def enrol(gallery, subject_id: str, *vectors: np.ndarray, key: str | None = None, **changes: Any):
    modality = changes.get("modality", Modality.FACE)
    templates = [template(v, model_id=changes.get("model_id", MODEL), modality=modality) for v in vectors]
    sha = changes.pop("sha256", "sha")
    records = [record(subject_id, sha256=f"{sha}{i}", **changes) for i in range(len(vectors))]
    return gallery.add(subject_id, templates, records=records, idempotency_key=key)
