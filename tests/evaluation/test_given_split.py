"""Calibrating and measuring by a split file: who learned takes no part, and who is familiar is said."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace

import pytest

from tests.evaluation.people import PeopleCapturer, write_people
from verify.cli import main
from verify.data.splits import CALIBRATION, PARTS, TEST, TRAIN, Split, split_subjects, write_split
from verify.errors import DataError, ManifestError, UsageError
from verify.evaluation.fused_job import run_fused_calibration
from verify.evaluation.job import Method, run_calibration
from verify.models.learnt_from import marks

FRACTIONS = dict(zip(PARTS, (0.4, 0.1, 0.25, 0.25), strict=True))


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("split")
    write_people(folder / "people", subjects=80, samples=3)
    names = [f"person{n:03d}" for n in range(80)]
    split = split_subjects(names, name="people", seed=3, fractions=FRACTIONS)
    write_split(folder / "people.csv", split)
    return folder, split


def calibrated(people, capturer=None):
    folder, _ = people
    return run_calibration(
        capturer or PeopleCapturer(),
        [folder / "people"],
        splits=[folder / "people.csv"],
        targets=[0.2],
        method=Method(bound="population"),
        keep_cache=False,
    )


def test_subjects_of_other_parts_are_not_even_captured(people) -> None:
    capturer = PeopleCapturer()
    (made,) = calibrated(people, capturer).calibration.sets
    _, split = people
    chosen = {*split.subjects(CALIBRATION), *split.subjects(TEST)}
    assert {path.split("/")[-2] for path in capturer.captured} == chosen
    subjects = made.source.subjects
    calibration = {name for name, there in zip(subjects, made.calibration.among, strict=True) if there}
    assert calibration == set(split.subjects(CALIBRATION))
    assert made.split.sha256 == split.sha256
    assert "take no part" in made.source.warnings[0]


def test_a_fusion_goes_by_the_same_split(people) -> None:
    folder, split = people
    other = PeopleCapturer(noise=0.7)
    other.model_id = "cd" * 32
    job = run_fused_calibration(
        [PeopleCapturer(), other],
        [folder / "people"],
        splits=[folder / "people.csv"],
        targets=[0.2],
        method=Method(bound="population"),
        keep_cache=False,
    )
    (made,) = job.calibration.sets
    assert made.split.sha256 == split.sha256
    assert set(made.source.subjects) == {*split.subjects(CALIBRATION), *split.subjects(TEST)}


def test_a_split_that_knows_nobody_and_another_number_of_splits(people, tmp_path) -> None:
    folder, split = people
    write_split(tmp_path / "few.csv", Split("people", 0, {"person001": TEST}))
    with pytest.raises(ManifestError, match="does not know 79 subjects"):
        run_calibration(PeopleCapturer(), [folder / "people"], splits=[tmp_path / "few.csv"], targets=[0.2])
    with pytest.raises(UsageError, match="2 files for 1 DATA"):
        run_calibration(
            PeopleCapturer(), [folder / "people"], splits=[tmp_path / "few.csv"] * 2, targets=[0.2]
        )
    torn = dict(split.parts) | {"PERSON001": "train" if split.parts["person001"] == TEST else TEST}
    write_split(tmp_path / "torn.csv", Split("people", 0, torn))
    with pytest.raises(ManifestError, match="look like one person in two parts"):
        run_calibration(PeopleCapturer(), [folder / "people"], splits=[tmp_path / "torn.csv"], targets=[0.2])


@pytest.fixture
def verify(monkeypatch, capsys, tmp_path):
    capturer = PeopleCapturer()
    capturer.bundle.path = tmp_path / "bundle"
    capturer.bundle.operating_points = lambda: ()
    monkeypatch.setattr("verify.capture.Capturer.open", lambda *_, **__: capturer)
    monkeypatch.setenv("VERIFY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out + captured.err

    return run


def test_who_is_a_stranger_to_a_threshold_is_said_by_part(verify, people, tmp_path) -> None:
    folder, split = people
    given = (folder / "people", "--model", "face", "--split", folder / "people.csv")
    points = ("--operating-points", "points.json", "--no-report")
    code, _ = verify(
        "calibrate", *given, "--target-fmr", 0.2, "-o", "points.json", "--no-report", "--no-cache"
    )
    assert code == 0
    (recorded,) = json.loads((tmp_path / "points.json").read_text())["points"][0]["data"]["sets"]
    assert recorded["split"] == "given"
    assert recorded["split_sha256"] == split.sha256
    said = {
        part: verify("evaluate", *given, "--part", part, *points)[1]
        for part in ("test", "calibration", "train")
    }
    assert "on the calibration's own test subjects" in said["test"]
    assert "on people who took part in the calibration" in said["calibration"]
    assert "THESE PEOPLE CALIBRATED" in said["calibration"]
    assert "on these people" in said["train"]
    _, everyone = verify("evaluate", folder / "people", "--model", "face", *points)
    assert "on people who took part in the calibration" in everyone
    code, refused = verify("evaluate", folder / "people", "--model", "face", "--test-half", *points)
    assert code == 2
    assert "--split FILE --part test" in refused


def test_another_split_of_the_same_people_proves_nothing(verify, people, tmp_path) -> None:
    folder, split = people
    verify(
        "calibrate", folder / "people", "--model", "face", "--split", folder / "people.csv", "--target-fmr", 0.2,
        "-o", "points.json", "--no-report",
    )  # fmt: skip
    other = split_subjects(split.parts, name="people", seed=99, fractions=FRACTIONS)
    write_split(tmp_path / "other.csv", other)
    _, said = verify(
        "evaluate", folder / "people", "--model", "face", "--split", tmp_path / "other.csv",
        "--operating-points", "points.json", "--no-report",
    )  # fmt: skip
    assert "on people who took part in the calibration" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--split", "people.csv", "--test-half"), "--split takes the subjects of one part"),
        (("--split", "people.csv", "--part", "tset"), "did you mean 'test'?"),
        (("--split", "nothing.csv"), "cannot be read as a split"),
    ],
)
def test_contradictions_are_said(verify, people, arguments, words, monkeypatch) -> None:
    folder, _ = people
    monkeypatch.chdir(folder)
    code, said = verify("evaluate", folder / "people", "--model", "face", "--no-report", *arguments)
    assert code in (2, 4)
    assert words in said


def taught(people, subjects):
    """A capturer of a model whose card says that it was trained on the first photo of these subjects."""
    folder, _ = people
    capturer = PeopleCapturer()
    photos = [(name, (folder / "people" / name / "0.jpg").read_bytes()) for name in subjects]
    hashes = [(name, hashlib.sha256(photo).hexdigest()) for name, photo in photos]
    card = SimpleNamespace(**vars(capturer.bundle.card) | {"sources": ({"learnt_from": marks(hashes)},)})
    capturer.bundle = SimpleNamespace(**vars(capturer.bundle) | {"card": card})
    return capturer


def test_people_whom_the_model_was_trained_on_are_refused_without_the_split(people, tmp_path) -> None:
    folder, split = people
    capturer = taught(people, split.subjects(TRAIN))
    count = len(split.subjects(TRAIN))
    strangers = write_people(tmp_path / "strangers", subjects=2, samples=2)
    for number, path in enumerate(strangers.glob("*/*")):
        path.write_text(f"{100 + number // 2}:{number}")
    with pytest.raises(
        DataError, match=rf"people was trained on {count} of these 80 subjects .*--split"
    ) as said:
        run_calibration(
            capturer, [strangers, folder / "people"], targets=[0.2], method=Method(), keep_cache=False
        )
    assert said.value.exit_code == 4
    other = PeopleCapturer()
    with pytest.raises(DataError, match="was trained on"):
        run_fused_calibration(
            [other, capturer],
            [strangers, folder / "people"],
            targets=[0.2],
            method=Method(),
            keep_cache=False,
        )
    assert capturer.captured == other.captured == []  # told by their files, before anything is embedded
    assert calibrated(people, capturer).calibration.sets


def test_another_split_that_lets_them_in_is_refused_too(people) -> None:
    _, split = people
    with pytest.raises(DataError, match="was trained on 1 of these"):
        calibrated(people, taught(people, split.subjects(TEST)[:1]))


def test_evaluating_them_is_allowed_and_told(people, monkeypatch, capsys) -> None:
    folder, split = people
    capturer = taught(people, split.subjects(TRAIN)[:1])
    capturer.bundle.operating_points = lambda: ()
    monkeypatch.setattr("verify.capture.Capturer.open", lambda *_, **__: capturer)
    with pytest.raises(SystemExit):
        main(["evaluate", str(folder / "people"), "--model", "people", "--no-cache", "--no-report"])
    assert "people was trained on 1 of these 80 subjects" in capsys.readouterr().out


def test_a_file_that_is_not_drawn_gives_them_away_too(people) -> None:
    folder, split = people
    capturer = taught(people, split.subjects(TRAIN))  # by one photo of three, which need not be the one taken
    count = len(split.subjects(TRAIN))
    with pytest.raises(DataError, match=rf"trained on {count} of these"):
        run_calibration(
            capturer, [folder / "people"], targets=[0.2], max_samples_per_subject=1, keep_cache=False
        )
