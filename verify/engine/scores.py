"""Scores of a probe against references, and what they say about an enrolment.

A subject's score is the mean cosine over the subject's templates. The maximum would be the score of
the luckiest template: with T templates it meets a threshold up to T times as often by chance, and an
operating point measured on single comparisons would no longer hold. The mean keeps its promise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def reference_score(probe: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Mean cosine of a probe (D,) with a reference's templates (T, D), all of unit norm."""
    return float(np.clip((reference @ probe).mean(dtype=np.float64), -1.0, 1.0))


def consistent(
    new: NDArray[np.float32], existing: NDArray[np.float32], *, threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which new templates agree with the subject's others.

    Args:
        new: (N, D) float32 of unit norm, to be enrolled together.
        existing: (T, D) float32 of unit norm, enrolled before; T may be 0.
        threshold: raw cosine; a template agrees if its mean score with the others reaches it.

    Returns:
        (N,) booleans, and (N,) mean scores with the others (NaN for a lone first template). The
        worst template goes first, so that one stranger among three does not condemn the two. Of
        two that disagree with nothing else to hold them against, neither is kept.
    """
    keep = np.ones(len(new), dtype=bool)
    means = np.full(len(new), np.nan)
    among = (new @ new.T).astype(np.float64)
    before = (new @ existing.T).astype(np.float64)
    while keep.any():
        kept = np.flatnonzero(keep)
        others = len(kept) - 1 + len(existing)
        if others == 0:
            break
        within = among[np.ix_(kept, kept)]
        mean = (within.sum(axis=1) - np.diagonal(within) + before[kept].sum(axis=1)) / others
        means[kept] = mean
        worst = int(np.argmin(mean))
        if mean[worst] >= threshold:
            break
        keep[kept[worst]] = False
        if others == 1 and len(existing) == 0:
            keep[kept] = False
    return keep, means
