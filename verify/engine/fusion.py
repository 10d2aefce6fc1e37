"""`FusedVerifier`: several models decide as one. Fails closed and says why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

from verify.capture import CapturePolicy, Capturer, Profile, guess_modality
from verify.engine.fused_deciding import decide, hear_claim, hear_pair
from verify.engine.fused_enroll import FusedDesk, enroll_with_all
from verify.engine.observer import tell
from verify.engine.panel import Panel, Wanted
from verify.errors import UsageError
from verify.gallery.entry import DEFAULT_MAX_TEMPLATES
from verify.gallery.subject import check_subject_id
from verify.models.fusions import part_names, shipped_fusion_points

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from verify.engine.observer import Observer
    from verify.engine.outcomes import Model
    from verify.protocols import Gallery
    from verify.types import Decision, Enrolment, Modality, OperatingPoint, Source

    Sources = Sequence[Source] | Mapping[Modality, Sequence[Source]]
    Given = Source | Mapping[Modality, Source]


def _now() -> datetime:
    return datetime.now(UTC)


class FusedVerifier:
    """Enrol-and-match engine for several models and one gallery. Safe across threads.

    Several encoders of one modality look at the same sample: if it fails for one of them, it has
    failed. Face and voice may stand in for each other, see `verify.engine.panel`. Every model's templates
    lie in the gallery under its own model_id.

    Args:
        capturers: one a model, two or more.
        operating_points: of the fusion, and maybe of single models; a single model's ladder that is not
            given here is its bundle's.
        gallery: where references live; None allows `compare` only.
        cohorts: folder of the cohort files that points may need.
        target_fmr: FMR that decisions must hold, whoever decides; None takes the fusion's default rung.
        target_far: FAR that transactions must hold, in place of `target_fmr`.
        point: name of the one operating point of the fusion to use.
        attempts: how many attempts your application grants in one transaction, see `Judge`.
        allow_extrapolated: use operating points that no trials support, only a fitted tail.
        everyone: nothing stands in for anything: without a face or without a voice there is no decision.
        faces: ``refuse`` or ``largest``, see `verify.engine.Verifier`.
        on_decision: called after each result, see `verify.engine.Verifier`.
        clock: gives the time of an enrolment, in UTC.

    Raises:
        UsageError: fewer than two models, or arguments that exclude each other.
        ModelMismatchError: an operating point belongs to another model.
    """

    def __init__(
        self,
        capturers: Sequence[Capturer],
        operating_points: Sequence[OperatingPoint],
        *,
        gallery: Gallery | None = None,
        cohorts: Path | str | None = None,
        target_fmr: float | None = None,
        target_far: float | None = None,
        point: str | None = None,
        attempts: int = 1,
        allow_extrapolated: bool = False,
        everyone: bool = False,
        faces: str = "refuse",
        on_decision: Observer | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        wanted = Wanted(target_fmr, target_far, point, attempts, allow_extrapolated, everyone)
        self.panel = Panel(capturers, operating_points, cohorts=cohorts, wanted=wanted)
        self._gallery = gallery
        self._clock = clock
        self._on_decision = on_decision
        self._enrolling = CapturePolicy(profile=Profile.ENROLMENT, faces="refuse")
        self._probing = CapturePolicy(profile=Profile.PROBE, faces=faces)

    @classmethod
    def open(
        cls,
        models: str,
        *,
        gallery: Path | str | None = None,
        operating_points: Path | str | None = None,
        models_dir: Path | None = None,
        target_fmr: float | None = None,
        target_far: float | None = None,
        point: str | None = None,
        attempts: int = 1,
        allow_extrapolated: bool = False,
        everyone: bool = False,
        faces: str = "refuse",
        on_decision: Observer | None = None,
        read_only: bool = False,
        max_templates: int = DEFAULT_MAX_TEMPLATES,
    ) -> FusedVerifier:
        """Open models by names or aliases joined with ``+``, and a gallery and operating points by file.

        Without a file the operating points that come with verify for this fusion are taken, if there are any.
        The other arguments are the constructor's, and as for `verify.engine.Verifier.open`.

        Raises:
            UsageError: see the constructor.
            ModelError: a model is unknown, not on this machine or damaged, or the operating points
                are damaged or of another model.
            GalleryError: the gallery is corrupt or of a future version.
        """
        from verify.gallery import SqliteGallery
        from verify.models.operating_points import read_operating_points

        capturers = [Capturer.open(name, models_dir=models_dir) for name in part_names(models)]
        names, ids = [one.bundle.name for one in capturers], [one.model_id for one in capturers]
        return cls(
            capturers,
            shipped_fusion_points(names, model_ids=ids)
            if operating_points is None
            else read_operating_points(operating_points),
            gallery=None
            if gallery is None
            else SqliteGallery(gallery, read_only=read_only, max_templates=max_templates),
            cohorts=None if operating_points is None else Path(operating_points).parent,
            target_fmr=target_fmr,
            target_far=target_far,
            point=point,
            attempts=attempts,
            allow_extrapolated=allow_extrapolated,
            everyone=everyone,
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
            msg = "this needs a gallery: open the FusedVerifier with gallery=..."
            raise UsageError(msg)
        return self._gallery

    @property
    def model(self) -> Model:
        """What stands for the models together."""
        return self.panel.model

    def stored_samples(self, subject_id: str) -> set[str]:
        """Hashes of the samples that a subject's templates of all models of their modality were made of."""
        known: dict[str, set[str]] = {}
        for record in self.gallery.records(subject_id):
            known.setdefault(record.source_sha256, set()).add(record.model_id)
        complete = [set(self.panel.members(modality)) for modality in self.panel.modalities]
        return {sha256 for sha256, models in known.items() if any(models >= one for one in complete)}

    def enroll(
        self,
        subject_id: str,
        sources: Sources,
        *,
        idempotency_key: str | None = None,
        allow_inconsistent: bool = False,
        refuse_lookalikes: bool = False,
        workers: int | None = None,
    ) -> Enrolment:
        """Add one subject's samples under every model, all templates in one transaction.

        A sample that any model of its modality cannot capture or a check refuses is left out for all of
        them and reported. A sample that one model knows already is added for the others.

        Args:
            subject_id: any text of 1 to 256 UTF-8 bytes without control characters.
            sources: samples of this subject; for face and voice together, files (their kind tells) or a
                mapping from modality to samples.
            idempotency_key: makes a retry of this call one enrolment.
            allow_inconsistent: write templates that disagree with the subject's others, too.
            refuse_lookalikes: leave out templates that reach another subject's threshold.
            workers: threads to capture on; None takes one a CPU.

        Raises:
            UsageError: a bad subject id, no samples, or samples of a modality that no model here is for.
            DuplicateSubjectError: the key was used for another subject or other samples.
            ModelMismatchError: the gallery's templates of a modality are all of other models.
            StorageError: nothing was written.
        """
        return enroll_with_all(
            FusedDesk(self.panel, self.gallery, self._enrolling, self._clock),
            check_subject_id(subject_id),
            self._by_modality(sources),
            idempotency_key=idempotency_key,
            allow_inconsistent=allow_inconsistent,
            refuse_lookalikes=refuse_lookalikes,
            workers=workers,
        )

    def match(self, subject_id: str, probe: Given) -> Decision:
        """Decide whether the probe is the claimed subject (1:1).

        Args:
            subject_id: who the probe claims to be.
            probe: a sample; for face and voice together a mapping from modality to sample, in which one of
                them may be missing.

        Returns:
            The decision; `parts` has each model's own cosine and evidence, and why it has none.

        Raises:
            MediaError: a sample cannot be read.
            UsageError: a sample of a modality that no model here is for.
            ModelIntegrityError: the point's cohort is missing or damaged.
        """
        subject_id = check_subject_id(subject_id)
        heard = hear_claim(self.panel, self.gallery, subject_id, self._given(probe), policy=self._probing)
        return self._told(decide(self.panel, heard, subject_id=subject_id))

    def compare(self, reference: Given, probe: Given) -> Decision:
        """Decide whether two samples, or two pairs of face and voice, are of one subject; nothing is stored.

        Raises:
            MediaError: a sample cannot be read.
            UsageError: a sample of a modality that no model here is for.
            ModelIntegrityError: the point's cohort is missing or damaged.
        """
        heard = hear_pair(self.panel, self._given(reference), self._given(probe), policy=self._probing)
        return self._told(decide(self.panel, heard))

    def identify(self, source: Source, *, top_k: int = 5) -> NoReturn:
        """Refuse: the index ranks by one model's cosine, and the best fused subject might not be among those found.

        Raises:
            UsageError: always.
        """
        del source, top_k
        msg = "several models together decide 1:1 claims only: use match, or identify with one of the models"
        raise UsageError(msg)

    def _told(self, decision: Decision) -> Decision:
        tell(self._on_decision, decision)
        return decision

    def _given(self, sample: Given) -> Mapping[Modality, Source]:
        """Modality -> sample."""
        if not isinstance(sample, Mapping):
            sample = {self._kind_of(sample): sample}
        return {modality: sample[modality] for modality in self._known(sample)}

    def _by_modality(self, sources: Sources) -> dict[Modality, Sequence[Source]]:
        """Modality -> samples."""
        if isinstance(sources, (str, bytes)) or not sources:
            msg = f"sources must be a list of samples, not {sources!r:.40}; for one sample give a list of one"
            raise UsageError(msg)
        if isinstance(sources, Mapping):
            return {modality: sources[modality] for modality in self._known(sources)}
        found: dict[Modality, list[Source]] = {}
        for source in sources:
            found.setdefault(self._kind_of(source), []).append(source)
        return {modality: found[modality] for modality in self._known(found)}

    def _known(self, given: Mapping[Modality, object]) -> list[Modality]:
        """The modalities given, in the models' order."""
        strange = [str(modality) for modality in given if modality not in self.panel.modalities]
        if strange or not given:
            kinds = " and ".join(modality.value for modality in self.panel.modalities)
            msg = f"these models are for {kinds}, not for {', '.join(strange) or 'nothing at all'}"
            raise UsageError(msg)
        return [modality for modality in self.panel.modalities if modality in given]

    def _kind_of(self, source: Source) -> Modality:
        if len(self.panel.modalities) == 1:
            return self.panel.modalities[0]
        if isinstance(source, (str, os.PathLike)):
            return guess_modality(source)
        msg = "of face and voice, say which one it is: give a mapping from modality to sample"
        raise UsageError(msg)
