"""What errors cost: detection costs at a prior, and Cllr over all priors at once.

A decision needs a prior and two costs; evidence (a log-likelihood ratio) needs neither. Well-calibrated
llrs give the least cost at every prior with the threshold of `bayes_threshold`. How much actual costs
exceed minimum ones is what miscalibration costs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.pav import PavMap
from verify.metrics.rates import error_curve
from verify.metrics.scores import checked_rate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def dcf(
    *, fmr: float, fnmr: float, prior: float, cost_miss: float = 1.0, cost_false_accept: float = 1.0
) -> float:
    """Detection cost, over that of the better of deciding without looking (NIST SRE).

    [Cm P FNMR + Cf (1 - P) FMR] / min(Cm P, Cf (1 - P))

    Args:
        fmr: false-match rate in [0, 1].
        fnmr: false-non-match rate in [0, 1].
        prior: P, of a mated trial, in (0, 1).
        cost_miss: Cm > 0, of a false non-match.
        cost_false_accept: Cf > 0, of a false match.

    Returns:
        >= 0; 1 is what accepting or rejecting everybody costs.

    Raises:
        ScoreError: a rate, prior or cost out of its range.
    """
    miss, false_accept = _weights(prior, cost_miss, cost_false_accept)
    cost = miss * checked_rate(fnmr, name="fnmr") + false_accept * checked_rate(fmr, name="fmr")
    return cost / min(miss, false_accept)


def bayes_threshold(*, prior: float, cost_miss: float = 1.0, cost_false_accept: float = 1.0) -> float:
    """Where llrs are to be cut for the least cost: ln[Cf (1 - P) / (Cm P)], in nats.

    Raises:
        ScoreError: a prior outside (0, 1), or a cost that is not positive.
    """
    miss, false_accept = _weights(prior, cost_miss, cost_false_accept)
    return math.log(false_accept) - math.log(miss)


def actual_dcf(
    *,
    mated_llr: ArrayLike,
    non_mated_llr: ArrayLike,
    prior: float,
    cost_miss: float = 1.0,
    cost_false_accept: float = 1.0,
) -> float:
    """The detection cost of deciding at `bayes_threshold`, as if the llrs were right.

    Args:
        mated_llr: (M,) llrs in nats; infinite ones are allowed.
        non_mated_llr: (N,) likewise.
        prior: of a mated trial, in (0, 1).
        cost_miss: > 0.
        cost_false_accept: > 0.

    Raises:
        ScoreError: one of the classes is empty, an llr is NaN, or a prior or cost out of its range.
    """
    threshold = bayes_threshold(prior=prior, cost_miss=cost_miss, cost_false_accept=cost_false_accept)
    return dcf(
        fmr=float(np.mean(_checked_llrs(non_mated_llr, name="non_mated_llr") >= threshold)),
        fnmr=float(np.mean(_checked_llrs(mated_llr, name="mated_llr") < threshold)),
        prior=prior,
        cost_miss=cost_miss,
        cost_false_accept=cost_false_accept,
    )


def min_dcf(
    *,
    mated: ArrayLike,
    non_mated: ArrayLike,
    prior: float,
    cost_miss: float = 1.0,
    cost_false_accept: float = 1.0,
) -> float:
    """The least detection cost that any threshold on these scores reaches, chosen by looking at the answers.

    Args:
        mated: (M,) scores, of any kind.
        non_mated: (N,) scores.
        prior: of a mated trial, in (0, 1).
        cost_miss: > 0.
        cost_false_accept: > 0.

    Returns:
        In [0, 1].

    Raises:
        ScoreError: bad scores, or a prior or cost out of its range.
    """
    miss, false_accept = _weights(prior, cost_miss, cost_false_accept)
    curve = error_curve(mated=mated, non_mated=non_mated)
    return float(np.min(miss * curve.fnmr + false_accept * curve.fmr)) / min(miss, false_accept)


def cllr(*, mated_llr: ArrayLike, non_mated_llr: ArrayLike) -> float:
    """Cost of the log-likelihood ratio (Brümmer and du Preez, 2006), in bits.

    [mean_mated log2(1 + exp(-l)) + mean_non_mated log2(1 + exp(l))] / 2

    Args:
        mated_llr: (M,) llrs in nats; infinite ones are allowed.
        non_mated_llr: (N,) likewise.

    Returns:
        >= 0; 1 is what saying nothing (l = 0) costs. Infinite if certainty was wrong even once.

    Raises:
        ScoreError: one of the classes is empty, or an llr is NaN.
    """
    mated = np.logaddexp(0.0, -_checked_llrs(mated_llr, name="mated_llr"))
    non_mated = np.logaddexp(0.0, _checked_llrs(non_mated_llr, name="non_mated_llr"))
    return float(mated.mean() + non_mated.mean()) / (2 * math.log(2))


def min_cllr(*, mated: ArrayLike, non_mated: ArrayLike) -> float:
    """The least Cllr that any monotone map of these scores reaches (by PAV), in bits.

    Equal scores get equal llrs. Breaking ties by class instead, as sorting mated after non-mated does,
    gives figures that are too good (0.337 for 0.403 on the nonsep example of bob.measure).

    Args:
        mated: (M,) scores, of any kind.
        non_mated: (N,) scores.

    Returns:
        In [0, 1].

    Raises:
        ScoreError: one of the classes is empty, or a score is NaN or infinite.
    """
    blocks = PavMap.fit(mated=mated, non_mated=non_mated)
    # a block without mated scores has llr -inf, which costs its non-mated ones nothing
    costs = [
        np.logaddexp(0.0, sign * blocks.llrs[counts > 0]) @ (counts[counts > 0] / counts.sum())
        for sign, counts in ((-1.0, blocks.mated), (1.0, blocks.non_mated))
    ]
    return float(sum(costs)) / (2 * math.log(2))


def _weights(prior: float, cost_miss: float, cost_false_accept: float) -> tuple[float, float]:
    """(Cm P, Cf (1 - P)), checked."""
    if not 0.0 < prior < 1.0:
        msg = f"prior must lie inside (0, 1), not {prior}"
        raise ScoreError(msg)
    for name, cost in (("cost_miss", cost_miss), ("cost_false_accept", cost_false_accept)):
        if not 0.0 < cost < math.inf:
            msg = f"{name} must be positive and finite, not {cost}"
            raise ScoreError(msg)
    return cost_miss * prior, cost_false_accept * (1.0 - prior)


def _checked_llrs(values: ArrayLike, *, name: str) -> NDArray[np.float64]:
    """A flat float64 array, not empty, without NaN; certainty (infinity) is an llr."""
    try:
        llrs = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{name}: llrs must be numbers ({error})"
        raise ScoreError(msg) from error
    if llrs.ndim != 1 or llrs.size == 0:
        msg = f"{name}: must be a flat list of at least one llr, not of shape {llrs.shape}"
        raise ScoreError(msg)
    if np.isnan(llrs).any():
        msg = f"{name}: llr {int(np.argmax(np.isnan(llrs)))} of {llrs.size} is NaN; leave trials without evidence out"
        raise ScoreError(msg)
    return llrs
