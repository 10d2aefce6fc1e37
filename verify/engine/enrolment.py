"""The checks between a capture and the gallery: stored already, of this subject, of another one.

A polluted reference lets a stranger in for years, so a template that disagrees with the subject's
others is left out unless the caller insists. A template that reaches another subject's threshold is
reported: the same person under two ids, a look-alike, or a wrong label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.engine.scores import consistent, search_by_reference
from verify.types import Finding, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from verify.engine.thresholds import Ruling
    from verify.protocols import Gallery
    from verify.types import Capture

_NEIGHBOURS = 3


def screen(
    captures: Sequence[Capture],
    *,
    subject_id: str,
    model_id: str,
    gallery: Gallery,
    ruling: Ruling,
    allow_inconsistent: bool,
    refuse_lookalikes: bool,
) -> tuple[list[Capture], tuple[Finding, ...]]:
    """The captures that may be stored, and what the checks saw.

    Without a threshold (no operating point) only exact repetitions can be told; a finding says so.
    """
    fresh, repeated = _not_stored(captures, subject_id=subject_id, model_id=model_id, gallery=gallery)
    if not fresh:
        return fresh, tuple(repeated)
    if ruling.threshold is None:
        unchecked = Finding(
            Reason.NO_OPERATING_POINT, f"consistency and look-alikes not checked: {ruling.message}"
        )
        return fresh, (*repeated, unchecked)
    existing = gallery.templates(subject_id, model_id=model_id)
    fresh, doubts = _agreeing(
        fresh, existing, subject_id=subject_id, threshold=ruling.threshold, keep_all=allow_inconsistent
    )
    near = [
        _look_alikes(c, subject_id, model_id=model_id, gallery=gallery, threshold=ruling.threshold)
        for c in fresh
    ]
    if refuse_lookalikes:
        fresh = [capture for capture, alike in zip(fresh, near, strict=True) if not alike]
    return fresh, (*repeated, *doubts, *(finding for alike in near for finding in alike))


def _not_stored(
    captures: Sequence[Capture], *, subject_id: str, model_id: str, gallery: Gallery
) -> tuple[list[Capture], list[Finding]]:
    seen = {record.source_sha256 for record in gallery.records(subject_id) if record.model_id == model_id}
    fresh: list[Capture] = []
    findings: list[Finding] = []
    for capture in captures:
        if capture.sha256 in seen:
            message = f"{capture.source}: this very sample is a template of {subject_id!r} already; not stored twice"
            findings.append(Finding(Reason.ALREADY_ENROLLED, message, subject_id=subject_id))
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
            findings.append(Finding(Reason.INCONSISTENT_WITH_REFERENCE, message, subject_id, float(mean)))
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
        )
        for found in near
        if found.subject_id != subject_id and found.score >= threshold
    ]
