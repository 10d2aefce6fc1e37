"""What is fitted sees calibration subjects only; cohorts, searches and norms are what they are said to be."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.evaluation.people import PeopleCapturer, write_people
from verify.data.splits import part_of
from verify.errors import DataError
from verify.evaluation import searching
from verify.evaluation.facts_of import calibration_facts
from verify.evaluation.fused_job import run_fused_calibration
from verify.evaluation.job import Method, calibrate_scores, run_calibration
from verify.evaluation.sources import TrialBlock
from verify.evaluation.spaces import NormalisedSource
from verify.evaluation.targets import Kind, Target
from verify.evaluation.verdicts import verdict_of
from verify.metrics.normalisation import CohortStats
from verify.score_space import ScoreNorm, ScoreSpace
from verify.types import Reason


class Noisier(PeopleCapturer):
    """The subjects of one half have noisier captures."""

    def __init__(self, half: str | None) -> None:
        super().__init__()
        self.half = half

    def _capture(self, path):
        self.noise = 2.5 if part_of(path.parent.name, seed=0) == self.half else 1.0
        return super()._capture(path)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("data") / "people", subjects=60, samples=3)


def run(*folders: Path, capturer=None, targets=(0.2,), cohort=None, **method: Any):
    return run_calibration(
        capturer or PeopleCapturer(),
        folders,
        targets=targets,
        method=Method(**{"bound": "population", **method}),
        cohort=cohort,
        keep_cache=False,
    )


def test_the_map_to_evidence_sees_calibration_subjects_only(people):
    maps = {
        half: run(people, capturer=Noisier(half)).spaces.recipe.llr for half in (None, "test", "calibration")
    }
    assert maps["test"] == maps[None]
    assert maps["calibration"] != maps[None]


def test_a_fusion_sees_calibration_subjects_only(people):
    fusions = {}
    for half in (None, "test", "calibration"):
        capturers = [Noisier(half), Noisier(None)]
        capturers[1].model_id = "cd" * 32
        job = run_fused_calibration(
            capturers, [people], targets=[0.2], method=Method(bound="population"), keep_cache=False
        )
        fusions[half] = job.calibration.points[0].fusion
    assert fusions["test"] == fusions[None]
    assert fusions["calibration"] != fusions[None]


@pytest.fixture
def second(tmp_path):
    """People of their own."""
    root = write_people(tmp_path / "second", subjects=20, samples=2)
    for folder in sorted(root.iterdir()):
        for file in folder.iterdir():
            file.write_text(file.read_text().replace(":", "555:"))
        folder.rename(folder.with_name(f"other{folder.name}"))
    return root


@pytest.mark.parametrize("name", ["otherperson003", "OtherPerson003", " otherperson003"])
def test_a_cohort_is_held_against_every_set_and_in_every_spelling(people, second, tmp_path, name):
    cohort = tmp_path / "cohort"
    for k, folder in enumerate((name, "stranger1", "stranger2")):
        (cohort / folder).mkdir(parents=True)
        (cohort / folder / "a.jpg").write_text(f"{k}888:0")
    with pytest.raises(DataError, match="1 of its subjects are in second too"):
        run(people, second, cohort=cohort, norm="s")


def test_a_cohorts_files_are_held_against_every_set(people, second, tmp_path):
    cohort = tmp_path / "cohort" / "stranger"
    cohort.mkdir(parents=True)
    (cohort / "a.jpg").write_bytes((second / "otherperson003" / "1.jpg").read_bytes())
    with pytest.raises(DataError, match=r"same file as 1\.jpg of otherperson003 in second"):
        run(people, second, cohort=cohort.parent, norm="s")


def test_a_subject_who_does_not_come_first_is_missed_at_every_threshold(monkeypatch, people):
    (one,) = run(people).calibration.sets

    def found(*_: object, **__: object):
        return SimpleNamespace(
            mated_rank=np.array([1, 2, 1]),
            mated_score=np.array([0.9, 0.8, 0.7]),
            mated_subject=np.array([0, 1, 2]),
            best_non_mated=np.array([0.1, 0.2]),
            probe_subject=np.array([0, 1]),
            nearest_subject=np.array([1, 2]),
        )

    monkeypatch.setattr(searching, "search_scores", found)
    side = searching.as_searches(one, gallery_size=2, seed=0).test
    assert side.mated.tolist() == [0.9, -1.0, 0.7]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (ScoreSpace.Z_NORM, (0.5 - 0.1) / 0.2),
        (ScoreSpace.T_NORM, (0.5 - 0.3) / 0.5),
        (ScoreSpace.S_NORM, 0.5 * ((0.5 - 0.1) / 0.2 + (0.5 - 0.3) / 0.5)),
        (ScoreSpace.AS_NORM, 0.5 * ((0.5 - 0.1) / 0.2 + (0.5 - 0.3) / 0.5)),
    ],
)
def test_each_side_is_normalised_by_its_own_standing_among_strangers(people, method, expected):
    (one,) = run(people).calibration.sets
    block = TrialBlock(
        score=np.array([0.5]), mated=np.array([False]), subject_a=np.array([0], np.int32),
        subject_b=np.array([1], np.int32), attempt_a=np.array([0], np.int32), attempt_b=np.array([1], np.int32),
    )  # fmt: skip

    class Single:
        def __getattr__(self, name) -> Any:
            return getattr(one.source, name)

        def blocks(self, *_: object, **__: object):
            yield block

    stats = CohortStats(mean=np.array([0.1, 0.3]), std=np.array([0.2, 0.5]))
    norm = ScoreNorm(method=method, cohort_sha256="0" * 64, cohort_size=9, top_k=0)
    source = NormalisedSource(Single(), norm=norm, stats=stats)
    (made,) = source.blocks(np.ones(60, dtype=bool))
    assert made.score[0] == pytest.approx(expected)


def scores_with_lengths(path, *, bad: bool, prefix: str = "s"):
    """100 subjects; half of the mated trials of test subjects are of captures too short to have been calibrated."""
    rng = np.random.default_rng(5)
    names = [f"{prefix}{i}" for i in range(100)]
    rows = ["score,mated,subject_a,subject_b,len_a,len_b"]
    for i, one in enumerate(names):
        for k in range(4):
            short = bad and part_of(one, seed=0) == "test" and k < 2
            length = 0.5 if short else rng.uniform(2, 9)
            mean = 0 if short else 5
            rows.append(f"{rng.normal(mean, 1):.6f},1,{one},{one},{length:.3f},{rng.uniform(3, 9):.3f}")
        rows += [
            f"{rng.normal(0, 1):.6f},0,{one},{other},{rng.uniform(2, 9):.3f},{rng.uniform(2, 9):.3f}"
            for other in names[i + 1 :]
        ]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_trials_that_a_map_says_nothing_about_are_counted_and_said(tmp_path):
    file = scores_with_lengths(tmp_path / "short.csv", bad=True)
    targets = [0.2, Target(Kind.FRR, 0.3)]
    job = calibrate_scores([file], targets=targets, method=Method(bound="population", quality=("len",)))
    (one,) = job.calibration.sets
    left_out = job.spaces.raw[0].test.mated.size - one.test.mated.size
    assert left_out >= 80
    assert one.test.mated_left_out.size == left_out
    assert any(f"{left_out} of" in warning and "test trials" in warning for warning in one.source.warnings)
    facts = calibration_facts(job, title="t", command="c", created_at=datetime.now(UTC))
    (of_set,) = facts["sets"]
    assert of_set["test"]["failures_to_acquire"] == {str(Reason.OUTSIDE_CALIBRATED_RANGE): left_out}
    assert of_set["test"]["fta"]["errors"] == left_out
    assert any("test trials" in warning for warning in of_set["warnings"])
    by = {point.asked_kind: point for point in job.calibration.points}
    assert verdict_of(by["fmr"])["frr"] > 0.45
    assert verdict_of(by["frr"])["verdict"] == "FAIL"
    assert job.calibration.points[0].data["sets"][0]["test"]["attempts"] == one.test.mated.size + left_out
    fine = scores_with_lengths(tmp_path / "fine.csv", bad=False)
    job = calibrate_scores([fine], targets=targets, method=Method(bound="population", quality=("len",)))
    assert not job.calibration.sets[0].test.mated_left_out.size or job.calibration.sets[0].source.warnings


def test_a_small_set_that_proves_nothing_alone_is_noted(people, tmp_path):
    few = write_people(tmp_path / "few", subjects=8, samples=2)
    job = run(people, few, targets=(2e-2,))
    assert job.calibration.points[0].data["too_small_alone"] == ["few"]
    notes = calibration_facts(job, title="t", command="c", created_at=datetime.now(UTC))["notes"]
    assert any("FMR 0.02: few alone could not support it" in note for note in notes)


@pytest.mark.parametrize("prefix", ["s", "t"])  # the same people, or others
def test_left_out_trials_of_several_sets_are_pooled(tmp_path, prefix):
    files = [
        scores_with_lengths(tmp_path / "one.csv", bad=True),
        scores_with_lengths(tmp_path / "other.csv", bad=True, prefix=prefix),
    ]
    job = calibrate_scores(files, targets=[0.2], method=Method(bound="population", quality=("len",)))
    left = [each.test.mated_left_out.size for each in job.calibration.sets]
    pooled = job.calibration.whole.test
    assert pooled.mated_left_out.size == sum(left)
    assert min(left) > 0
    assert pooled.among[pooled.mated_left_out].all()
    assert len(pooled.subjects) == (100 if prefix == "s" else 200)
