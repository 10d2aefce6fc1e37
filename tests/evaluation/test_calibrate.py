from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.people import MODEL_ID, PeopleCapturer, write_people
from verify.data.manifest import read_manifest
from verify.data.splits import split_subjects
from verify.errors import InsufficientTrialsError, ManifestError, StorageError, UsageError
from verify.evaluation.cache import EmbeddingCache
from verify.evaluation.calibrate import Recipe, calibrate
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.embeddings import embed_all, limited
from verify.evaluation.job import Method, run_calibration
from verify.evaluation.prepare import POOLED, split_set
from verify.evaluation.targets import Kind, Target, short
from verify.models.operating_points import read_operating_points, write_operating_points


def job_on(*folders: Path, capturer=None, targets=(1e-1, 2e-2), method=None, **options: Any):
    """Calibrate with the population bound unless the method is given."""
    options.setdefault("keep_cache", False)
    options["method"] = Method(bound="population", seed=options.pop("seed", 0)) if method is None else method
    return run_calibration(capturer or PeopleCapturer(), folders, targets=targets, **options)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("data") / "people", subjects=80, samples=4, failing=6)


def test_the_promise_is_kept_on_subjects_who_took_no_part(people, tmp_path):
    job = job_on(people)
    calibration_ids = set(job.calibration.sets[0].split.subjects("calibration"))
    test_ids = set(job.calibration.sets[0].split.subjects("test"))
    assert len(calibration_ids | test_ids) == 80
    assert not calibration_ids & test_ids
    for point, target in zip(job.calibration.points, (1e-1, 2e-2), strict=True):
        assert point.target_fmr == target
        assert point.model_id == MODEL_ID
        assert point.calibration_fmr.upper <= target
        assert point.calibration_fmr.value < target
        assert point.fmr.value <= target
        assert point.fmr.trials == job.calibration.sets[0].test.non_mated.trials
        assert point.fnmr.bound in ("wilson-cluster", "hoeffding-cluster")
    loose, strict = job.calibration.points
    assert strict.threshold > loose.threshold
    assert strict.fnmr.value >= loose.fnmr.value
    write_operating_points(tmp_path / "points.json", job.calibration.points)
    assert [p.threshold for p in read_operating_points(tmp_path / "points.json")] == [
        loose.threshold,
        strict.threshold,
    ]


def test_failures_to_acquire_are_counted_by_reason_and_never_scored(people):
    calibration = job_on(people).calibration
    (one,), (data,) = calibration.sets, calibration.points[0].data["sets"]
    failures = [data[side]["failures_to_acquire"].get("no_face", 0) for side in ("calibration", "test")]
    assert sum(failures) == 6
    assert one.calibration.samples_seen + one.test.samples_seen == 320
    for side in ("calibration", "test"):
        facts = data[side]
        assert facts["attempts"] == facts["samples"] + sum(facts["failures_to_acquire"].values())


def test_the_same_data_and_seed_give_the_same_points(people, tmp_path):
    for name in ("a", "b"):
        write_operating_points(tmp_path / name, job_on(people, seed=3).calibration.points)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    hashes = [
        job_on(people, seed=seed).calibration.points[0].data["sets"][0]["split_sha256"] for seed in (3, 4)
    ]
    assert hashes[0] != hashes[1]


def test_targets_out_of_reach_get_no_point(people):
    job = job_on(people, targets=(2e-2, 1e-7))
    assert [point.target_fmr for point in job.calibration.points] == [2e-2]
    assert job.calibration.points[0].data["too_small_alone"] == []
    assert "cannot support FMR 1e-07" in job.calibration.unsupported[Target(Kind.FMR, 1e-7)]


def test_a_small_hard_set_is_not_hidden_by_a_large_easy_one(people, tmp_path):
    """The same people, but one set's captures all lean towards one direction, so strangers look alike."""

    class Leaning(PeopleCapturer):
        def _capture(self, path):
            capture = super()._capture(path)
            if "hard" in str(path) and capture.template is not None:
                vector = capture.template.vector
                vector += 0.12
                vector /= np.linalg.norm(vector)
            return capture

    hard = write_people(tmp_path / "hard", subjects=90, samples=3)
    for file in hard.rglob("*.jpg"):  # people of their own
        file.write_text(file.read_text().replace(":", "777:"))
    both = job_on(people, hard, capturer=Leaning(), targets=(2e-2,)).calibration
    easy = job_on(people, targets=(2e-2,)).calibration
    (point,) = both.points
    assert point.threshold > easy.points[0].threshold
    asked = point.data["thresholds_asked"]
    assert asked["hard"] > asked["people"] == easy.points[0].threshold
    assert point.threshold == max(asked.values()) == asked[point.data["governed_by"]]
    assert point.data["measured"]["hard"]["fmr"]["errors"] / both.sets[1].test.non_mated.trials <= 2e-2
    assert set(point.data["measured"]) == {POOLED, "people", "hard"}
    measured = point.data["measured"][POOLED]["fmr"]
    assert measured["trials"] == sum(one.test.non_mated.trials for one in both.sets)


