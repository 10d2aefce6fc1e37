"""The samples of one part: who takes part, and everything that would let a person stand on both sides."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tests.training.made import made_face
from verify.data.splits import Split, split_subjects, write_split
from verify.errors import DataError, ManifestError, UsageError
from verify.training.prepare import Preparation, write_prepared
from verify.training.recipe import SetSection
from verify.training.shards import PreparedSet
from verify.training.training_set import open_training
from verify.types import Modality

CONTRACT = {"kind": "aligned-face", "alignment": "arcface-112", "size_px": [112, 112]}
HOW = Preparation(modality=Modality.FACE, contract=CONTRACT)


def faces(people, samples=2, seed=0):
    for person in people:
        for sample in range(samples):
            yield f"p{person}", f"p{person}/{sample}.png", made_face(person, sample, seed=seed)


@pytest.fixture
def section(tmp_path):
    def make(name="made", people=range(6), *, parts=None, samples=2, seed=0, how=HOW):
        made = write_prepared(
            tmp_path / name, faces(people, samples, seed), name=name, how=how, rows_per_shard=5
        )
        assigned = parts or {s: ("train" if n < 4 else "validation") for n, s in enumerate(made.subjects)}
        write_split(tmp_path / f"{name}.csv", Split(name=name, seed=0, parts=assigned))
        return SetSection(prepared=str(tmp_path / name), split=str(tmp_path / f"{name}.csv"))

    return make


def test_one_part_of_one_set(section) -> None:
    one = section()
    train = open_training([one])
    assert train.identities == ("made/p0", "made/p1", "made/p2", "made/p3")
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert train.lengths.tolist() == [1] * 8
    assert train.split_sha256 != train.data_sha256 == PreparedSet.open(one.prepared).sha256
    assert train.name(3) == "made/p1: p1/1.png"
    face = train.media(3).astype(int)
    assert np.abs(face - made_face(1, 1)).mean() < 3
    assert open_training([one], part="validation").identities == ("made/p4", "made/p5")


def test_travels_to_a_worker_by_its_path(section) -> None:
    train = open_training([section()])
    sent = pickle.dumps(train)
    assert len(sent) < 10_000
    back = pickle.loads(sent)  # noqa: S301  our own bytes
    assert (back.media(5) == train.media(5)).all()
    assert back.name(5) == train.name(5)


def test_subjects_of_two_sets_are_different_people(section) -> None:
    both = open_training([section("a"), section("b", seed=1)])
    assert len(both.identities) == 8
    assert {"a/p0", "b/p0"} <= set(both.identities)
    assert both.name(8) == "b/p0: p0/0.png"
    assert [one.samples for one in both.sets] == [8, 8]


def test_limits(section) -> None:
    one = section()
    assert len(open_training([one], max_identities=3).identities) == 3
    with pytest.raises(DataError, match=r"fewer samples than data.min_samples = 3.*bring 3 samples of each"):
        open_training([one], min_samples=3)


def test_refuses_a_file_in_two_parts(section) -> None:
    one = section("a")
    other = section("b", parts={f"p{n}": "test" for n in range(6)})
    with pytest.raises(
        DataError, match=r"a/(p\d: p\d/\d.png) and b/\1 are in \w+ and test \(12 such in all\)"
    ):
        open_training([one, other])


def test_refuses_one_person_in_two_parts(section) -> None:
    parts = {f"p{n}": "train" for n in range(6)} | {"P0": "test"}
    with pytest.raises(ManifestError, match=r"'P0' \(test\) and 'p0' \(train\) look like one person"):
        open_training([section(parts=parts)])


def test_refuses_a_subject_that_the_split_does_not_know(section) -> None:
    with pytest.raises(DataError, match=r"does not know 5 of the 6 subjects .*p1, p2, p3, \.\.\."):
        open_training([section(parts={"p0": "train"})])


def test_refuses_sets_of_different_contracts(section) -> None:
    other = Preparation(modality=Modality.FACE, contract={**CONTRACT, "alignment": "other"})
    with pytest.raises(DataError, match="'arcface-112' and 'other'"):
        open_training([section("a"), section("b", seed=1, how=other)])


@pytest.mark.parametrize("count", [0, 1])
def test_refuses_nobody_and_one_identity(section, count) -> None:
    parts = {f"p{n}": "train" if n < count else "test" for n in range(6)}
    with pytest.raises(DataError, match=f"{count} identities in the part 'train'.*has the parts test"):
        open_training([section(parts=parts | ({"p9": "train"} if count else {}))])


def test_refuses_no_set_and_a_set_twice(section) -> None:
    with pytest.raises(UsageError, match="no prepared set is named"):
        open_training([])
    one = section()
    with pytest.raises(UsageError, match="two prepared sets are called 'made'"):
        open_training([one, one])


def test_whoever_is_added_moves_nobody() -> None:
    split = split_subjects([f"p{n}" for n in range(6)], name="made", fractions={"train": 0.6, "test": 0.4})
    more = split_subjects([f"p{n}" for n in range(60)], name="made", fractions={"train": 0.6, "test": 0.4})
    assert split.parts == {subject: more.parts[subject] for subject in split.parts}
