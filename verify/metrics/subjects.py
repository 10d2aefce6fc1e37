"""Subject numbers of trials: whole numbers >= 0, one a score, and two different ones for a non-mated trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def checked_pairs(
    subject_a: ArrayLike, subject_b: ArrayLike, *, trials: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The subjects of non-mated trials, (N,) each.

    Raises:
        ScoreError: not one whole number >= 0 a trial, or one subject on both sides.
    """
    left = checked_subjects(subject_a, trials=trials, name="subject_a")
    right = checked_subjects(subject_b, trials=trials, name="subject_b")
    if (left == right).any():
        at = int(np.argmax(left == right))
        msg = f"subject_a and subject_b: non-mated trial {at} has subject {left[at]} on both sides"
        raise ScoreError(msg)
    return left, right


def checked_subjects(values: ArrayLike, *, trials: int, name: str) -> NDArray[np.int64]:
    """(N,) subject numbers, one a trial.

    Raises:
        ScoreError: not one whole number >= 0 a trial.
    """
    subjects = np.asarray(values)
    if subjects.shape != (trials,) or subjects.dtype.kind not in "iu":
        msg = f"{name} must be {trials} whole numbers, one a score, not {subjects.dtype} {subjects.shape}"
        raise ScoreError(msg)
    if subjects.min() < 0:
        msg = f"{name}: subject numbers start at 0, not {subjects.min()}"
        raise ScoreError(msg)
    return subjects.astype(np.int64, copy=False)
