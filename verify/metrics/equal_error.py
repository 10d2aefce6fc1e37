"""The equal error rate, always with the method that made it.

It sums a curve up in one number for comparing matchers. It is never a threshold to deploy: there
is no door for which the two errors cost the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.metrics.hull import lower_hull
from verify.metrics.rates import error_curve, sorted_scores

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class EqualErrorRate:
    """An equal error rate and how it was made: ``rocch`` or ``min-difference``. `float` gives its value."""

    value: float
    method: str

    def __float__(self) -> float:
        return self.value


def eer(*, mated: ArrayLike, non_mated: ArrayLike) -> EqualErrorRate:
    """The equal error rate by the method to be preferred, `eer_rocch`.

    Args:
        mated: scores of two samples of one subject, any shape; higher is more alike.
        non_mated: scores of two subjects.

    Raises:
        ScoreError: one of the classes is empty, or a score is NaN or infinite.
    """
    return eer_rocch(mated=mated, non_mated=non_mated)


def eer_rocch(*, mated: ArrayLike, non_mated: ArrayLike) -> EqualErrorRate:
    """EER on the convex hull of the ROC: where the hull crosses FMR = FNMR.

    The hull is what randomising between two thresholds can reach; its EER does not depend on how
    ties or gaps between scores are filled (Brümmer and de Villiers, The BOSARIS Toolkit, 2013).

    Raises:
        ScoreError: one of the classes is empty, or a score is NaN or infinite.
    """
    curve = error_curve(mated=mated, non_mated=non_mated)
    x, y = curve.fmr[::-1], curve.fnmr[::-1]
    corners = lower_hull(x, y)
    x, y = x[corners], y[corners]
    last = int(np.argmax(x >= y))  # the first corner on or past the diagonal; there is one at (1, 0)
    if last == 0:
        return EqualErrorRate(value=float(x[0]), method="rocch")
    gap_before = y[last - 1] - x[last - 1]
    gap_after = x[last] - y[last]
    share = gap_before / (gap_before + gap_after)
    value = x[last - 1] + share * (x[last] - x[last - 1])
    return EqualErrorRate(value=float(value), method="rocch")


def eer_min_difference(*, mated: ArrayLike, non_mated: ArrayLike) -> EqualErrorRate:
    """EER as the mean of FMR and FNMR at the threshold where they differ least, the lower one of two.

    Found by halving in the sorted scores, without the curve.

    Raises:
        ScoreError: one of the classes is empty, or a score is NaN or infinite.
    """
    genuine, impostor = sorted_scores(mated=mated, non_mated=non_mated)

    def rates(threshold: np.floating | None) -> tuple[float, float]:
        """FMR and FNMR at a score; at the next float above all scores for None."""
        if threshold is None:
            return 0.0, 1.0
        accepted = impostor.size - int(np.searchsorted(impostor, threshold, side="left"))
        return accepted / impostor.size, int(np.searchsorted(genuine, threshold, side="left")) / genuine.size

    def first_beyond(scores: NDArray[np.floating]) -> int:
        """The place of the first score at which FMR <= FNMR: the difference falls with the threshold."""
        low, high = 0, scores.size
        while low < high:
            middle = (low + high) // 2
            false_match, false_non_match = rates(scores[middle])
            low, high = (low, middle) if false_match <= false_non_match else (middle + 1, high)
        return low

    at = [(scores, first_beyond(scores)) for scores in (genuine, impostor)]
    beyond = min((scores[k] for scores, k in at if k < scores.size), default=None)
    before = max(scores[k - 1] for scores, k in at if k)  # FMR is 1 and FNMR is 0 at the lowest score
    pair = min((rates(before), rates(beyond)), key=lambda both: abs(both[0] - both[1]))
    return EqualErrorRate(value=sum(pair) / 2, method="min-difference")
