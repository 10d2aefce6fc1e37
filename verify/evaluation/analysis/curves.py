"""FMR and FNMR over the threshold, and the two distributions of scores, for drawing.

Thresholds lie evenly over the range of scores, and beside that where each rate falls by equal
factors, so that neither the body nor a tail of one in a million is a straight line in the picture.

The bounds are two-sided Wilson bounds with an effective number of trials. How many trials one effective trial
takes is worked out at a few dozen thresholds from the dyadic bound (FMR) or that of clusters of subjects (FNMR), and
interpolated between them over the rate; doing so at every threshold would say the same at many times the cost.
The rate of a population is monotone in the threshold, as the counted one is: the FMR cannot rise with it, the
FNMR cannot fall. So what bounds the FMR from above at one threshold bounds it at all stricter ones, and the bounds
drawn are the running minimum (upper bounds) and maximum (lower bounds) in the direction in which each rate falls and
rises; that takes in thresholds at which no error was seen. They are bounds for the plot: each is taken from the
best of many thresholds, so the claim of one threshold at a stated confidence stays with the rates in the tables,
whose bounds are worked out at that threshold alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError
from verify.evaluation.analysis.rates import fnmr_of
from verify.metrics.intervals import quantile, wilson_bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.side import Side
    from verify.facts import Curve, Histogram
    from verify.types import Rate

_KNOTS = 24  # thresholds at which the design effect is measured
_TAIL = 0.09  # the design effect of FMR is measured below this rate, where errors are known one by one
_MAX_POINTS = 1001
_MAX_BINS = 200


def curve(test: Side, *, points: int = 801, confidence: float = 0.95) -> Curve:
    """Both rates over at most `points` ascending thresholds, with two-sided bounds.

    Args:
        test: the side to draw.
        points: at most so many thresholds, 16 to 1,001.
        confidence: of the two-sided bounds.

    Raises:
        InsufficientTrialsError: the side has no mated or no non-mated trials.
    """
    _check_classes(test)
    points = min(max(points, 16), _MAX_POINTS)
    mated = np.sort(test.mated)
    thresholds = _thresholds(test, mated, points=points)
    fmr = np.asarray(test.non_mated.fmr(thresholds), dtype=np.float64)
    fnmr = np.searchsorted(mated, thresholds, side="left") / mated.size
    fmr_low, fmr_high = _bounds(
        fmr,
        _knots(thresholds, fmr, highest=_TAIL),
        lambda chosen: test.non_mated.rates(chosen, confidence=(1 + confidence) / 2),
        trials=test.non_mated.trials,
        confidence=confidence,
    )
    fnmr_low, fnmr_high = _bounds(
        fnmr,
        _knots(thresholds, fnmr, highest=1.0),
        lambda chosen: [fnmr_of(test, threshold=t, confidence=(1 + confidence) / 2) for t in chosen.tolist()],
        trials=mated.size,
        confidence=confidence,
    )
    fmr_low, fmr_high = _falling(fmr_low, fmr_high, fmr)
    fnmr_low, fnmr_high = _falling(fnmr_low[::-1], fnmr_high[::-1], fnmr[::-1])  # from strict to loose
    return {
        "thresholds": thresholds.tolist(),
        "fmr": fmr.tolist(),
        "fnmr": fnmr.tolist(),
        "fmr_lower": fmr_low.tolist(),
        "fmr_upper": fmr_high.tolist(),
        "fnmr_lower": fnmr_low[::-1].tolist(),
        "fnmr_upper": fnmr_high[::-1].tolist(),
    }


def histogram(test: Side, bins: int = _MAX_BINS) -> Histogram:
    """Counts of mated and non-mated scores in equal bins over the range of all scores.

    Args:
        test: the side to draw.
        bins: 1 to 200.

    Raises:
        InsufficientTrialsError: the side has no mated or no non-mated trials.
    """
    _check_classes(test)
    low, high = _range(test)
    if high == low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, min(max(bins, 1), _MAX_BINS) + 1)
    # the outermost edges take in the extremes whatever rounding did to them
    edges[0], edges[-1] = np.nextafter(low, -np.inf), np.nextafter(high, np.inf)
    return {
        "edges": edges.tolist(),
        "mated": np.histogram(test.mated, bins=edges)[0].tolist(),
        "non_mated": [int(count) for count in test.non_mated.histogram(edges)],
    }


def _check_classes(test: Side) -> None:
    for name, trials in (("mated", int(test.mated.size)), ("non-mated", int(test.non_mated.trials))):
        if not trials:
            msg = (
                f"{test.name}: there are no {name} trials to draw; bring at least two samples of two subjects"
            )
            raise InsufficientTrialsError(msg)


def _range(test: Side) -> tuple[float, float]:
    low = min(float(test.mated.min()), float(test.non_mated.minimum))
    return low, max(float(test.mated.max()), float(test.non_mated.maximum))


def _thresholds(test: Side, mated: NDArray[np.float64], *, points: int) -> NDArray[np.float64]:
    low, high = _range(test)
    end = np.nextafter(high, np.inf)
    quarter = (points - 4) // 4
    even = np.linspace(low, high, points - 2 * quarter - 2)
    impostor = [
        test.non_mated.threshold_at_fmr(float(rate))
        for rate in np.geomspace(0.5, 1 / test.non_mated.trials, quarter)
    ]
    ranks = np.geomspace(1, max(1.0, mated.size / 2), quarter)
    genuine = mated[np.minimum(ranks.astype(np.int64), mated.size - 1)]
    unique = np.unique(np.concatenate([even, impostor, genuine, [low, end]]))
    inside: NDArray[np.float64] = unique[unique <= end]
    return inside


def _knots(
    thresholds: NDArray[np.float64], rates: NDArray[np.float64], *, highest: float
) -> NDArray[np.float64]:
    """Thresholds whose rates are spread by equal factors over (0, highest]."""
    usable = np.flatnonzero((rates > 0) & (rates <= highest) & (rates < 1))
    if not usable.size:
        return thresholds[:0]
    order = usable[np.argsort(rates[usable], kind="stable")]
    wanted = np.geomspace(rates[order[0]], rates[order[-1]], _KNOTS)
    places = np.clip(np.searchsorted(rates[order], wanted), 0, order.size - 1)
    chosen: NDArray[np.float64] = np.unique(thresholds[order[places]])
    return chosen


def _falling(
    lower: NDArray[np.float64], upper: NDArray[np.float64], rates: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds of rates that fall from left to right, made to fall too: each end taken from where it says most."""
    high = np.minimum.accumulate(_carried(upper, rates))
    low = np.maximum.accumulate(lower[::-1])[::-1]
    return low, high


