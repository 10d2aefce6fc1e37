"""What two lists of scores look like as curves, and how far apart they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.hull import lower_hull
from verify.metrics.rates import ErrorCurve, error_curve
from verify.metrics.scores import checked_scores

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_MIN_POINTS = 2  # the ends


@dataclass(frozen=True, slots=True)
class RocHull:
    """Corners of the convex hull of the ROC: what randomising between thresholds can reach.

    Attributes:
        fmr: (C,) float64, ascending to 1.
        fnmr: (C,) float64, falling to 0.
        thresholds: (C,) float64, descending: where each corner is reached.
    """

    fmr: NDArray[np.float64] = field(repr=False)
    fnmr: NDArray[np.float64] = field(repr=False)
    thresholds: NDArray[np.float64] = field(repr=False)


def roc_hull(*, mated: ArrayLike, non_mated: ArrayLike) -> RocHull:
    """The convex hull of the ROC (Provost and Fawcett, 2001), in the plane of the two errors.

    Args:
        mated: (M,) scores.
        non_mated: (N,) scores.

    Raises:
        ScoreError: one of the classes is empty, or a score is NaN or infinite.
    """
    curve = error_curve(mated=mated, non_mated=non_mated)
    x, y, thresholds = curve.fmr[::-1], curve.fnmr[::-1], curve.thresholds[::-1]
    # whole counts: in rates three points of one line are not quite on one line
    corners = lower_hull(np.rint(x * np.size(non_mated)), np.rint(y * np.size(mated)))
    return RocHull(fmr=x[corners], fnmr=y[corners], thresholds=thresholds[corners])


def auc(*, mated: ArrayLike, non_mated: ArrayLike) -> float:
    """Area under the ROC: the chance that a mated score is above a non-mated one, a tie counting half.

    This is the Mann-Whitney U statistic over M N (Hanley and McNeil, 1982), exact up to one rounding.

    Args:
        mated: (M,) scores.
        non_mated: (N,) scores.

    Returns:
        In [0, 1]; 0.5 for scores that tell nothing.

    Raises:
        ScoreError: one of the classes is empty, or a score is NaN or infinite.
    """
    genuine = np.sort(checked_scores(mated, name="mated"))  # sorted only to be looked up faster
    impostor = np.sort(checked_scores(non_mated, name="non_mated"))
    below = int(np.searchsorted(impostor, genuine, side="left").sum())
    not_above = int(np.searchsorted(impostor, genuine, side="right").sum())
    return (below + not_above) / (2 * genuine.size * impostor.size)


def d_prime(*, mated: ArrayLike, non_mated: ArrayLike) -> float:
    """Distance of the two means in pooled standard deviations: (m1 - m0) / sqrt((v1 + v0) / 2).

    Variances are the unbiased ones. It describes bell-shaped scores; for others the curves say more.

    Args:
        mated: (M,) scores, M >= 2.
        non_mated: (N,) scores, N >= 2.

    Raises:
        ScoreError: fewer than two scores in a class, bad scores, or no spread in both classes.
    """
    genuine, impostor = checked_scores(mated, name="mated"), checked_scores(non_mated, name="non_mated")
    for name, scores in (("mated", genuine), ("non_mated", impostor)):
        if scores.size < 2:  # noqa: PLR2004  one score has no variance
            msg = f"{name}: one score has no spread; d' needs at least two"
            raise ScoreError(msg)
    spread = np.sqrt((genuine.var(ddof=1) + impostor.var(ddof=1)) / 2)
    if not spread > 0:
        msg = "mated and non_mated: constant scores in both classes; d' is not defined"
        raise ScoreError(msg)
    return float((genuine.mean() - impostor.mean()) / spread)


def det_curve(*, mated: ArrayLike, non_mated: ArrayLike, points: int = 1001) -> ErrorCurve:
    """The error curve, thinned for drawing on probit axes; every point kept is exact, and so are the ends.

    Points are chosen at equal steps along the drawn curve, so that the tails, where the promises
    are, keep as many as the middle.

    Args:
        mated: (M,) scores.
        non_mated: (N,) scores.
        points: at most that many, at least 2.

    Raises:
        ScoreError: bad scores, or fewer than 2 points.
    """
    if points < _MIN_POINTS:
        msg = f"points must be at least {_MIN_POINTS}, the ends of the curve, not {points}"
        raise ScoreError(msg)
    from scipy.special import ndtri

    curve = error_curve(mated=mated, non_mated=non_mated)
    if curve.thresholds.size <= points:
        return curve
    trials = [np.asarray(scores).size for scores in (non_mated, mated)]
    length = np.zeros(curve.thresholds.size - 1)
    for rate, n in zip((curve.fmr, curve.fnmr), trials, strict=True):
        # rates 0 and 1 lie at infinity: draw them half a trial inside
        length += np.abs(np.diff(ndtri(np.clip(rate, 0.5 / n, 1 - 0.5 / n))))
    along = np.append(0.0, np.cumsum(length))
    at = np.searchsorted(along, np.linspace(0.0, along[-1], points)[1:-1])
    keep = np.unique(np.concatenate([[0], at, [along.size - 1]]))
    return ErrorCurve(thresholds=curve.thresholds[keep], fmr=curve.fmr[keep], fnmr=curve.fnmr[keep])
