"""Mode 1:N as two sides: the best score of searches by strangers, and of searches by the enrolled.

Searches at the gallery size asked for are made among the subjects of each half, so that everything which
chooses and measures thresholds for claims does so for searches: a *non-mated* trial is a search by
somebody who is not enrolled, with its best score, a *mated* one a search by somebody who is. See
`verify.evaluation.analysis.one_to_n` for how galleries are drawn and what the bounds cover.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError, UsageError
from verify.evaluation.analysis import search_scores
from verify.evaluation.embedded_source import EmbeddedSource
from verify.metrics.non_mated import NonMatedScores

if TYPE_CHECKING:
    from verify.evaluation.prepare import SplitSet
    from verify.evaluation.side import Side

_MISSED = -1.0  # the lowest cosine: a subject who does not come first is found at no threshold


def as_searches(one: SplitSet, *, gallery_size: int, seed: int) -> SplitSet:
    """The set with searches in place of comparisons.

    Args:
        one: of raw cosines.
        gallery_size: subjects enrolled.
        seed: of the galleries drawn.

    Raises:
        UsageError: the set has no templates to search, or its scores are no cosines.
        InsufficientTrialsError: a half has too few subjects for the gallery.
    """
    source = one.source
    if not isinstance(source, EmbeddedSource):
        msg = f"{one.name}: mode 1:N searches raw cosines of media; leave --norm, --quality and --attempts out of it"
        raise UsageError(msg)
    sides = {
        part: _searched(source, side, part, gallery_size=gallery_size, seed=seed)
        for part, side in (("calibration", one.calibration), ("test", one.test))
    }
    return dataclasses.replace(
        one,
        calibration=sides["calibration"],
        test=sides["test"],
        possible={part: side.non_mated.trials for part, side in sides.items()},
    )


def _searched(source: EmbeddedSource, side: Side, part: str, *, gallery_size: int, seed: int) -> Side:
    try:
        found = search_scores(source.vectors, source.owner, side.among, gallery_size=gallery_size, seed=seed)
    except InsufficientTrialsError as error:
        msg = f"{source.name}, {part} subjects: {error}"
        raise InsufficientTrialsError(msg) from error
    first = found.mated_rank == 1
    return dataclasses.replace(
        side,
        mated=np.where(first, found.mated_score, _MISSED),
        mated_subject=found.mated_subject.astype(np.int32),
        mated_attempts=np.full((first.size, 2), -1, dtype=np.int32),
        mated_quality={},
        non_mated=NonMatedScores.of(
            found.best_non_mated, subject_a=found.probe_subject, subject_b=found.nearest_subject
        ),
    )
