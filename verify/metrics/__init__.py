"""Error rates, thresholds and their bounds: numpy and scipy only, pure functions, usable alone.

Everything takes scores as keywords, ``mated=`` and ``non_mated=``, because the two are never to be
mixed up; higher scores mean more alike, and a comparison is accepted if and only if
``score >= threshold``.
"""

from __future__ import annotations

from verify.metrics.dyadic import DyadDesign, mated_rate, non_mated_rate
from verify.metrics.eer import EqualErrorRate, eer_min_difference, eer_rocch
from verify.metrics.far import far, frr, gfar, gfrr
from verify.metrics.intervals import clopper_pearson, wilson, zero_error_bound
from verify.metrics.one_to_n import fpir_if_independent
from verify.metrics.rates import (
    ErrorCurve,
    error_curve,
    fmr,
    fnmr,
    threshold_at_fmr,
    threshold_at_fnmr,
)

__all__ = [
    "DyadDesign",
    "EqualErrorRate",
    "ErrorCurve",
    "clopper_pearson",
    "eer_min_difference",
    "eer_rocch",
    "error_curve",
    "far",
    "fmr",
    "fnmr",
    "fpir_if_independent",
    "frr",
    "gfar",
    "gfrr",
    "mated_rate",
    "non_mated_rate",
    "threshold_at_fmr",
    "threshold_at_fnmr",
    "wilson",
    "zero_error_bound",
]