def _carried(upper: NDArray[np.float64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """The bounds with those of zero rates, which come last, replaced by the last of a rate above zero."""
    seen = np.flatnonzero(rates > 0)
    carried = upper.copy()
    carried[seen[-1] + 1 :] = upper[seen[-1]]
    return carried


def _bounds(
    rates: NDArray[np.float64],
    knots: NDArray[np.float64],
    measured: Callable[[NDArray[np.float64]], Sequence[Rate | None]],
    *,
    trials: int,
    confidence: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two-sided Wilson bounds whose effective trials are interpolated over the logarithm of the rate."""
    z = float(quantile(confidence, sides=2))
    found = [rate for rate in measured(knots) if rate is not None and rate.errors] if knots.size else []
    n_eff = np.full(rates.size, float(trials))
    if found:
        found.sort(key=lambda rate: rate.errors)
        at = np.log([rate.value for rate in found])
        # (u - f)^2 = z^2 u (1 - u) / n is what a Wilson bound u solves; so u tells n, Student's quantile included
        n = [z**2 * u * (1 - u) / (u - f) ** 2 for u, f in ((rate.upper, rate.value) for rate in found)]
        effect = np.log(np.clip(trials / np.maximum(n, 1e-9), 1.0, trials))
        with np.errstate(divide="ignore"):
            where = np.where(rates > 0, np.log(rates), at[0])
        n_eff = trials / np.exp(np.interp(where, at, effect))
    lower, upper = wilson_bounds(rates, n_eff, z=z)
    return np.minimum(lower, rates), np.maximum(upper, rates)  # rounding at 0 and 1
