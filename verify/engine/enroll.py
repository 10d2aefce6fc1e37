"""Enrolment of one subject: capture, check, store, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.engine.enrolment import check_replay, screen
from verify.errors import UsageError
from verify.gallery.subject import check_subject_id
from verify.types import Enrolment, Finding, Reason, TemplateRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from verify.capture import CapturePolicy, Capturer
    from verify.engine.thresholds import Ruling
    from verify.protocols import Gallery
    from verify.types import Capture, Source


@dataclass(frozen=True, slots=True)
class Desk:
    """What an enrolment needs.

    Attributes:
        ruling: the raw cosine threshold by which templates are checked against each other.
        clock: gives the time of an enrolment, in UTC.
    """

    capturer: Capturer
    gallery: Gallery
    policy: CapturePolicy
    ruling: Ruling
    clock: Callable[[], datetime]


def enroll_subject(
    desk: Desk,
    subject_id: str,
    sources: Sequence[Source],
    *,
    idempotency_key: str | None = None,
    allow_inconsistent: bool = False,
    refuse_lookalikes: bool = False,
    workers: int | None = None,
) -> Enrolment:
    """Add one subject's samples to the gallery; see `Verifier.enroll`."""
    subject_id = check_subject_id(subject_id)
    if isinstance(sources, (str, bytes)) or not sources:
        msg = f"sources must be a list of samples, not {sources!r:.40}; for one sample give a list of one"
        raise UsageError(msg)
    capturer, gallery = desk.capturer, desk.gallery
    if idempotency_key is not None and (written := gallery.replay(idempotency_key)):
        check_replay(idempotency_key, written, subject_id=subject_id, sources=sources)
        return Enrolment(subject_id, capturer.modality, capturer.model_id, added=written, replayed=True)
    stored = len(gallery.templates(subject_id, model_id=capturer.model_id))
    room = gallery.max_templates - stored
    if room <= 0:
        full = Finding(
            Reason.TEMPLATE_CAP_REACHED,
            f"{subject_id!r} has {stored} templates, the cap: none of {len(sources)} samples was looked at",
        )
        return Enrolment(subject_id, capturer.modality, capturer.model_id, findings=(full,))
    captures = list(capturer.capture_many(sources, workers=workers, policy=desk.policy))
    failures = tuple(capture for capture in captures if not capture.ok)
    screened = screen(
        [capture for capture in captures if capture.ok],
        subject_id=subject_id,
        model_id=capturer.model_id,
        gallery=gallery,
        ruling=desk.ruling,
        allow_inconsistent=allow_inconsistent,
        refuse_lookalikes=refuse_lookalikes,
        room=room,
    )
    return Enrolment(
        subject_id=subject_id,
        modality=capturer.modality,
        model_id=capturer.model_id,
        added=_stored(desk, subject_id, screened.fresh, idempotency_key),
        failures=failures,
        findings=screened.findings,
        left_out=screened.left_out,
    )


def _stored(
    desk: Desk, subject_id: str, fresh: Sequence[Capture], idempotency_key: str | None
) -> tuple[TemplateRecord, ...]:
    templates = [capture.template for capture in fresh if capture.template is not None]
    if not templates:
        return ()
    records = tuple(_record(desk, subject_id, capture, idempotency_key) for capture in fresh)
    return desk.gallery.add(subject_id, templates, records=records, idempotency_key=idempotency_key)


def _record(desk: Desk, subject_id: str, capture: Capture, idempotency_key: str | None) -> TemplateRecord:
    return TemplateRecord(
        template_id=0,  # the gallery numbers it
        subject_id=subject_id,
        modality=desk.capturer.modality,
        model_id=desk.capturer.model_id,
        source=capture.source,
        source_sha256=capture.sha256,
        created_at=desk.clock(),
        quality=dict(capture.quality.measures) if capture.quality else {},
        idempotency_key=idempotency_key,
    )