def test_a_set_of_one_sample_a_subject_tells_no_fnmr(people, tmp_path):
    singles = tmp_path / "singles"
    singles.mkdir()
    for subject in range(500, 600):
        (singles / f"{subject}.jpg").write_text(f"{subject}:0")
    with pytest.raises(InsufficientTrialsError, match="no test subject has two usable samples"):
        job_on(singles)
    (point,) = job_on(people, singles, targets=(0.05,)).calibration.points
    assert point.data["too_small_alone"] == []
    assert point.data["measured"]["singles"]["fnmr"] is None
    assert point.fnmr.trials > 0


def test_one_or_two_subjects_only(tmp_path):
    capturer = PeopleCapturer()
    with pytest.raises(ManifestError, match="a false match takes two people"):
        job_on(write_people(tmp_path / "one", subjects=1, samples=5), capturer=capturer)
    assert not capturer.captured  # said before the work
    with pytest.raises(InsufficientTrialsError, match="no non-mated trials"):
        job_on(write_people(tmp_path / "two", subjects=2, samples=5))


def test_no_capture_at_all(tmp_path):
    folder = write_people(tmp_path / "few", subjects=3, samples=0, failing=3)
    with pytest.raises(InsufficientTrialsError, match=r"none of 3 files gave a template \(no_face: 3\)"):
        job_on(folder)


@pytest.mark.parametrize("targets", [(), (0.0,), (1.0,), (-1.0,), (float("nan"),)])
def test_targets_that_cannot_be(people, targets):
    with pytest.raises(UsageError, match="target"):
        job_on(people, targets=targets)


@pytest.mark.parametrize("trials", ["none", "0", "-3", "1.5", "²"])
def test_numbers_of_trials_that_cannot_be(people, trials):
    with pytest.raises(UsageError, match="trials must be"):
        job_on(people, trials=trials)


def test_sampled_trials_say_so(people):
    (one,) = job_on(people, trials="5000").calibration.sets
    for part, side in (("calibration", one.calibration), ("test", one.test)):
        assert 4500 < side.non_mated.trials < 5500
        assert one.possible[part] > 5500


def test_sets_of_one_name_are_refused(people):
    embedded = embed_all(PeopleCapturer(), read_manifest(people))
    one = split_set(EmbeddedSource.of(embedded, model_id=MODEL_ID))
    with pytest.raises(UsageError, match="names of their own"):
        calibrate([one, one], recipe=Recipe(MODEL_ID, PeopleCapturer().modality), targets=[0.1])


def test_an_interrupted_run_goes_on_where_it_stopped(people, tmp_path):
    cache = tmp_path / "deep" / "embeddings.db"
    first = PeopleCapturer(interrupt_after=100)
    with pytest.raises(KeyboardInterrupt):
        job_on(people, capturer=first, keep_cache=True, cache=cache)
    second = PeopleCapturer()
    resumed = job_on(people, capturer=second, keep_cache=True, cache=cache)
    assert len(first.captured) == 100
    assert len(second.captured) == 326 - 100
    assert not set(first.captured) & set(second.captured)
    third = PeopleCapturer()
    assert (
        job_on(people, capturer=third, keep_cache=True, cache=cache).calibration.points
        == resumed.calibration.points
    )
    assert third.captured == []
    assert resumed.calibration.points == job_on(people).calibration.points


def test_the_cache_is_private_and_keeps_models_apart(people, tmp_path):
    cache = tmp_path / "embeddings.db"
    job_on(people, keep_cache=True, cache=cache)
    if os.name == "posix":
        assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    other = PeopleCapturer()
    other.model_id = "cd" * 32
    job_on(people, capturer=other, keep_cache=True, cache=cache)
    assert len(other.captured) == 326


def test_a_cache_that_is_none_is_refused(tmp_path):
    file = tmp_path / "embeddings.db"
    file.write_text("this is not SQLite " * 100)
    with pytest.raises(StorageError, match="--no-cache"):
        EmbeddingCache(file)


def test_a_limit_of_samples_takes_the_same_ones_every_time(people):
    entries = read_manifest(people).entries
    two = limited(entries, per_subject=2)
    assert len(two) == 160
    assert {id(entry) for entry in limited(entries, per_subject=1)} <= {id(entry) for entry in two}
    assert limited(entries[::-1], per_subject=2)[::-1] == two


@pytest.mark.parametrize(
    ("rate", "text"), [(1e-3, "1e-3"), (0.1, "1e-1"), (2.5e-4, "2.5e-4"), (0.05, "5e-2")]
)
def test_rates_in_names(rate, text):
    assert short(rate) == text


def test_facts_are_plain_json(people):
    point = job_on(people).calibration.points[0]
    json.dumps(dict(point.data), allow_nan=False)
    assert math.isclose(point.data["thresholds_asked"]["people"], point.threshold)
    split = split_subjects(read_manifest(people).subjects, name="people")
    assert point.data["sets"][0]["split_sha256"] == split.sha256


def test_a_set_too_small_to_ask_for_a_threshold_is_named(people, tmp_path):
    few = write_people(tmp_path / "few", subjects=8, samples=2)
    (point,) = job_on(people, few, targets=(2e-2,)).calibration.points
    assert point.data["too_small_alone"] == ["few"]
    assert "few" in point.data["measured"]
