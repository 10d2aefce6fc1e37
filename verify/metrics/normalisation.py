"""Score normalisation by a cohort of strangers: how unusual is a score for these two captures?

With mu_e, sd_e the mean and standard deviation of the scores of the enrolled side against the cohort,
and mu_p, sd_p those of the probe:

- Z-norm: (s - mu_e) / sd_e (Li and Porter, 1988)
- T-norm: (s - mu_p) / sd_p (Auckenthaler, Carey and Lloyd-Thomas, 2000)
- S-norm: the mean of the two, hence symmetric (Kenny, 2010)
- AS-norm: S-norm over the `top_k` highest cohort scores of each side (Sturim and Reynolds, 2005;
  Matějka et al., 2017)

A normalised score is in standard deviations, not a cosine: thresholds of the two never mix. The cohort's
subjects must take part neither in calibration nor in test, nor ever be enrolled.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.scores import checked_scores
from verify.score_space import ScoreSpace

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_NORMS = (ScoreSpace.Z_NORM, ScoreSpace.T_NORM, ScoreSpace.S_NORM, ScoreSpace.AS_NORM)
_MIN_COHORT = 2  # one score has no spread
_BLOCK = 1024  # vectors scored against the cohort at once


@dataclass(frozen=True, slots=True)
class CohortStats:
    """How each of n captures scores against the cohort.

    Attributes:
        mean: (n,) float64.
        std: (n,) float64, > 0, population form (divided by the number of scores).
    """

    mean: NDArray[np.float64] = field(repr=False)
    std: NDArray[np.float64] = field(repr=False)


def cohort_stats(vectors: ArrayLike, cohort: ArrayLike, *, method: ScoreSpace, top_k: int = 0) -> CohortStats:
    """Score captures against a cohort, in blocks: memory is one block of scores.

    Args:
        vectors: (n, D) templates of unit L2 norm, n >= 0.
        cohort: (K, D) templates of unit L2 norm, one a cohort subject, K >= 2.
        method: the normalisation that these are for.
        top_k: as-norm: how many of the highest scores count, 2 <= top_k <= K; 0 for the others.

    Raises:
        ScoreError: shapes that do not fit, NaN, a cohort too small or without spread, a bad `top_k`.
    """
    theirs, strangers = _matrix(vectors, name="vectors"), _matrix(cohort, name="cohort")
    if theirs.shape[1] != strangers.shape[1]:
        msg = f"vectors have {theirs.shape[1]} dimensions, the cohort {strangers.shape[1]}: not of one model"
        raise ScoreError(msg)
    _checked_top_k(method, top_k=top_k, size=strangers.shape[0])
    parts = [
        stats_of_scores(theirs[start : start + _BLOCK] @ strangers.T, top_k=top_k)
        for start in range(0, theirs.shape[0], _BLOCK)
    ]
    if not parts:
        return CohortStats(mean=np.empty(0), std=np.empty(0))
    return CohortStats(
        mean=np.concatenate([part.mean for part in parts]), std=np.concatenate([part.std for part in parts])
    )


def stats_of_scores(cohort_scores: ArrayLike, *, top_k: int = 0) -> CohortStats:
    """The same from scores that are there already, of any matcher.

    Args:
        cohort_scores: (n, K) scores of n captures against K cohort subjects, K >= 2.
        top_k: use the that many highest of each row; 0 uses all.

    Raises:
        ScoreError: bad scores, or a row without spread.
    """
    scores = _matrix(cohort_scores, name="cohort_scores")
    size = scores.shape[1]
    if size < _MIN_COHORT or not (top_k == 0 or _MIN_COHORT <= top_k <= size):
        msg = (
            f"cohort_scores: {size} cohort subjects, top_k={top_k}; needs {_MIN_COHORT} <= top_k <= subjects"
        )
        raise ScoreError(msg)
    if 0 < top_k < size:
        scores = np.partition(scores, size - top_k, axis=1)[:, size - top_k :]
    mean, std = scores.mean(axis=1), scores.std(axis=1)
    if not (std > 0).all():
        at = int(np.argmin(std > 0))
        msg = f"cohort_scores: all cohort scores of capture {at} are {mean[at]:.6g}; the cohort needs distinct subjects"
        raise ScoreError(msg)
    return CohortStats(mean=mean, std=std)


def norm_scores(
    scores: ArrayLike, *, method: ScoreSpace, enrol: CohortStats, probe: CohortStats
) -> NDArray[np.float64]:
    """Normalised scores.

    Args:
        scores: (N,) raw scores.
        method: one of the norm spaces.
        enrol: of the enrolled side of each trial, (N,) or (1,).
        probe: of the probe side of each trial, (N,) or (1,).

    Returns:
        (N,) float64, in standard deviations of cohort scores.

    Raises:
        ScoreError: bad scores, an unknown method, or statistics that do not fit the scores.
    """
    _checked_method(method)
    raw = checked_scores(scores, name="scores")
    for name, side in (("enrol", enrol), ("probe", probe)):
        if side.mean.shape != side.std.shape or side.mean.shape not in ((1,), raw.shape):
            msg = f"{name}: cohort statistics of {side.mean.shape[0]} captures for {raw.size} scores"
            raise ScoreError(msg)
    if method is ScoreSpace.Z_NORM:
        return (raw - enrol.mean) / enrol.std
    if method is ScoreSpace.T_NORM:
        return (raw - probe.mean) / probe.std
    return ((raw - enrol.mean) / enrol.std + (raw - probe.mean) / probe.std) / 2


def cohort_sha256(cohort: ArrayLike) -> str:
    """Hex hash of a cohort: of the little-endian float32 bytes of its (K, D) templates, rows in order.

    Raises:
        ScoreError: not a finite (K, D) array.
    """
    return hashlib.sha256(_matrix(cohort, name="cohort").astype("<f4").tobytes()).hexdigest()


def _checked_method(method: ScoreSpace) -> None:
    if method not in _NORMS:
        msg = f"method {str(method)!r} is no cohort normalisation; use one of {', '.join(_NORMS)}"
        raise ScoreError(msg)


def _checked_top_k(method: ScoreSpace, *, top_k: int, size: int) -> None:
    _checked_method(method)
    if size < _MIN_COHORT:
        msg = f"cohort: {size} subjects; at least {_MIN_COHORT} are needed, some hundreds are usual"
        raise ScoreError(msg)
    if method is ScoreSpace.AS_NORM and not _MIN_COHORT <= top_k <= size:
        msg = f"top_k={top_k}: as-norm needs {_MIN_COHORT} <= top_k <= {size}, the size of the cohort"
        raise ScoreError(msg)
    if method is not ScoreSpace.AS_NORM and top_k:
        msg = f"top_k={top_k}: {method} uses the whole cohort; leave top_k at 0 or choose as-norm"
        raise ScoreError(msg)


def _matrix(values: ArrayLike, *, name: str) -> NDArray[np.float64]:
    """A finite (n, D) float64 array."""
    try:
        matrix = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{name}: not numbers ({error})"
        raise ScoreError(msg) from error
    if matrix.ndim != 2:  # noqa: PLR2004
        msg = f"{name}: must be of shape (n, D), not {matrix.shape}"
        raise ScoreError(msg)
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        at = int(np.argmin(finite))
        msg = f"{name}: row {at} has NaN or infinite values; leave failed captures out"
        raise ScoreError(msg)
    return matrix
