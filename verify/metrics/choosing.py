"""Choose a threshold so that the bound on the FMR, not the point estimate, meets the target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError
from verify.metrics.intervals import wilson
from verify.metrics.rates import errors_allowed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from verify.metrics.dyadic import DyadDesign, Evidence
    from verify.metrics.non_mated import NonMatedScores
    from verify.metrics.prediction import Bound
    from verify.types import Rate

# A variance of errors that are fewer than this says nothing: three errors of three pairs look
# independent whatever they are. Thresholds with fewer errors are not considered, save with none at all.
MIN_ERRORS = 10

_BATCH = 1 << 14  # candidates whose bound is worked out at once


@dataclass(frozen=True, slots=True)
class ChosenThreshold:
    """A threshold, and the calibration FMR at it whose upper bound meets the target."""

    threshold: float
    rate: Rate


def choose_from(
    scores: NonMatedScores,
    targets: Sequence[float],
    *,
    confidence: float = 0.95,
    bound: Bound = "population",
    further_subjects: int | None = None,
    ceiling: float = math.inf,
) -> dict[float, ChosenThreshold | InsufficientTrialsError]:
    """For each target FMR the smallest observed score whose upper bound is at or below it.

    Every distinct score of the tail with `MIN_ERRORS` errors or more is a candidate; the bounds are those
    of `verify.metrics.dyadic`, from one pass over the tail. Above all scores the claim is that of
    floor(S / 2) independent pairs without an error.

    Args:
        scores: with their exact tail.
        targets: rates in (0, 1).
        confidence: of the one-sided bound.
        bound: ``population`` or ``prediction``.
        further_subjects: of the group that a prediction is for; None for as many as seen.
        ceiling: the largest score that there can be (1.0 for cosines).

    Returns:
        target -> the choice, or the error (not raised) that says how much more data it would take.
    """
    tail, design = scores.tail, scores.design
    descending = tail.score[::-1]
    # the bound is never below the rate, so no candidate beyond the loosest target can fit
    most = min(
        max((errors_allowed(target, trials=design.trials) for target in targets), default=0), tail.score.size
    )
    ends = _tie_ends(descending, most=most)
    candidates = ends[ends + 1 >= MIN_ERRORS]
    evidence = None
    if candidates.size:
        evidence = design.evidence(tail.subject_a[::-1], tail.subject_b[::-1], at=candidates)
    above = float(np.nextafter(scores.maximum, math.inf))
    no_errors = design.no_errors(confidence=confidence, bound=bound, further_subjects=further_subjects)
    chosen: dict[float, ChosenThreshold | InsufficientTrialsError] = {}
    for target in targets:
        found = None
        if evidence is not None:
            found = _last_fitting(
                evidence, target, confidence=confidence, bound=bound, further_subjects=further_subjects
            )
        if evidence is not None and found is not None:
            rate = evidence[found : found + 1].rates(
                confidence=confidence, bound=bound, further_subjects=further_subjects
            )[0]
            chosen[target] = ChosenThreshold(float(descending[candidates[found]]), rate)
        elif no_errors.upper <= target and above <= ceiling:
            chosen[target] = ChosenThreshold(above, no_errors)
        else:
            best = no_errors.upper if above <= ceiling else 1.0
            if evidence is not None:
                upper = evidence.bounds(
                    confidence=confidence, bound=bound, further_subjects=further_subjects
                )[1]
                best = min(best, float(upper.min()))
            chosen[target] = _insufficient(target, best=best, design=design, confidence=confidence)
    return chosen


def _last_fitting(
    evidence: Evidence, target: float, *, confidence: float, bound: Bound, further_subjects: int | None
) -> int | None:
    """The last element whose upper bound is at or below `target`; None if there is none.

    Student's quantile is slow, so it is only taken where the normal one, which is smaller, would do.
    """
    hopeful = np.flatnonzero(
        evidence.with_freedom(math.inf).bounds(
            confidence=confidence, bound=bound, further_subjects=further_subjects
        )[1]
        <= target
    )
    for end in range(hopeful.size, 0, -_BATCH):
        batch = hopeful[max(0, end - _BATCH) : end]
        upper = evidence[batch].bounds(confidence=confidence, bound=bound, further_subjects=further_subjects)[
            1
        ]
        fitting = np.flatnonzero(upper <= target)
        if fitting.size:
            return int(batch[fitting[-1]])
    return None


def _tie_ends(descending: NDArray[np.floating], *, most: int) -> NDArray[np.intp]:
    """Where each run of equal scores among the first `most` ends, if it ends there: ties are accepted together."""
    ends = np.flatnonzero(descending[: most - 1] != descending[1:most]) if most > 1 else np.empty(0, np.intp)
    whole = most == descending.size or (most > 0 and descending[most - 1] != descending[most])
    return np.append(ends, most - 1) if most > 0 and whole else ends


def _insufficient(
    target: float, *, best: float, design: DyadDesign, confidence: float
) -> InsufficientTrialsError:
    """The error for a target out of reach, with what would bring it into reach.

    The bound falls with the number of pairs (1 / S^2) where every pair errs on its own, and with the
    number of subjects (1 / S) where a few subjects cause the errors. At the very least,
    `MIN_ERRORS` errors must be expected at a rate whose bound is below the target.
    """
    trials, subjects = design.trials, design.subjects
    ratio = max(best / target, _upper_of_min_errors(confidence) / (target * trials), 1.0)
    fewest, most = math.ceil(subjects * math.sqrt(ratio)), math.ceil(subjects * ratio)
    between = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    msg = (
        f"the data cannot support FMR {target:g} at {confidence:.0%} confidence: {trials:,} non-mated trials "
        f"among {subjects:,} calibration subjects bound it at {best:.2g} at best; about {between} "
        "calibration subjects with as many samples each would do (twice that in all: half are for the test)"
    )
    return InsufficientTrialsError(msg)


def _upper_of_min_errors(confidence: float) -> float:
    """The bound on a count of `MIN_ERRORS` independent errors: about 17 at 95 %."""
    many = 1e9
    return wilson(MIN_ERRORS / many, n_eff=many, confidence=confidence)[1] * many
