"""Targets of every kind, cohorts, quality, several attempts, searches and score files, end to end on made-up people."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.people import MODEL_ID, PeopleCapturer, write_people
from verify.errors import DataError, InsufficientTrialsError, ScoreError, UsageError
from verify.evaluation.facts_of import calibration_facts
from verify.evaluation.job import Method, calibrate_scores, run_calibration
from verify.evaluation.mated_thresholds import choose_for_fnmr
from verify.evaluation.prepare import prepare
from verify.evaluation.spaces import InRangeSource
from verify.evaluation.targets import Kind, Target, checked_targets
from verify.evaluation.thresholds import ChosenThreshold
from verify.evaluation.verdicts import measured, verdict_of
from verify.metrics import mated_rate
from verify.metrics.evidence import llr_of
from verify.models.operating_points import read_operating_points, write_operating_points
from verify.report.schema import check
from verify.score_space import ScoreSpace
from verify.types import Quality, Reason


class Measured(PeopleCapturer):
    """Captures with a sharpness; the blurred ones are noisier."""

    def _capture(self, path):
        text = path.read_text()
        self.noise = 1.0 if text.startswith("nobody") or int(text.split(":")[1]) % 2 else 2.0
        capture = super()._capture(path)
        return dataclasses.replace(capture, quality=Quality({"sharpness": 0.9 if self.noise == 1.0 else 0.3}))


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("data") / "people", subjects=80, samples=4, failing=6)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    folder = write_people(tmp_path_factory.mktemp("cohort") / "strangers", subjects=60, samples=2)
    for file in folder.rglob("*.jpg"):
        file.write_text(file.read_text().replace(":", "999:"))
    for person in sorted(folder.iterdir()):
        person.rename(person.with_name(f"stranger{person.name}"))
    return folder


def run(*folders: Path, targets=(0.1,), capturer=None, cohort=None, trials="auto", **method: Any):
    return run_calibration(
        capturer or PeopleCapturer(),
        folders,
        targets=targets,
        method=Method(**method),
        cohort=cohort,
        trials=trials,
        keep_cache=False,
    )


def facts_of(job):
    facts = calibration_facts(job, title="t", command="c", created_at=datetime.now(UTC))
    json.dumps(facts, allow_nan=False)
    check(facts)
    return facts


def test_a_far_leaves_room_for_failed_captures_and_an_frr_takes_them_in(people):
    far, fmr = Target(Kind.FAR, 0.05), Target(Kind.FMR, 0.05)
    frr, fnmr = Target(Kind.FRR, 0.3), Target(Kind.FNMR, 0.3)
    by = {p.asked_kind: p for p in run(people, targets=(far, fmr, frr, fnmr)).calibration.points}
    assert set(by) == {"far", "fmr", "frr", "fnmr"}
    assert by["far"].threshold <= by["fmr"].threshold
    assert by["frr"].threshold <= by["fnmr"].threshold
    for point in by.values():
        assert verdict_of(point)["verdict"] == "PASS"
    fta = by["far"].data["measured"]["people"]["fta"]
    share = fta["errors"] / fta["trials"]
    assert share > 0
    assert measured(by["far"]) == pytest.approx(by["far"].fmr.value * (1 - share))
    assert measured(by["frr"]) == pytest.approx(share + by["frr"].fnmr.value * (1 - share))
    assert by["fnmr"].target_fmr == by["fnmr"].calibration_fmr.upper


def test_failures_alone_can_rule_an_frr_out(people):
    job = run(people, targets=(0.1, Target(Kind.FRR, 0.01)))
    assert "failures to acquire alone" in job.calibration.unsupported[Target(Kind.FRR, 0.01)]


@pytest.mark.parametrize("bound", ["population", "prediction"])
def test_the_largest_threshold_whose_fnmr_bound_holds(people, bound):
    side = run(people).calibration.whole.calibration
    choice = choose_for_fnmr(side, 0.2, confidence=0.95, bound=bound)
    assert isinstance(choice, ChosenThreshold)
    assert choice.rate.upper <= 0.2

    def upper(threshold):
        return mated_rate(
            mated=side.mated, subject=side.mated_subject, threshold=threshold, bound=bound
        ).upper

    higher = np.unique(side.mated[side.mated > choice.threshold])
    assert upper(float(higher[0])) > 0.2
    assert choice.rate.upper == upper(choice.threshold)
    missing = choose_for_fnmr(side, 1e-4, confidence=0.95, bound=bound)
    assert isinstance(missing, InsufficientTrialsError)
    assert "cannot support FNMR 0.0001" in str(missing)


def test_the_prediction_bound_asks_for_more_and_says_so(people):
    points = {b: run(people, bound=b).calibration.points[0] for b in ("population", "prediction")}
    assert points["prediction"].threshold > points["population"].threshold
    assert points["prediction"].calibration_fmr.bound.endswith("-prediction")
    assert "further people" in points["prediction"].data["claim"]
    assert not points["population"].calibration_fmr.bound.endswith("-prediction")
    assert "further people" not in points["population"].data["claim"]


@pytest.mark.parametrize(
    ("targets", "mode", "problem"),
    [
        ((), "1:1", "there is no target"),
        ((Target(Kind.FPIR, 0.1),), "1:1", "needs --mode 1:N"),
        ((Target(Kind.FAR, 0.1),), "1:N", "needs --mode 1:1"),
        ((float("nan"),), "1:1", r"inside \(0, 1\)"),
        ((1.0,), "1:N", r"target FPIRs must lie inside \(0, 1\)"),
    ],
)
def test_targets_that_cannot_be(targets, mode, problem):
    with pytest.raises(UsageError, match=problem):
        checked_targets(targets, mode=mode)


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        ({"bound": "guess"}, "bound must be one of"),
        ({"norm": "x"}, "norm must be one of"),
        ({"norm": "z"}, "needs a cohort"),
        ({"attempts": 0}, "attempts must be at least 1"),
        ({"mode": "1:N"}, "goes with --gallery-size"),
        ({"gallery_size": 5}, "goes with --gallery-size"),
        ({"mode": "1:N", "gallery_size": 5, "attempts": 2}, "leave --norm"),
        ({"quality": ("beauty",)}, "no capture has the quality measure 'beauty'"),
        ({"groups": ("age",), "targets": None}, "no data has the group column 'age'"),
    ],
)
def test_methods_that_cannot_be(people, method, problem):
    asked = {key: value for key, value in method.items() if key != "targets"}
    with pytest.raises(UsageError, match=problem):
        facts_of(run(people, **asked))


@pytest.mark.parametrize("norm", ["z", "t", "s", "as"])
def test_scores_normalised_by_strangers_are_a_space_of_their_own(people, strangers, norm, tmp_path):
    job = run(people, cohort=strangers, norm=norm)
    (point,) = job.calibration.points
    assert point.score_space == f"{norm}-norm"
    assert point.norm == job.cohort.norm
    assert point.norm.cohort_size == 60
    assert point.norm.top_k == (60 if norm == "as" else 0)
    assert point.llr.norm == point.norm
    assert point.threshold > 1.0  # standard deviations, not a cosine
    assert point.fmr.value <= 0.1
    write_operating_points(tmp_path / "points.json", job.calibration.points)
    assert read_operating_points(tmp_path / "points.json") == job.calibration.points
    facts = facts_of(job)
    assert facts["norm"]["cohort_sha256"] == point.norm.cohort_sha256
    assert facts["score_space"] == f"{norm}-norm"


def test_a_cohort_is_of_strangers(people, strangers, tmp_path):
    named = write_people(tmp_path / "named", subjects=3, samples=1)
    (named / "person000").rename(named / "Person000 ")
    with pytest.raises(DataError, match="3 of its subjects are in people too"):
        run(people, cohort=named, norm="s")
    copied = tmp_path / "copied" / "nobody-knows"
    copied.mkdir(parents=True)
    (copied / "1.jpg").write_bytes((people / "person004" / "2.jpg").read_bytes())
    with pytest.raises(DataError, match=r"1\.jpg of nobody-knows is the same file as 2\.jpg of person004"):
        run(people, cohort=copied.parent, norm="s")
    with pytest.raises(UsageError, match="--top-k is for --norm as only"):
        run(people, cohort=strangers, norm="s", top_k=5)


def test_quality_enters_the_evidence(people):
    plain, aware = (run(people, capturer=Measured(), quality=quality) for quality in (None, ("sharpness",)))
    (one,), (other,) = plain.calibration.points, aware.calibration.points
    assert one.score_space == "cosine"
    assert one.llr is not None
    assert not one.llr.terms
    assert other.score_space == "llr"
    assert [term.measure for term in other.llr.terms] == ["sharpness"]
    assert other.norm is None
    assert other.fnmr.value < one.fnmr.value
    side = aware.calibration.whole.test
    raw = aware.spaces.raw[0].test
    assert side.mated.size == raw.mated.size
    strata = {one["measure"]: one["strata"] for one in facts_of(aware)["strata"]}["sharpness"]
    assert any(stratum["fnmr_constant"] for stratum in strata)


def test_captures_below_the_calibrated_range_have_failed(people):
    class Darker(Measured):
        """Some test subjects have one capture with less quality than any calibration subject."""

        def _capture(self, path):
            capture = super()._capture(path)
            low = path.parent.name in worse and path.stem == "0"
            return dataclasses.replace(capture, quality=Quality({"sharpness": 0.1})) if low else capture

    worse: set[str] = set()
    test = run(people, capturer=Measured()).calibration.sets[0].split.subjects("test")
    worse.update(test[:5])
    job = run(people, capturer=Darker(), quality=("sharpness",))
    (data,) = job.calibration.points[0].data["sets"]
    assert data["test"]["failures_to_acquire"][str(Reason.OUTSIDE_CALIBRATED_RANGE)] == 5
    assert str(Reason.OUTSIDE_CALIBRATED_RANGE) not in data["calibration"]["failures_to_acquire"]
    assert data["test"]["attempts"] == data["test"]["samples"] + sum(
        data["test"]["failures_to_acquire"].values()
    )


def test_several_attempts_are_measured_per_transaction(people):
    (one,), (three,) = (run(people, attempts=k).calibration.points for k in (1, 3))
    assert three.attempts == 3
    assert three.threshold > one.threshold
    assert three.fnmr.value < one.fnmr.value
    job = run(people, attempts=3)
    side = job.calibration.whole.test
    assert side.mated.size == side.samples_seen  # four samples: one transaction of the three others each
    facts = facts_of(job)
    assert facts["attempts"] == 3
    assert any("independent" in note for note in facts["notes"])


def test_searches_are_measured_at_their_gallery_size(people, tmp_path):
    few, many = (run(people, mode="1:N", gallery_size=size).calibration.points[0] for size in (2, 25))
    assert (few.mode, few.gallery_size, few.asked_kind) == ("1:N", 2, "fpir")
    assert many.threshold > few.threshold
    job = run(people, mode="1:N", gallery_size=25, targets=(0.2, Target(Kind.FNIR, 0.3)))
    write_operating_points(tmp_path / "points.json", job.calibration.points)
    assert facts_of(job)["gallery_size"] == 25
    assert [verdict_of(point)["verdict"] for point in job.calibration.points] == ["PASS", "PASS"]
    with pytest.raises(InsufficientTrialsError, match="people, calibration subjects: a gallery of 70"):
        run(people, mode="1:N", gallery_size=70)


def test_beyond_the_trials_only_what_is_asked_for_and_says_so(people, tmp_path):
    assert not run(people, targets=(0.1, 1e-3)).calibration.points[0].extrapolated
    job = run(people, targets=(0.1, 1e-3), extrapolate=True)
    loose, strict = job.calibration.points
    assert (loose.extrapolated, strict.extrapolated) == (False, True)
    assert strict.threshold > loose.threshold
    assert strict.target_fmr == 1e-3
    assert strict.calibration_fmr.upper > 1e-3  # the trials alone do not support it
    assert "EXTRAPOLATED" in verdict_of(strict)["message"]
    assert "promised" not in verdict_of(strict)["message"].replace("nothing is promised", "")
    write_operating_points(tmp_path / "points.json", job.calibration.points)
    assert read_operating_points(tmp_path / "points.json")[1].extrapolated
    supports = {rung["support"] for rung in facts_of(job)["ladder"]}
    assert "extrapolated" in supports
    far = run(people, targets=(0.1, 1e-9), extrapolate=True).calibration.unsupported
    assert "not even EXTRAPOLATED" in next(iter(far.values()))


def score_file(path, *, subjects=40, samples=3, shift=0.0, constant=False, scale=100.0):
    rng = np.random.default_rng(3)
    effect = rng.standard_normal(subjects)
    rows = ["score,mated,subject_a,subject_b"]
    for i in range(subjects):
        for j in range(i, subjects):
            for _ in range(samples):
                score = scale * (
                    (3 + shift if i == j else 0.2 * (effect[i] + effect[j])) + rng.standard_normal()
                )
                rows.append(f"{1.0 if constant else score:.4f},{int(i == j)},p{i},p{j}")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_scores_alone_need_no_model(tmp_path):
    job = calibrate_scores([score_file(tmp_path / "rival.csv")], targets=[0.1], model_id="rival 1.2")
    (point,) = job.calibration.points
    assert point.score_space == ScoreSpace.FOREIGN
    assert point.name == "scores-fmr-1e-1"
    assert point.threshold > 1.0
    assert point.model_id != MODEL_ID
    assert (
        point.model_id
        != calibrate_scores([tmp_path / "rival.csv"], targets=[0.1]).calibration.points[0].model_id
    )
    llrs = llr_of(point.llr, job.calibration.whole.test.mated)
    assert np.median(llrs) > 1
    write_operating_points(tmp_path / "points.json", job.calibration.points)
    assert read_operating_points(tmp_path / "points.json") == job.calibration.points
    facts = facts_of(job)
    assert facts["model"] == {}
    assert facts["sets"][0]["kind"] == "score file"
    for method in ({"attempts": 2}, {"mode": "1:N", "gallery_size": 2}):
        with pytest.raises(UsageError):
            calibrate_scores([tmp_path / "rival.csv"], targets=[0.1], method=Method(**method))


def test_scores_that_say_nothing_are_refused(tmp_path):
    with pytest.raises(ScoreError):
        calibrate_scores([score_file(tmp_path / "same.csv", constant=True)], targets=[0.1])
    with pytest.raises(ScoreError):
        calibrate_scores([score_file(tmp_path / "upside.csv", shift=-9)], targets=[0.1])


def test_facts_name_everything_that_they_hold_for(people):
    job = run(people, targets=(0.1, 1e-6))
    facts = facts_of(job)
    assert [verdict["verdict"] for verdict in facts["verdicts"]] == ["PASS", "INSUFFICIENT DATA"]
    (one,) = facts["sets"]
    assert one["disjoint"]
    assert one["cross_trials_dropped"] == job.calibration.sets[0].calibration.samples_seen * (
        job.calibration.sets[0].test.samples_seen
    )
    assert len(one["data_sha256"]) == len(one["split_sha256"]) == 64
    assert [rung["support"] for rung in facts["ladder"]] == ["supported"] * 2 + ["insufficient"] * 4
    assert facts["bound"] == "prediction"
    assert facts["dependence"]["pairs"] is not None
    assert facts["presentation_attacks"].startswith("not measured")


def test_a_constant_threshold_is_measured_on_the_trials_that_have_evidence(people):
    """Captures outside the calibrated range have no llr, and must not make the plain score look worse."""

    class Darker(Measured):
        def _capture(self, path):
            capture = super()._capture(path)
            low = path.parent.name in worse and path.stem == "0"
            return dataclasses.replace(capture, quality=Quality({"sharpness": 0.1})) if low else capture

    worse: set[str] = set()
    test = run(people, capturer=Measured()).calibration.sets[0].split.subjects("test")
    worse.update(test[:15])
    job = run(people, capturer=Darker(), quality=("sharpness",))
    judged, raw = job.spaces.judged[0].test, job.spaces.raw[0].test
    assert judged.mated.size < raw.mated.size
    found = next(one["strata"] for one in facts_of(job)["strata"] if one["measure"] == "sharpness")
    assert sum(stratum["fnmr"]["trials"] for stratum in found) == judged.mated.size
    assert sum(stratum["fnmr_constant"]["trials"] for stratum in found) == judged.mated.size
    mapping = job.spaces.recipe.llr
    constant = InRangeSource(job.spaces.raw[0].source, mapping=mapping)
    side = prepare(constant, raw.among)
    assert (side.mated.size, side.non_mated.trials) == (judged.mated.size, judged.non_mated.trials)


def test_groups_and_measures_of_score_files(tmp_path):
    file = score_file(tmp_path / "rival.csv")
    head, *rows = file.read_text().splitlines()
    rng = np.random.default_rng(1)

    def more(row: str) -> str:
        a, b = (int(name[1:]) for name in row.split(",")[2:])
        return f"{row},{1 + a % 2},{1 + b % 2},{rng.random():.3f},{rng.random():.3f}"

    lines = [f"{head},skin_a,skin_b,light_a,light_b", *map(more, rows)]
    file.write_text("\n".join(lines) + "\n")
    job = calibrate_scores([file], targets=[0.1], method=Method(groups=("skin",)))
    (column,) = facts_of(job)["groups"]
    assert [group["name"] for group in column["groups"]] == ["1", "2"]
    aware = calibrate_scores([file], targets=[0.1], method=Method(groups=("skin",), quality=("light",)))
    assert aware.spaces.recipe.space is ScoreSpace.LLR
    for method in (Method(groups=("age",)), Method(quality=("shade",))):
        with pytest.raises(UsageError, match=r"age|shade"):
            calibrate_scores([file], targets=[0.1], method=method)


def test_a_group_that_nobody_is_in_is_noted(tmp_path):
    file = score_file(tmp_path / "rival.csv")
    head, *rows = file.read_text().splitlines()
    site = [f"{row},{'mixed' if len(set(row.split(',')[2:])) > 1 else 'home'}" for row in rows]
    file.write_text("\n".join([f"{head},site", *site]) + "\n")
    facts = facts_of(calibrate_scores([file], targets=[0.1]))
    assert any("no subject has one label in column 'site'" in note for note in facts["notes"])
    assert any("give site_a and site_b" in warning for warning in facts["sets"][0]["warnings"])


def test_people_of_several_sets_are_one_in_searches_too(people, tmp_path):
    again = write_people(tmp_path / "again", subjects=80, samples=3)
    job = run(people, again, mode="1:N", gallery_size=2, targets=(0.3,))
    whole = job.calibration.whole.calibration
    one, other = (each.calibration for each in job.calibration.sets)
    assert whole.non_mated.trials == one.non_mated.trials + other.non_mated.trials
    assert whole.non_mated.subjects == max(one.non_mated.subjects, other.non_mated.subjects)
    assert whole.mated.size == one.mated.size + other.mated.size
    assert len(whole.subjects) == 80
