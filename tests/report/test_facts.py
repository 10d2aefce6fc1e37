"""Facts on disk: what is read back is what was written, and whatever is wrong is named by its field."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report import made
from verify.errors import FactsError, StorageError
from verify.report import facts as room
from verify.report.facts import checked_facts, facts_sha256, read_facts, write_facts
from verify.report.schema import json_schema

SCHEMA = Path(room.__file__).with_name("calibration.schema.json")
KINDS = ("full", "failing", "insufficient", "extrapolated", "score_file", "hostile", "crowded")
FULL: Any = made.full()


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document, of lists the first item only."""
    found = [here] if here else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths(item, (*here, key))
    elif isinstance(value, list) and value:
        found += paths(value[0], (*here, 0))
    return found


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    document = copy.deepcopy(document)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read_back(kind, tmp_path) -> None:
    facts = getattr(made, kind)()
    write_facts(tmp_path / "facts.json", facts)
    assert read_facts(tmp_path / "facts.json") == facts
    assert [one.name for one in tmp_path.iterdir()] == ["facts.json"]


def test_published_schema_is_that_of_the_contract() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json_schema()
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("kind", KINDS)
def test_published_schema_takes_all_kinds_of_facts(kind) -> None:
    jsonschema.Draft202012Validator(json_schema()).validate(getattr(made, kind)())


SMALL: Any = made.full() | {"curve": made.curve(3), "histogram": made.histogram(4)}
# the reader checks more of these: lengths and order
PATHS = [p for p in paths(SMALL) if p[0] not in ("curve", "histogram") and "reliability" not in p]
VALIDATOR = jsonschema.Draft202012Validator(json_schema())
ODD = [None, True, -1, 0, 1, 1.5, 10**400, "", "PASS", "text", [], [1], {}, {"x": 1}]


@settings(deadline=None, max_examples=150)
@given(path=st.sampled_from(PATHS), value=st.sampled_from(ODD))
def test_reader_and_published_schema_agree_on_any_change(path, value) -> None:
    changed = put(SMALL, path, value)
    valid = VALIDATOR.is_valid(changed)
    if valid:
        checked_facts(changed)
    else:
        with pytest.raises(FactsError):
            checked_facts(changed)


