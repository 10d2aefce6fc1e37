"""What more subjects would buy: how many it takes before a target can be claimed.

Two ways to a claim, each with its own number; whichever is smaller is the one to take. The first can be worked
out beforehand and assumes nothing of errors, which is why it is mostly the larger one:

- *without an error*: after no error in n independent trials the bound is 1 - (1 - confidence)^(1/n), about 3 / n.
  Only pairs that share nobody are surely independent, so S subjects give n = floor(S / 2).
- *as these subjects go*: the threshold is set where the rate itself is half the target, and the bound has to
  fit into the other half. How wide the bound is follows from the errors seen on the calibration side at the
  nearest rate that can be judged: the share of their variance that is driven by subjects falls with their
  number, the rest with the number of pairs (see `verify.metrics.prediction`). At least ten errors must be
  expected, because no variance can be told from fewer. A plan, not a promise: the tail may be heavier
  than where it was seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.metrics.choosing import MIN_ERRORS
from verify.metrics.intervals import wilson
from verify.metrics.planning import trials_without_errors
from verify.metrics.prediction import dyadic_growth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.evaluation.side import Side
    from verify.facts import Planning
    from verify.metrics.dyadic import Evidence
    from verify.metrics.prediction import Bound

_MOST = 1 << 33  # subjects: more people than there are


def planning(
    calibration: Side,
    *,
    targets: Sequence[float],
    confidence: float = 0.95,
    bound: Bound = "population",
) -> list[Planning]:
    """How many calibration subjects each target would take, loosest first.

    Args:
        calibration: the subjects so far.
        targets: FMRs inside (0, 1).
        confidence: of the one-sided bound.
        bound: ``population``, or ``prediction`` for as many further subjects as calibrate.

    Raises:
        ScoreError: a target or confidence that is none.
    """
    return [
        _planned(calibration, target=target, confidence=confidence, bound=bound)
        for target in sorted(set(targets), reverse=True)
    ]


def _planned(calibration: Side, *, target: float, confidence: float, bound: Bound) -> Planning:
    zero = 2 * trials_without_errors(target, confidence=confidence)
    seen = calibration.non_mated.subjects if calibration.non_mated.trials else 0
    expected = _expected(calibration, target=target, confidence=confidence, bound=bound)
    if expected is None:
        note = f"too few errors were seen to say how the bound would shrink; without any, {zero:,} prove it"
    elif expected <= seen:
        note = f"the {seen:,} calibration subjects are enough"
    else:
        note = (
            f"{seen:,} calibration subjects so far; with errors as frequent and as clustered as here {expected:,} with "
            "as many samples each would do, and as many again for the test"
        )
        if zero < expected:
            note += f"; {zero:,} prove it if not one errs"
    return {
        "target_fmr": target,
        "subjects_zero_errors": zero,
        "subjects_expected": expected,
        "note": note,
    }


def _expected(calibration: Side, *, target: float, confidence: float, bound: Bound) -> int | None:
    """The fewest subjects whose bound would fit between half the target and the target."""
    scores = calibration.non_mated
    if not scores.trials or scores.tail.score.size < MIN_ERRORS:
        return None
    wanted = max(MIN_ERRORS, round(target / 2 * scores.trials))
    if wanted > scores.tail.score.size:
        return None
    high = scores.tail.highest(wanted)
    evidence = scores.design.evidence(high.subject_a, high.subject_b, at=np.array([wanted - 1]))
    if not np.isfinite(evidence.freedom).all():  # fewer subjects than a variance needs
        return None
    fewest, most = 4, _MOST
    while fewest < most:
        middle = (fewest + most) // 2
        if _fits(evidence, middle, target, trials=scores.trials, confidence=confidence, bound=bound):
            most = middle
        else:
            fewest = middle + 1
    return fewest if fewest < _MOST else None


def _fits(
    evidence: Evidence, subjects: int, target: float, *, trials: int, confidence: float, bound: Bound
) -> bool:
    """Whether so many subjects like these would have a bound at or below the target at half its rate."""
    f = target / 2
    seen, rate, share = evidence.subjects, float(evidence.rate[0]), float(evidence.subject_share[0])
    ratio = seen * (seen - 1) / (subjects * (subjects - 1))
    if f * trials / ratio < MIN_ERRORS:
        return False
    # relative variances: a subject's leaning moves every rate by a like factor, single errors are Poisson
    spread = (1 - rate) / (rate * float(evidence.n_eff[0]))
    relative = spread * (share * seen / subjects + (1 - share) * max(rate / f, 1.0) * ratio)
    if bound == "prediction":
        relative *= 1 + float(
            dyadic_growth(subject_share=np.array([share]), subjects=subjects, further_subjects=None)[0]
        )
    return wilson(f, n_eff=(1 - f) / (f * relative), confidence=confidence)[1] <= target
