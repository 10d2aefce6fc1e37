"""Choose a threshold so that the bound on the FMR, not the point estimate, meets the target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError
from verify.metrics import DyadDesign, wilson, zero_error_bound
from verify.metrics.rates import errors_allowed
from verify.metrics.scores import checked_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from verify.types import Rate

# A variance of errors that are fewer than this says nothing: three errors of three pairs look
# independent whatever they are. Thresholds with fewer errors are not considered, save with none at all.
MIN_ERRORS = 10


@dataclass(frozen=True, slots=True)
class ChosenThreshold:
    """A threshold, and the calibration FMR at it whose upper bound meets the target."""

    threshold: float
    rate: Rate


def choose_thresholds(
    *,
    non_mated: ArrayLike,
    subject_a: ArrayLike,
    subject_b: ArrayLike,
    targets: Sequence[float],
    confidence: float = 0.95,
) -> dict[float, ChosenThreshold | InsufficientTrialsError]:
    """For each target FMR the smallest observed score whose upper bound is at or below it.

    Every distinct score of the tail is a candidate; its bound is the population bound of
    `verify.metrics.dyadic`, computed for all candidates in one pass. Above all scores the claim is
    that of floor(S / 2) independent pairs without an error.

    Args:
        non_mated: (N,) scores.
        subject_a: (N,) subject numbers of one side.
        subject_b: (N,) of the other.
        targets: rates in (0, 1).
        confidence: of the one-sided bound.

    Returns:
        target -> the choice, or the error (not raised) that says how much more data it would take.

    Raises:
        ScoreError: bad scores, subjects, targets or confidence.
    """
    scores = checked_scores(non_mated, name="non_mated")
    design = DyadDesign.of(subject_a=subject_a, subject_b=subject_b, trials=scores.size)
    most = max(errors_allowed(target, trials=scores.size) for target in targets)
    tail = _descending_tail(scores, most=most)
    ends = _tie_ends(scores[tail])
    candidates = ends[ends + 1 >= MIN_ERRORS]
    upper = np.empty(0)
    if candidates.size:
        upper = design.evidence(tail).bounds(confidence=confidence)[1][candidates]
    above = float(np.nextafter(scores.max(), np.inf))
    no_errors = zero_error_bound(design.independent_pairs, confidence=confidence)
    best = min(float(upper.min(initial=1.0)), no_errors if above <= 1.0 else 1.0)
    chosen: dict[float, ChosenThreshold | InsufficientTrialsError] = {}
    for target in targets:
        fitting = candidates[upper <= target]
        if fitting.size:
            threshold = float(scores[tail[fitting[-1]]])
        elif no_errors <= target and above <= 1.0:
            threshold = above
        else:
            chosen[target] = _insufficient(target, best=best, design=design, confidence=confidence)
            continue
        wrong = tail[scores[tail] >= threshold]
        chosen[target] = ChosenThreshold(threshold, design.rate(wrong, confidence=confidence))
    return chosen


def _descending_tail(scores: NDArray[np.float64], *, most: int) -> NDArray[np.intp]:
    """Trial numbers of at most `most` highest scores, highest first, no tie cut in two."""
    if most == 0:
        return np.empty(0, dtype=np.intp)
    edge = np.partition(scores, scores.size - most)[scores.size - most]
    inside = np.flatnonzero(scores >= edge)
    if inside.size > most:  # the tie at the edge does not fit as a whole
        inside = np.flatnonzero(scores > edge)
    return inside[np.argsort(-scores[inside], kind="stable")]


def _tie_ends(descending: NDArray[np.float64]) -> NDArray[np.intp]:
    """Where each run of equal scores ends: equal scores are accepted together."""
    if descending.size == 0:
        return np.empty(0, dtype=np.intp)
    return np.append(np.flatnonzero(descending[:-1] != descending[1:]), descending.size - 1)


def _insufficient(
    target: float, *, best: float, design: DyadDesign, confidence: float
) -> InsufficientTrialsError:
    """The error for a target out of reach, with what would bring it into reach.

    The bound falls with the number of pairs (1 / S^2) where every pair errs on its own, and with the
    number of subjects (1 / S) where a few subjects cause the errors. At the very least,
    `MIN_ERRORS` errors must be expected at a rate whose bound is below the target.
    """
    trials, subjects = design.subject_a.size, design.subjects
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
