"""`Verifier`: enrol, match, identify, compare. Fails closed and says why."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from verify.capture import CapturePolicy, Capturer, Profile
from verify.engine.deciding import Bench, decide_claim, decide_pair, decide_search, mismatch_message
from verify.engine.enroll import Desk, enroll_subject
from verify.engine.evidence import Cohorts
from verify.engine.observer import tell
from verify.engine.thresholds import Judge
from verify.errors import ModelMismatchError, UsageError
from verify.gallery.entry import DEFAULT_MAX_TEMPLATES
from verify.gallery.subject import check_subject_id

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from verify.engine.observer import Observer
    from verify.engine.outcomes import Model
    from verify.engine.thresholds import Ruling
    from verify.protocols import Gallery
    from verify.types import Decision, Enrolment, Identification, OperatingPoint, Source


def _now() -> datetime:
    return datetime.now(UTC)


class Verifier:
    """Enrol-and-match engine for one model and one gallery. Safe across threads.

    Args:
        capturer: turns samples into templates; its model_id rules everything else.
        gallery: where references live; None allows `compare` only.
        operating_points: the ladder of thresholds; None takes the bundle's own.
        cohorts: folder of the cohort files that points in a norm space need; None takes the bundle's.
        target_fmr: FMR that 1:1 decisions must hold; None takes the ladder's default rung, see `Judge`. A
            rate that no operating point holds raises nothing here: every decision is then no decision and says
            what the ladder has. ``verifier.judge.one_to_one()`` tells at the start which threshold will decide.
        target_far: FAR that 1:1 transactions must hold, in place of `target_fmr`.
        target_fpir: FPIR that 1:N decisions must hold; None takes 0.01, see `Judge`.
        uncalibrated: raw cosine threshold given by hand; every result then says so.
        point: name of the one operating point to use, whatever its target.
        attempts: how many attempts your application grants in one transaction, see `Judge`.
        allow_extrapolated: use operating points that no trials support, only a fitted tail.
        faces: ``refuse`` makes a probe with several faces a no-decision (small ones in the background
            do not count), ``largest`` decides on the most prominent face. Enrolment always refuses.
        on_decision: ``DriftLog(path)`` of `verify.engine`, for `verify monitor`, or any function: called
            after each match, compare and identify that ends in a result (no-decisions too), with a copy whose
            templates' vectors are empty. What it raises is logged as a warning under ``verify.engine``; the
            decision stands. It may be called from several threads at once.
        clock: gives the time of an enrolment, in UTC.

    Raises:
        UsageError: arguments that exclude each other or are out of range, an unknown `point`.
        ModelMismatchError: an operating point belongs to another model.
    """

    def __init__(
        self,
        capturer: Capturer,
        *,
        gallery: Gallery | None = None,
        operating_points: Sequence[OperatingPoint] | None = None,
        cohorts: Path | str | None = None,
        target_fmr: float | None = None,
        target_far: float | None = None,
        target_fpir: float | None = None,
        uncalibrated: float | None = None,
        point: str | None = None,
        attempts: int = 1,
        allow_extrapolated: bool = False,
        faces: str = "refuse",
        on_decision: Observer | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        own = operating_points is None
        points = capturer.bundle.operating_points() if operating_points is None else operating_points
        self.capturer = capturer
        self.judge = Judge(
            capturer.model_id,
            points,
            target_fmr=target_fmr,
            target_far=target_far,
            target_fpir=target_fpir,
            uncalibrated=uncalibrated,
            point=point,
            attempts=attempts,
            allow_extrapolated=allow_extrapolated,
        )
        self._gallery = gallery
        self._clock = clock
        self._on_decision = on_decision
        self._enrolling = CapturePolicy(profile=Profile.ENROLMENT, faces="refuse")
        self._bench = Bench(
            capturer,
            self.judge,
            Cohorts(capturer.bundle.path if cohorts is None and own else cohorts),
            CapturePolicy(profile=Profile.PROBE, faces=faces),
        )

    @classmethod
    def open(
        cls,
        model: str | os.PathLike[str],
        *,
        gallery: Path | str | None = None,
        operating_points: Path | str | None = None,
        models_dir: Path | None = None,
        target_fmr: float | None = None,
        target_far: float | None = None,
        target_fpir: float | None = None,
        uncalibrated: float | None = None,
        point: str | None = None,
        attempts: int = 1,
        allow_extrapolated: bool = False,
        faces: str = "refuse",
        on_decision: Observer | None = None,
        read_only: bool = False,
        max_templates: int = DEFAULT_MAX_TEMPLATES,
    ) -> Verifier:
        """Open a model by name, alias or path, and a gallery and operating points by file.

        With `read_only` the gallery is never written to nor made: for match and identify, also from
        a read-only disk. `max_templates` caps a subject's templates. Cohort files are looked for beside
        the operating points. The other arguments are the constructor's.

        Raises:
            UsageError: see the constructor.
            ModelError: the model is unknown, not on this machine or damaged, or the operating points
                are damaged or of another model.
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
            cohorts=None if operating_points is None else Path(operating_points).parent,
            target_fmr=target_fmr,
            target_far=target_far,
            target_fpir=target_fpir,
            uncalibrated=uncalibrated,
            point=point,
            attempts=attempts,
            allow_extrapolated=allow_extrapolated,
            faces=faces,
            on_decision=on_decision,
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

    @property
    def model(self) -> Model:
        """Which model decides, and on what."""
        return self._bench.model

    def stored_samples(self, subject_id: str) -> set[str]:
        """Hashes of the samples that a subject's templates of this model were made of."""
        records = self.gallery.records(subject_id)
        return {record.source_sha256 for record in records if record.model_id == self.model.model_id}

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
        would pass the gallery's cap are left out and reported; the rest is written. Templates are held
        against each other in raw cosines, by a rung of the ladder or else of the bundle's own; without either
        the check is left out and a finding says so.

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
        stored = self.gallery.model_ids(modality=self.capturer.modality)
        if stored and self.capturer.model_id not in stored:
            raise ModelMismatchError(mismatch_message(self._bench.model, self.gallery))
        return enroll_subject(
            Desk(self.capturer, self.gallery, self._enrolling, self._screening(), self._clock),
            subject_id,
            sources,
            idempotency_key=idempotency_key,
            allow_inconsistent=allow_inconsistent,
            refuse_lookalikes=refuse_lookalikes,
            workers=workers,
        )

    def match(self, subject_id: str, source: Source) -> Decision:
        """Decide whether the probe is the claimed subject (1:1).

        The score is formed in the operating point's score space; a capture outside the range that the
        point was calibrated on is no decision.

        Raises:
            MediaError: the probe cannot be read.
            ModelIntegrityError: the point's cohort is missing or damaged.
        """
        subject_id = check_subject_id(subject_id)
        return self._told(decide_claim(self._bench, self.gallery, subject_id, source))

    def compare(self, reference: Source, probe: Source) -> Decision:
        """Decide whether two samples show one subject; nothing is stored.

        Raises:
            MediaError: a sample cannot be read.
            ModelIntegrityError: the point's cohort is missing or damaged.
        """
        return self._told(decide_pair(self._bench, reference, probe))

    def identify(self, source: Source, *, top_k: int = 5) -> Identification:
        """Find who the probe is among all enrolled subjects, or that it is none of them (1:N).

        Exactly one subject at or above the threshold is a match, none is unknown, several are
        ambiguous: then somebody has to look. Candidates are ranked and judged by raw cosine, because
        that is what the index ranks by; operating points in other score spaces are not used, see
        `Judge.one_to_many`.

        Raises:
            MediaError: the probe cannot be read.
        """
        if top_k < 1:
            msg = f"top_k must be at least 1, not {top_k}"
            raise UsageError(msg)
        found = decide_search(self._bench, self.gallery, source, top_k=top_k)
        tell(self._on_decision, found)
        return found

    def _screening(self) -> Ruling:
        """The ladder's raw cosine rung, else the bundle's own: it checks samples, it promises no rate."""
        ruling = self.judge.in_cosine()
        if ruling.threshold is not None:
            return ruling
        own = Judge(self.capturer.model_id, self.capturer.bundle.operating_points()).in_cosine()
        return ruling if own.threshold is None else own

    def _told(self, decision: Decision) -> Decision:
        tell(self._on_decision, decision)
        return decision
