"""Bounds by resampling subjects: whole people are drawn, with all of their trials on both sides.

A subject drawn w times brings its mated trials w times, and its non-mated trials with a subject drawn v
times w v times (the vertex bootstrap; Snijders and Borgatti, 1999). It makes no assumption about how
errors are spread; with few errors, or none, it knows nothing and says 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.scores import checked_confidence, kept_scores, threshold_in

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from verify.metrics.non_mated import NonMatedScores

_CELLS = 1 << 24  # errors x replicates weighed at once


@dataclass(frozen=True, slots=True)
class SubjectBootstrap:
    """Rates of resampled groups of subjects.

    Attributes:
        thresholds: (T,).
        fmr: (R, T), NaN without non-mated scores.
        fnmr: (R, T), NaN without mated scores; NaN in replicates that drew no mated trial.
    """

    thresholds: NDArray[np.float64] = field(repr=False)
    fmr: NDArray[np.float64] = field(repr=False)
    fnmr: NDArray[np.float64] = field(repr=False)

    def fmr_upper(self, *, confidence: float = 0.95) -> NDArray[np.float64]:
        """(T,) one-sided upper percentile bounds on the FMR."""
        bounds: NDArray[np.float64] = np.nanquantile(self.fmr, checked_confidence(confidence), axis=0)
        return bounds

    def fnmr_upper(self, *, confidence: float = 0.95) -> NDArray[np.float64]:
        """(T,) one-sided upper percentile bounds on the FNMR."""
        bounds: NDArray[np.float64] = np.nanquantile(self.fnmr, checked_confidence(confidence), axis=0)
        return bounds


def subject_bootstrap(
    *,
    non_mated: NonMatedScores | None = None,
    mated: ArrayLike | None = None,
    mated_subject: ArrayLike | None = None,
    thresholds: ArrayLike,
    replicates: int = 1000,
    seed: int = 0,
) -> SubjectBootstrap:
    """Resample subjects, both sides together, and measure the rates of each resampled group.

    Args:
        non_mated: scores with their subjects; thresholds must lie in the exact tail.
        mated: (M,) scores.
        mated_subject: (M,) subject numbers, the same as in `non_mated`.
        thresholds: (T,).
        replicates: R.
        seed: of the draws.

    Raises:
        ScoreError: nothing to resample, bad scores, or thresholds below the exact tail.
    """
    asked = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    if (non_mated is None and mated is None) or replicates < 1 or not asked.size:
        msg = "give non_mated or mated scores, at least one threshold and at least one replicate"
        raise ScoreError(msg)
    numbers = None if mated_subject is None else np.asarray(mated_subject)
    if mated is not None and numbers is None:
        msg = "mated scores need mated_subject, the subject number of each"
        raise ScoreError(msg)
    present = _present(non_mated, numbers)
    people = int(np.count_nonzero(present))
    drawn = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=replicates)
    weights = np.zeros((present.size, replicates))
    weights[present] = drawn.T
    fmr = np.full((replicates, asked.size), np.nan)
    fnmr = fmr.copy()
    if non_mated is not None:
        fmr = weighted_fmr(non_mated, asked, weights=weights)
    if mated is not None and numbers is not None:
        fnmr = _weighted_fnmr(mated, numbers, asked, weights=weights)
    return SubjectBootstrap(asked, fmr, fnmr)


def weighted_fmr(
    scores: NonMatedScores, thresholds: NDArray[np.float64], *, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(R, T) FMR with subject i taken weights[i, r] times; `weights` is (S, R).

    Raises:
        ScoreError: a threshold lies below the exact tail.
    """
    if (thresholds <= scores.floor).any():
        msg = f"threshold {thresholds.min():g} lies below the exact tail, which begins above {scores.floor:g}"
        raise ScoreError(msg)
    counts = np.array([scores.tail.at_or_above(t) for t in thresholds.tolist()])
    total = scores.design.pairs.weighted(weights)
    errors = np.zeros((weights.shape[1], thresholds.size))
    top = scores.tail.highest(int(counts.max()))
    step = max(1, _CELLS // weights.shape[1])
    for start in range(0, top.score.size, step):
        part = slice(start, start + step)
        sums = np.cumsum(weights[top.subject_a[part]] * weights[top.subject_b[part]], axis=0)
        within = np.clip(counts - start, 0, sums.shape[0])
        errors[:, within > 0] += sums[within[within > 0] - 1].T
    rates: NDArray[np.float64] = np.divide(
        errors, total[:, None], out=np.full_like(errors, np.nan), where=total[:, None] > 0
    )
    return rates


def _weighted_fnmr(
    mated: ArrayLike,
    subject: NDArray[np.integer],
    thresholds: NDArray[np.float64],
    *,
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    scores = kept_scores(mated, name="mated")
    if subject.shape != scores.shape:
        msg = f"mated_subject must be {scores.size} numbers, one a score, not of shape {subject.shape}"
        raise ScoreError(msg)
    size = weights.shape[0]
    trials = weights.T @ np.bincount(subject, minlength=size)
    errors = [
        weights.T
        @ np.bincount(subject[scores < threshold_in(t, dtype=scores.dtype)], minlength=size).astype(float)
        for t in thresholds.tolist()
    ]
    table = np.stack(errors, axis=1)
    rates: NDArray[np.float64] = np.divide(
        table, trials[:, None], out=np.full_like(table, np.nan), where=trials[:, None] > 0
    )
    return rates


def _present(non_mated: NonMatedScores | None, mated: NDArray[np.integer] | None) -> NDArray[np.bool_]:
    """Which subject numbers occur at all."""
    size = 0 if mated is None else int(mated.max()) + 1
    if non_mated is not None:
        size = max(size, non_mated.design.per_subject.size)
    present = np.zeros(size, dtype=bool)
    if mated is not None:
        present[mated] = True
    if non_mated is not None:
        per_subject = non_mated.design.per_subject
        present[: per_subject.size] |= per_subject > 0
    return present
