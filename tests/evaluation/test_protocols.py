"""`verify evaluate` and its protocols, over a capturer without models."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from tests.evaluation.people import MODEL_ID, PeopleCapturer, write_people
from verify.cli import main
from verify.data.manifest import read_manifest
from verify.data.splits import TEST, split_subjects
from verify.errors import InsufficientTrialsError, UsageError
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.embeddings import embed_all
from verify.evaluation.protocols import evaluate
from verify.models.operating_points import write_operating_points
from verify.report.facts import checked_facts, read_facts
from verify.score_space import Combine, LlrMap, QualityTerm, ScoreNorm, ScoreSpace, Transform
from verify.types import Modality, OperatingPoint, Rate

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("data") / "people", subjects=40, samples=4, failing=3)


@pytest.fixture(scope="module")
def source(people):
    embedded = embed_all(PeopleCapturer(), read_manifest(people))
    return EmbeddedSource.of(embedded, model_id=MODEL_ID)


def point(
    threshold: float, *, target: float = 1e-2, name: str = "face-fmr", **more: object
) -> OperatingPoint:
    rate = Rate(1, 1000, 0.005)
    return OperatingPoint(
        name=name, model_id=MODEL_ID, modality=Modality.FACE, threshold=threshold, target_fmr=target, fmr=rate,
        fnmr=rate, **more,
    )  # fmt: skip


def measured(source, points=(), **more: object):
    facts = evaluate(source, points=points, title="t", command="c", created_at=NOW, **more)
    checked_facts(json.loads(json.dumps(facts, allow_nan=False)))
    return facts


def figures(facts) -> dict[str, float]:
    return {figure["name"]: figure["value"] for figure in facts["protocol"]["figures"]}


def test_verdicts_count_what_a_hand_would_count(source):
    usable = np.isfinite(source.vectors[:, 0])
    vectors, owner = source.vectors[usable], source.owner[usable]
    scores = vectors @ vectors.T
    i, j = np.triu_indices(len(owner), 1)
    same = owner[i] == owner[j]
    threshold = float(np.quantile(scores[i, j][~same], 0.97))
    lenient, strict = measured(source, [point(threshold), point(0.999, name="strict")])["verdicts"]
    assert lenient["fmr"]["errors"] == np.count_nonzero(scores[i, j][~same] >= threshold)
    assert lenient["fmr"]["trials"] == np.count_nonzero(~same)
    assert lenient["fnmr"]["errors"] == np.count_nonzero(scores[i, j][same] < threshold)
    assert lenient["verdict"] == "FAIL"
    assert "exceeded" in lenient["message"]
    assert strict["verdict"] == "PASS"
    assert lenient["far"] < lenient["fmr"]["value"]  # three samples failed to acquire


def test_an_llr_point_judges_llrs(source):
    mapping = LlrMap(slope=2.0, intercept=-1.0)
    cosine, llr = measured(
        source,
        [point(0.5), point(0.0, name="llr", score_space=ScoreSpace.LLR, llr=mapping)],
    )["verdicts"]
    assert cosine["fmr"] == llr["fmr"]
    assert cosine["fnmr"] == llr["fnmr"]


def test_a_normalised_point_is_named_not_judged_on_cosines(source):
    facts = measured(source, [point(3.0, name="odd", score_space=ScoreSpace.FUSED_LLR, fusion=object())])
    assert facts["verdicts"] == []
    assert any("odd was left out" in note for note in facts["notes"])


def test_evidence_of_normalised_scores_is_not_judged_on_raw_ones(source):
    norm = ScoreNorm(ScoreSpace.AS_NORM, "c" * 64, 100, 10)
    mapping = LlrMap(slope=2.0, intercept=-1.0, norm=norm)
    several = point(0.5, name="twice", attempts=2)
    facts = measured(source, [point(0.0, name="normed", score_space=ScoreSpace.LLR, llr=mapping), several])
    assert facts["verdicts"] == []
    notes = " ".join(facts["notes"])
    assert "normed was left out: its scores are normalised" in notes
    assert "twice was left out: it judges transactions of 2 attempts" in notes


def test_captures_outside_the_calibrated_range_have_failed(source):
    quality = dict(source.quality) | {"size_px": np.where(np.arange(len(source.owner)) % 4 == 0, 10.0, 100.0)}
    sized = replace(source, quality=quality, measures=("size_px",))
    term = QualityTerm("size_px", Transform.IDENTITY, Combine.MIN, 0.0, 1.0, 0.0, 0.0, low=50.0, high=200.0)
    mapping = LlrMap(slope=2.0, intercept=-1.0, terms=(term,))
    (verdict,) = measured(sized, [point(0.0, score_space=ScoreSpace.LLR, llr=mapping)])["verdicts"]
    plain = measured(source, [point(0.5)])["verdicts"][0]
    assert verdict["fmr"]["trials"] < plain["fmr"]["trials"]
    assert verdict["frr"] > 0.2  # a quarter of the captures


def test_a_fitted_tail_may_fail_but_never_passes(source):
    fails, holds = measured(
        source, [point(-0.9, extrapolated=True), point(0.999, name="b", extrapolated=True)]
    )["verdicts"]
    assert fails["verdict"] == "FAIL"
    assert holds["verdict"] == "INSUFFICIENT DATA"
    assert holds["message"].startswith("EXTRAPOLATED")


def test_searches_take_the_rung_that_the_engine_would(source):
    facts = measured(source, [point(0.9, target=1e-3), point(0.2, target=1e-2)], gallery_sizes=[10, 30])
    ten, thirty = (v for v in facts["verdicts"] if v["asked_kind"] == "fpir")
    assert ten["threshold"] == 0.9  # 1e-2 / 10
    assert thirty["threshold"] is None
    assert thirty["verdict"] == "INSUFFICIENT DATA"
    assert figures(facts)["rank-1, 10 enrolled"] >= figures(facts)["rank-1, 30 enrolled"] - 0.05
    assert [row["gallery_size"] for row in facts["one_to_n"]] == [10]


def test_a_measured_search_point_wins_over_the_union_bound(source):
    facts = measured(
        source, [point(0.9, target=1e-3), point(0.6, mode="1:N", gallery_size=20)], gallery_sizes=[10]
    )
    assert [v["threshold"] for v in facts["verdicts"] if v["asked_kind"] == "fpir"] == [0.6]


def test_a_gallery_larger_than_the_subjects_is_refused(source):
    with pytest.raises(InsufficientTrialsError, match="gallery of 40"):
        measured(source, gallery_sizes=[40])


def test_one_sample_a_subject_tells_no_fnmr(tmp_path):
    folder = write_people(tmp_path / "p", subjects=10, samples=1)
    embedded = embed_all(PeopleCapturer(), read_manifest(folder))
    with pytest.raises(InsufficientTrialsError, match="no mated trial"):
        measured(EmbeddedSource.of(embedded, model_id=MODEL_ID))


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    capturer = PeopleCapturer()
    capturer.bundle.path = tmp_path / "bundle"
    monkeypatch.setattr("verify.capture.Capturer.open", lambda *_, **__: capturer)
    monkeypatch.setenv("VERIFY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object):
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", *map(str, arguments)])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


def test_listed_pairs_from_the_command_line(run, people, tmp_path):
    files = sorted(people.glob("*/*"))
    by_subject = {}
    for file in files:
        by_subject.setdefault(file.parent.name, []).append(f"{file.parent.name}/{file.name}")
    names = sorted(by_subject)
    lines = [f"1 {theirs[0]} {theirs[1]}" for theirs in by_subject.values() if len(theirs) > 1]
    lines += [f"0 {by_subject[a][0]} {by_subject[b][1]}" for a, b in pairwise(names)]
    listed = tmp_path / "trials.txt"
    listed.write_text("\n".join(lines) + "\n")
    write_operating_points(tmp_path / "points.json", [point(0.999)])
    code, out, _ = run(people, "--trial-list", listed, "--model", "face", "--operating-points", "points.json")
    assert code == 0
    assert out.startswith("PASS: face-fmr")
    assert "listed pairs" in out
    facts = read_facts(tmp_path / "evaluation.json")
    assert facts["kind"] == "evaluation"
    assert facts["sets"][0]["test"]["mated_trials"] == sum(line.startswith("1") for line in lines)
    assert "<html" in (tmp_path / "evaluation.html").read_text()
    again, _, err = run(people, "--trial-list", listed, "--model", "face")
    assert again == 2
    assert "exists already" in err


def test_an_exceeded_promise_is_exit_1(run, people, tmp_path):
    write_operating_points(tmp_path / "points.json", [point(-0.9)])
    code, out, _ = run(
        people, "--model", "face", "--operating-points", "points.json", "--no-report", "--json"
    )
    assert code == 1
    assert json.loads(out)["facts"]["verdicts"][0]["verdict"] == "FAIL"
    assert not (tmp_path / "evaluation.html").exists()


def test_a_foreign_matchers_scores(run, tmp_path):
    rng = np.random.default_rng(0)
    lines = ["score,mated,subject_a,subject_b"]
    lines += [f"{s:.6f},1,s{i % 20},s{i % 20}" for i, s in enumerate(rng.normal(3, 1, 200))]
    lines += [f"{s:.6f},0,s{i % 20},s{(i + 1 + i % 7) % 20}" for i, s in enumerate(rng.normal(0, 1, 2000))]
    (tmp_path / "scores.csv").write_text("\n".join(lines) + "\n")
    code, out, _ = run("--scores", "scores.csv")
    assert code == 0
    assert "EER" in out
    assert "FNMR at FMR 0.01" in out


def test_another_models_points_are_refused(run, people, tmp_path):
    other = OperatingPoint(
        name="x", model_id="f" * 64, modality=Modality.FACE, threshold=0.5, target_fmr=0.1, fmr=Rate(1, 10, 0.5),
        fnmr=Rate(1, 10, 0.5),
    )  # fmt: skip
    write_operating_points(tmp_path / "points.json", [other])
    code, _, err = run(people, "--model", "face", "--operating-points", "points.json")
    assert code == 5
    assert "holds for model ffffffffffff" in err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("people",),
        ("--model", "face"),
        ("--scores", "s.csv", "--model", "face"),
        ("--scores", "s.csv", "--gallery-size", "3"),
        ("people", "--model", "face", "--trial-list", "t", "--gallery-size", "3"),
    ],
)
def test_contradictory_options_are_usage_errors(run, arguments):
    code, _, err = run(*arguments)
    assert code == 2
    assert "error:" in err.lower() or "Usage" in err


def test_searching_scores_without_templates_is_refused(source):
    class Scores:
        def __getattr__(self, name) -> object:
            return getattr(source, name)

        name, kind = "scores", "score file"

    with pytest.raises(UsageError, match="no templates"):
        measured(Scores(), gallery_sizes=[3])


def remembered(source, **changes: object) -> dict[str, object]:
    """What a point of a calibration on this source records of its people."""
    split = split_subjects(source.subjects, name=source.name, seed=7)
    one = {"set": source.name, "data_sha256": source.data_sha256, "split_sha256": split.sha256}
    return {"seed": 7, "sets": [{"set": "others", "data_sha256": "", "split_sha256": ""}, one | changes]}


@pytest.mark.parametrize("changes", [{}, {"data_sha256": "0" * 64}, {"set": "copy of people"}])
def test_people_who_calibrated_are_no_proof_and_every_verdict_says_so(source, changes):
    points = [point(0.999, data=remembered(source, **changes)), point(0.999, name="other")]
    facts = measured(source, points)
    own, other = facts["verdicts"]
    assert own["verdict"] == "PASS"
    assert "on people who took part in the calibration" in own["message"]
    assert "on these people" in other["message"]
    assert facts["notes"][0].startswith("THESE PEOPLE CALIBRATED THE THRESHOLDS")
    assert "face-fmr," in facts["notes"][0]


def test_other_people_of_the_same_name_are_asked_after(source):
    strange = remembered(source, data_sha256="0" * 64, split_sha256="1" * 64)
    facts = measured(source, [point(0.999, data=strange)])
    assert "on these people" in facts["verdicts"][0]["message"]
    assert "a set called people" in facts["notes"][0]
    elsewhere = remembered(source, set="lfw", data_sha256="0" * 64)
    assert "outside of these sets" in measured(source, [point(0.999, data=elsewhere)])["notes"][0]


def test_the_half_that_chose_no_threshold_can_be_looked_at_alone(source):
    testers = set(split_subjects(source.subjects, name="people", seed=7).subjects(TEST))
    points = [point(0.999, target=1e-3, data=remembered(source))]
    facts = measured(source, points, test_half=True, gallery_sizes=[5])
    assert facts["sets"][0]["test"]["subjects"] == len(testers)
    assert 0 < len(testers) < len(source.subjects)
    assert all("the calibration's own test subjects" in one["message"] for one in facts["verdicts"])
    assert "chose no threshold" in facts["notes"][0]


@pytest.mark.parametrize(
    "data", [{}, {"sets": "celeba", "seed": 7}, {"sets": [None, {"set": 3}], "seed": "x"}, {"seed": True}]
)
def test_without_what_calibrated_there_is_no_half(source, data):
    assert "on these people" in measured(source, [point(0.999, data=data)])["verdicts"][0]["message"]
    with pytest.raises(UsageError, match="--test-half"):
        measured(source, [point(0.999, data=data)], test_half=True)
    unsplit = remembered(source) | {"seed": None}
    with pytest.raises(UsageError, match="no split"):
        measured(source, [point(0.999, data=unsplit)], test_half=True)


def test_a_calibration_is_recognised_by_the_evaluation_of_its_people(run, people, capsys):
    with pytest.raises(SystemExit):
        main(
            [
                "calibrate",
                str(people),
                "--model",
                "face",
                "--target-fmr",
                "0.2",
                "-o",
                "points.json",
                "--no-report",
            ]
        )
    capsys.readouterr()
    asked = (people, "--model", "face", "--operating-points", "points.json", "--no-report")
    _, out, _ = run(*asked)
    assert "on people who took part in the calibration" in out
    assert "THESE PEOPLE CALIBRATED" in out
    _, out, _ = run(*asked, "--test-half")
    assert "on the calibration's own test subjects" in out


def test_a_point_chosen_for_rejections_is_held_to_both_of_its_promises(source):
    kept, loose, blind = measured(
        source,
        [
            point(-0.9, target=0.9999, name="kept", asked_kind="fnmr", asked_rate=0.1),
            point(-0.9, target=0.5, name="loose", asked_kind="fnmr", asked_rate=0.1),
            point(0.999, target=0.5, name="blind", asked_kind="fnmr", asked_rate=0.1),
        ],
    )["verdicts"]
    assert "the promised FNMR 0.1 was" in kept["message"]
    assert (kept["asked_kind"], kept["asked_rate"]) == ("fnmr", 0.1)
    assert [loose["verdict"], blind["verdict"]] == ["FAIL", "FAIL"]


def test_searches_pass_over_what_the_engine_passes_over(source):
    failed = point(0.3, target=1e-3, name="failed")
    failed = dataclasses.replace(failed, fmr=Rate(5, 1000, 0.01))
    chosen = point(
        0.2, target=1e-3, name="fnir", mode="1:N", gallery_size=20, asked_kind="fnir", asked_rate=0.1
    )
    facts = measured(source, [failed, chosen, point(0.9, target=1e-3)], gallery_sizes=[10])
    assert [v["threshold"] for v in facts["verdicts"] if v["asked_kind"] == "fpir"] == [0.9]
