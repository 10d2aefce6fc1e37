"""From a claim, a pair or a probe to its outcome: captures, references, ruling, score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.engine.evidence import captured_side, enrolled_side, scored
from verify.engine.outcomes import (
    Model,
    Parties,
    decided,
    identified,
    not_captured,
    undecided,
    unidentified,
)
from verify.engine.scores import search_by_reference
from verify.errors import ModelMismatchError, NoDecisionError
from verify.types import Reason

if TYPE_CHECKING:
    from verify.capture import CapturePolicy, Capturer
    from verify.engine.evidence import Cohorts, Side
    from verify.engine.thresholds import Judge, Ruling
    from verify.protocols import Gallery
    from verify.types import Capture, Decision, Identification, Source


@dataclass(frozen=True, slots=True)
class Bench:
    """What a decision needs, beside those whom it is about."""

    capturer: Capturer
    judge: Judge
    cohorts: Cohorts
    probing: CapturePolicy

    @property
    def model(self) -> Model:
        """Which model decides."""
        return Model(self.capturer.modality, self.capturer.model_id)


def decide_claim(bench: Bench, gallery: Gallery, subject_id: str, source: Source) -> Decision:
    """1:1 against an enrolled subject; see `Verifier.match`."""
    claimed, ruling = Parties(subject_id), bench.judge.one_to_one()
    reference = enrolled_side(
        gallery, subject_id, model_id=bench.model.model_id, with_quality=_asks_quality(ruling)
    )
    if reference is None:
        return _no_reference(bench, gallery, subject_id, space=ruling.score_space)
    if ruling.threshold is None:
        return undecided(Reason.NO_OPERATING_POINT, ruling.message, model=bench.model, parties=claimed)
    probe = bench.capturer.capture(source, policy=bench.probing)
    parties = Parties(subject_id, probe=probe)
    if not probe.ok:
        return not_captured(probe, model=bench.model, parties=parties, space=ruling.score_space)
    return _judged(bench, ruling, reference, probe, parties)


def decide_pair(bench: Bench, reference: Source, probe: Source) -> Decision:
    """1:1 of two samples; see `Verifier.compare`."""
    ruling = bench.judge.one_to_one()
    if ruling.threshold is None:
        return undecided(Reason.NO_OPERATING_POINT, ruling.message, model=bench.model, parties=Parties())
    first, second = bench.capturer.capture_pair(reference, probe, policy=bench.probing)
    parties = Parties(probe=second, reference=first)
    for capture in (first, second):
        if not capture.ok:
            return not_captured(capture, model=bench.model, parties=parties, space=ruling.score_space)
    return _judged(bench, ruling, captured_side(first), second, parties)


def decide_search(bench: Bench, gallery: Gallery, source: Source, *, top_k: int) -> Identification:
    """1:N, open set; see `Verifier.identify`."""
    model = bench.model
    size = gallery.count(model_id=model.model_id)
    if size == 0 and gallery.model_ids(modality=model.modality):
        message = mismatch_message(model, gallery)
        return unidentified(Reason.MODEL_MISMATCH, message, model=model, gallery_size=0)
    if size == 0:
        message = f"nobody is enrolled by {model.modality.value}: `verify enroll` first"
        return unidentified(Reason.EMPTY_GALLERY, message, model=model, gallery_size=0)
    ruling = bench.judge.one_to_many(size)
    if ruling.threshold is None:
        outgrown = bench.judge.one_to_many(1).threshold is not None
        reason = Reason.GALLERY_OUTGREW_OPERATING_POINT if outgrown else Reason.NO_OPERATING_POINT
        return unidentified(reason, ruling.message, model=model, gallery_size=size)
    probe = bench.capturer.capture(source, policy=bench.probing)
    if probe.template is None or probe.failure is not None:
        reason = probe.failure or Reason.INVALID_SAMPLES
        return unidentified(reason, probe.message, model=model, gallery_size=size, probe=probe)
    found = search_by_reference(gallery, probe.template.vector, model_id=model.model_id, top_k=max(2, top_k))
    return identified(found, ruling, model=model, gallery_size=size, probe=probe, top_k=top_k)


def mismatch_message(model: Model, gallery: Gallery) -> str:
    """That the gallery is another model's, and the way out."""
    stored = ", ".join(model_id[:12] for model_id in gallery.model_ids(modality=model.modality))
    return (
        f"the gallery holds {model.modality.value} templates of model {stored}, the model in use is "
        f"{model.model_id[:12]}: templates of two models are never compared; use the model that enrolled "
        "them, bring them over with `verify gallery reindex`, or enrol again into a new gallery"
    )


def _judged(bench: Bench, ruling: Ruling, reference: Side, probe: Capture, parties: Parties) -> Decision:
    for capture in (parties.probe, parties.reference):
        if capture and capture.template and capture.template.model_id != bench.model.model_id:
            msg = f"{capture.source}: a template of another model; templates of two models are never compared"
            raise ModelMismatchError(msg)
    try:
        score = scored(ruling.point, reference, captured_side(probe), cohorts=bench.cohorts)
    except NoDecisionError as error:
        return undecided(error.reason, str(error), model=bench.model, parties=parties, ruling=ruling)
    return decided(score, ruling, model=bench.model, parties=parties)


def _no_reference(bench: Bench, gallery: Gallery, subject_id: str, *, space: str) -> Decision:
    model, claimed = bench.model, Parties(subject_id)
    stored = [r.model_id[:12] for r in gallery.records(subject_id) if r.modality is model.modality]
    if stored and gallery.count(model_id=model.model_id):
        message = (
            f"subject {subject_id!r} waits for re-enrolment: its {model.modality.value} references are of model "
            f"{', '.join(dict.fromkeys(stored))}, the model in use is {model.model_id[:12]}, and templates of two "
            "models are never compared; `verify gallery reindex` embeds its samples again if they are kept, else "
            "`verify enroll`"
        )
        return undecided(Reason.MODEL_MISMATCH, message, model=model, parties=claimed, space=space)
    if stored:
        message = mismatch_message(model, gallery)
        return undecided(Reason.MODEL_MISMATCH, message, model=model, parties=claimed, space=space)
    message = f"no {model.modality.value} reference for subject {subject_id!r}: `verify enroll` first"
    return undecided(Reason.UNKNOWN_SUBJECT, message, model=model, parties=claimed, space=space)


def _asks_quality(ruling: Ruling) -> bool:
    return ruling.point is not None and ruling.point.llr is not None and bool(ruling.point.llr.terms)
