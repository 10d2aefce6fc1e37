"""A changed model means new templates: embed kept samples again, say who must be enrolled anew.

Templates of two models are never compared. Until a subject's references are of the new model, the new
model does not know the subject: a match is no decision, a search passes the subject over. Nothing
is ever converted or guessed: what cannot be embedded again stays under its old model_id.
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, cast

from verify.capture import CapturePolicy, Profile
from verify.engine.enrolment import screen
from verify.engine.kept_sources import KeptSources, SourceState
from verify.engine.thresholds import Judge
from verify.errors import ModelError, UsageError
from verify.gallery.renewal import Renewed, renew
from verify.models import open_bundle
from verify.types import Finding, Reason, TemplateRecord

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from verify.capture import Capturer
    from verify.engine.thresholds import Ruling
    from verify.gallery import SqliteGallery
    from verify.types import Capture, Template

_BLOCK = 32  # subjects whose samples are embedded side by side
_LEAST_PREFIX = 6
_WORDS = {
    SourceState.MISSING: "is not where it was",
    SourceState.CHANGED: "has other content than when it was enrolled",
    SourceState.NEVER_A_FILE: "was enrolled from memory and is in no file that was named",
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A reference that could not be embedded again and waits for re-enrolment.

    Attributes:
        reason: of a failed capture or a full reference; None if the sample itself is not to be had.
    """

    record: TemplateRecord
    reason: Reason | None
    message: str


@dataclass(frozen=True, slots=True)
class Reindexed:
    """What became of one subject's references.

    Attributes:
        renewed: templates of the new model written now (or, when only planned, that would be).
        there: samples that had a template of the new model before.
        retired: old templates removed.
        waiting: references that wait for re-enrolment.
        usable: whether the subject now has a template of the new model.
        findings: what the enrolment checks saw under the new model; nothing is refused by them, because
            the samples passed them when they were enrolled.
    """

    subject_id: str
    renewed: int = 0
    there: int = 0
    retired: int = 0
    waiting: tuple[Waiting, ...] = ()
    usable: bool = True
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Replacement:
    """Which references are brought to which model, and how.

    Attributes:
        capturer: of the new model.
        gallery: open for writing, unless only planned.
        old: model_ids that are replaced, see `replaced_models`.
        sources: finds the samples.
        keep_old: leave the old templates in place, so that the old model goes on working.
        retire_all: also remove old templates that cannot be embedded again, of subjects who have
            others of the new model.
    """

    capturer: Capturer
    gallery: SqliteGallery
    old: tuple[str, ...]
    sources: KeptSources
    keep_old: bool = False
    retire_all: bool = False

    @property
    def new(self) -> str:
        """The new model's id."""
        return self.capturer.model_id


@dataclass(frozen=True, slots=True)
class _Plan:
    subject_id: str
    jobs: tuple[tuple[TemplateRecord, Path], ...]  # one for each sample
    there: int
    waiting: tuple[Waiting, ...]


def replaced_models(
    gallery: SqliteGallery, capturer: Capturer, *, asked: Sequence[str] = ()
) -> tuple[str, ...]:
    """The stored models whose references the new one replaces.

    Args:
        gallery: the gallery.
        capturer: of the new model.
        asked: model_ids, beginnings of them (6 characters or more), or names of bundles on this machine;
            empty takes the one other model of the modality.

    Raises:
        UsageError: several models are stored and none was named, or what was named is not stored.
    """
    stored = gallery.model_ids(modality=capturer.modality)
    others = tuple(model_id for model_id in stored if model_id != capturer.model_id)
    known = ", ".join(model_id[:12] for model_id in others) or "none"
    if not asked:
        if len(others) > 1:
            msg = (
                f"the gallery has {capturer.modality.value} references of {len(others)} other models ({known}), "
                "which may be meant to decide together: name those to be replaced with --from"
            )
            raise UsageError(msg)
        return others
    chosen: list[str] = []
    for name in asked:
        found = [one for one in others if len(name) >= _LEAST_PREFIX and one.startswith(name)]
        if not found:
            with suppress(ModelError):
                found = [one for one in others if one == open_bundle(name).model_id]
        if len(found) != 1:
            msg = (
                f"--from {name[:64]!r}: no one other model of the gallery's {capturer.modality.value} references; "
                f"there are: {known}"
            )
            raise UsageError(msg)
        chosen += found
    return tuple(dict.fromkeys(chosen))


def subjects_of(job: Replacement) -> tuple[str, ...]:
    """The subjects who have references of the replaced models, in order."""
    found = {name for model_id in job.old for name in job.gallery.subjects(model_id=model_id)}
    return tuple(sorted(found))


def plan(job: Replacement, subjects: Sequence[str]) -> Iterator[Reindexed]:
    """Say what `reindex` would do, by the samples' hashes alone; nothing is embedded or written."""
    for subject_id in subjects:
        found = _plan(job, subject_id)
        jobs = len(found.jobs)
        yield Reindexed(subject_id, jobs, found.there, 0, found.waiting, usable=bool(jobs or found.there))


