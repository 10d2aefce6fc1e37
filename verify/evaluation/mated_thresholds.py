"""Choose a threshold so that the bound on the FNMR, not the point estimate, meets the target."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError
from verify.evaluation.thresholds import ChosenThreshold
from verify.metrics import mated_rate, zero_error_bound
from verify.metrics.rates import threshold_at_fnmr

if TYPE_CHECKING:
    from verify.evaluation.side import Side
    from verify.metrics.prediction import Bound
    from verify.types import Rate


def choose_for_fnmr(
    side: Side, target: float, *, confidence: float, bound: Bound
) -> ChosenThreshold | InsufficientTrialsError:
    """The largest observed mated score whose upper bound on the FNMR is at or below the target.

    Bounds all but always fall with the threshold, so the edge is found by halving; where a bound
    wiggles, another fitting score may lie a little higher, but what is returned holds.

    Args:
        side: whose mated trials to choose on.
        target: FNMR in (0, 1).
        confidence: of the one-sided bound.
        bound: ``population`` or ``prediction``.

    Returns:
        The choice, or the error (not raised) that says what is missing.
    """
    if not side.mated.size:
        return InsufficientTrialsError(f"{side.name}: no mated trials, so no FNMR can be held to {target:g}")

    def rate_at(threshold: float) -> Rate:
        return mated_rate(
            mated=side.mated,
            subject=side.mated_subject,
            threshold=threshold,
            confidence=confidence,
            bound=bound,
        )

    # no threshold above this one has a point estimate within the target, let alone a bound
    highest = threshold_at_fnmr(mated=side.mated, target=target)
    scores = np.unique(side.mated[side.mated <= highest])
    lowest = rate_at(float(scores[0]))  # no error at all
    if lowest.upper > target:
        return _insufficient(side, target, lowest, confidence=confidence)
    low, high = 0, scores.size  # scores[low] fits; scores[high] does not, or is not there
    found = lowest
    while high - low > 1:
        middle = (low + high) // 2
        rate = rate_at(float(scores[middle]))
        if rate.upper <= target:
            low, found = middle, rate
        else:
            high = middle
    return ChosenThreshold(float(scores[low]), found)


def _insufficient(side: Side, target: float, best: Rate, *, confidence: float) -> InsufficientTrialsError:
    subjects = int(np.unique(side.mated_subject).size)
    needed = math.ceil(math.log1p(-confidence) / math.log1p(-target))
    ratio = best.upper / zero_error_bound(subjects, confidence=confidence)
    msg = (
        f"the data cannot support FNMR {target:g} at {confidence:.0%} confidence: {side.mated.size:,} mated "
        f"trials of {subjects:,} calibration subjects bound it at {best.upper:.2g} at best; about "
        f"{math.ceil(needed * max(ratio, 1.0)):,} calibration subjects with two samples each would do (twice "
        "that in all: half are for the test)"
    )
    return InsufficientTrialsError(msg)
