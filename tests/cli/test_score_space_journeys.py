"""Decisions in evidence and in normalised scores, from the command line, on real faces."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.cli.runner import Result, Runner
from tests.engine.fakes import point
from verify.models.cohorts import write_cohort
from verify.models.operating_points import write_operating_points
from verify.score_space import Combine, LlrMap, QualityTerm, ScoreNorm, ScoreSpace, Transform

if TYPE_CHECKING:
    from verify.models.bundle import ModelBundle
    from verify.types import OperatingPoint

pytestmark = pytest.mark.models

TERM = QualityTerm("sharpness", Transform.LOG, Combine.MIN, -0.7, 0.4, 0.8, 1.5, 0.01, 10.0)
SLOPE, INTERCEPT = 30.0, -11.0


def by_evidence(bundle: ModelBundle, **changes: Any) -> OperatingPoint:
    term = QualityTerm(**({name: getattr(TERM, name) for name in TERM.__slots__} | changes))
    llr = LlrMap(SLOPE, INTERCEPT, terms=(term,))
    return of_model(bundle, 1e-3, 3.0, name="evidence", score_space="llr", llr=llr)


def of_model(bundle: ModelBundle, target: float, threshold: float, **changes: Any) -> OperatingPoint:
    return point(target, threshold, model_id=bundle.model_id, **changes)


def ladder(home: Path, *points: OperatingPoint) -> tuple[str, Path]:
    write_operating_points(home / "points.json", points)
    return "--operating-points", home / "points.json"


def test_match_in_evidence_uses_the_quality_of_both_captures(
    run: Runner, home: Path, faces: dict[str, Path], face_bundle: ModelBundle
) -> None:
    points = ladder(home, by_evidence(face_bundle))
    enrolled = run("enroll", "anna", faces["anna"], *points, "--json").json
    assert enrolled["findings"] == []
    accept = run("match", "anna", faces["anna again"], *points, "--json")
    assert (accept.code, accept.json["score_space"]) == (0, "llr")
    both = enrolled["added"][0]["quality"], accept.json["probe"]["quality"]["measures"]
    f = (min(np.log(one["sharpness"]) for one in both) + 0.7) / 0.4
    expected = INTERCEPT + 0.8 * f + (SLOPE + 1.5 * f) * accept.json["cosine"]
    assert accept.json["llr"] == accept.json["score"] == pytest.approx(expected, abs=1e-9)
    assert run("match", "anna", faces["bob"], *points).code == 1
    spoken = run("match", "anna", faces["anna again"], *points).out
    assert ": 1 for one subject" in spoken
    assert "log likelihood ratio" in spoken
    searched = run("identify", faces["anna again"], *points, "--json")
    assert (searched.code, searched.json["reason"]) == (3, "no_operating_point")


def test_outside_the_calibrated_range_the_door_stays_shut(
    run: Runner, home: Path, faces: dict[str, Path], face_bundle: ModelBundle
) -> None:
    wide = ladder(home, by_evidence(face_bundle))
    assert run("enroll", "anna", faces["anna"], *wide).code == 0
    narrow = ladder(home, by_evidence(face_bundle, low=9.0))
    refused = run("match", "anna", faces["anna again"], *narrow, "--json")
    assert (refused.code, refused.json["reason"]) == (3, "outside_calibrated_range")
    assert (refused.json["score"], refused.json["llr"]) == (None, None)
    assert "sharpness" in refused.json["message"]
    wide = ladder(home, by_evidence(face_bundle))
    with sqlite3.connect(home / "gallery.db") as db:
        db.execute("UPDATE template SET quality = '{}'")  # as galleries were before measures were kept
    db.close()
    old = run("match", "anna", faces["anna again"], *wide, "--json")
    assert (old.code, old.json["reason"]) == (3, "outside_calibrated_range")
    assert "enrol again" in old.json["message"]


def test_match_in_as_norm_needs_its_cohort_beside_the_points(
    run: Runner, home: Path, faces: dict[str, Path], face_bundle: ModelBundle
) -> None:
    rows = np.random.default_rng(1).normal(size=(60, 128))
    cohort = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    norm = ScoreNorm(ScoreSpace.AS_NORM, write_cohort(home, cohort), 60, top_k=20)
    normed = of_model(face_bundle, 1e-3, 4.0, name="normed", score_space="as-norm", norm=norm)
    points = ladder(home, normed, of_model(face_bundle, 1e-3, 0.4))
    assert run("enroll", "anna", faces["anna"], *points).code == 0
    accept = run("match", "anna", faces["anna again"], *points, "--json")
    assert (accept.code, accept.json["score_space"]) == (0, "as-norm")
    assert accept.json["score"] > 4.0
    assert accept.json["cosine"] < 1.0
    assert run("compare", faces["anna"], faces["bob"], *points).code == 1
    found = run("identify", faces["anna again"], *points, "--json")
    assert (found.code, found.json["operating_point"]["score_space"]) == (0, "cosine")
    by_cosine = run("match", "anna", faces["anna again"], *points, "--point", "face-fmr-0.001", "--json")
    assert by_cosine.json["score"] == by_cosine.json["cosine"] == accept.json["cosine"]
    next(home.glob("cohort-*.npy")).unlink()
    missing = run("match", "anna", faces["anna again"], *points)
    assert missing.code == 5
    assert "cohort-" in missing.err


@pytest.mark.usefixtures("home")
def test_rates_names_and_attempts_at_the_command_line(run: Runner, faces: dict[str, Path]) -> None:
    pair = ("compare", faces["anna"], faces["anna again"])

    def threshold(result: Result) -> float:
        assert result.code in (0, 1), result.out
        return float(result.json["threshold"])

    once = threshold(run(*pair, "--far", "1e-2", "--json"))
    assert once == threshold(run(*pair, "--fmr", "1e-2", "--json"))
    assert threshold(run(*pair, "--far", "1e-2", "--attempts", "3", "--json")) > once
    refused = run(*pair, "--far", "1e-9")
    assert refused.code == 3
    assert "the ladder has FMR" in refused.out
    assert threshold(run(*pair, "--point", "face-fmr-1e-2", "--json")) == once
    unknown = run(*pair, "--point", "face-fmr-7")
    assert unknown.code == 2
    assert "face-fmr-1e-2" in unknown.err


def test_decisions_go_to_the_drift_log_and_a_broken_one_changes_none(
    run: Runner, home: Path, faces: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    pair = ("compare", faces["anna"], faces["anna again"])
    assert run(*pair, "--drift-log", home / "drift.jsonl").code == 0
    (line,) = (home / "drift.jsonl").read_text().splitlines()
    assert json.loads(line)["outcome"] == "accept"
    assert run(*pair, "--drift-log", home / "nowhere" / "drift.jsonl").code == 0
    assert "the decision stands" in caplog.text
