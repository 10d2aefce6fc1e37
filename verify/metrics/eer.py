"""The equal error rate, always with the method that made it.

It sums a curve up in one number for comparing matchers. It is never a threshold to deploy: there
is no door for which the two errors cost the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.metrics.hull import lower_hull
from verify.metrics.rates import error_curve

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class EqualErrorRate:
    """An equal error rate and how it was made: ``rocch`` or ``min-difference``."""

    value: float
    method: str


def eer_rocch(*, mated: ArrayLike, non_mated: ArrayLike) -> EqualErrorRate:
    """EER on the convex hull of the ROC: where the hull crosses FMR = FNMR.

    The hull is what randomising between two thresholds can reach; its EER does not depend on how
    ties or gaps between scores are filled (Brümmer and de Villiers, The BOSARIS Toolkit, 2013).

    Raises:
        ScoreError: one of the classes is empty, or a score is NaN or infinite.
    """
    curve = error_curve(mated=mated, non_mated=non_mated)
    x, y = curve.fmr[::-1], curve.fnmr[::-1]
    corners = lower_hull(x, y)
    x, y = x[corners], y[corners]
    last = int(np.argmax(x >= y))  # the first corner on or past the diagonal; there is one at (1, 0)
    if last == 0:
        return EqualErrorRate(value=float(x[0]), method="rocch")
    gap_before = y[last - 1] - x[last - 1]
    gap_after = x[last] - y[last]
    share = gap_before / (gap_before + gap_after)
    value = x[last - 1] + share * (x[last] - x[last - 1])
    return EqualErrorRate(value=float(value), method="rocch")


def eer_min_difference(*, mated: ArrayLike, non_mated: ArrayLike) -> EqualErrorRate:
    """EER as the mean of FMR and FNMR at the threshold where they differ least.

    Raises:
        ScoreError: one of the classes is empty, or a score is NaN or infinite.
    """
    curve = error_curve(mated=mated, non_mated=non_mated)
    at = int(np.argmin(np.abs(curve.fmr - curve.fnmr)))
    return EqualErrorRate(value=float(curve.fmr[at] + curve.fnmr[at]) / 2, method="min-difference")
