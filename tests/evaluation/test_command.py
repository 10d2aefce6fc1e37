"""`verify calibrate` as a user meets it: exit codes, files, words."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.people import MODEL_ID, PeopleCapturer, write_people
from verify.cli import main
from verify.data.splits import part_of
from verify.models.operating_points import read_operating_points
from verify.report.facts import read_facts


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("data") / "people", subjects=60, samples=4, failing=3)


@pytest.fixture
def verify(monkeypatch, capsys, tmp_path):
    """Run the command line in this process over a capturer without models; give (exit code, stdout, stderr)."""
    capturer = PeopleCapturer()
    capturer.bundle.path = tmp_path / "bundle"
    capturer.bundle.path.mkdir()
    monkeypatch.setattr("verify.capture.Capturer.open", lambda *_, **__: capturer)
    monkeypatch.setenv("VERIFY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object):
        with pytest.raises(SystemExit) as ended:
            main(
                ["calibrate", *map(str, arguments), *([] if "--scores" in arguments else ["--model", "face"])]
            )
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


def test_a_supported_target_is_written_and_shown(verify, people, tmp_path):
    code, out, _ = verify(people, "--target-fmr", "5e-2", "-o", "points.json")
    assert out.startswith("PASS: FMR 0.05: threshold")
    assert "prediction bound" in out
    assert "points.json, report.html, report.json" in out
    assert read_facts(tmp_path / "report.json")["verdicts"][0]["verdict"] == "PASS"
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")
    (point,) = read_operating_points(tmp_path / "points.json")
    assert code == 0
    assert point.model_id == MODEL_ID
    assert point.data["sets"][0]["set"] == "people"
    assert f"{point.threshold:.4f}" in out
    assert "PASS" in out
    assert "3 of 243 failed to acquire, no_face 3" in out
    assert "embeddings.db" in out  # where templates are kept is said


def test_json_is_one_document(verify, people):
    code, out, _ = verify(people, "--target-fmr", "5e-2", "--json", "--no-cache")
    document = json.loads(out)
    assert code == 0
    assert document["model_id"] == MODEL_ID
    assert document["cache"] is None
    assert document["verdicts"][0]["verdict"] == "PASS"
    assert document["points"][0]["fmr"]["trials"] > 1000
    assert document["bound"] == "prediction"


def test_what_the_data_cannot_support_ends_with_4(verify, people, tmp_path):
    code, out, err = verify(people, "--target-fmr", "1e-6", "--no-cache")
    assert code == 4
    assert out.count("cannot support FMR 1e-06") == 1
    assert not err
    assert out.startswith("INSUFFICIENT DATA")
    assert "TOO FEW" in out
    assert read_facts(tmp_path / "report.json")["verdicts"][0]["verdict"] == "INSUFFICIENT DATA"
    assert not (tmp_path / "operating_points.json").exists()


def test_a_ladder_keeps_the_rungs_that_hold(verify, people, tmp_path):
    code, _, _ = verify(
        people, "--target-fmr", "1e-6", "--target-fmr", "5e-2", "--target-fmr", "0.1", "--no-cache"
    )
    assert code == 4
    assert [p.target_fmr for p in read_operating_points(tmp_path / "operating_points.json")] == [0.1, 5e-2]


def test_a_target_that_the_test_subjects_exceeded_ends_with_1_and_is_left_out(verify, tmp_path):
    """A file of scores whose test subjects are more alike than those who choose the threshold."""
    rng = np.random.default_rng(4)
    names = [f"p{i}" for i in range(80)]
    rows = ["score,mated,subject_a,subject_b"]
    for i, one in enumerate(names):
        rows += [f"{rng.normal(6, 1):.6f},1,{one},{one}" for _ in range(2)]
        for other in names[i + 1 :]:
            tested = part_of(one, seed=0) == part_of(other, seed=0) == "test"
            rows.append(f"{rng.normal(1.0 if tested else 0.0, 1):.6f},0,{one},{other}")
    (tmp_path / "alike.csv").write_text("\n".join(rows) + "\n")
    code, out, _ = verify("--scores", "alike.csv", "--target-fmr", "0.1", "--target-fmr", "1e-7")
    assert code == 1  # worse than what is not supported
    assert out.startswith("FAIL: FMR 0.1: threshold")
    assert "exceeded it" in out
    assert "is promised" not in out.replace("nothing is promised", "")
    assert "scores-fmr-1e-1 is left out of operating_points.json: it failed" in out
    assert not (tmp_path / "operating_points.json").exists()
    again = ("--scores", "alike.csv", "--target-fmr", "0.1", "--force")
    code, out, _ = verify(*again, "--keep-failed")
    assert code == 1
    assert "left out" not in out
    (point,) = read_operating_points(tmp_path / "operating_points.json")
    assert point.failed_its_test
    assert point.data["failed"] is True
    code, out, _ = verify(*again)
    assert "operating_points.json, of an earlier run, was removed" in out
    assert not (tmp_path / "operating_points.json").exists()
    assert json.loads(verify(*again, "--json")[1])["points"] == []


def test_force_without_a_point_leaves_no_stale_file(verify, people, tmp_path):
    assert verify(people, "--target-fmr", "5e-2", "--no-cache")[0] == 0
    code, out, _ = verify(people, "--target-fmr", "1e-6", "--no-cache", "--force")
    assert code == 4
    assert "operating_points.json, of an earlier run, was removed" in out
    assert not (tmp_path / "operating_points.json").exists()
    assert verify(people, "--target-fmr", "5e-2", "--no-cache", "--install", "--force")[0] == 0
    code, out, _ = verify(people, "--target-fmr", "1e-6", "--no-cache", "--install", "--force")
    assert code == 4
    assert "of an earlier calibration, stays as it was" in out
    assert (tmp_path / "bundle" / "operating_points.json").exists()


def test_beyond_the_trials_nothing_is_green(verify, people):
    code, out, _ = verify(people, "--target-fmr", "1e-3", "--extrapolate", "--no-cache")
    assert code == 4
    assert out.startswith("EXTRAPOLATED: FMR 0.001")
    assert "PASS" not in out


def test_quality_is_a_flag_and_swallows_no_folder(verify, people):
    code, _, err = verify("--quality", people, "--no-cache")
    assert code == 2
    assert "no capture has the quality measure 'detector_score'" in err
    code, _, err = verify("--quality-measure", "beauty", people, "--no-cache")
    assert code == 2
    assert "no capture has the quality measure 'beauty'" in err


def test_bounds_are_named_and_scores_have_no_samples(verify, people, tmp_path):
    _, out, _ = verify(people, "--target-fmr", "5e-2", "--no-cache")
    assert "samples," in out
    assert re.search(r"prediction\s", out)
    assert re.search(r"population\s", out)
    assert "at most" not in out
    rows = [
        f"{(6 if i == j else 0) + (i * 7 + j * 3) % 11 / 10},{int(i == j)},p{i},p{j}"
        for i in range(40)
        for j in range(i, 40)
    ]
    (tmp_path / "rival.csv").write_text("\n".join(["score,mated,subject_a,subject_b", *rows]) + "\n")
    _, out, _ = verify("--scores", "rival.csv", "--target-fmr", "0.3", "--force")
    assert "subjects, " in out
    assert "samples" not in out


def test_install_puts_them_into_the_bundle(verify, people, tmp_path):
    assert verify(people, "--target-fmr", "5e-2", "--install", "--no-cache")[0] == 0
    assert len(read_operating_points(tmp_path / "bundle" / "operating_points.json")) == 1
    assert not (tmp_path / "operating_points.json").exists()


def test_an_existing_ladder_is_replaced_only_by_force(verify, people, tmp_path):
    assert verify(people, "--target-fmr", "5e-2", "--no-cache")[0] == 0
    before = (tmp_path / "operating_points.json").read_bytes()
    code, _, err = verify(people, "--target-fmr", "1e-1", "--no-cache")
    assert code == 2
    assert "--force" in err
    assert (tmp_path / "operating_points.json").read_bytes() == before
    assert verify(people, "--target-fmr", "1e-1", "--no-cache", "--force")[0] == 0
    assert (tmp_path / "operating_points.json").read_bytes() != before


def test_likely_label_errors_and_spellings_are_shown(verify, tmp_path):
    folder = write_people(tmp_path / "labels", subjects=60, samples=4)
    (folder / "person001" / "0.jpg").write_bytes((folder / "person002" / "0.jpg").read_bytes())
    (folder / "Person003").mkdir()
    (folder / "Person003" / "9.jpg").write_text("3:9")
    code, out, _ = verify(folder, "--target-fmr", "1e-1", "--no-cache")
    assert code == 0
    assert "the same file under two subjects: person001: 0.jpg = person002: 0.jpg" in out
    assert "'Person003' and 'person003' look like one subject" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["gone"], 4, "no such folder"),
        (["people.csv"], 4, "line 3: gone.jpg is not there"),
        (["{people}", "--target-fmr", "0"], 2, "inside (0, 1)"),
        (["{people}", "--target-fmr", "often"], 2, "not a valid float"),
        (["{people}", "-o", "a.json", "--report", "a.html"], 2, "would be one file"),
        (["{people}", "--trials", "some"], 2, "trials must be"),
        (["{people}", "--confidence", "1.5"], 2, "confidence must lie in"),
        (["{people}", "-o", "no/such/folder/points.json"], 2, "make it first"),
        (["{people}", "--report", "a.json"], 2, "names the page"),
        (["{people}", "--report", "{people}/gone/a"], 2, "make it first"),
        ([], 2, "DATA"),
    ],
)
def test_bad_input_ends_with_its_exit_code(verify, people, tmp_path, arguments, code, words):
    (tmp_path / "1.jpg").write_text("1:1")
    (tmp_path / "people.csv").write_text("subject,path\na,1.jpg\nb,gone.jpg\n")
    arguments = [argument.format(people=people) for argument in arguments]
    if "--target-fmr" not in arguments:
        arguments += ["--target-fmr", "5e-2"]
    found, _, err = verify(*arguments, "--no-cache")
    assert found == code
    assert words in err


@pytest.mark.models
@pytest.mark.media
def test_real_faces_end_to_end(models_dir, data_dir, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    for subject in sorted((data_dir / "faces" / "celeba").iterdir())[:30]:
        (folder / subject.name).symlink_to(subject, target_is_directory=True)
    command = [
        "calibrate",
        folder,
        "--model",
        "face",
        "--max-samples-per-subject",
        "3",
        "--target-fmr",
        "0.2",
    ]
    options = ["--target-fmr", "1e-4", "--models-dir", models_dir, "-o", "points.json", "--no-cache"]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "verify", *map(str, command + options)],
        cwd=tmp_path, env={"PYTHONPATH": str(root), "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr  # one in five is supported by so few, one in ten thousand is not
    (point,) = read_operating_points(tmp_path / "points.json")
    assert -0.3 < point.threshold < 0.45
    assert point.fnmr.value < 0.2
    assert "cannot support FMR 0.0001" in done.stdout


@pytest.mark.models
@pytest.mark.parametrize("bundle", ["face_bundle", "voice_bundle"])
def test_shipped_points_fit_the_default_models(bundle, request):
    opened = request.getfixturevalue(bundle)
    points = opened.operating_points()
    assert points
    for point in points:
        assert point.model_id == opened.model_id
        assert point.calibration_fmr is not None
        assert point.calibration_fmr.upper <= point.target_fmr
        for name, rates in point.data["measured"].items():
            if rates["fmr"]:
                assert rates["fmr"]["errors"] / rates["fmr"]["trials"] <= point.target_fmr, name
    for ladder in {(point.score_space, point.mode) for point in points}:
        rungs = [point for point in points if (point.score_space, point.mode) == ladder]
        thresholds = [point.threshold for point in sorted(rungs, key=lambda point: point.target_fmr)]
        assert thresholds == sorted(thresholds, reverse=True)
