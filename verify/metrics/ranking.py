"""What a ranking is worth, from the ranks of the mates alone; members with equal scores count as in every order.

A query ranks a gallery by score. Members with one score form a *level*, and the ranking says nothing about their
order. Every measure here is its expected value over all orders of every level (McSherry and Najork, 2008: Computing
information retrieval performance measures efficiently in the presence of tied scores). So a network whose embeddings
have all become one vector gets what guessing gets, and no measure depends on how a gallery happens to be sorted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MateLevels:
    """The levels that hold mates, those of one query side by side and the best first.

    Attributes:
        above: (L,) int64, members of the gallery that score higher than the level.
        tied: (L,) int64, members on the level, mates and strangers.
        mates: (L,) int64, mates on the level, at least 1.
        first: (Q,) int64, place in L of each query's best level.
        relevant: (Q,) int64, R, the mates that each query has in the gallery, at least 1.
    """

    above: Ints
    tied: Ints
    mates: Ints
    first: Ints
    relevant: Ints

    @property
    def query(self) -> Ints:
        """(L,) int64, the query that each level belongs to."""
        ends = np.append(self.first[1:], self.above.size)
        return np.repeat(np.arange(self.first.size), ends - self.first)

    def sums(self, values: Reals) -> Reals:
        """(Q,) sums over each query's levels."""
        found: Reals = np.add.reduceat(values, self.first)
        return found


def recall_at(levels: MateLevels, k: int) -> Reals:
    """(Q,) chance in [0, 1] that at least one mate is among the `k` best: Recall@K of metric learning.

    It is the share of queries with a hit (Jegou et al., 2011; Musgrave et al., 2020), not the share of mates found.
    """
    above, tied, mates = (part[levels.first] for part in (levels.above, levels.tied, levels.mates))
    strangers = tied - mates
    drawn = np.clip(k - above, 0, tied)
    room = np.maximum(strangers - drawn, 0)
    # C(strangers, drawn) / C(tied, drawn): none of the places left to this level goes to a mate
    missed = np.exp(
        (gammaln(strangers + 1) - gammaln(room + 1)) - (gammaln(tied + 1) - gammaln(tied - drawn + 1))
    )
    hit: Reals = 1.0 - np.where(drawn > strangers, 0.0, missed)
    return hit


def reciprocal_rank(levels: MateLevels) -> Reals:
    """(Q,) expected 1 / rank of the best mate, in (0, 1]; its mean is MRR (Voorhees, 1999)."""
    above, tied, mates = (part[levels.first] for part in (levels.above, levels.tied, levels.mates))
    found: Reals = 1.0 / (above.astype(np.float64) + 1.0)
    for query in np.flatnonzero(tied > mates).tolist():
        t, m = int(tied[query]), int(mates[query])
        before = np.arange(t - m + 1)  # strangers of the level that may stand before its first mate
        still = np.cumprod(np.append(1.0, (t - m - before[:-1]) / (t - before[:-1])))
        found[query] = np.sum(still * (m / (t - before)) / (above[query] + 1.0 + before))
    return found


def average_precision_at_r(levels: MateLevels) -> Reals:
    """(Q,) average precision over the first R ranks, in [0, 1]; its mean is mAP@R.

    Precision at each of the ranks 1..R that holds a mate, summed and divided by R (Musgrave, Belongie and Lim, 2020: A
    metric learning reality check).
    """
    relevant = levels.relevant[levels.query]
    before = np.cumsum(levels.mates) - levels.mates  # mates on better levels of the same query
    before -= np.repeat(before[levels.first], np.diff(np.append(levels.first, levels.above.size)), axis=0)
    end = np.minimum(levels.above + levels.tied, relevant)
    start = np.minimum(levels.above, end)
    harmonic = np.append(0.0, np.cumsum(1.0 / np.arange(1, int(end.max()) + 1)))
    # a mate at rank i of a level: precision (before + 1 + expected mates among the i - above - 1 ahead of it) / i
    share = (levels.mates - 1) / np.maximum(levels.tied - 1, 1)
    precision = (before + 1 - (levels.above + 1) * share) * (harmonic[end] - harmonic[start])
    precision += share * (end - start)
    return levels.sums(levels.mates / levels.tied * precision) / levels.relevant


def r_precision(levels: MateLevels) -> Reals:
    """(Q,) share of mates among the first R ranks, in [0, 1]."""
    relevant = levels.relevant[levels.query]
    within = np.clip(relevant - levels.above, 0, levels.tied)
    return levels.sums(levels.mates * within / levels.tied) / levels.relevant


def ndcg(levels: MateLevels, *, gallery: int, k: int | None = None) -> Reals:
    """(Q,) normalised discounted cumulative gain, in [0, 1], a mate's gain being 1 and its discount 1 / log2(1 + rank).

    Jarvelin and Kekalainen, 2002.

    Args:
        levels: where the mates are.
        gallery: size of the gallery, without the query itself.
        k: ranks beyond it gain nothing; None takes the whole ranking.
    """
    last = gallery if k is None else min(k, gallery)
    gains = np.append(0.0, np.cumsum(1.0 / np.log2(2.0 + np.arange(last))))
    end = np.minimum(levels.above + levels.tied, last)
    start = np.minimum(levels.above, last)
    gained = levels.sums(levels.mates / levels.tied * (gains[end] - gains[start]))
    normalised: Reals = gained / gains[np.minimum(levels.relevant, last)]
    return normalised
