"""Scores of a probe against references, and what they say about an enrolment.

A subject's score is the mean cosine over the subject's templates. The maximum would be the score of
the luckiest template: with T templates it meets a threshold up to T times as often by chance, and an
operating point measured on single comparisons would no longer hold. The mean keeps its promise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.gallery.vectors import exact_cosines
from verify.types import Candidate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verify.protocols import Gallery


def reference_score(probe: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Mean cosine of a probe (D,) with a reference's templates (T, D), all of unit norm."""
    return float(exact_cosines(reference, probe).mean())


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
    before = (new @ existing.T).astype(np.float64) if len(existing) else np.zeros((len(new), 0))
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


def search_by_reference(
    gallery: Gallery, probe: NDArray[np.float32], *, model_id: str, top_k: int
) -> tuple[Candidate, ...]:
    """The `top_k` subjects of highest mean score, exactly.

    The gallery ranks subjects by their best template, which bounds the mean from above: once the best
    template of the last subject looked at is below the `top_k`-th mean, nobody further down can
    come in (Fagin's threshold algorithm). In practice the first look is enough.
    """
    look = max(2 * top_k, 8)
    while True:
        ranked = gallery.search(probe, model_id=model_id, top_k=look)
        means = [
            Candidate(
                c.subject_id, reference_score(probe, gallery.templates(c.subject_id, model_id=model_id))
            )
            for c in ranked
        ]
        means.sort(key=lambda c: (-c.score, c.subject_id))
        if len(ranked) < look or means[top_k - 1].score >= ranked[-1].score:
            return tuple(means[:top_k])
        look *= 4
