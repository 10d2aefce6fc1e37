"""Enrolment of one subject for several models: every sample by all models of its modality, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.engine.enrolment import check_replay, screen
from verify.errors import ModelMismatchError
from verify.types import Enrolment, Finding, Reason, TemplateRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from verify.capture import CapturePolicy
    from verify.engine.panel import Panel
    from verify.protocols import Gallery
    from verify.types import Capture, Modality, Source


@dataclass(frozen=True, slots=True)
class FusedDesk:
    """What an enrolment for several models needs; see `verify.engine.enroll.Desk`."""

    panel: Panel
    gallery: Gallery
    policy: CapturePolicy
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class _Taken:
    """What became of one modality's samples."""

    fresh: tuple[Capture, ...] = ()  # of each sample, those of the models that do not know it yet
    failures: tuple[Capture, ...] = ()
    left_out: tuple[Finding, ...] = ()
    findings: tuple[Finding, ...] = ()


def enroll_with_all(
    desk: FusedDesk,
    subject_id: str,
    sources: Mapping[Modality, Sequence[Source]],
    *,
    idempotency_key: str | None = None,
    allow_inconsistent: bool = False,
    refuse_lookalikes: bool = False,
    workers: int | None = None,
) -> Enrolment:
    """Add one subject's samples under every model, all templates in one transaction."""
    panel, gallery = desk.panel, desk.gallery
    _check_models(desk)
    if idempotency_key is not None and (written := gallery.replay(idempotency_key)):
        everything = [source for theirs in sources.values() for source in theirs]
        check_replay(idempotency_key, written, subject_id=subject_id, sources=everything)
        return Enrolment(subject_id, panel.model.modality, panel.model.model_id, added=written, replayed=True)
    taken = [
        _taken(
            desk,
            subject_id,
            modality,
            theirs,
            allow_inconsistent=allow_inconsistent,
            refuse_lookalikes=refuse_lookalikes,
            workers=workers,
        )
        for modality, theirs in sources.items()
        if theirs
    ]
    fresh = [capture for one in taken for capture in one.fresh]
    added: tuple[TemplateRecord, ...] = ()
    if fresh:
        templates = [capture.template for capture in fresh if capture.template is not None]
        records = tuple(_record(desk, subject_id, capture, idempotency_key) for capture in fresh)
        added = gallery.add(subject_id, templates, records=records, idempotency_key=idempotency_key)
    return Enrolment(
        subject_id=subject_id,
        modality=panel.model.modality,
        model_id=panel.model.model_id,
        added=added,
        failures=tuple(failure for one in taken for failure in one.failures),
        left_out=tuple(finding for one in taken for finding in one.left_out),
        findings=tuple(finding for one in taken for finding in one.findings),
    )


def _taken(
    desk: FusedDesk,
    subject_id: str,
    modality: Modality,
    sources: Sequence[Source],
    *,
    allow_inconsistent: bool,
    refuse_lookalikes: bool,
    workers: int | None,
) -> _Taken:
    """The samples of one modality that all of its models captured and none refuses."""
    members = desk.panel.members(modality)
    captures = {
        model_id: list(
            desk.panel.capturers[model_id].capture_many(sources, workers=workers, policy=desk.policy)
        )
        for model_id in members
    }
    rows = range(len(sources))
    failed = {row: next((captures[m][row] for m in members if not captures[m][row].ok), None) for row in rows}
    fresh: dict[str, set[str]] = {}
    refused: set[str] = set()
    left_out: dict[tuple[Reason, str], Finding] = {}
    findings: dict[tuple[Reason, str], Finding] = {}
    rulings = {model_id: desk.panel.in_cosine(model_id) for model_id in members}
    checked = any(ruling.threshold is not None for ruling in rulings.values())
    for model_id in members:
        screened = screen(
            [captures[model_id][row] for row in rows if failed[row] is None],
            subject_id=subject_id,
            model_id=model_id,
            gallery=desk.gallery,
            ruling=rulings[model_id],
            allow_inconsistent=allow_inconsistent,
            refuse_lookalikes=refuse_lookalikes,
            room=desk.gallery.max_templates - len(desk.gallery.templates(subject_id, model_id=model_id)),
        )
        fresh[model_id] = {capture.sha256 for capture in screened.fresh}
        stored = {
            finding.source for finding in screened.findings if finding.reason is Reason.ALREADY_ENROLLED
        }
        refused |= {
            captures[model_id][row].sha256
            for row in rows
            if failed[row] is None
            and captures[model_id][row].sha256 not in fresh[model_id]
            and captures[model_id][row].source not in stored
        }
        left_out |= {(finding.reason, finding.source): finding for finding in screened.left_out}
        findings |= {
            (finding.reason, finding.source): finding
            for finding in screened.findings
            if not (
                checked and finding.reason is Reason.NO_OPERATING_POINT
            )  # another model's point checks them
        }
    kept: list[Capture] = []
    for row in rows:
        for model_id in members:
            capture = captures[model_id][row]
            if failed[row] is None and capture.sha256 in fresh[model_id] - refused:
                kept.append(capture)
                fresh[model_id].discard(capture.sha256)  # the same file given twice is one sample
    return _Taken(
        fresh=tuple(kept),
        failures=tuple(capture for capture in failed.values() if capture is not None),
        left_out=tuple(left_out.values()),
        findings=tuple(finding for key, finding in findings.items() if key not in left_out),
    )


def _record(desk: FusedDesk, subject_id: str, capture: Capture, key: str | None) -> TemplateRecord:
    return TemplateRecord(
        template_id=0,  # the gallery numbers it
        subject_id=subject_id,
        modality=capture.modality,
        model_id="" if capture.template is None else capture.template.model_id,
        source=capture.source,
        source_sha256=capture.sha256,
        created_at=desk.clock(),
        quality=dict(capture.quality.measures) if capture.quality else {},
        idempotency_key=key,
    )


def _check_models(desk: FusedDesk) -> None:
    """Refuse a gallery whose templates of a modality are all of other models.

    Raises:
        ModelMismatchError: naming both.
    """
    for modality in desk.panel.modalities:
        stored, ours = desk.gallery.model_ids(modality=modality), desk.panel.members(modality)
        if stored and not set(stored) & set(ours):
            theirs, mine = (", ".join(model_id[:12] for model_id in ids) for ids in (stored, ours))
            msg = (
                f"the gallery holds {modality.value} templates of model {theirs}, the models in use are {mine}: enrol "
                "into a new gallery, or use the model that enrolled them"
            )
            raise ModelMismatchError(msg)
