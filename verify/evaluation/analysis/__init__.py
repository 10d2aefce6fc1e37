"""From the trials of a side to the parts of a calibration report: plain functions, `Side` in, facts out.

Everything here reads; nothing chooses a threshold. Rates carry the bounds of `verify.metrics`, and
whatever cannot be known from the data at hand is None or left out, never guessed.
"""

from __future__ import annotations

from verify.evaluation.analysis.attempts import far_frr, fta_of, fte_of, side_facts
from verify.evaluation.analysis.curves import curve, histogram
from verify.evaluation.analysis.ladder import LADDER, ladder, transfer
from verify.evaluation.analysis.rates import fmr_of, fnmr_of, rate_facts

__all__ = [
    "LADDER",
    "curve",
    "far_frr",
    "fmr_of",
    "fnmr_of",
    "fta_of",
    "fte_of",
    "histogram",
    "ladder",
    "rate_facts",
    "side_facts",
    "transfer",
]
