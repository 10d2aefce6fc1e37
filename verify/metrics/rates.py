"""False-match and false-non-match rates, and the thresholds that keep them at or below a target.

A comparison is accepted if and only if ``score >= threshold``. So, after ISO/IEC 19795-1:

- FMR(t) = #{non-mated scores >= t} / N
- FNMR(t) = #{mated scores < t} / M

Equal scores fall on the same side of every threshold: the curves have one point for each distinct
score. Everything sorts once, O((M + N) log(M + N)); no array of thresholds x scores is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.metrics.scores import checked_rate, kept_scores, threshold_in

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def fmr(*, non_mated: ArrayLike, threshold: float) -> float:
    """False-match rate: the share of non-mated scores at or above `threshold`.

    Raises:
        ScoreError: no scores, or NaN or infinite ones.
    """
    scores = kept_scores(non_mated, name="non_mated")
    return int(np.count_nonzero(scores >= threshold_in(threshold, dtype=scores.dtype))) / scores.size


def fnmr(*, mated: ArrayLike, threshold: float) -> float:
    """False-non-match rate: the share of mated scores below `threshold`.

    Raises:
        ScoreError: no scores, or NaN or infinite ones.
    """
    scores = kept_scores(mated, name="mated")
    return int(np.count_nonzero(scores < threshold_in(threshold, dtype=scores.dtype))) / scores.size


def errors_allowed(target: float, *, trials: int) -> int:
    """The largest k with k / trials <= target, exact in floating point."""
    k = min(int(checked_rate(target, name="target") * trials), trials)
    # the product may round to the other side of a whole number: 0.29 * 100 is 28.999...
    while k < trials and (k + 1) / trials <= target:
        k += 1
    while k > 0 and k / trials > target:
        k -= 1
    return k


def threshold_at_fmr(*, non_mated: ArrayLike, target: float) -> float:
    """The smallest observed non-mated score t with FMR(t) <= target: at most, never nearest.

    If even the largest score does not meet the target, the next float above it is returned, where
    the FMR is 0.

    Args:
        non_mated: (N,) scores.
        target: rate in [0, 1].

    Raises:
        ScoreError: bad scores, or a target outside [0, 1].
    """
    scores = kept_scores(non_mated, name="non_mated")
    allowed = errors_allowed(target, trials=scores.size)
    highest = float(scores.max())
    if allowed == 0:
        return float(np.nextafter(highest, np.inf))
    if allowed == scores.size:
        return float(scores.min())
    # at most `allowed` may be accepted: everything above the next lower score
    barred = np.partition(scores, scores.size - allowed - 1)[scores.size - allowed - 1]
    above = scores[scores > barred]
    return float(above.min()) if above.size else float(np.nextafter(highest, np.inf))


def threshold_at_fnmr(*, mated: ArrayLike, target: float) -> float:
    """The largest t with FNMR(t) <= target: at most, never nearest.

    It is an observed mated score, or the next float above the largest when target is 1.

    Args:
        mated: (M,) scores.
        target: rate in [0, 1].

    Raises:
        ScoreError: bad scores, or a target outside [0, 1].
    """
    scores = kept_scores(mated, name="mated")
    allowed = errors_allowed(target, trials=scores.size)
    if allowed == scores.size:
        return float(np.nextafter(float(scores.max()), np.inf))
    # exactly the scores below the (allowed + 1)-th are rejected, and these are at most `allowed`
    return float(np.partition(scores, allowed)[allowed])


@dataclass(frozen=True, slots=True)
class ErrorCurve:
    """Both rates at every threshold that matters.

    Attributes:
        thresholds: (K,) float64, ascending: each distinct score once, then the next float above.
        fmr: (K,) float64, falling from 1 to 0.
        fnmr: (K,) float64, rising from 0 to 1.
    """

    thresholds: NDArray[np.float64] = field(repr=False)
    fmr: NDArray[np.float64] = field(repr=False)
    fnmr: NDArray[np.float64] = field(repr=False)


def error_curve(*, mated: ArrayLike, non_mated: ArrayLike) -> ErrorCurve:
    """FMR and FNMR at every distinct score (the points of the ROC and DET curves).

    Raises:
        ScoreError: one of the classes is empty, or a score is NaN or infinite.
    """
    genuine, impostor = sorted_scores(mated=mated, non_mated=non_mated)
    scores = distinct_scores(np.concatenate([genuine, impostor]))
    top = np.nextafter(float(scores[-1]), np.inf)
    below = np.append(np.searchsorted(genuine, scores, side="left"), genuine.size)
    at_or_above = np.append(impostor.size - np.searchsorted(impostor, scores, side="left"), 0)
    return ErrorCurve(
        thresholds=np.append(scores.astype(np.float64, copy=False), top),
        fmr=at_or_above / impostor.size,
        fnmr=below / genuine.size,
    )


def sorted_scores(
    *, mated: ArrayLike, non_mated: ArrayLike
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Both classes ascending, in one type.

    Raises:
        ScoreError: one of the classes is empty, or a score is NaN or infinite.
    """
    genuine = kept_scores(mated, name="mated")
    impostor = kept_scores(non_mated, name="non_mated")
    dtype = np.result_type(genuine, impostor)
    return np.sort(genuine.astype(dtype, copy=False)), np.sort(impostor.astype(dtype, copy=False))


def distinct_scores(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Each score once, ascending; `scores` is sorted in place."""
    scores.sort(kind="stable")  # two sorted runs: a merge
    first = np.empty(scores.size, dtype=bool)
    first[0] = True
    np.not_equal(scores[1:], scores[:-1], out=first[1:])
    return scores if first.all() else scores[first]
