"""Bounds on a rate from counts: how sure one may be after so many trials.

All of them hold for independent trials. Trials that share subjects are not independent: give
`wilson` the effective number of trials from `verify.metrics.dyadic` instead of their count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from verify.errors import ScoreError
from verify.metrics.scores import checked_confidence, checked_rate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Sides = Literal[1, 2]

_HALVINGS = 50  # of [0, 1]: to 1e-15


def clopper_pearson(
    errors: int, *, trials: int, confidence: float = 0.95, sides: Sides = 1
) -> tuple[float, float]:
    """Exact binomial bounds (Clopper and Pearson, 1934).

    Args:
        errors: errors seen, 0 <= errors <= trials.
        trials: independent trials, at least 1.
        confidence: of each one-sided bound (`sides` 1), or of the interval (`sides` 2).
        sides: 1 for claims ("at most"), 2 for plots.

    Returns:
        (lower, upper), both in [0, 1].

    Raises:
        ScoreError: counts that cannot be, or a confidence outside (0, 1).
    """
    from scipy.special import betaincinv

    if trials < 1 or not 0 <= errors <= trials:
        msg = f"errors must lie in [0, trials] with trials >= 1, not errors={errors}, trials={trials}"
        raise ScoreError(msg)
    tail = (1.0 - checked_confidence(confidence)) / sides
    lower = float(betaincinv(errors, trials - errors + 1, tail)) if errors else 0.0
    upper = float(betaincinv(errors + 1, trials - errors, 1.0 - tail)) if errors < trials else 1.0
    return lower, upper


def zero_error_bound(trials: float, *, confidence: float = 0.95) -> float:
    """One-sided upper bound after no error in `trials` independent trials: about 3 / trials.

    Raises:
        ScoreError: `trials` not positive, or a confidence outside (0, 1).
    """
    if not trials > 0:
        msg = f"trials must be positive, not {trials}"
        raise ScoreError(msg)
    return float(-np.expm1(np.log1p(-checked_confidence(confidence)) / trials))


def wilson(
    rate: float, *, n_eff: float, confidence: float = 0.95, sides: Sides = 1, freedom: float = np.inf
) -> tuple[float, float]:
    """Wilson score bounds (1927) on a rate seen in `n_eff` effective trials.

    Args:
        rate: the rate seen, in [0, 1].
        n_eff: effective number of independent trials; need not be whole.
        confidence: of each one-sided bound (`sides` 1), or of the interval (`sides` 2).
        sides: 1 or 2.
        freedom: degrees of freedom that `n_eff` was estimated with; infinite if it is a count.

    Returns:
        (lower, upper), both in [0, 1].

    Raises:
        ScoreError: a rate outside [0, 1], `n_eff` not positive, a confidence outside (0, 1).
    """
    if not n_eff > 0:
        msg = f"n_eff must be positive, not {n_eff}"
        raise ScoreError(msg)
    checked_rate(rate, name="rate")
    lower, upper = wilson_bounds(rate, n_eff, z=quantile(confidence, sides=sides, freedom=freedom))
    return float(lower), float(upper)


def wilson_bounds(
    rate: ArrayLike, n_eff: ArrayLike, *, z: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson bounds for arrays of rates and effective trials; see `wilson`."""
    f, n, q = (np.asarray(values, dtype=np.float64) for values in (rate, n_eff, z))
    middle = f + q * q / (2 * n)
    reach = q * np.sqrt(f * (1 - f) / n + (q / (2 * n)) ** 2)
    scale = 1 + q * q / n
    return np.clip((middle - reach) / scale, 0.0, 1.0), np.clip((middle + reach) / scale, 0.0, 1.0)


def stretched(
    upper: ArrayLike, *, rate: ArrayLike, n: ArrayLike, trials: ArrayLike, z: ArrayLike
) -> NDArray[np.float64]:
    """A Wilson upper bound made fit for rates whose spread is that of people, not of single trials.

    Wilson's bound lets the variance grow with the rate f, as it does where trials err on their own. The part of
    the variance beyond that, s^2 = (1 - f) / f (1 / n - 1 / trials) relative to f^2, is due to people who err more than
    others, and if twice as many err, so twice as often do these: it grows with f^2. To second order in z s
    the two bounds differ by the factor 1 + z^2 s^2 / 2, taken here as exp(z^2 s^2 / 2).

    Args:
        upper: (E,) Wilson upper bounds with n effective trials.
        rate: (E,) the rates, above 0.
        n: (E,) effective trials.
        trials: trials that there would be if all were independent, at least n.
        z: (E,) the quantile.
    """
    f, q = np.asarray(rate, dtype=np.float64), np.asarray(z, dtype=np.float64)
    spread = (1 - f) / f * (1 / np.asarray(n, dtype=np.float64) - 1 / np.asarray(trials, dtype=np.float64))
    factor = np.exp(np.clip(q * q * spread / 2, 0.0, 50.0))
    bound: NDArray[np.float64] = np.minimum(np.asarray(upper) * factor, 1.0)
    return bound


def hoeffding_upper(rate: ArrayLike, n: ArrayLike, *, confidence: float = 0.95) -> NDArray[np.float64]:
    """Upper bound on the mean of n independent numbers in [0, 1], whatever their distribution.

    Hoeffding (1963, theorem 1): the chance of a mean of f or less, where p is expected, is at most
    exp(-n kl(f, p)) with kl(f, p) = f ln(f / p) + (1 - f) ln((1 - f) / (1 - p)). The bound is the p at which that is
    1 - confidence. With weights w_i of sum 1 it holds for n = 1 / max w_i (the logarithm of each factor of the
    moment generating function is convex in the weight, and 0 at 0), and for n disjoint pairs out of which a mean over
    dyads is made (section 5). At a rate of 0 it is `zero_error_bound`.

    Args:
        rate: (E,) means f seen, in [0, 1].
        n: (E,) how many numbers; need not be whole.
        confidence: of the one-sided bound.
    """
    from scipy.special import xlogy

    f, units = np.broadcast_arrays(np.asarray(rate, dtype=np.float64), np.asarray(n, dtype=np.float64))
    most = -np.log1p(-checked_confidence(confidence)) / units
    low, high = f.copy(), np.ones(f.shape)
    entropy = xlogy(f, f) + xlogy(1 - f, 1 - f)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        within = entropy - xlogy(f, middle) - xlogy(1 - f, 1 - middle) <= most
        low, high = np.where(within, middle, low), np.where(within, high, middle)
    return high


def quantile(
    confidence: float, *, sides: Sides = 1, freedom: float | NDArray[np.float64] = np.inf
) -> NDArray[np.float64]:
    """The z of a bound: the normal quantile (1.645 at 0.95), or Student's when a variance was estimated."""
    from scipy.special import ndtri, stdtrit

    p = 1.0 - (1.0 - checked_confidence(confidence)) / sides
    known = np.isinf(freedom)
    z: NDArray[np.float64] = np.where(known, ndtri(p), stdtrit(np.where(known, 1.0, freedom), p))
    return z


def effective_number(squares: ArrayLike, fourths: ArrayLike) -> NDArray[np.float64]:
    """How many equal shares a sum of squares amounts to; 1 where there are none."""
    total, concentration = np.asarray(squares, dtype=np.float64), np.asarray(fourths, dtype=np.float64)
    usable = concentration > 0
    return np.where(usable, total**2 / np.where(usable, concentration, 1.0), 1.0)
