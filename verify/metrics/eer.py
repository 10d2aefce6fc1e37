"""The equal error rate, always with the method that made it.

It sums a curve up in one number for comparing matchers. It is never a threshold to deploy: there
is no door for which the two errors cost the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.metrics.rates import error_curve

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


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
    x, y = _lower_hull(curve.fmr[::-1], curve.fnmr[::-1])
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


def _lower_hull(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of the lower convex hull of points with x ascending and y descending.

    Only the lowest point of each x can be a corner, and no point on or above the line between its
    two neighbours can. Passes that drop all of these shrink a curve of millions of points quickly;
    what remains is walked once (Andrew's monotone chain), so the result is exact.
    """
    lowest = np.append(x[1:] != x[:-1], True)  # the last point of each run of equal x
    x, y = x[lowest], y[lowest]
    while x.size > 2:  # noqa: PLR2004  an end point is always a corner
        keep = np.ones(x.size, dtype=bool)
        keep[1:-1] = (x[1:-1] - x[:-2]) * (y[2:] - y[:-2]) > (y[1:-1] - y[:-2]) * (x[2:] - x[:-2])
        if np.count_nonzero(keep) * 8 > x.size * 7:
            break
        x, y = x[keep], y[keep]
    corners: list[int] = []
    xs, ys = x.tolist(), y.tolist()
    for point in range(len(xs)):
        while len(corners) > 1 and _turns_right(xs, ys, corners[-2], corners[-1], point):
            corners.pop()
        corners.append(point)
    return x[corners], y[corners]


def _turns_right(xs: list[float], ys: list[float], a: int, b: int, c: int) -> bool:
    """Whether a -> b -> c does not turn left, so that b is no corner of the lower hull."""
    return (xs[b] - xs[a]) * (ys[c] - ys[a]) - (ys[b] - ys[a]) * (xs[c] - xs[a]) <= 0
