"""An evaluation's trials by group and by quality, at one threshold that was set before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.errors import UsageError
from verify.evaluation.analysis import strata
from verify.evaluation.focus import SHOWN_MEASURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.evaluation.side import Side
    from verify.evaluation.sources import TrialSource
    from verify.facts import GroupFacts, StrataFacts


def by_group(
    source: TrialSource, side: Side, *, columns: Sequence[str], threshold: float, confidence: float
) -> list[GroupFacts]:
    """Rates within and across groups.

    Args:
        source: of the trials.
        side: all of them.
        columns: group columns; () takes every one there is.
        threshold: on plain scores.
        confidence: of the one-sided bounds.

    Raises:
        UsageError: a column that the data does not have.
    """
    from verify.evaluation.analysis.groups import groups

    for column in columns:
        if column not in source.groups:
            there = ", ".join(source.groups) or "none"
            msg = f"{source.name}: no group column {column!r}; there are {there}"
            raise UsageError(msg)
    return groups(
        side, side, columns=columns or sorted(source.groups), threshold=threshold, confidence=confidence
    )


def by_quality(
    source: TrialSource,
    side: Side,
    *,
    measures: Sequence[str],
    threshold: float,
    confidence: float,
    seed: int,
) -> list[StrataFacts]:
    """Rates by the worse capture of each pair.

    Args:
        source: of the trials.
        side: all of them.
        measures: quality measures; () takes the usual ones that the data has.
        threshold: on plain scores.
        confidence: of the one-sided bounds.
        seed: of the choice of subjects if there are too many trials.

    Raises:
        UsageError: a measure that the data does not have.
    """
    for name in measures:
        if name not in source.measures:
            there = ", ".join(source.measures) or "none"
            msg = f"{source.name}: no quality measure {name!r}; there are {there}"
            raise UsageError(msg)
    usual = source.measures if source.model_id is None else SHOWN_MEASURES
    found = (
        strata(side, source=source, measure=name, threshold=threshold, confidence=confidence, seed=seed)
        for name in measures or usual
    )
    return [one for one in found if one is not None]
