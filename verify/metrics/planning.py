"""How many people it takes to support a claim.

The rule of three: after no error in n independent trials a rate of 3 / n is the 95 % bound. Of S
subjects only floor(S / 2) pairs share nobody, so that is the n that a claim without errors may use.
With errors the trials themselves tell how many independent ones they are worth (n_eff), and that
number grows at least with S, where people drive the errors, and at most with S^2, where pairs do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from verify.errors import ScoreError
from verify.metrics.intervals import wilson
from verify.metrics.scores import checked_confidence

# The claim is planned for a matcher whose rate at the threshold is half of the target: a bound can only
# meet a target that the rate itself stays clear of.
_SHARE_OF_TARGET = 0.5


@dataclass(frozen=True, slots=True)
class SubjectsNeeded:
    """What supports a claim that the FMR is at most `target`.

    Attributes:
        target: the FMR.
        trials: independent trials without an error that would do.
        subjects_zero_errors: subjects without an error between any two that would do.
        fewest: subjects needed if n_eff grows with S^2 from what was measured; None without a measurement.
        most: subjects needed if it grows with S only.
    """

    target: float
    trials: int
    subjects_zero_errors: int
    fewest: int | None = None
    most: int | None = None


def trials_without_errors(target: float, *, confidence: float = 0.95) -> int:
    """The smallest number of independent trials without an error that bounds the rate at `target`: about 3 / target.

    Raises:
        ScoreError: a target or confidence outside (0, 1).
    """
    if not 0.0 < target < 1.0:
        msg = f"target must lie inside (0, 1), for example 1e-4, not {target}"
        raise ScoreError(msg)
    return math.ceil(math.log1p(-checked_confidence(confidence)) / math.log1p(-target))


def subjects_for(
    target: float, *, confidence: float = 0.95, n_eff: float | None = None, subjects: int | None = None
) -> SubjectsNeeded:
    """How many subjects a claim of FMR at most `target` takes.

    Args:
        target: in (0, 1).
        confidence: of the one-sided bound.
        n_eff: effective trials measured near the target (`Rate.n_eff`); None plans without a measurement.
        subjects: who they were measured on; needed with `n_eff`.

    Raises:
        ScoreError: values out of range, or `n_eff` without `subjects`.
    """
    trials = trials_without_errors(target, confidence=confidence)
    if n_eff is None:
        return SubjectsNeeded(target, trials, 2 * trials)
    if subjects is None or subjects < 2 or not n_eff > 0:  # noqa: PLR2004
        msg = f"n_eff={n_eff} needs the number of subjects (two at least) it was measured on, not {subjects}"
        raise ScoreError(msg)
    ratio = effective_trials_for(target, confidence=confidence) / n_eff
    powers = sorted((math.ceil(subjects * math.sqrt(ratio)), math.ceil(subjects * ratio)))
    return SubjectsNeeded(target, trials, 2 * trials, fewest=max(powers[0], 2), most=max(powers[1], 2))


def effective_trials_for(target: float, *, confidence: float = 0.95) -> float:
    """Effective trials at which a rate of half of `target` is bound at `target`: about 11 / target at 95 %."""
    checked_confidence(confidence)
    low, high = 1.0, 1e18
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        if wilson(target * _SHARE_OF_TARGET, n_eff=middle, confidence=confidence)[1] <= target:
            high = middle
        else:
            low = middle
    return high
