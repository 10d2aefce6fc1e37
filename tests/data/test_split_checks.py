"""A person or a file in two parts is refused, here and against other splits; `verify split` from end to end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.cli.runner import Runner
from tests.evaluation.people import PeopleCapturer, write_people
from verify.data.splits import Split, check_disjoint, read_split, split_subjects, write_split
from verify.errors import ManifestError, UsageError


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERIFY_CACHE", str(tmp_path / "cache"))
    return Runner(capsys)


@pytest.fixture
def people(tmp_path):
    return write_people(tmp_path / "people", subjects=60, samples=3)


def test_four_parts_that_nobody_moves_between(run, people, tmp_path) -> None:
    done = run("split", people, "-o", "a.csv", "--json").json
    assert sum(done["subjects"].values()) == 60
    assert list(done["subjects"]) == ["train", "validation", "calibration", "test"]
    assert sum(done["files"].values()) == 180
    before = read_split(tmp_path / "a.csv")
    assert before.sha256 == done["sha256"]
    for number in range(60, 90):
        (people / f"person{number:03d}").mkdir()
        (people / f"person{number:03d}" / "0.jpg").write_text(f"{number}:0")
    run("split", people, "-o", "b.csv")
    after = read_split(tmp_path / "b.csv")
    assert {subject: after.parts[subject] for subject in before.parts} == before.parts
    run("split", people, "-o", "c.csv", "--seed", 1)
    assert read_split(tmp_path / "c.csv").parts != after.parts


def test_nothing_is_replaced_unasked(run, people) -> None:
    assert run("split", people, "-o", "a.csv").code == 0
    assert run("split", people, "-o", "a.csv").code == 2
    assert run("split", people, "-o", "a.csv", "--force").code == 0


def test_a_file_in_two_parts_is_refused_and_nothing_is_written(run, people, tmp_path) -> None:
    parts = split_subjects(
        [f"person{n:03d}" for n in range(60)], name="x", fractions={"train": 0.5, "test": 0.5}
    )
    one, other = parts.subjects("train")[0], parts.subjects("test")[0]
    (people / other / "copy.jpg").write_bytes((people / one / "1.jpg").read_bytes())
    done = run("split", people, "-o", "a.csv", "--fractions", "train=0.5,test=0.5")
    assert done.code == 4
    assert "1 files are in two parts of the split, byte for byte" in done.err
    assert one in done.err
    assert other in done.err
    assert not (tmp_path / "a.csv").exists()
    (tmp_path / "same.csv").write_text(f"{other},{one}\n")
    done = run("split", people, "-o", "a.csv", "--fractions", "train=0.5,test=0.5", "--same", "same.csv")
    assert done.code == 0
    assert "the same file under two subjects" in done.out
    made = read_split(tmp_path / "a.csv").parts
    assert made[one] == made[other] == parts.parts[min(one, other)]
    moved = {subject for subject in made if made[subject] != parts.parts[subject]}
    assert moved == {max(one, other)}


def test_against_another_split(run, people, tmp_path) -> None:
    everyone = {f"PERSON{n:03d}": "test" for n in range(3)}
    write_split(tmp_path / "other.csv", Split("other", 5, everyone))
    fractions = ("--fractions", "train=1")
    done = run("split", people, "-o", "a.csv", "--check", "other.csv", *fractions)
    assert done.code == 4
    assert "3 subjects of people are in another part of the split of other" in done.err
    assert "'person000' (train here, test there)" in done.err
    write_split(tmp_path / "other.csv", Split("other", 5, dict.fromkeys(everyone, "train")))
    assert run("split", people, "-o", "a.csv", "--check", "other.csv", *fractions).code == 0


def test_against_the_files_of_another_split(run, people, tmp_path) -> None:
    theirs = tmp_path / "theirs"
    for name in ("x", "y"):
        (theirs / name).mkdir(parents=True)
        (theirs / name / "0.jpg").write_text(f"{name}:0")
    (theirs / "x" / "1.jpg").write_bytes((people / "person007" / "2.jpg").read_bytes())
    write_split(tmp_path / "theirs.csv", Split("theirs", 0, {"x": "test", "y": "test"}))
    done = run("split", people, "-o", "a.csv", "--check", "theirs.csv=theirs", "--fractions", "train=1")
    assert done.code == 4
    assert "people/person007: 2.jpg (train) = theirs/x: 1.jpg (test)" in done.err
    assert (
        run("split", people, "-o", "a.csv", "--check", "theirs.csv=theirs", "--fractions", "test=1").code == 0
    )


def test_the_audit_finds_one_person_under_two_ids(run, people, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("verify.capture.Capturer.open", lambda *_, **__: PeopleCapturer(noise=0.5))
    twin = people / "somebody"
    twin.mkdir()
    for sample in range(5, 8):
        (twin / f"{sample}.jpg").write_text(f"17:{sample}")
    done = run("split", people, "-o", "a.csv", "--audit", "--model", "face")
    assert done.code == 0
    assert "same person" in done.out
    assert "people/person017" in done.out
    assert "people/somebody" in done.out
    report = json.loads((tmp_path / "a.audit.json").read_text())
    assert report["split_sha256"] == read_split(tmp_path / "a.csv").sha256
    (suspect,) = [one for one in report["audit"]["suspects"] if one["kind"] == "same person"]
    assert {suspect["one"], suspect["other"]} == {"people/person017", "people/somebody"}
    assert suspect["pairs"] == 9
    (tmp_path / "same.csv").write_text("person017,somebody\n")
    arguments = ("--audit", "--model", "face", "--same", "same.csv", "--force", "--json")
    again = run("split", people, "-o", "a.csv", *arguments).json
    assert not [one for one in again["audit"]["suspects"] if one["parts"][0] != one["parts"][1]]


@pytest.mark.parametrize(
    ("fractions", "words"),
    [
        ("train=0.5", "sum to 1"),
        ("trian=1", "did you mean 'train'?"),
        ("train=x", "no PART=SHARE"),
        ("train=0.5,train=0.5", "there twice"),
        ("train=nan", "no PART=SHARE"),
    ],
)
def test_fractions_that_cannot_be(run, people, fractions, words) -> None:
    done = run("split", people, "-o", "a.csv", "--fractions", fractions)
    assert done.code == 2
    assert words in done.err


def test_parts_too_small_to_measure_on_are_warned_of(run, people) -> None:
    done = run("split", people, "-o", "a.csv", "--fractions", "train=0.999,test=0.001")
    assert "0 subjects are in test, and two are the least" in done.out


def test_one_subject_cannot_be_split(run, tmp_path) -> None:
    write_people(tmp_path / "one", subjects=1, samples=3)
    assert run("split", tmp_path / "one", "-o", "a.csv").code == 4


def test_same_names_somebody(run, people, tmp_path) -> None:
    (tmp_path / "same.csv").write_text("person001,nobody\n")
    done = run("split", people, "-o", "a.csv", "--same", "same.csv")
    assert (done.code, "'nobody' is said to be the same person" in done.err) == (2, True)
    (tmp_path / "same.csv").write_text("person001\n")
    assert "line 1: names one id" in run("split", people, "-o", "a.csv", "--same", "same.csv").err


def test_groups_that_overlap_are_one_person() -> None:
    names = [f"s{n}" for n in range(40)]
    made = split_subjects(names, name="x", same=[("s9", "s5"), ("s9", "s30"), ("s2", "s30")])
    alone = split_subjects(names, name="x")
    assert {made.parts[name] for name in ("s2", "s5", "s9", "s30")} == {alone.parts["s2"]}
    with pytest.raises(UsageError, match="is no subject of x"):
        split_subjects(names, name="x", same=[("s1", "t1")])


def test_two_spellings_in_two_parts_are_no_split() -> None:
    torn = Split("x", 0, {"Ann Lee": "train", "ann  lee": "test"})
    with pytest.raises(
        ManifestError, match=r"'Ann Lee' \(train\) and 'ann  lee' \(test\) look like one person"
    ):
        check_disjoint(torn, where="x.csv")
    check_disjoint(Split("x", 0, {"Ann Lee": "train", "ann  lee": "train"}), where="x.csv")


def test_the_committed_lists_are_disjoint_and_whole() -> None:
    for path in sorted((Path(__file__).resolve().parents[2] / "data_splits").glob("*.csv")):
        split = read_split(path)
        check_disjoint(split, where=str(path))
        with path.open() as file:
            rows = [row for row in csv.reader(file) if not row[0].startswith("#")]
        assert len(rows) == len(split.parts) + 1


def test_the_audit_looks_at_voices_as_short_as_those_that_are_prepared(run, tmp_path, monkeypatch) -> None:
    asked = []

    def opened(model: str, **how: object) -> PeopleCapturer:
        asked.append((model, how["min_net_speech_s"]))
        return PeopleCapturer(noise=0.5)

    monkeypatch.setattr("verify.capture.Capturer.open", opened)
    write_people(tmp_path / "faces", subjects=20, samples=3)
    assert run("split", tmp_path / "faces", "-o", "faces.csv", "--audit").code == 0
    for file in write_people(tmp_path / "voices", subjects=20, samples=3).rglob("*.jpg"):
        file.rename(file.with_suffix(".wav"))
    assert run("split", tmp_path / "voices", "-o", "voices.csv", "--audit").code == 0
    assert asked == [("face", None), ("voice", 0.5)]
