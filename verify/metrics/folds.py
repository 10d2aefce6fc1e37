"""Accuracy over folds, as the protocol of Labeled Faces in the Wild (Huang et al., 2007) has it.

For each fold the threshold of best accuracy on all other folds is applied to it; mean and standard error
over the folds are reported. Accuracy weighs both errors alike and hides the tail: it is there to
compare with published figures, never to set a door by. Read FNMR at a stated FMR beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Accuracy over K folds.

    Attributes:
        mean: over the folds.
        standard_error: of the mean, from the spread over the folds.
        accuracy: (K,) each fold's.
        thresholds: (K,) what each fold was judged by.
    """

    mean: float
    standard_error: float
    accuracy: NDArray[np.float64] = field(repr=False)
    thresholds: NDArray[np.float64] = field(repr=False)


def fold_accuracy(scores: ArrayLike, *, mated: ArrayLike, folds: ArrayLike) -> FoldAccuracy:
    """Accuracy of each fold at the threshold that is best on the others.

    Args:
        scores: (N,) higher is more alike; ``-inf`` for a trial whose capture failed, which is a reject.
        mated: (N,) booleans.
        folds: (N,) fold numbers, integers; at least two folds, with both classes outside of each.

    Raises:
        ScoreError: NaN or +inf among the scores, arrays that do not fit, too few folds, one class only.
    """
    values, same, fold = np.asarray(scores, dtype=np.float64), np.asarray(mated), np.asarray(folds)
    if values.ndim != 1 or same.shape != values.shape or fold.shape != values.shape or same.dtype != bool:
        msg = f"scores {values.shape}, mated {same.dtype} {same.shape} and folds {fold.shape} must be flat and alike"
        raise ScoreError(msg)
    if np.isnan(values).any() or np.isposinf(values).any():
        msg = "scores: NaN or +inf among them; a failed capture is -inf, a reject"
        raise ScoreError(msg)
    names = np.unique(fold)
    if names.size < 2:  # noqa: PLR2004
        msg = f"folds: {names.size} fold; at least two are needed, one to judge and another to choose on"
        raise ScoreError(msg)
    thresholds, accuracy = np.empty(names.size), np.empty(names.size)
    for place, name in enumerate(names):
        here = fold == name
        thresholds[place] = _best_threshold(values[~here], same[~here], without=name)
        accuracy[place] = np.mean((values[here] >= thresholds[place]) == same[here])
    spread = float(accuracy.std(ddof=1)) / np.sqrt(names.size)
    return FoldAccuracy(float(accuracy.mean()), float(spread), accuracy, thresholds)


def _best_threshold(scores: NDArray[np.float64], mated: NDArray[np.bool_], *, without: object) -> float:
    """The observed score of highest accuracy; of several runs of equals, the middle one's."""
    if mated.all() or not mated.any():
        msg = f"folds: outside of fold {without} there are trials of one class only"
        raise ScoreError(msg)
    genuine, impostor = np.sort(scores[mated]), np.sort(scores[~mated])
    candidates = np.unique(scores[np.isfinite(scores)])
    if candidates.size == 0:
        msg = f"folds: outside of fold {without} every capture failed"
        raise ScoreError(msg)
    right = genuine.size - np.searchsorted(genuine, candidates) + np.searchsorted(impostor, candidates)
    best = np.flatnonzero(right == right.max())
    return float(candidates[best[best.size // 2]])
