"""What every measure asks of its scores: numbers, finite, and at least one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def checked_scores(values: ArrayLike, *, name: str) -> NDArray[np.float64]:
    """Return `values` as a flat float64 array.

    Args:
        values: (N,) numbers, N >= 1.
        name: what the argument is called in messages (``mated``, ``non_mated``).

    Raises:
        ScoreError: not numbers, not one-dimensional, empty, NaN or infinite.
    """
    return kept_scores(values, name=name).astype(np.float64, copy=False)


def kept_scores(values: ArrayLike, *, name: str) -> NDArray[np.floating]:
    """As `checked_scores`, but an array of float32 stays as it is: half the memory, and no copy.

    Raises:
        ScoreError: not numbers, not one-dimensional, empty, NaN or infinite.
    """
    try:
        kept = isinstance(values, np.ndarray) and values.dtype == np.float32
        scores: NDArray[np.floating] = np.asarray(values, dtype=np.float32 if kept else np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{name}: scores must be numbers ({error})"
        raise ScoreError(msg) from error
    if scores.ndim != 1:
        msg = f"{name}: scores must be a flat list, not of shape {scores.shape}"
        raise ScoreError(msg)
    if scores.size == 0:
        msg = f"{name}: no scores; at least one {name.replace('_', '-')} score is needed"
        raise ScoreError(msg)
    # NaN and infinities show in the extremes: no array of truth values is made for sound scores
    if not (np.isfinite(scores.min()) and np.isfinite(scores.max())):
        at = int(np.argmin(np.isfinite(scores)))
        msg = (
            f"{name}: score {at} of {scores.size} is {scores[at]}; "
            "a failed capture has no score: leave it out and count it as a failure to acquire"
        )
        raise ScoreError(msg)
    return scores


def threshold_in(threshold: float, *, dtype: np.dtype[np.floating]) -> np.floating:
    """The smallest number of `dtype` that is not below `threshold`.

    numpy would round a threshold to the nearest float32 before it compares; this keeps
    ``score >= threshold`` what it is in exact arithmetic.
    """
    with np.errstate(over="ignore"):
        near = dtype.type(threshold)
    if float(near) < threshold:
        near = np.nextafter(near, dtype.type(np.inf))
    return near


def checked_rate(value: float, *, name: str) -> float:
    """Return `value` if it is a rate in [0, 1]; raise `ScoreError` naming it otherwise."""
    if not 0.0 <= value <= 1.0:  # false for NaN too
        msg = f"{name} must be a rate in [0, 1], not {value}"
        raise ScoreError(msg)
    return float(value)


def checked_confidence(value: float) -> float:
    """Return `value` if it is a confidence inside (0, 1); raise `ScoreError` otherwise."""
    if not 0.0 < value < 1.0:
        msg = f"confidence must lie inside (0, 1), for example 0.95, not {value}"
        raise ScoreError(msg)
    return float(value)
