"""FMR of `NonMatedScores` at given thresholds, with its bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.metrics.intervals import wilson
from verify.metrics.prediction import checked_bound, dyadic_growth, labelled
from verify.types import Rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from verify.metrics.non_mated_scores import NonMatedScores
    from verify.metrics.prediction import Bound


def rates_of(
    scores: NonMatedScores,
    thresholds: Sequence[float] | NDArray[np.float64],
    *,
    confidence: float = 0.95,
    bound: Bound = "population",
    further_subjects: int | None = None,
) -> list[Rate]:
    """FMR at each threshold with dyadic bounds, from one pass over the tail.

    Below the tail it is not known who errs. There the bound is ``wilson-disjoint-pairs``: the rate of all
    pairs varies no more than that of floor(S / 2) pairs that share nobody (Hoeffding, 1948), so it
    is safe, and wide.

    Args:
        scores: with their exact tail.
        thresholds: accepted is ``score >= threshold``.
        confidence: of each one-sided bound.
        bound: ``population``, or ``prediction`` for what a further group will show.
        further_subjects: size of that group; None for as many as seen.
    """
    checked_bound(bound)
    asked = [float(t) for t in thresholds]
    counts = [scores.count(t) for t in asked]
    exact = sorted({c for c, t in zip(counts, asked, strict=True) if c and t > scores.floor})
    known: dict[int, Rate] = {}
    if exact:
        evidence = scores.design.evidence(
            scores.tail.subject_a[::-1], scores.tail.subject_b[::-1], at=np.array(exact) - 1
        )
        known = dict(
            zip(
                exact,
                evidence.rates(
                    confidence=confidence,
                    bound=bound,
                    further_subjects=further_subjects,
                ),
                strict=True,
            )
        )
    rates = []
    for count, threshold in zip(counts, asked, strict=True):
        if count == 0:
            rates.append(
                scores.design.no_errors(confidence=confidence, bound=bound, further_subjects=further_subjects)
            )
        elif threshold > scores.floor:
            rates.append(known[count])
        else:
            rates.append(
                _coarse(scores, count, confidence=confidence, bound=bound, further_subjects=further_subjects)
            )
    return rates


def _coarse(
    scores: NonMatedScores, count: int, *, confidence: float, bound: Bound, further_subjects: int | None
) -> Rate:
    """The rate below the tail, bound by pairs that share nobody."""
    n = float(scores.design.independent_pairs)
    growth = 0.0
    if bound == "prediction":
        share = np.ones(1)
        growth = float(
            dyadic_growth(
                subject_share=share, subjects=max(scores.subjects, 2), further_subjects=further_subjects
            )[0]
        )
    lower, upper = wilson(count / scores.trials, n_eff=n / (1 + growth), confidence=confidence)
    label = labelled("wilson-disjoint-pairs", bound=bound)
    return Rate(errors=count, trials=scores.trials, upper=upper, lower=lower, bound=label, n_eff=n)
