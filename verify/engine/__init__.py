"""The engine that access-control applications embed: enrol, match, identify, compare."""

from verify.engine.bulk import BulkItem, BulkResult, by_kind, enroll_many, read_bulk
from verify.engine.thresholds import DEFAULT_TARGET_FMR, DEFAULT_TARGET_FPIR, Judge
from verify.engine.verifier import Verifier

__all__ = [
    "DEFAULT_TARGET_FMR",
    "DEFAULT_TARGET_FPIR",
    "BulkItem",
    "BulkResult",
    "Judge",
    "Verifier",
    "by_kind",
    "enroll_many",
    "read_bulk",
]
