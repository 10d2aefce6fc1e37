"""How a score and a ruling become a decision, and how everything else becomes none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from verify.types import Decision, Identification, IdentifyOutcome, Outcome, Reason

if TYPE_CHECKING:
    from verify.engine.evidence import Scored
    from verify.engine.thresholds import Ruling
    from verify.types import Candidate, Capture, Modality


class Model(NamedTuple):
    """Which model decides."""

    modality: Modality
    model_id: str


class Parties(NamedTuple):
    """Who is compared, as far as it is known."""

    subject_id: str | None = None
    probe: Capture | None = None
    reference: Capture | None = None


def decided(scored: Scored, ruling: Ruling, *, model: Model, parties: Parties) -> Decision:
    """The decision on a score: accept if and only if it is at or above the ruling's threshold."""
    accepted = ruling.threshold is not None and scored.score >= ruling.threshold
    return Decision(
        outcome=Outcome.ACCEPT if accepted else Outcome.REJECT,
        reason=Reason.SCORE_AT_OR_ABOVE_THRESHOLD if accepted else Reason.SCORE_BELOW_THRESHOLD,
        message=ruling.message,
        modality=model.modality,
        model_id=model.model_id,
        score=scored.score,
        threshold=ruling.threshold,
        operating_point=ruling.point,
        calibrated=ruling.calibrated,
        subject_id=parties.subject_id,
        probe=parties.probe,
        reference=parties.reference,
        score_space=ruling.score_space,
        cosine=scored.cosine,
        llr=scored.llr,
    )


def undecided(
    reason: Reason,
    message: str,
    *,
    model: Model,
    parties: Parties,
    ruling: Ruling | None = None,
    space: str = "cosine",
) -> Decision:
    """No decision: no score, and nothing that it was held against.

    Args:
        reason: as a code.
        message: in words.
        model: that would have decided.
        parties: who was to be compared.
        ruling: by which a score was to be judged, where it came to that.
        space: without a ruling: in which score space there would have been a score.
    """
    point = None if ruling is None else ruling.point
    return Decision(
        outcome=Outcome.NO_DECISION,
        reason=reason,
        message=message,
        modality=model.modality,
        model_id=model.model_id,
        operating_point=point,
        subject_id=parties.subject_id,
        probe=parties.probe,
        reference=parties.reference,
        score_space=space if point is None else point.score_space,
    )


def not_captured(failed: Capture, *, model: Model, parties: Parties, space: str) -> Decision:
    """No decision, because a sample gave no template; `space` is where its score would have been."""
    reason = failed.failure or Reason.INVALID_SAMPLES
    return undecided(reason, failed.message, model=model, parties=parties, space=space)


def identified(
    found: tuple[Candidate, ...],
    ruling: Ruling,
    *,
    model: Model,
    gallery_size: int,
    probe: Capture,
    top_k: int,
) -> Identification:
    """The outcome of a search: exactly one subject at or above the threshold is a match.

    `found` are at least two candidates where there are two, best first; `top_k` of them are told.
    """
    threshold = ruling.threshold
    above = [one for one in found if threshold is not None and one.score >= threshold]
    if not above:
        outcome, reason = IdentifyOutcome.UNKNOWN, Reason.SCORE_BELOW_THRESHOLD
    elif len(above) == 1:
        outcome, reason = IdentifyOutcome.MATCH, Reason.SCORE_AT_OR_ABOVE_THRESHOLD
    else:
        outcome, reason = IdentifyOutcome.AMBIGUOUS, Reason.SEVERAL_SUBJECTS_ABOVE_THRESHOLD
    return Identification(
        outcome=outcome,
        reason=reason,
        message=f"{len(above)} of {gallery_size} subjects at or above the threshold; {ruling.message}",
        modality=model.modality,
        model_id=model.model_id,
        gallery_size=gallery_size,
        candidates=found[:top_k],
        threshold=threshold,
        operating_point=ruling.point,
        calibrated=ruling.calibrated,
        probe=probe,
    )


def unidentified(
    reason: Reason, message: str, *, model: Model, gallery_size: int, probe: Capture | None = None
) -> Identification:
    """No decision of a search."""
    outcome = IdentifyOutcome.NO_DECISION
    return Identification(outcome, reason, message, model.modality, model.model_id, gallery_size, probe=probe)
