"""The checks between a capture and the gallery: stored already, of this subject, of another one.

A polluted reference lets a stranger in for years, so a template that disagrees with the subject's
others is left out unless the caller insists. A template that reaches another subject's threshold is
reported: the same person under two ids, a look-alike, or a wrong label.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from verify.engine.scores import consistent, search_by_reference
from verify.errors import DuplicateSubjectError
from verify.types import Finding, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from verify.engine.thresholds import Ruling
    from verify.protocols import Gallery
    from verify.types import Capture, Source, TemplateRecord

_NEIGHBOURS = 3


@dataclass(frozen=True, slots=True)
class Screened:
    """What the checks came to.

    Attributes:
        fresh: captures that may be stored.
        left_out: usable captures that a check refused.
        findings: what was seen without refusing.
    """

    fresh: Sequence[Capture]
    left_out: tuple[Finding, ...]
    findings: tuple[Finding, ...]


def screen(
    captures: Sequence[Capture],
    *,
    subject_id: str,
    model_id: str,
    gallery: Gallery,
    ruling: Ruling,
    allow_inconsistent: bool,
    refuse_lookalikes: bool,
    room: int,
) -> Screened:
    """Check captures of one subject against what is stored; at most `room` of them pass.

    Without a threshold (no operating point) only exact repetitions can be told; a finding says so.
    """
    fresh, findings = _not_stored(captures, subject_id=subject_id, model_id=model_id, gallery=gallery)
    left_out: list[Finding] = []
    if fresh and ruling.threshold is None:
        message = f"consistency and look-alikes not checked: {ruling.message}"
        findings.append(Finding(Reason.NO_OPERATING_POINT, message))
    elif fresh and ruling.threshold is not None:
        existing = gallery.templates(subject_id, model_id=model_id)
        fresh, doubts = _agreeing(
            fresh, existing, subject_id=subject_id, threshold=ruling.threshold, keep_all=allow_inconsistent
        )
        (findings if allow_inconsistent else left_out).extend(doubts)
        near = {
            capture.sha256: _look_alikes(
                capture, subject_id, model_id=model_id, gallery=gallery, threshold=ruling.threshold
            )
            for capture in fresh
        }
        (left_out if refuse_lookalikes else findings).extend(one for alike in near.values() for one in alike)
        if refuse_lookalikes:
            fresh = [capture for capture in fresh if not near[capture.sha256]]
    for capture in fresh[room:]:
        message = f"{capture.source}: the gallery's cap of templates for a subject is reached; not stored"
        findings.append(Finding(Reason.TEMPLATE_CAP_REACHED, message, subject_id, source=capture.source))
    return Screened(fresh[:room], tuple(left_out), tuple(findings))


def check_replay(
    key: str, written: Sequence[TemplateRecord], *, subject_id: str, sources: Sequence[Source]
) -> None:
    """Check that a retry under an idempotency key asks for what was written under it.

    Samples given as bytes or readable paths are compared by hash; others are taken on trust.

    Raises:
        DuplicateSubjectError: another subject, or a sample that was written is not among these.
    """
    if {record.subject_id for record in written} != {subject_id}:
        msg = f"idempotency key {key!r} was used to enrol {written[0].subject_id!r}: take a new key"
        raise DuplicateSubjectError(msg)
    hashes = [source_sha256(source) for source in sources]
    missing = [record.source for record in written if record.source_sha256 not in hashes]
    if None not in hashes and missing:
        msg = f"idempotency key {key!r} was used to enrol {subject_id!r} from {missing[0]}: take a new key"
        raise DuplicateSubjectError(msg)


def source_sha256(source: Source) -> str | None:
    """Hash of a sample's bytes; None if it is neither bytes nor a path that can be read."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    if not isinstance(source, (str, os.PathLike)):
        return None
    try:
        with Path(source).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _not_stored(
    captures: Sequence[Capture], *, subject_id: str, model_id: str, gallery: Gallery
) -> tuple[list[Capture], list[Finding]]:
    seen = {record.source_sha256 for record in gallery.records(subject_id) if record.model_id == model_id}
    fresh: list[Capture] = []
    findings: list[Finding] = []
    for capture in captures:
        if capture.sha256 in seen:
            message = f"{capture.source}: this very sample is a template of {subject_id!r} already; not stored twice"
            findings.append(Finding(Reason.ALREADY_ENROLLED, message, subject_id, source=capture.source))
        else:
            seen.add(capture.sha256)
            fresh.append(capture)
    return fresh, findings


def _agreeing(
    captures: Sequence[Capture],
    existing: NDArray[np.float32],
    *,
    subject_id: str,
    threshold: float,
    keep_all: bool,
) -> tuple[list[Capture], list[Finding]]:
    vectors = np.array([c.template.vector for c in captures if c.template is not None], dtype=np.float32)
    keep, means = consistent(vectors, existing, threshold=threshold)
    kept: list[Capture] = []
    findings: list[Finding] = []
    for capture, agrees, mean in zip(captures, keep, means, strict=True):
        if agrees or keep_all:
            kept.append(capture)
        if not agrees:
            message = (
                f"{capture.source}: score {mean:.3f} with the other samples of {subject_id!r} is below the "
                f"threshold {threshold:.3f}; {'kept on request' if keep_all else 'left out'}"
            )
            findings.append(
                Finding(Reason.INCONSISTENT_WITH_REFERENCE, message, subject_id, float(mean), capture.source)
            )
    return kept, findings


def _look_alikes(
    capture: Capture, subject_id: str, *, model_id: str, gallery: Gallery, threshold: float
) -> list[Finding]:
    if capture.template is None:
        return []
    near = search_by_reference(gallery, capture.template.vector, model_id=model_id, top_k=_NEIGHBOURS)
    return [
        Finding(
            Reason.LOOKS_LIKE_ANOTHER_SUBJECT,
            f"{capture.source}: score {found.score:.3f} with subject {found.subject_id!r} reaches the threshold "
            f"{threshold:.3f}: the same person under two ids, a look-alike or a wrong label",
            found.subject_id,
            found.score,
            capture.source,
        )
        for found in near
        if found.subject_id != subject_id and found.score >= threshold
    ]
