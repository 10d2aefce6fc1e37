"""Choose a threshold so that the bound on the FMR, not the point estimate, meets the target.

Many candidates are tried on the same scores, and each of their bounds fails once in twenty times. Taking the loosest
of all that fit would favour places where a noisy bound dips by luck. So the candidates are tested in an order fixed
before the scores are seen, and the first failure ends it (Maurer, Hothorn and Lehmacher, 1995):

- It starts at the candidate with a quarter (`START`) of the errors that the target allows, at least `MIN_ERRORS`.
- While the bound holds it goes looser, from score to score, and stops before the first failure.
- If the start fails itself, it goes stricter until a bound holds.

Why this errs no oftener than one bound does: the true FMR falls with the threshold, so one score t* parts the
thresholds that meet the target from those that do not. Going looser, nothing beyond t* is chosen unless the bound at
t* fails, whatever came before or would come after: one test, not one a candidate. Going stricter ends above t* as
long as the start lies above it. It does not if less than a quarter of the expected errors are seen at t*; only then
may a stricter candidate break the promise, so the way back can cost no more than the chance of that, small wherever the
data have a hope of supporting the target. Refusing at once instead would lose data whose bound holds a little further
up: on 200 halvings of 150 faces at FMR 1e-3 the prediction bound refuses 5 with the way back and 34 without it, and
breaks as many promises either way.

What is kept to 5 % is the chance of a promise that is made *and* broken. Where the data are nearly always too few for
the target, the few promises that are made come from the luckiest samples, and of these more are broken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

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

# The walk starts at the candidate with this share of the errors that the target allows.
START = 1 / 4

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
    """For each target FMR an observed score whose upper bound is at or below it, by testing in a fixed order.

    Every distinct score of the tail with `MIN_ERRORS` errors or more is a candidate; the bounds are those
    of `verify.metrics.dyadic`, from one pass over the tail, and the order is the module's. Where none is found,
    the threshold above all scores may do: its claim is that of floor(S / 2) independent pairs without an error.

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
    above = float(np.nextafter(scores.maximum, math.inf))
    no_errors = design.no_errors(confidence=confidence, bound=bound, further_subjects=further_subjects)
    walk = None
    if candidates.size:
        evidence = design.evidence(tail.subject_a[::-1], tail.subject_b[::-1], at=candidates)
        walk = _Walk(
            candidates + 1, evidence, confidence=confidence, bound=bound, further_subjects=further_subjects
        )
    chosen: dict[float, ChosenThreshold | InsufficientTrialsError] = {}
    for target in targets:
        found = None if walk is None else walk.stop(target)
        if walk is not None and found is not None:
            chosen[target] = ChosenThreshold(float(descending[candidates[found]]), walk.rate(found))
        elif no_errors.upper <= target and above <= ceiling:
            chosen[target] = ChosenThreshold(above, no_errors)
        else:
            best = min(
                no_errors.upper if above <= ceiling else 1.0, 1.0 if walk is None else walk.smallest_bound()
            )
            chosen[target] = _insufficient(target, best=best, design=design, confidence=confidence)
    return chosen


class _Walk:
    """Tests the candidates, strictest first in the arrays, in the order that the module describes.

    Args:
        errors: (C,) errors of each candidate, ascending.
        evidence: of the C candidates.
        confidence: of the one-sided bound.
        bound: ``population`` or ``prediction``.
        further_subjects: of the group that a prediction is for.
    """

    __slots__ = ("_errors", "_evidence", "_kind")

    def __init__(
        self,
        errors: NDArray[np.integer],
        evidence: Evidence,
        *,
        confidence: float,
        bound: Bound,
        further_subjects: int | None,
    ) -> None:
        self._errors, self._evidence = errors, evidence
        self._kind: _Kind = {"confidence": confidence, "bound": bound, "further_subjects": further_subjects}

    def stop(self, target: float) -> int | None:
        """Where the walk for this target ends; None if no candidate from the start on to stricter ones holds."""
        wanted = max(MIN_ERRORS, math.ceil(target * self._evidence.trials * START))
        start = min(int(np.searchsorted(self._errors, wanted)), self._errors.size - 1)
        last = self._last_before_failure(start, target)
        return self._first_stricter(start, target) if last < start else last

    def rate(self, at: int) -> Rate:
        """The rate of one candidate."""
        return self._evidence[at : at + 1].rates(**self._kind)[0]

    def smallest_bound(self) -> float:
        """The smallest upper bound of all candidates: what the data give at best."""
        return float(self._upper(0, self._errors.size).min())

    def _last_before_failure(self, start: int, target: float) -> int:
        """The last of the candidates from `start` to looser ones before the first failure; start - 1 if it fails."""
        for begin in range(start, self._errors.size, _BATCH):
            failing = np.flatnonzero(self._upper(begin, begin + _BATCH) > target)
            if failing.size:
                return begin + int(failing[0]) - 1
        return self._errors.size - 1

    def _first_stricter(self, start: int, target: float) -> int | None:
        """The first candidate that holds on the way from `start` to stricter ones."""
        for end in range(start, 0, -_BATCH):
            begin = max(0, end - _BATCH)
            holding = np.flatnonzero(self._upper(begin, end) <= target)
            if holding.size:
                return begin + int(holding[-1])
        return None

    def _upper(self, begin: int, end: int) -> NDArray[np.float64]:
        return self._evidence[begin:end].bounds(**self._kind)[1]


class _Kind(TypedDict):
    """The bound asked for."""

    confidence: float
    bound: Bound
    further_subjects: int | None


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
