"""Calibration without a formula: the best monotone map from scores to evidence for the scores at hand.

Pool-adjacent-violators (Ayer et al., 1955) and the ROC convex hull are one thing (Fawcett and
Niculescu-Mizil, 2007): a segment of the hull is a block of scores that get one llr, the logarithm of
the segment's slope. It fits its own data as well as any monotone map can, so it shows how much a map
could have reached (min Cllr), and draws reliability plots. It is not for deciding: it has learnt the noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

from verify.metrics.hull import lower_hull
from verify.metrics.rates import distinct_scores
from verify.metrics.scores import checked_scores

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class PavMap:
    """A step map from scores to llrs.

    Attributes:
        edges: (B - 1,) float64, ascending: block b + 1 starts at score ``edges[b]``.
        llrs: (B,) float64, strictly ascending, in nats; the first is -inf if the lowest block has no
            mated score, the last +inf if the highest has no non-mated one.
        mated: (B,) int64, mated scores in each block.
        non_mated: (B,) int64, non-mated scores in each block.
    """

    edges: NDArray[np.float64] = field(repr=False)
    llrs: NDArray[np.float64] = field(repr=False)
    mated: NDArray[np.int64] = field(repr=False)
    non_mated: NDArray[np.int64] = field(repr=False)

    @classmethod
    def fit(cls, *, mated: ArrayLike, non_mated: ArrayLike) -> Self:
        """Pool the scores into blocks; equal scores always share one, whatever their class.

        Args:
            mated: (M,) scores.
            non_mated: (N,) scores.

        Raises:
            ScoreError: one of the classes is empty, or a score is NaN or infinite.
        """
        genuine = np.sort(checked_scores(mated, name="mated"))
        impostor = np.sort(checked_scores(non_mated, name="non_mated"))
        scores = distinct_scores(np.concatenate([genuine, impostor]))
        # counts below each distinct score, then below infinity: whole numbers, so the hull is exact
        mated_below = np.append(np.searchsorted(genuine, scores, side="left"), genuine.size)
        non_mated_below = np.append(np.searchsorted(impostor, scores, side="left"), impostor.size)
        accepted = (impostor.size - non_mated_below[::-1]).astype(np.float64)
        corners = scores.size - lower_hull(accepted, mated_below[::-1].astype(np.float64))[::-1]
        # the lowest and the highest scores are corners unless their block is of one class only
        at = np.unique(np.concatenate([[0], corners, [scores.size]]))
        in_mated, in_non_mated = np.diff(mated_below[at]), np.diff(non_mated_below[at])
        with np.errstate(divide="ignore"):
            llrs = np.log(in_mated / genuine.size) - np.log(in_non_mated / impostor.size)
        starts = at[1:-1]
        below, first = scores[starts - 1], scores[starts]
        middle = below / 2 + first / 2
        return cls(
            edges=np.where(middle > below, middle, first),  # neighbouring floats have no middle
            llrs=llrs,
            mated=in_mated,
            non_mated=in_non_mated,
        )

    def llr(self, scores: ArrayLike) -> NDArray[np.float64]:
        """The llr of the block that each score lies in; borders lie halfway between the fitted scores.

        Args:
            scores: (N,) scores.

        Returns:
            (N,) float64, in nats, monotone in the score; may be infinite.

        Raises:
            ScoreError: no scores, or NaN or infinite ones.
        """
        place = np.searchsorted(self.edges, checked_scores(scores, name="scores"), side="right")
        found: NDArray[np.float64] = self.llrs[place]
        return found
