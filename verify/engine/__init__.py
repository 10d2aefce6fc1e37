"""The engine that access-control applications embed: enrol, match, identify, compare.

Whoever embeds it keeps an eye on it in two lines: ``Verifier.open("face", ..., on_decision=DriftLog("door.jsonl"))``
writes scores and outcomes (no media, no templates, no names), and ``monitor("door.jsonl").advice`` says whether
live scores still look like those of the calibration. Against a report instead of the log's own beginning:

>>> from verify.engine import baseline_from_facts, monitor
>>> def still_the_same():
...     from verify.report.facts import read_facts
...     normal = baseline_from_facts(read_facts("report.json"), name="report.json")
...     found = monitor("door.jsonl", baseline=normal)
...     return found.judged and not found.alarmed
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from verify.engine.bulk import BulkItem, BulkResult, by_kind, enroll_many, read_bulk
from verify.engine.thresholds import DEFAULT_TARGET_FMR, DEFAULT_TARGET_FPIR, LOOSEST_DEFAULT_FMR, Judge
from verify.engine.verifier import Verifier

if TYPE_CHECKING:
    from verify.engine.baseline import Baseline, baseline_from_facts, baseline_from_histogram
    from verify.engine.drift_log import DriftLog, read_drift_log
    from verify.engine.drift_monitor import DriftReport, monitor
    from verify.engine.fusion import FusedVerifier

# What only some applications need is loaded on first use.
_HOMES = {
    "Baseline": "verify.engine.baseline",
    "DriftLog": "verify.engine.drift_log",
    "DriftReport": "verify.engine.drift_monitor",
    "FusedVerifier": "verify.engine.fusion",
    "baseline_from_facts": "verify.engine.baseline",
    "baseline_from_histogram": "verify.engine.baseline",
    "monitor": "verify.engine.drift_monitor",
    "read_drift_log": "verify.engine.drift_log",
}

__all__ = [
    "DEFAULT_TARGET_FMR",
    "DEFAULT_TARGET_FPIR",
    "LOOSEST_DEFAULT_FMR",
    "Baseline",
    "BulkItem",
    "BulkResult",
    "DriftLog",
    "DriftReport",
    "FusedVerifier",
    "Judge",
    "Verifier",
    "baseline_from_facts",
    "baseline_from_histogram",
    "by_kind",
    "enroll_many",
    "monitor",
    "read_bulk",
    "read_drift_log",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'verify.engine' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(home), name)