@settings(deadline=None, max_examples=60)
@given(path=st.sampled_from([p for p in PATHS if isinstance(p[-1], str)]))
def test_missing_fields_are_named(path) -> None:
    changed = copy.deepcopy(SMALL)
    place = changed
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    if VALIDATOR.is_valid(changed):
        return  # a field that may be left out, or a key of a free dictionary
    with pytest.raises(FactsError, match=str(path[-1])):
        checked_facts(changed)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("verdicts", 0, "fmr", "value"), 1.7, r"verdicts\[0\].fmr.value is 1.7: must be at most 1"),
        (("verdicts", 0, "verdict"), "PASSED", r"verdicts\[0\].verdict is PASSED: must be one of PASS, FAIL"),
        (("ladder", 2, "threshold"), "0.4", r"ladder\[2\].threshold is '0.4': must be a number"),
        (("seed",), 1.5, "seed is 1.5: must be a whole number"),
        (("confidence",), 1, "confidence is 1: must be below 1"),
        (("sets", 0, "disjoint"), 1, r"sets\[0\].disjoint is 1: must be true or false"),
        (("model",), None, "model is null: must be an object"),
        (("curve", "fmr"), [0.1], "curve.fmr has 1 values, curve.thresholds has 1001"),
        (("curve", "thresholds"), [0.5] * 1001, "curve.thresholds do not rise"),
        (("curve", "fnmr", 7), 1.2, r"curve.fnmr holds a rate outside \[0, 1\]"),
        (("histogram", "mated"), [1, 2], "histogram.mated has 2 counts for 120 bins"),
        (("histogram", "mated", 0), -2, "histogram.mated holds a negative count"),
        (("evidence", "reliability", "trials"), [1], "evidence.reliability"),
        (
            ("groups", 0, "groups", 0, "fmr"),
            {"value": 0.1},
            r"groups\[0\].groups\[0\].fmr.lower|errors is missing",
        ),
        (("extra",), 1, "extra is not a field of CalibrationFacts"),
        (("curve", "thresholds"), [0.1 * k for k in range(1002)], "must have at most 1,001"),
    ],
)
def test_wrong_fields_are_named_with_value_and_way_out(path, value, named, tmp_path) -> None:
    (tmp_path / "facts.json").write_text(json.dumps(put(FULL, path, value)))
    with pytest.raises(FactsError, match=named) as stop:
        read_facts(tmp_path / "facts.json")
    assert "facts.json" in str(stop.value)
    assert "verify calibrate" in str(stop.value)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(word, tmp_path) -> None:
    text = json.dumps(FULL).replace('"seed": 0', f'"seed": {word}')
    (tmp_path / "facts.json").write_text(text)
    with pytest.raises(FactsError, match=r"NaN|Infinity|seed"):
        read_facts(tmp_path / "facts.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "path", [("verdicts", 0, "fmr", "value"), ("model", "name"), ("curve", "thresholds", 3)]
)
def test_nothing_unfinite_is_written(path, value, tmp_path) -> None:
    with pytest.raises(FactsError):
        write_facts(tmp_path / "facts.json", put(FULL, path, value))
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_short_is_called_that(tmp_path) -> None:
    text = json.dumps(FULL)
    for share in (0.001, 0.2, 0.5, 0.99):
        (tmp_path / "facts.json").write_text(text[: int(len(text) * share)])
        with pytest.raises(FactsError, match="not JSON"):
            read_facts(tmp_path / "facts.json")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"[]", "no facts"),
        (b"{}", "no facts"),
        (b'{"schema": 1}', "kind is missing"),
        (b'{"schema": 7}', "later version"),
        (b'{"schema": 2, "points": [], "sha256": ""}', "is a file of operating points, not the facts"),
        (b'{"schema": 2, "model_id": "", "name": "x"}', "is a model card"),
        (b'{"error": "bad_data", "message": "no"}', "is a command's error"),
        (b'{"schema": "1"}', "schema is '1'"),
        (b'{"schema": 1, "schema": 1}', "twice"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"schema": ' + b"9" * 6000 + b"}", "not JSON as verify writes it"),
    ],
    ids=[
        "empty",
        "binary",
        "list",
        "object",
        "thin",
        "future",
        "points",
        "card",
        "error",
        "text",
        "twice",
        "deep",
        "digits",
    ],
)
def test_files_that_are_no_facts(content, named, tmp_path) -> None:
    (tmp_path / "facts.json").write_bytes(content)
    with pytest.raises(FactsError, match=named):
        read_facts(tmp_path / "facts.json")


def test_deep_free_fields_are_refused_with_a_word() -> None:
    deep: Any = 1
    for _ in range(40_000):
        deep = [deep]
    with pytest.raises(FactsError, match="nested too deeply"):
        checked_facts(FULL | {"norm": {"x": deep}})


def test_a_file_too_large_is_not_read(tmp_path) -> None:
    path = tmp_path / "facts.json"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(FactsError, match="104,857,600 bytes"):
        read_facts(path)


def test_missing_file_and_folder_are_named(tmp_path) -> None:
    with pytest.raises(FactsError, match=r"gone.json is not there"):
        read_facts(tmp_path / "gone.json")
    with pytest.raises(FactsError, match="not a file"):
        read_facts(tmp_path)


def test_writing_to_a_missing_folder_is_a_storage_error(tmp_path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write_facts(tmp_path / "no" / "facts.json", made.full())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    write_facts(tmp_path / "facts.json", made.full())
    before = (tmp_path / "facts.json").read_bytes()

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError, match="No space left"):
        write_facts(tmp_path / "facts.json", made.failing())
    assert (tmp_path / "facts.json").read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["facts.json"]


def test_hash_names_the_content_and_not_the_layout(tmp_path) -> None:
    facts = made.full()
    write_facts(tmp_path / "facts.json", facts)
    (tmp_path / "other.json").write_text(json.dumps(facts, sort_keys=True, separators=(",", ":")))
    same = facts_sha256(read_facts(tmp_path / "facts.json"))
    assert same == facts_sha256(read_facts(tmp_path / "other.json"))
    assert same != facts_sha256(made.failing())
