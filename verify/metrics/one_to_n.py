"""Rates of a search among G subjects (ISO/IEC 19795-1), from the scores that each search came up with.

A *non-mated search* is of somebody who is not enrolled; a *mated search* is of somebody who is. Scores
are the best score of each subject: of all subjects in a non-mated search, of the mate in a mated one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.scores import checked_rate, kept_scores, threshold_in

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def fpir(*, best_non_mated: ArrayLike, threshold: float) -> float:
    """False-positive identification rate: the share of non-mated searches that return anybody.

    Args:
        best_non_mated: (Q,) the highest score that each non-mated search found among the G subjects.
        threshold: returned is who has ``score >= threshold``.

    Raises:
        ScoreError: no scores, or NaN or infinite ones.
    """
    best = kept_scores(best_non_mated, name="best_non_mated")
    return int(np.count_nonzero(best >= threshold_in(threshold, dtype=best.dtype))) / best.size


def fnir(
    *, mate: ArrayLike, threshold: float, mate_rank: ArrayLike | None = None, most: int | None = None
) -> float:
    """False-negative identification rate: the share of mated searches that do not return the mate.

    Args:
        mate: (Q,) the mate's score in each mated search.
        threshold: returned is who has ``score >= threshold``.
        mate_rank: (Q,) the mate's rank, 1 for the best; needed with `most`.
        most: only the `most` best candidates are returned; None returns all at or above the threshold.

    Raises:
        ScoreError: bad scores or ranks.
    """
    scores = kept_scores(mate, name="mate")
    missed = scores < threshold_in(threshold, dtype=scores.dtype)
    if most is not None:
        if mate_rank is None:
            msg = f"most={most} asks for the rank of each mate: give mate_rank as well"
            raise ScoreError(msg)
        ranks = _checked_ranks(mate_rank)
        if ranks.shape != scores.shape:
            msg = f"mate_rank must be {scores.size} ranks, one a search, not {ranks.size}"
            raise ScoreError(msg)
        missed |= ranks > most
    return int(np.count_nonzero(missed)) / scores.size


def mate_ranks(*, mate: ArrayLike, others: ArrayLike) -> NDArray[np.int64]:
    """Rank of the mate in each search; a stranger with the same score goes before the mate.

    Args:
        mate: (Q,) the mate's score.
        others: (Q, G - 1) the scores of all other subjects.

    Returns:
        (Q,) 1 for the best.

    Raises:
        ScoreError: bad scores, or shapes that do not fit.
    """
    scores = kept_scores(mate, name="mate")
    rest = np.asarray(others)
    if rest.ndim != 2 or rest.shape[0] != scores.size or not np.isfinite(rest).all():  # noqa: PLR2004
        msg = f"others must be finite scores, one row for each of {scores.size} searches, not {rest.shape}"
        raise ScoreError(msg)
    ranks: NDArray[np.int64] = 1 + np.count_nonzero(rest >= scores[:, None], axis=1)
    return ranks


def rank_k(*, mate_rank: ArrayLike, k: int = 1) -> float:
    """Share of mated searches whose mate is among the `k` best (closed set: no threshold).

    Raises:
        ScoreError: no ranks, or k below 1.
    """
    if k < 1:
        msg = f"k must be at least 1, not {k}"
        raise ScoreError(msg)
    ranks = _checked_ranks(mate_rank)
    return int(np.count_nonzero(ranks <= k)) / ranks.size


def cmc(*, mate_rank: ArrayLike, most: int) -> NDArray[np.float64]:
    """Cumulative match characteristic: (most,) the rank-k rate for k = 1..most.

    Raises:
        ScoreError: no ranks, or `most` below 1.
    """
    if most < 1:
        msg = f"most must be at least 1, not {most}"
        raise ScoreError(msg)
    ranks = _checked_ranks(mate_rank)
    found = np.bincount(np.minimum(ranks, most + 1), minlength=most + 2)[1 : most + 1]
    shares: NDArray[np.float64] = np.cumsum(found) / ranks.size
    return shares


def fpir_if_independent(*, fmr: float, gallery_size: int) -> float:
    """Estimated false-positive identification rate: FPIR = 1 - (1 - FMR)^G.

    An estimate only: the comparisons of one probe with G subjects share the probe, so measured
    rates differ. It is printed beside a measurement, never in place of one.

    Raises:
        ScoreError: a rate outside [0, 1], or a gallery of no subjects.
    """
    if gallery_size < 1:
        msg = f"gallery_size must be at least 1, not {gallery_size}"
        raise ScoreError(msg)
    rate = checked_rate(fmr, name="fmr")
    return 1.0 if rate == 1.0 else -math.expm1(gallery_size * math.log1p(-rate))


def _checked_ranks(values: ArrayLike) -> NDArray[np.int64]:
    ranks = np.asarray(values)
    if ranks.ndim != 1 or ranks.size == 0 or ranks.dtype.kind not in "iu" or ranks.min() < 1:
        msg = f"mate_rank must be whole numbers from 1, one a search, not {ranks.dtype} {ranks.shape}"
        raise ScoreError(msg)
    return ranks.astype(np.int64)
