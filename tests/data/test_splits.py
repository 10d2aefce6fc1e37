from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.data.splits import CALIBRATION, PARTS, TEST, part_of, read_split, split_subjects, write_split
from verify.errors import ManifestError, UsageError

IDS = st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=12)
COMMITTED = sorted((Path(__file__).parents[2] / "data_splits").glob("*.csv"))


@given(st.sets(IDS, min_size=1), st.sets(IDS), st.integers(0, 5))
def test_adding_people_moves_nobody(before, added, seed):
    old = split_subjects(before, name="x", seed=seed)
    new = split_subjects(before | added, name="x", seed=seed)
    assert all(new.parts[subject] == part for subject, part in old.parts.items())


@given(st.sets(IDS))
def test_parts_are_disjoint_and_complete(subject_ids):
    split = split_subjects(subject_ids, name="x")
    calibration, test = set(split.subjects(CALIBRATION)), set(split.subjects(TEST))
    assert not calibration & test
    assert calibration | test == subject_ids


def test_shares_come_out_as_asked():
    fractions = {"train": 0.7, "validation": 0.1, "test": 0.2}
    parts = [part_of(f"s{i}", seed=1, fractions=fractions) for i in range(20_000)]
    for part, share in fractions.items():
        assert parts.count(part) / len(parts) == pytest.approx(share, abs=0.01)


def test_another_seed_is_another_split():
    subject_ids = [f"s{i}" for i in range(100)]
    assert (
        split_subjects(subject_ids, name="x", seed=0).sha256
        != split_subjects(subject_ids, name="x", seed=1).sha256
    )


@pytest.mark.parametrize("seed", range(20))
def test_one_person_in_two_spellings_stays_on_one_side(seed):
    assert len({part_of(name, seed=seed) for name in ("Ada Lovelace", "ada  lovelace ", "ADA LOVELACE")}) == 1


@pytest.mark.parametrize("fractions", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}])
def test_fractions_must_be_shares_of_one_whole(fractions):
    with pytest.raises(UsageError, match="sum to 1"):
        part_of("s", seed=0, fractions=fractions)


@given(subject_ids=st.sets(IDS), seed=st.integers(-3, 3))
def test_written_and_read_back(tmp_path_factory, subject_ids, seed):
    path = tmp_path_factory.mktemp("split") / "x.csv"
    split = split_subjects(subject_ids, name="my set", seed=seed)
    write_split(path, split)
    assert read_split(path) == split
    assert [file.name for file in path.parent.iterdir()] == ["x.csv"]


def test_edits_by_hand_are_refused(tmp_path):
    path = tmp_path / "x.csv"
    write_split(path, split_subjects(["a", "b", "c"], name="x"))
    text = path.read_text()
    swapped = text.replace(",test", ",?").replace(",calibration", ",test").replace(",?", ",calibration")
    for changed, problem in (
        (swapped, "changed after it was made"),
        (text + "a,test\n", "a stands there twice"),
        (text + "d\n", "line 9: not subject,part"),
        (text.replace("split: 1", "split: 2"), "version 2"),
        ("subject,part\na,test\n", "not a split file"),
    ):
        path.write_text(changed)
        with pytest.raises(ManifestError, match=problem):
            read_split(path)


@pytest.mark.parametrize(
    "path", [path for path in COMMITTED if ".training" in path.name], ids=lambda path: path.stem
)
def test_committed_training_lists_part_everybody_of_the_set(path):
    split = read_split(path)
    halves = read_split(path.with_name(path.name.replace(".training", "")))
    assert set(split.parts) == set(halves.parts)
    assert set(split.parts.values()) <= set(PARTS)
    assert split.subjects(TEST)


@pytest.mark.parametrize(
    "path", [path for path in COMMITTED if ".training" not in path.name], ids=lambda path: path.stem
)
def test_committed_lists_are_what_the_rule_gives(path):
    split = read_split(path)
    assert split.parts == split_subjects(split.parts, name=split.name, seed=split.seed).parts
