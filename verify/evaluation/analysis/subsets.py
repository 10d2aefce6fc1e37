"""The trials of some subjects of a side: within one group, or between two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError
from verify.metrics.dyadic import DyadDesign
from verify.metrics.non_mated import NonMatedScores
from verify.metrics.score_histogram import ScoreHistogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 1 << 20  # pairs of subjects looked up at once


def between(
    scores: NonMatedScores,
    one: NDArray[np.bool_],
    other: NDArray[np.bool_],
    *,
    at_least: float = -math.inf,
) -> NonMatedScores | None:
    """The non-mated trials with a subject of `one` on one side and one of `other` on the other.

    The result knows its high scores and its design exactly. What lies at or below `floor` it counts, but cannot
    tell apart: ask for rates above `floor` only (for fewer than twelve million trials there is no floor).

    Args:
        scores: of the whole side.
        one: (S,) the subjects of one group.
        other: (S,) those of another, disjoint from `one` or the same.
        at_least: the lowest threshold that will be asked for; lower scores are counted only.

    Returns:
        The trials; None if there is none.

    Raises:
        InsufficientTrialsError: the groups overlap without being the same.
    """
    size = scores.design.per_subject.size
    left, right = one[:size], other[:size]
    same = bool((left == right).all())
    if not same and (left & right).any():
        msg = "groups that are held against each other must not share subjects"
        raise InsufficientTrialsError(msg)
    design = _design(scores.design, left, right, same=same)
    if design is None:
        return None
    high = scores.tail.taken(slice(scores.tail.score.size - scores.tail.at_or_above(at_least), None))
    a, b = high.subject_a, high.subject_b
    tail = high.taken(np.flatnonzero((left[a] & right[b]) | (right[a] & left[b])))
    low = float(tail.score[0]) if tail.score.size else scores.minimum
    return NonMatedScores(
        design=design,
        tail=tail,
        floor=max(scores.floor, math.nextafter(at_least, -math.inf)),
        body=ScoreHistogram(),
        minimum=low if design.trials == tail.score.size else scores.minimum,
        maximum=float(tail.score[-1]) if tail.score.size else scores.floor,
        mean=float("nan"),
    )


def _design(
    whole: DyadDesign, left: NDArray[np.bool_], right: NDArray[np.bool_], *, same: bool
) -> DyadDesign | None:
    """Who met whom how often among the pairs in question; one look at each pair of subjects."""
    rows = np.flatnonzero(left & (whole.per_subject > 0))
    columns = np.flatnonzero(right & (whole.per_subject > 0))
    per_subject = np.zeros(whole.per_subject.size, dtype=np.int64)
    squares = 0.0
    step = max(1, _CHUNK // max(1, columns.size))
    for start in range(0, rows.size, step):
        row, column = (
            grid.ravel() for grid in np.meshgrid(rows[start : start + step], columns, indexing="ij")
        )
        keep = row < column if same else np.ones(row.size, dtype=bool)
        row, column = row[keep], column[keep]
        met = whole.pairs.trials_of(row, column)
        squares += float(np.dot(met.astype(np.float64), met))
        for ends in (row, column):
            per_subject += np.bincount(ends, weights=met, minlength=per_subject.size).astype(np.int64)
    trials = int(per_subject.sum()) // 2
    if not trials:
        return None
    return DyadDesign(
        trials=trials,
        subjects=int(np.count_nonzero(per_subject)),
        per_subject=per_subject,
        pairs=whole.pairs,
        pair_squares=squares,
        most_disjoint=None if same else min(rows.size, columns.size),
    )
