"""The rates of one side at one threshold, and a rate as the report states it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from verify.metrics.dyadic import mated_rate

if TYPE_CHECKING:
    from verify.evaluation.side import Side
    from verify.facts import RateFacts
    from verify.metrics.prediction import Bound
    from verify.types import Rate


def rate_facts(rate: Rate | None) -> RateFacts | None:
    """A rate as plain JSON values; None for no rate and for a rate without trials.

    Args:
        rate: as measured.
    """
    return None if rate is None or not rate.trials else facts_of(rate)


def facts_of(rate: Rate) -> RateFacts:
    """A rate that has trials as plain JSON values."""
    return {
        "value": rate.value,
        "errors": int(rate.errors),
        "trials": int(rate.trials),
        "lower": float(rate.lower),
        "upper": float(rate.upper),
        "bound": rate.bound,
        "n_eff": float(rate.n_eff) if math.isfinite(rate.n_eff) else float(rate.trials),
    }


def fmr_of(
    side: Side, *, threshold: float, confidence: float = 0.95, bound: Bound = "population"
) -> Rate | None:
    """FMR of a side with dyadic bounds; None without non-mated trials.

    Args:
        side: whose non-mated trials to judge.
        threshold: accepted is ``score >= threshold``.
        confidence: of each one-sided bound.
        bound: ``population`` or ``prediction``.
    """
    if not side.non_mated.trials:
        return None
    return side.non_mated.rate(threshold, confidence=confidence, bound=bound)


def fnmr_of(
    side: Side, *, threshold: float, confidence: float = 0.95, bound: Bound = "population"
) -> Rate | None:
    """FNMR of a side with bounds that take each subject as a cluster; None without mated trials.

    Args:
        side: whose mated trials to judge.
        threshold: rejected is ``score < threshold``.
        confidence: of each one-sided bound.
        bound: ``population`` or ``prediction``.
    """
    if not side.mated.size:
        return None
    return mated_rate(
        mated=side.mated,
        subject=side.mated_subject,
        threshold=threshold,
        confidence=confidence,
        bound=bound,
    )
