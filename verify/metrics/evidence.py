"""From scores to evidence: natural-log likelihood ratios by a fitted map, and several of them as one.

The maps are data (`verify.score_space`), made by `verify.metrics.logistic`; here they are applied, the
same way in calibration and at the door.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.score_space import Combine, Transform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from verify.score_space import Fusion, FusionPart, LlrMap, QualityTerm

    Measures = Mapping[str, tuple[ArrayLike, ArrayLike]]

_FUSION = b"verify fusion 1\n"


def llr_of(mapping: LlrMap, scores: ArrayLike, *, quality: Measures | None = None) -> NDArray[np.float64]:
    """The natural-log likelihood ratio of each score: positive speaks for one subject, negative for two.

    Args:
        mapping: a fitted map.
        scores: (N,) finite scores, in the space that `mapping` was fitted in (normalised, if it records
            a normalisation).
        quality: measure -> (x, y), each (N,): the untransformed measures of both captures.

    Returns:
        (N,) float64, in nats. NaN where `in_range` is False: there is no evidence to give, and NaN
        meets no threshold. A measure above the calibrated range counts as the largest calibrated.

    Raises:
        ScoreError: scores that are not numbers, NaN or infinite, or measures of another length.
    """
    s = _numbers(scores, name="scores")
    if not np.isfinite(s).all():
        at = int(np.argmin(np.isfinite(s)))
        msg = f"scores: score {at} of {s.size} is {s[at]}; a failed capture has no score: leave it out"
        raise ScoreError(msg)
    measures = quality or {}
    usable = in_range(mapping, measures, trials=s.size)
    slope = np.full(s.size, mapping.slope)
    llr = np.full(s.size, mapping.intercept)
    for term in mapping.terms:
        if term.measure not in measures:
            continue  # not in range: NaN below
        f = (pair_measure(measures[term.measure], term=term) - term.centre) / term.scale
        slope += term.slope * f
        llr += term.weight * f
    return np.where(usable, llr + slope * s, np.nan)


def in_range(mapping: LlrMap, quality: Measures, *, trials: int | None = None) -> NDArray[np.bool_]:
    """Where the map has anything to say: every measure it needs is there and not below the calibrated range.

    Args:
        mapping: a fitted map.
        quality: measure -> (x, y), each (N,): the untransformed measures of both captures; NaN where
            a capture has no such measure.
        trials: N. Needed only where `quality` does not tell it; 1 if neither does.

    Returns:
        (N,) bool; all True for a map without quality terms.

    Raises:
        ScoreError: measures of another length.
    """
    columns = {name: (_numbers(x, name=name), _numbers(y, name=name)) for name, (x, y) in quality.items()}
    if trials is None:
        trials = next((x.size for x, _ in columns.values()), 1)
    inside = np.ones(trials, dtype=bool)
    for name, pair in columns.items():
        for side in pair:
            if side.size != trials:
                msg = f"{name}: {side.size} measures for {trials} trials; give one a capture and trial"
                raise ScoreError(msg)
    for term in mapping.terms:
        if term.measure not in columns:
            return np.zeros(trials, dtype=bool)
        x, y = columns[term.measure]
        inside &= (x >= term.low) & (y >= term.low)  # False for NaN
    return inside


def pair_measure(pair: tuple[ArrayLike, ArrayLike], *, term: QualityTerm) -> NDArray[np.float64]:
    """The combined transformed measure of each pair, (N,), clamped to the calibrated range of `term`."""
    x, y = (np.clip(_numbers(side, name=term.measure), term.low, term.high) for side in pair)
    return combined(x, y, transform=term.transform, combine=term.combine)


def combined(
    x: NDArray[np.float64], y: NDArray[np.float64], *, transform: Transform, combine: Combine
) -> NDArray[np.float64]:
    """combine(transform(x), transform(y)), elementwise; the logarithm of what is not positive is NaN."""
    if transform is Transform.LOG:
        x, y = (np.log(np.where(side > 0, side, np.nan)) for side in (x, y))
    elif transform is not Transform.IDENTITY:
        msg = f"transform {transform!r} is not known; use one of {', '.join(Transform)}"
        raise ScoreError(msg)
    if combine is Combine.MIN:
        return np.minimum(x, y)
    if combine is Combine.MAX:
        return np.maximum(x, y)
    if combine is Combine.MEAN:
        return (x + y) / 2
    msg = f"combine {combine!r} is not known; use one of {', '.join(Combine)}"
    raise ScoreError(msg)


def fused_llr(fusion: Fusion, llrs: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """Several models' llrs of the same trials as one: intercept + sum_k weight_k llr_k.

    Args:
        fusion: a fitted fusion.
        llrs: for each of `fusion.parts`, in that order, (N,) llrs in nats; NaN where that part has none.

    Returns:
        (N,) float64, in nats; NaN where any part is NaN, and NaN meets no threshold.

    Raises:
        ScoreError: not one array a part, or of different lengths.
    """
    if len(llrs) != len(fusion.parts):
        msg = f"llrs: {len(llrs)} arrays for a fusion of {len(fusion.parts)} models; give one a model"
        raise ScoreError(msg)
    columns = [_numbers(column, name=f"llrs[{k}]") for k, column in enumerate(llrs)]
    if len({column.size for column in columns}) > 1:
        msg = f"llrs: arrays of {[column.size for column in columns]} trials; give the same trials for each"
        raise ScoreError(msg)
    total = np.full(columns[0].size, fusion.intercept)
    for part, column in zip(fusion.parts, columns, strict=True):
        total += part.weight * column
    return total


def fusion_id(parts: Sequence[FusionPart]) -> str:
    """What stands for a model_id where several models decide together: sha256 hex over theirs, in order."""
    return hashlib.sha256(_FUSION + b"\n".join(part.model_id.encode() for part in parts)).hexdigest()


def _numbers(values: ArrayLike, *, name: str) -> NDArray[np.float64]:
    """A flat float64 array, maybe empty, NaN allowed."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{name}: not numbers ({error})"
        raise ScoreError(msg) from error
    if array.ndim != 1:
        msg = f"{name}: must be a flat list, not of shape {array.shape}"
        raise ScoreError(msg)
    return array