def reindex(job: Replacement, subjects: Sequence[str], *, workers: int | None = None) -> Iterator[Reindexed]:
    """Bring subjects' references to the new model; yield each once it is safely stored.

    One transaction a subject. Run again after a kill: what is done is recognised by its samples'
    hashes and left alone. A template keeps its enrolment's time and idempotency key, because a
    photo of five years ago does not become young by being embedded again.

    Raises:
        EnvironmentProblemError: the disk is full, the gallery's file fails; what was yielded is kept.
    """
    ruling = Judge(job.new, job.capturer.bundle.operating_points()).in_cosine()
    policy = CapturePolicy(profile=Profile.ENROLMENT, faces="refuse")
    try:
        for start in range(0, len(subjects), _BLOCK):
            plans = [_plan(job, subject_id) for subject_id in subjects[start : start + _BLOCK]]
            paths = [path for one in plans for _, path in one.jobs]
            run = job.capturer.capture_many(paths, workers=workers, policy=policy)
            with closing(cast("Generator[Capture, None, None]", run)) as captures:
                for one in plans:
                    yield _finished(job, one, list(islice(captures, len(one.jobs))), ruling)
    finally:
        job.gallery.forget_deleted()
    job.gallery.finish_erasure()


def _plan(job: Replacement, subject_id: str) -> _Plan:
    records = list(job.gallery.records(subject_id))
    there = {record.source_sha256 for record in records if record.model_id == job.new}
    by_sample: dict[str, TemplateRecord] = {}
    for record in records:
        if record.model_id in job.old:
            by_sample.setdefault(record.source_sha256, record)
    jobs: list[tuple[TemplateRecord, Path]] = []
    waiting: list[Waiting] = []
    for sha256, record in by_sample.items():
        if sha256 in there:
            continue
        state, path = job.sources.find(record)
        if path is not None:
            jobs.append((record, path))
        else:
            waiting.append(
                Waiting(record, None, f"{record.source}: {_WORDS[state]}; enrol the subject again")
            )
    return _Plan(subject_id, tuple(jobs), len(by_sample.keys() & there), tuple(waiting))


def _finished(job: Replacement, one: _Plan, captures: Sequence[Capture], ruling: Ruling) -> Reindexed:
    pairs = list(zip((record for record, _ in one.jobs), captures, strict=True))
    waiting = [
        *one.waiting,
        *(_refused(record, capture) for record, capture in pairs if not _sound(record, capture)),
    ]
    good = {capture.sha256: record for record, capture in pairs if _sound(record, capture)}
    stored = len(job.gallery.templates(one.subject_id, model_id=job.new))
    screened = screen(
        [capture for record, capture in pairs if _sound(record, capture)],
        subject_id=one.subject_id,
        model_id=job.new,
        gallery=job.gallery,
        ruling=ruling,
        allow_inconsistent=True,
        refuse_lookalikes=False,
        room=max(job.gallery.max_templates - stored, 0) if stored else len(good),
    )
    fresh = [_successor(job, good[capture.sha256], capture) for capture in screened.fresh]
    taken = {record.source_sha256 for _, record in fresh}
    waiting += [
        Waiting(
            record, Reason.TEMPLATE_CAP_REACHED, f"{record.source}: the subject has {stored} newer templates"
        )
        for sha256, record in good.items()
        if sha256 not in taken
    ]
    done = Renewed()
    if fresh or one.there or job.retire_all:
        done = renew(
            job.gallery,
            one.subject_id,
            fresh,
            old=job.old,
            new=job.new,
            keep_old=job.keep_old,
            retire_all=job.retire_all,
        )
    told = tuple(f for f in screened.findings if f.reason in _TOLD)
    usable = bool(stored or done.written)
    if job.retire_all and usable:
        waiting = []
    return Reindexed(one.subject_id, len(done.written), one.there, done.retired, tuple(waiting), usable, told)


_TOLD = (Reason.INCONSISTENT_WITH_REFERENCE, Reason.LOOKS_LIKE_ANOTHER_SUBJECT)


def _sound(record: TemplateRecord, capture: Capture) -> bool:
    return capture.ok and capture.sha256 == record.source_sha256


def _refused(record: TemplateRecord, capture: Capture) -> Waiting:
    if capture.ok:  # the file was exchanged between the look at its hash and the capture
        return Waiting(
            record, None, f"{record.source}: {_WORDS[SourceState.CHANGED]}; enrol the subject again"
        )
    return Waiting(record, capture.failure, capture.message)


def _successor(job: Replacement, record: TemplateRecord, capture: Capture) -> tuple[Template, TemplateRecord]:
    if capture.template is None:
        msg = f"{capture.source}: a capture without a template"
        raise UsageError(msg)
    quality = dict(capture.quality.measures) if capture.quality else {}
    return capture.template, TemplateRecord(
        template_id=0,  # the gallery numbers it
        subject_id=record.subject_id,
        modality=record.modality,
        model_id=job.new,
        source=capture.source,
        source_sha256=record.source_sha256,
        created_at=record.created_at,
        quality=quality,
        idempotency_key=record.idempotency_key,
    )
