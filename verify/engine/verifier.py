"""`Verifier`: enrol, match, identify, compare. Fails closed and says why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from verify.capture import CapturePolicy, Capturer, Profile
from verify.engine.enrolment import check_replay, screen
from verify.engine.scores import reference_score, search_by_reference
from verify.engine.thresholds import DEFAULT_TARGET_FPIR, Judge
from verify.errors import ModelMismatchError, UsageError
from verify.gallery.entry import DEFAULT_MAX_TEMPLATES
from verify.gallery.subject import check_subject_id
from verify.types import (
    Capture,
    Decision,
    Enrolment,
    Finding,
    Identification,
    IdentifyOutcome,
    Outcome,
    Reason,
    Template,
    TemplateRecord,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from verify.engine.thresholds import Ruling
    from verify.protocols import Gallery
    from verify.types import OperatingPoint, Source


def _now() -> datetime:
    return datetime.now(UTC)


class Verifier:
    """Enrol-and-match engine for one model and one gallery. Safe across threads.

    Args:
        capturer: turns samples into templates; its model_id rules everything else.
        gallery: where references live; None allows `compare` only.
        operating_points: the ladder of thresholds; None takes the bundle's own.
        target_fmr: FMR that 1:1 decisions must hold; None takes the ladder's default rung, see `Judge`.
        target_fpir: FPIR that 1:N decisions must hold.
        uncalibrated: raw cosine threshold given by hand; every result then says so.
        faces: ``refuse`` makes a probe with several faces a no-decision (small ones in the background
            do not count), ``largest`` decides on the most prominent face. Enrolment always refuses.
        clock: gives the time of an enrolment, in UTC.

    Raises:
        ModelMismatchError: an operating point belongs to another model.
    """

    def __init__(
        self,
        capturer: Capturer,
        *,
        gallery: Gallery | None = None,
        operating_points: Sequence[OperatingPoint] | None = None,
        target_fmr: float | None = None,
        target_fpir: float = DEFAULT_TARGET_FPIR,
        uncalibrated: float | None = None,
        faces: str = "refuse",
        clock: Callable[[], datetime] = _now,
    ) -> None:
        points = capturer.bundle.operating_points() if operating_points is None else operating_points
        self.capturer = capturer
        self.judge = Judge(
            capturer.model_id,
            points,
            target_fmr=target_fmr,
            target_fpir=target_fpir,
            uncalibrated=uncalibrated,
        )
        self._gallery = gallery
        self._clock = clock
        self._enrolling = CapturePolicy(profile=Profile.ENROLMENT, faces="refuse")
        self._probing = CapturePolicy(profile=Profile.PROBE, faces=faces)

    @classmethod
    def open(
        cls,
        model: str | os.PathLike[str],
        *,
        gallery: Path | str | None = None,
        operating_points: Path | str | None = None,
        models_dir: Path | None = None,
        target_fmr: float | None = None,
        target_fpir: float = DEFAULT_TARGET_FPIR,
        uncalibrated: float | None = None,
        faces: str = "refuse",
        read_only: bool = False,
        max_templates: int = DEFAULT_MAX_TEMPLATES,
    ) -> Verifier:
        """Open a model by name, alias or path, and a gallery and operating points by file.

        With `read_only` the gallery is never written to nor made: for match and identify, also from
        a read-only disk. `max_templates` caps a subject's templates; the other arguments are the
        constructor's.

        Raises:
            ModelError: the model is unknown, not on this machine or damaged.
            GalleryError: the gallery is corrupt or of a future version.
        """
        from verify.gallery import SqliteGallery
        from verify.models.operating_points import read_operating_points

        return cls(
            Capturer.open(model, models_dir=models_dir),
            gallery=None
            if gallery is None
            else SqliteGallery(gallery, read_only=read_only, max_templates=max_templates),
            operating_points=None if operating_points is None else read_operating_points(operating_points),
            target_fmr=target_fmr,
            target_fpir=target_fpir,
            uncalibrated=uncalibrated,
            faces=faces,
        )

    def close(self) -> None:
        """Close the gallery."""
        if self._gallery is not None:
            self._gallery.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def gallery(self) -> Gallery:
        """The gallery.

        Raises:
            UsageError: this verifier was opened without one.
        """
        if self._gallery is None:
            msg = "this needs a gallery: open the Verifier with gallery=..."
            raise UsageError(msg)
        return self._gallery

    def enroll(
        self,
        subject_id: str,
        sources: Sequence[Source],
        *,
        idempotency_key: str | None = None,
        allow_inconsistent: bool = False,
        refuse_lookalikes: bool = False,
        workers: int | None = None,
    ) -> Enrolment:
        """Add one subject's samples to the gallery, in one transaction.

        Samples that fail capture, disagree with the subject's other templates, are stored already or
        would pass the gallery's cap are left out and reported; the rest is written.

        Args:
            subject_id: any text of 1 to 256 UTF-8 bytes without control characters.
            sources: samples of this subject, see `Capturer.capture`.
            idempotency_key: makes a retry of this call one enrolment.
            allow_inconsistent: write templates that disagree with the subject's others, too.
            refuse_lookalikes: leave out templates that reach another subject's threshold; else
                they are written and reported.
            workers: threads to capture on; None takes one a CPU.

        Raises:
            UsageError: a bad subject id, no samples, or a single path in place of a list.
            DuplicateSubjectError: the key was used for another subject or other samples.
            ModelMismatchError: the gallery's templates of this modality are of another model.
            StorageError: nothing was written.
        """
        subject_id = check_subject_id(subject_id)
        if isinstance(sources, (str, bytes)) or not sources:
            msg = f"sources must be a list of samples, not {sources!r:.40}; for one sample give a list of one"
            raise UsageError(msg)
        capturer, gallery = self.capturer, self.gallery
        self._check_model()
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
        captures = list(capturer.capture_many(sources, workers=workers, policy=self._enrolling))
        failures = tuple(capture for capture in captures if not capture.ok)
        screened = screen(
            [capture for capture in captures if capture.ok],
            subject_id=subject_id,
            model_id=capturer.model_id,
            gallery=gallery,
            ruling=self.judge.one_to_one(),
            allow_inconsistent=allow_inconsistent,
            refuse_lookalikes=refuse_lookalikes,
            room=room,
        )
        fresh = screened.fresh
        added: tuple[TemplateRecord, ...] = ()
        if fresh:
            records = tuple(self._record(subject_id, capture, idempotency_key) for capture in fresh)
            templates = [capture.template for capture in fresh if capture.template is not None]
            added = gallery.add(subject_id, templates, records=records, idempotency_key=idempotency_key)
        return Enrolment(
            subject_id=subject_id,
            modality=capturer.modality,
            model_id=capturer.model_id,
            added=added,
            failures=failures,
            findings=screened.findings,
            left_out=screened.left_out,
        )

    def match(self, subject_id: str, source: Source) -> Decision:
        """Decide whether the probe is the claimed subject (1:1).

        Raises:
            MediaError: the probe cannot be read.
        """
        subject_id = check_subject_id(subject_id)
        reference = self.gallery.templates(subject_id, model_id=self.capturer.model_id)
        if not len(reference):
            return self._no_reference(subject_id)
        ruling = self.judge.one_to_one()
        if ruling.threshold is None:
            return self._undecided(Reason.NO_OPERATING_POINT, ruling.message, subject_id=subject_id)
        probe = self.capturer.capture(source, policy=self._probing)
        if probe.template is None:
            return self._not_captured(probe, subject_id=subject_id)
        return self._decided(
            reference_score(probe.template.vector, reference), ruling, subject_id=subject_id, probe=probe
        )

    def identify(self, source: Source, *, top_k: int = 5) -> Identification:
        """Find who the probe is among all enrolled subjects, or that it is none of them (1:N).

        Exactly one subject at or above the threshold is a match, none is unknown, several are
        ambiguous: then somebody has to look.

        Raises:
            MediaError: the probe cannot be read.
        """
        if top_k < 1:
            msg = f"top_k must be at least 1, not {top_k}"
            raise UsageError(msg)
        model_id, modality = self.capturer.model_id, self.capturer.modality
        size = self.gallery.count(model_id=model_id)

        def undecided(reason: Reason, message: str, probe: Capture | None = None) -> Identification:
            return Identification(
                IdentifyOutcome.NO_DECISION, reason, message, modality, model_id, size, probe=probe
            )

        if size == 0:
            if self.gallery.model_ids(modality=modality):
                return undecided(Reason.MODEL_MISMATCH, self._mismatch_message())
            return undecided(
                Reason.EMPTY_GALLERY, f"nobody is enrolled by {modality.value}: `verify enroll` first"
            )
        ruling = self.judge.one_to_many(size)
        if ruling.threshold is None:
            outgrown = self.judge.one_to_many(1).threshold is not None
            reason = Reason.GALLERY_OUTGREW_OPERATING_POINT if outgrown else Reason.NO_OPERATING_POINT
            return undecided(reason, ruling.message)
        probe = self.capturer.capture(source, policy=self._probing)
        if probe.template is None or probe.failure is not None:
            return undecided(probe.failure or Reason.INVALID_SAMPLES, probe.message, probe)
        found = search_by_reference(
            self.gallery, probe.template.vector, model_id=model_id, top_k=max(2, top_k)
        )
        above = [candidate for candidate in found if candidate.score >= ruling.threshold]
        if not above:
            outcome, reason = IdentifyOutcome.UNKNOWN, Reason.SCORE_BELOW_THRESHOLD
        elif len(above) == 1:
            outcome, reason = IdentifyOutcome.MATCH, Reason.SCORE_AT_OR_ABOVE_THRESHOLD
        else:
            outcome, reason = IdentifyOutcome.AMBIGUOUS, Reason.SEVERAL_SUBJECTS_ABOVE_THRESHOLD
        return Identification(
            outcome=outcome,
            reason=reason,
            message=f"{len(above)} of {size} subjects at or above the threshold; {ruling.message}",
            modality=modality,
            model_id=model_id,
            gallery_size=size,
            candidates=found[:top_k],
            threshold=ruling.threshold,
            operating_point=ruling.point,
            calibrated=ruling.calibrated,
            probe=probe,
        )

    def compare(self, reference: Source, probe: Source) -> Decision:
        """Decide whether two samples show one subject; nothing is stored.

        Raises:
            MediaError: a sample cannot be read.
        """
        ruling = self.judge.one_to_one()
        if ruling.threshold is None:
            return self._undecided(Reason.NO_OPERATING_POINT, ruling.message)
        first, second = self.capturer.capture_pair(reference, probe, policy=self._probing)
        for capture in (first, second):
            if not capture.ok:
                return self._not_captured(capture, reference=first, probe=second)
        return self._decided(_cosine(first.template, second.template), ruling, reference=first, probe=second)

    def _decided(
        self,
        score: float,
        ruling: Ruling,
        *,
        subject_id: str | None = None,
        probe: Capture | None = None,
        reference: Capture | None = None,
    ) -> Decision:
        accepted = ruling.threshold is not None and score >= ruling.threshold
        return Decision(
            outcome=Outcome.ACCEPT if accepted else Outcome.REJECT,
            reason=Reason.SCORE_AT_OR_ABOVE_THRESHOLD if accepted else Reason.SCORE_BELOW_THRESHOLD,
            message=ruling.message,
            modality=self.capturer.modality,
            model_id=self.capturer.model_id,
            score=score,
            threshold=ruling.threshold,
            operating_point=ruling.point,
            calibrated=ruling.calibrated,
            subject_id=subject_id,
            probe=probe,
            reference=reference,
        )

    def _undecided(
        self,
        reason: Reason,
        message: str,
        *,
        subject_id: str | None = None,
        probe: Capture | None = None,
        reference: Capture | None = None,
    ) -> Decision:
        return Decision(
            outcome=Outcome.NO_DECISION,
            reason=reason,
            message=message,
            modality=self.capturer.modality,
            model_id=self.capturer.model_id,
            subject_id=subject_id,
            probe=probe,
            reference=reference,
        )

    def _not_captured(
        self,
        failed: Capture,
        *,
        subject_id: str | None = None,
        probe: Capture | None = None,
        reference: Capture | None = None,
    ) -> Decision:
        reason = failed.failure or Reason.INVALID_SAMPLES
        return self._undecided(
            reason, failed.message, subject_id=subject_id, probe=probe or failed, reference=reference
        )

    def _no_reference(self, subject_id: str) -> Decision:
        if any(record.modality is self.capturer.modality for record in self.gallery.records(subject_id)):
            return self._undecided(Reason.MODEL_MISMATCH, self._mismatch_message(), subject_id=subject_id)
        message = (
            f"no {self.capturer.modality.value} reference for subject {subject_id!r}: `verify enroll` first"
        )
        return self._undecided(Reason.UNKNOWN_SUBJECT, message, subject_id=subject_id)

    def _mismatch_message(self) -> str:
        stored = ", ".join(
            model_id[:12] for model_id in self.gallery.model_ids(modality=self.capturer.modality)
        )
        return (
            f"the gallery holds {self.capturer.modality.value} templates of model {stored}, the model in use is "
            f"{self.capturer.model_id[:12]}: templates of two models are never compared; use the model that enrolled "
            "them, or enrol again into a new gallery"
        )

    def _check_model(self) -> None:
        stored = self.gallery.model_ids(modality=self.capturer.modality)
        if stored and self.capturer.model_id not in stored:
            raise ModelMismatchError(self._mismatch_message())

    def _record(self, subject_id: str, capture: Capture, idempotency_key: str | None) -> TemplateRecord:
        return TemplateRecord(
            template_id=0,  # the gallery numbers it
            subject_id=subject_id,
            modality=self.capturer.modality,
            model_id=self.capturer.model_id,
            source=capture.source,
            source_sha256=capture.sha256,
            created_at=self._clock(),
            quality=dict(capture.quality.measures) if capture.quality else {},
            idempotency_key=idempotency_key,
        )


def _cosine(one: Template | None, other: Template | None) -> float:
    if one is None or other is None or one.model_id != other.model_id:
        msg = "templates of two models are never compared"
        raise ModelMismatchError(msg)
    return reference_score(one.vector, other.vector[None, :])
