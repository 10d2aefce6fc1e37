"""Facts of a report on disk: read with every field checked, written in full or not at all.

There is no hash inside the file: whoever edits a number could edit the hash beside it. `facts_sha256` names a
state of the facts; the page prints it, so that a sheet of paper can be held against its file.
"""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from verify.atomic import write_file
from verify.errors import FactsError
from verify.facts import SCHEMA, CalibrationFacts
from verify.report.schema import check

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

# Facts are binned: a real file has some hundred kilobytes.
MAX_BYTES = 32 << 20
# JSON files of verify that are no report, by a field that only they have
_OTHER_KINDS = {
    "points": "a file of operating points",
    "model_id": "a model card",
    "message": "a command's error",
}
_MAKE = "write it again with `verify calibrate` or `verify evaluate`"


def read_facts(path: str | os.PathLike[str]) -> CalibrationFacts:
    """Read the facts that `verify calibrate` or `verify evaluate` wrote.

    Args:
        path: a JSON file, UTF-8, at most 32 MiB.

    Returns:
        The facts, every field of the contract there and of its type, no number NaN or infinite.

    Raises:
        FactsError: missing, too large, no JSON, cut short, of another schema, or a field at fault (named).
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if not path.is_file():
            _fail(path, "is not a file: name the JSON report that `verify calibrate` wrote")
        if size > MAX_BYTES:
            _fail(path, f"has {size:,} bytes; facts have at most {MAX_BYTES:,}: this is not a report's JSON")
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        _fail(path, "is not there: name the JSON report that `verify calibrate` wrote")
    except UnicodeDecodeError as error:
        _fail(path, f"is not UTF-8 text (byte {error.start:,}): {_MAKE}")
    except OSError as error:
        _fail(path, f"cannot be read: {error.strerror or error}")
    return checked_facts(_parsed(text, path), name=str(path))


def write_facts(path: str | os.PathLike[str], facts: CalibrationFacts) -> None:
    """Write facts as JSON, in full or not at all.

    Raises:
        FactsError: the facts do not keep the contract (nothing is written).
        StorageError: the disk is full or read-only, or the folder is not there.
    """
    checked_facts(facts, name=str(path))
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, indent=1)
    if len(text) > MAX_BYTES:
        _fail(Path(path), f"would have {len(text):,} characters; facts have at most {MAX_BYTES:,} bytes")
    write_text(path, text + "\n")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in full or not at all.

    Raises:
        StorageError: the disk is full or read-only, or the folder is not there.
    """
    write_file(Path(path), text.encode("utf-8", errors="replace"))


def checked_facts(value: Any, *, name: str = "facts") -> CalibrationFacts:
    """Hold a JSON value against the contract, field by field and field against field.

    Raises:
        FactsError: naming the field, its value and what was expected.
    """
    if not isinstance(value, dict):
        msg = f"{name}: no facts of a report (a JSON {type(value).__name__}); {_MAKE}"
        raise FactsError(msg)
    other = _other_kind(value)
    if other:
        msg = (
            f"{name} is {other}, not the facts of a report: name the JSON that lies beside the report's page"
        )
        raise FactsError(msg)
    if "schema" not in value:
        msg = f"{name}: no facts of a report (there is no field `schema`); {_MAKE}"
        raise FactsError(msg)
    schema = value["schema"]
    if isinstance(schema, int) and schema > SCHEMA:
        msg = f"{name}: schema {schema} is of a later version of verify, this one reads schema {SCHEMA}: upgrade verify"
        raise FactsError(msg)
    try:
        check(value)
        facts = cast(CalibrationFacts, value)
        _check_curve(facts)
        _check_histogram(facts)
        _check_reliability(facts)
    except FactsError as error:
        msg = f"{name}: {error}; {_MAKE}"
        raise FactsError(msg) from None
    except RecursionError:
        msg = f"{name}: nested too deeply to be a report; {_MAKE}"
        raise FactsError(msg) from None
    return facts


def _other_kind(value: dict[str, Any]) -> str:
    """Which other kind of verify's JSON files this is; empty if none, or facts."""
    if "verdicts" in value:
        return ""
    return next((what for field, what in _OTHER_KINDS.items() if field in value), "")


def facts_sha256(facts: CalibrationFacts) -> str:
    """Hex hash over the facts as JSON with sorted keys and no spaces, whatever the file's layout is."""
    text = json.dumps(facts, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_doubles)
    except json.JSONDecodeError as error:
        where = (
            "it is cut short" if error.pos >= len(text.rstrip()) - 1 else f"line {error.lineno}: {error.msg}"
        )
        _fail(path, f"is not JSON ({where}): {_MAKE}")
    except RecursionError:
        _fail(path, f"is nested too deeply to be a report: {_MAKE}")
    except ValueError as error:  # from the two hooks below, and numbers of thousands of digits
        _fail(path, f"is not JSON as verify writes it ({error}): {_MAKE}")


def _no_constant(word: str) -> NoReturn:
    msg = f"{word} stands where a number or null must"
    raise ValueError(msg)


def _no_doubles(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        msg = f"the field {double[:60]!r} stands twice in one object"
        raise ValueError(msg)
    return found


def _fail(path: Path, what: str) -> NoReturn:
    msg = f"{path} {what}"
    raise FactsError(msg)


def _check_curve(facts: CalibrationFacts) -> None:
    curve = facts["curve"]
    length = len(curve["thresholds"])
    for name, values in curve.items():
        items = cast(list[float], values)
        if len(items) != length:
            msg = f"curve.{name} has {len(items)} values, curve.thresholds has {length}: they belong together"
            raise FactsError(msg)
        if name != "thresholds" and any(not 0 <= item <= 1 for item in items):
            msg = f"curve.{name} holds a rate outside [0, 1]"
            raise FactsError(msg)
    if not _rises(curve["thresholds"]):
        msg = "curve.thresholds do not rise from each to the next"
        raise FactsError(msg)


def _check_histogram(facts: CalibrationFacts) -> None:
    histogram = facts["histogram"]
    bins = max(0, len(histogram["edges"]) - 1)
    for name, counts in (("mated", histogram["mated"]), ("non_mated", histogram["non_mated"])):
        if len(counts) != bins:
            msg = f"histogram.{name} has {len(counts)} counts for {bins} bins"
            raise FactsError(msg)
        if any(count < 0 for count in counts):
            msg = f"histogram.{name} holds a negative count"
            raise FactsError(msg)
    if not _rises(histogram["edges"]):
        msg = "histogram.edges do not rise from each to the next"
        raise FactsError(msg)


def _check_reliability(facts: CalibrationFacts) -> None:
    if facts["evidence"] is None:
        return
    bins = facts["evidence"]["reliability"]
    if not len(bins["llr_predicted"]) == len(bins["llr_seen"]) == len(bins["trials"]):
        msg = "evidence.reliability: llr_predicted, llr_seen and trials differ in length"
        raise FactsError(msg)


def _rises(values: Sequence[float]) -> bool:
    return all(low < high for low, high in pairwise(values))
