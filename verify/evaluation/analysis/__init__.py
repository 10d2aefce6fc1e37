"""From the trials of a side to the parts of a calibration report: plain functions, `Side` in, facts out.

Everything here reads; nothing chooses a threshold. Rates carry the bounds of `verify.metrics`, and
whatever cannot be known from the data at hand is None or left out, never guessed.
"""

from __future__ import annotations

from verify.evaluation.analysis.attempts import far_frr, fta_of, fte_of, side_facts
from verify.evaluation.analysis.curves import curve, histogram
from verify.evaluation.analysis.dependence import dependence
from verify.evaluation.analysis.enrolment import enrolment_counts
from verify.evaluation.analysis.evidence import evidence
from verify.evaluation.analysis.groups import groups
from verify.evaluation.analysis.label_evidence import evidence_map
from verify.evaluation.analysis.ladder import LADDER, ladder, transfer
from verify.evaluation.analysis.lookalikes import Lookalike, lookalikes
from verify.evaluation.analysis.one_to_n import SearchScores, one_to_n, search_scores
from verify.evaluation.analysis.outliers import Outlier, outliers
from verify.evaluation.analysis.planning import planning
from verify.evaluation.analysis.rates import fmr_of, fnmr_of, rate_facts
from verify.evaluation.analysis.strata import strata

__all__ = [
    "LADDER",
    "Lookalike",
    "Outlier",
    "SearchScores",
    "curve",
    "dependence",
    "enrolment_counts",
    "evidence",
    "evidence_map",
    "far_frr",
    "fmr_of",
    "fnmr_of",
    "fta_of",
    "fte_of",
    "groups",
    "histogram",
    "ladder",
    "lookalikes",
    "one_to_n",
    "outliers",
    "planning",
    "rate_facts",
    "search_scores",
    "side_facts",
    "strata",
    "transfer",
]
