"""Choose a threshold so that the bound on the FMR, not the point estimate, meets the target: scores in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.metrics.choosing import MIN_ERRORS, ChosenThreshold
from verify.metrics.non_mated import NonMatedScores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from verify.errors import InsufficientTrialsError
    from verify.metrics.prediction import Bound

__all__ = ["MIN_ERRORS", "ChosenThreshold", "choose_thresholds"]


def choose_thresholds(
    *,
    non_mated: ArrayLike,
    subject_a: ArrayLike,
    subject_b: ArrayLike,
    targets: Sequence[float],
    confidence: float = 0.95,
    bound: Bound = "population",
    further_subjects: int | None = None,
    ceiling: float = 1.0,
) -> dict[float, ChosenThreshold | InsufficientTrialsError]:
    """For each target FMR the observed score that tests in a fixed order end at, its upper bound at or below it.

    `verify.metrics.choosing.choose_from` says how; this is for plain arrays of cosines.

    Args:
        non_mated: (N,) scores.
        subject_a: (N,) subject numbers of one side.
        subject_b: (N,) of the other.
        targets: rates in (0, 1).
        confidence: of the one-sided bound.
        bound: ``population``, or ``prediction`` for what a further group will show.
        further_subjects: size of that group; None for as many as are in the trials.
        ceiling: the largest score that there can be.

    Returns:
        target -> the choice, or the error (not raised) that says how much more data it would take.

    Raises:
        ScoreError: bad scores, subjects, targets or confidence.
    """
    scores = NonMatedScores.of(non_mated, subject_a=subject_a, subject_b=subject_b)
    return scores.choose(
        targets,
        confidence=confidence,
        bound=bound,
        further_subjects=further_subjects,
        ceiling=ceiling,
    )
