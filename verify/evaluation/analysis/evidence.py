"""How much a score says: costs of its calibration, and how well it separates, whatever the threshold.

Non-mated trials enter as a random sample of at most a million, each as likely as any other. All
measures here average within a class (or rank across two), so the sample needs no weights: it stands
for all non-mated trials, with a standard error of 3 % of a false-match rate of one in a thousand.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import InsufficientTrialsError, ScoreError
from verify.metrics.costs import actual_dcf, cllr, min_cllr, min_dcf
from verify.metrics.curves import auc, d_prime
from verify.metrics.equal_error import eer_rocch
from verify.metrics.evidence import llr_of
from verify.metrics.logistic import fit_llr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from verify.evaluation.side import Side
    from verify.facts import Evidence, Reliability
    from verify.score_space import LlrMap

SAMPLE = 1_000_000
# (prior, cost of a miss, cost of a false accept); the first two are those of the speaker evaluations
COSTS = ((0.01, 1.0, 1.0), (0.05, 1.0, 1.0))
_BINS = 15


def evidence(
    calibration: Side,
    test: Side,
    *,
    llr_map: LlrMap | None = None,
    scores_are_llrs: bool = False,
    costs: Sequence[tuple[float, float, float]] = COSTS,
    seed: int = 0,
) -> Evidence | None:
    """Calibration and discrimination of the test side's scores.

    Scores that are no llrs are turned into llrs by a map without quality terms, fitted on the
    calibration side, so that its calibration is judged on people who took no part.

    Args:
        calibration: the subjects on whom a map may be fitted.
        test: the subjects on whom it is judged.
        llr_map: what made the scores llrs, or shall make llrs of them; None fits one if it is needed.
        scores_are_llrs: the scores of both sides are in the space ``llr`` or ``fused-llr`` already.
        costs: (prior, cost_miss, cost_false_accept) of each detection cost to state.
        seed: of the sample of non-mated trials.

    Returns:
        The facts; None where a side lacks a class, or its scores allow no map.
    """
    if not (test.mated.size and test.non_mated.trials):
        return None
    mated, non_mated = test.mated, _sampled(test, seed=seed)
    mapping = llr_map
    try:
        if not scores_are_llrs:
            mapping = mapping or _fitted(calibration, seed=seed)
            mated_llr, non_mated_llr = llr_of(mapping, mated), llr_of(mapping, non_mated)
        else:
            mated_llr, non_mated_llr = mated, non_mated
    except (ScoreError, InsufficientTrialsError):
        return None  # constant scores, or a calibration side of one class: nothing can be mapped
    eer = eer_rocch(mated=mated, non_mated=non_mated)
    return {
        "cllr": float(cllr(mated_llr=mated_llr, non_mated_llr=non_mated_llr)),
        "min_cllr": float(min_cllr(mated=mated, non_mated=non_mated)),
        "eer": eer.value,
        "eer_method": eer.method,
        "auc": float(auc(mated=mated, non_mated=non_mated)),
        "d_prime": float(d_prime(mated=mated, non_mated=non_mated)),
        "dcf": [_cost((mated_llr, non_mated_llr), (mated, non_mated), one) for one in costs],
        "reliability": reliability(mated_llr=mated_llr, non_mated_llr=non_mated_llr),
        "llr_map": None if mapping is None else _plain(dataclasses.asdict(mapping)),
    }


def reliability(
    *, mated_llr: NDArray[np.float64], non_mated_llr: NDArray[np.float64], bins: int = _BINS
) -> Reliability:
    """Predicted against seen log-likelihood ratios, in bins of as many trials of either class as can be.

    Args:
        mated_llr: (M,) nats.
        non_mated_llr: (N,) nats.
        bins: how many; fewer where scores are tied.

    Returns:
        For each bin the mean predicted llr, ln[(m/M) / (n/N)] of the trials seen in it (None where a
        class is missing) and the number of trials.
    """
    # half of the edges cut the mated trials evenly, half the non-mated: both ends are then resolved
    cuts = np.linspace(0, 1, bins // 2 + 2)[1:-1]
    edges = np.unique(np.concatenate([np.quantile(mated_llr, cuts), np.quantile(non_mated_llr, cuts)]))
    m_bin, n_bin = np.searchsorted(edges, mated_llr, "right"), np.searchsorted(edges, non_mated_llr, "right")
    size = edges.size + 1
    m, n = np.bincount(m_bin, minlength=size), np.bincount(n_bin, minlength=size)
    # each class weighs one, as in the ratio that is predicted
    share_m, share_n = m / mated_llr.size, n / non_mated_llr.size
    total = np.bincount(m_bin, weights=mated_llr, minlength=size) / mated_llr.size
    total += np.bincount(n_bin, weights=non_mated_llr, minlength=size) / non_mated_llr.size
    used = np.flatnonzero(m + n)
    return {
        "llr_predicted": [float(total[k] / (share_m[k] + share_n[k])) for k in used],
        "llr_seen": [float(np.log(share_m[k] / share_n[k])) if m[k] and n[k] else None for k in used],
        "trials": [int(m[k] + n[k]) for k in used],
    }


def _sampled(side: Side, *, seed: int) -> NDArray[np.float64]:
    return np.asarray(side.non_mated.sample(SAMPLE, seed=seed), dtype=np.float64)


def _fitted(calibration: Side, *, seed: int) -> LlrMap:
    if not (calibration.mated.size and calibration.non_mated.trials):
        msg = f"{calibration.name}: a map to evidence needs mated and non-mated calibration trials"
        raise InsufficientTrialsError(msg)
    return fit_llr(mated=calibration.mated, non_mated=_sampled(calibration, seed=seed))


def _cost(
    llrs: tuple[NDArray[np.float64], NDArray[np.float64]],
    scores: tuple[NDArray[np.float64], NDArray[np.float64]],
    cost: tuple[float, float, float],
) -> dict[str, float]:
    """Actual and minimum detection cost; llrs and scores are (mated, non-mated)."""
    given = dict(zip(("prior", "cost_miss", "cost_false_accept"), cost, strict=True))
    return given | {
        "actual": float(actual_dcf(mated_llr=llrs[0], non_mated_llr=llrs[1], **given)),
        "minimum": float(min_dcf(mated=scores[0], non_mated=scores[1], **given)),
    }


def _plain(value: Any) -> Any:
    """Dataclass values as JSON values: tuples as lists, enums as their text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    return value
