"""Error rates, thresholds and their bounds: numpy and scipy only, pure functions, usable alone.

Everything takes scores as keywords, ``mated=`` and ``non_mated=``, because the two are never to be
mixed up; higher scores mean more alike, and a comparison is accepted if and only if
``score >= threshold``.

>>> from verify.metrics import eer, fmr, fnmr, non_mated_rate, threshold_at_fmr
>>> mated = [0.81, 0.62, 0.75, 0.44]  # two samples of one person
>>> non_mated = [0.05, 0.31, -0.12, 0.22, 0.48, 0.1]  # of two persons
>>> eer(mated=mated, non_mated=non_mated)  # eer(mated, non_mated) is a TypeError: say which is which
EqualErrorRate(value=0.1, method='rocch')
>>> threshold = threshold_at_fmr(non_mated=non_mated, target=0.2)
>>> fmr(non_mated=non_mated, threshold=threshold), fnmr(mated=mated, threshold=threshold)
(0.16666666666666666, 0.25)
>>> pairs = {"subject_a": [0, 0, 0, 1, 1, 2], "subject_b": [1, 2, 3, 2, 3, 3]}  # who was compared with whom
>>> proven = non_mated_rate(non_mated=non_mated, **pairs, threshold=threshold)
>>> f"{proven.value:.2f}, at most {proven.upper:.2f}: four persons prove next to nothing"
'0.17, at most 0.95: four persons prove next to nothing'
"""

from __future__ import annotations

from verify.metrics.bootstrap import SubjectBootstrap, subject_bootstrap
from verify.metrics.choosing import ChosenThreshold
from verify.metrics.costs import actual_dcf, bayes_threshold, cllr, dcf, min_cllr, min_dcf
from verify.metrics.curves import RocHull, auc, d_prime, det_curve, roc_hull
from verify.metrics.dyadic import DyadDesign, mated_rate, non_mated_rate
from verify.metrics.equal_error import EqualErrorRate, eer, eer_min_difference, eer_rocch
from verify.metrics.evidence import fused_llr, fusion_id, in_range, llr_of
from verify.metrics.far import far, frr, gfar, gfrr
from verify.metrics.groups import gini, max_over_geometric_mean
from verify.metrics.intervals import clopper_pearson, wilson, zero_error_bound
from verify.metrics.logistic import DEFAULT_TERMS, QUALITY_PRIOR, TermSpec, fit_fusion, fit_llr
from verify.metrics.non_mated import NonMatedAccumulator, NonMatedScores, pooled_non_mated
from verify.metrics.normalisation import (
    CohortStats,
    cohort_sha256,
    cohort_stats,
    norm_scores,
    stats_of_scores,
)
from verify.metrics.one_to_n import cmc, fnir, fpir, fpir_if_independent, mate_ranks, rank_k
from verify.metrics.paired import PairedRates, paired_rates
from verify.metrics.pav import PavMap
from verify.metrics.planning import SubjectsNeeded, subjects_for, trials_without_errors
from verify.metrics.rates import (
    ErrorCurve,
    error_curve,
    fmr,
    fnmr,
    threshold_at_fmr,
    threshold_at_fnmr,
)
from verify.metrics.retrieval import Retrieval, retrieval_measures
from verify.metrics.tail import GeneralisedParetoTail

__all__ = [
    "DEFAULT_TERMS",
    "QUALITY_PRIOR",
    "ChosenThreshold",
    "CohortStats",
    "DyadDesign",
    "EqualErrorRate",
    "ErrorCurve",
    "GeneralisedParetoTail",
    "NonMatedAccumulator",
    "NonMatedScores",
    "PairedRates",
    "PavMap",
    "Retrieval",
    "RocHull",
    "SubjectBootstrap",
    "SubjectsNeeded",
    "TermSpec",
    "actual_dcf",
    "auc",
    "bayes_threshold",
    "cllr",
    "clopper_pearson",
    "cmc",
    "cohort_sha256",
    "cohort_stats",
    "d_prime",
    "dcf",
    "det_curve",
    "eer",
    "eer_min_difference",
    "eer_rocch",
    "error_curve",
    "far",
    "fit_fusion",
    "fit_llr",
    "fmr",
    "fnir",
    "fnmr",
    "fpir",
    "fpir_if_independent",
    "frr",
    "fused_llr",
    "fusion_id",
    "gfar",
    "gfrr",
    "gini",
    "in_range",
    "llr_of",
    "mate_ranks",
    "mated_rate",
    "max_over_geometric_mean",
    "min_cllr",
    "min_dcf",
    "non_mated_rate",
    "norm_scores",
    "paired_rates",
    "pooled_non_mated",
    "rank_k",
    "retrieval_measures",
    "roc_hull",
    "stats_of_scores",
    "subject_bootstrap",
    "subjects_for",
    "threshold_at_fmr",
    "threshold_at_fnmr",
    "trials_without_errors",
    "wilson",
    "zero_error_bound",
]
