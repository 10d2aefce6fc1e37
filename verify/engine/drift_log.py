"""The drift log: what live decisions scored, and nothing that tells who it was.

One JSON line a decision, appended in one write, so that several processes may share a file and a killed
process leaves at most a half last line, which readers pass over. No media, no templates, no
subject ids, no file names. Lines are not synced to disk one by one: a power cut may lose the last.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verify.errors import DataError, StorageError
from verify.types import Decision, Identification

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DRIFT_LOG_VARIABLE = "VERIFY_DRIFT_LOG"
VERSION = 1
_CAPTURE_FAILED = "capture_failed"


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """One line.

    Attributes:
        at: UTC.
        kind: ``match`` (a claim to an enrolled subject), ``compare`` or ``identify``.
        outcome: as in the decision.
        score: what was held against the threshold (1:N: of the best candidate); None without.
        expected_fnmr: upper bound of the FNMR that the operating point states; None without one.
        capture_failed: there is no decision because a capture gave no template.
    """

    at: datetime
    kind: str
    modality: str
    model_id: str
    score_space: str
    outcome: str
    reason: str
    score: float | None
    threshold: float | None
    operating_point: str | None
    expected_fnmr: float | None
    capture_failed: bool


class DriftLog:
    """Appends decisions to a file; may itself be given as ``on_decision``. Safe across threads.

    >>> from verify.engine import DriftLog, Verifier
    >>> def at_the_door():
    ...     return Verifier.open("face", gallery="people.db", on_decision=DriftLog("door.drift.jsonl"))

    Args:
        path: the file; made on the first decision, readable by its owner only.
        clock: gives the time, in UTC.
    """

    def __init__(self, path: Path | str, *, clock: Callable[[], datetime] | None = None) -> None:
        self.path = Path(path)
        self._clock = clock or (lambda: datetime.now(UTC))

    def __call__(self, decision: Decision | Identification) -> None:
        """The same as `record`."""
        self.record(decision)

    def record(self, decision: Decision | Identification) -> None:
        """Append one decision.

        Raises:
            StorageError: the file cannot be written.
        """
        line = json.dumps(_line(decision, self._clock()), sort_keys=True, allow_nan=False) + "\n"
        try:
            file = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                os.write(file, line.encode())  # one write: lines of several processes do not mix
            finally:
                os.close(file)
        except OSError as error:
            msg = f"{self.path}: the drift log cannot be written ({error}); name another with --drift-log"
            raise StorageError(msg) from error


def _line(decision: Decision | Identification, now: datetime) -> dict[str, Any]:
    if isinstance(decision, Identification):
        kind = "identify"
        score = decision.candidates[0].score if decision.candidates else None
        failed = decision.probe is not None and decision.probe.failure is not None
        space = decision.operating_point.score_space if decision.operating_point else "cosine"
    else:
        kind = "match" if decision.subject_id is not None else "compare"
        score, space = decision.score, decision.score_space
        captures = (decision.probe, decision.reference)
        failed = any(one is not None and one.failure is not None for one in captures)
    point = decision.operating_point
    return {
        "version": VERSION,
        "at": now.astimezone(UTC).isoformat(timespec="milliseconds"),
        "kind": kind,
        "modality": str(decision.modality),
        "model_id": decision.model_id,
        "score_space": space,
        "outcome": str(decision.outcome),
        "reason": str(decision.reason),
        "score": score,
        "threshold": decision.threshold,
        "operating_point": None if point is None else point.name,
        "expected_fnmr": None if point is None else point.fnmr.upper,
        _CAPTURE_FAILED: failed,
    }


def read_drift_log(path: Path | str) -> Iterator[LoggedDecision]:
    """The decisions of a log, in the order they were written.

    Raises:
        DataError: no such file, or a line other than the last that is no decision; names it.
    """
    path = Path(path)
    if not path.exists():
        msg = f"{path}: no such file; a drift log is written by --drift-log, VERIFY_DRIFT_LOG or `DriftLog`"
        raise DataError(msg)
    try:
        with path.open(encoding="utf-8", errors="strict") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith("\n"):
                    return  # the process that wrote it was killed on the way
                if line.strip():
                    yield _parsed(line, where=f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        msg = f"{path}: cannot be read as a drift log ({why})"
        raise DataError(msg) from error


def _parsed(line: str, *, where: str) -> LoggedDecision:
    try:
        raw = json.loads(line)
        if raw["version"] != VERSION:
            msg = f"{where}: version {raw['version']!r} of the drift log is not known to this verify"
            raise DataError(msg)
        return LoggedDecision(
            at=datetime.fromisoformat(raw["at"]),
            kind=str(raw["kind"]),
            modality=str(raw["modality"]),
            model_id=str(raw["model_id"]),
            score_space=str(raw["score_space"]),
            outcome=str(raw["outcome"]),
            reason=str(raw["reason"]),
            score=_number(raw["score"]),
            threshold=_number(raw["threshold"]),
            operating_point=raw["operating_point"],
            expected_fnmr=_number(raw["expected_fnmr"]),
            capture_failed=bool(raw[_CAPTURE_FAILED]),
        )
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{where}: no decision of a drift log ({type(error).__name__}: {error})"
        raise DataError(msg) from error


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        msg = f"{value!r} is not finite"
        raise ValueError(msg)
    return number
