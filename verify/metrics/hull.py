"""The lower convex hull of an error curve: behind the ROC hull, the EER on it, PAV and min Cllr."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def lower_hull(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.intp]:
    """Places of the corners of the lower convex hull of points with x ascending and y descending.

    Only the lowest point of each x can be a corner, and no point on or above the line between its
    two neighbours can. Passes that drop all of these shrink a curve of millions of points quickly;
    what remains is walked once (Andrew's monotone chain), so the result is exact.

    Args:
        x: (K,) rates, or whole counts for a hull without any rounding.
        y: (K,) likewise.

    Returns:
        (C,) places in `x` and `y`, ascending; the first is the lowest point of the first x, the last K - 1.
    """
    at = np.flatnonzero(np.append(x[1:] != x[:-1], True))  # the last point of each run of equal x
    x, y = x[at], y[at]
    while x.size > 2:  # noqa: PLR2004  an end point is always a corner
        keep = np.ones(x.size, dtype=bool)
        keep[1:-1] = (x[1:-1] - x[:-2]) * (y[2:] - y[:-2]) > (y[1:-1] - y[:-2]) * (x[2:] - x[:-2])
        if np.count_nonzero(keep) * 8 > x.size * 7:
            break
        at, x, y = at[keep], x[keep], y[keep]
    corners: list[int] = []
    xs, ys = x.tolist(), y.tolist()
    for point in range(len(xs)):
        while len(corners) > 1 and _turns_right(xs, ys, corners[-2], corners[-1], point):
            corners.pop()
        corners.append(point)
    found: NDArray[np.intp] = at[corners]
    return found


def _turns_right(xs: list[float], ys: list[float], a: int, b: int, c: int) -> bool:
    """Whether a -> b -> c does not turn left, so that b is no corner of the lower hull."""
    return (xs[b] - xs[a]) * (ys[c] - ys[a]) - (ys[b] - ys[a]) * (xs[c] - xs[a]) <= 0
