"""One person under two names in two sets is one person: on one side, in one cluster, and said."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.people import PeopleCapturer, write_people
from verify.evaluation.facts_of import calibration_facts
from verify.evaluation.fused_job import run_fused_calibration
from verify.evaluation.job import Method, run_calibration
from verify.evaluation.joined_source import JoinedSource, shared_subjects
from verify.evaluation.persons import on_both_sides, persons_of


def run(*folders: Path, **method: Any):
    return run_calibration(
        PeopleCapturer(),
        folders,
        targets=[0.1],
        method=Method(**{"bound": "population", **method}),
        keep_cache=False,
    )


def facts_of(job):
    return calibration_facts(job, title="t", command="c", created_at=datetime.now(UTC))


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("data") / "people", subjects=60, samples=3)


@pytest.fixture(scope="module")
def renamed(people, tmp_path_factory):
    """The same files under other names."""
    root = tmp_path_factory.mktemp("renamed") / "renamed"
    for folder in sorted(people.iterdir()):
        shutil.copytree(folder, root / f"x{folder.name}")
    return root


@pytest.fixture(scope="module")
def both(people, renamed):
    return run(people, renamed)


def test_a_file_under_two_names_in_two_sets_is_one_person_on_one_side(both):
    first, second = both.calibration.sets
    assert first.source.subjects != second.source.subjects
    for subject, part in first.split.parts.items():
        assert second.split.parts[f"x{subject}"] == part
    assert set(persons_of(second.source)) == set(first.source.subjects)
    assert any("60 subjects share files" in warning for warning in second.source.warnings)
    assert not any("share files" in warning for warning in first.source.warnings)
    assert len(shared_subjects([first.source, second.source])) == 60


def test_in_the_pool_they_are_one_cluster(both):
    whole = both.calibration.whole.calibration
    assert whole.non_mated.subjects == both.calibration.sets[0].calibration.non_mated.subjects
    assert whole.non_mated.trials == sum(one.calibration.non_mated.trials for one in both.calibration.sets)


def test_the_order_of_the_sets_changes_nobodys_side(both, people, renamed):
    turned = run(renamed, people).calibration.sets
    for one, other in zip(both.calibration.sets, turned[::-1], strict=True):
        assert one.split.parts == other.split.parts


def test_only_sets_without_anybody_on_both_sides_are_called_disjoint(both):
    assert [one["disjoint"] for one in facts_of(both)["sets"]] == [True, True]
    first, second = both.calibration.sets
    swapped = dataclasses.replace(second, calibration=second.test, test=second.calibration)
    assert on_both_sides([first, second]) == frozenset()
    assert on_both_sides([first, swapped]) == {"people", "renamed"}
    torn = dataclasses.replace(both.calibration, sets=(first, swapped))
    found = facts_of(dataclasses.replace(both, calibration=torn))
    assert [one["disjoint"] for one in found["sets"]] == [False, False]
    # files tell even where names do not
    unnamed = dataclasses.replace(swapped, source=dataclasses.replace(second.source, persons=()))
    assert on_both_sides([first, unnamed]) == {"people", "renamed"}
    both_sides = dataclasses.replace(
        first, test=dataclasses.replace(first.test, among=np.ones_like(first.test.among))
    )
    assert on_both_sides([both_sides]) == {"people"}


def test_several_models_see_one_person_too(people, renamed):
    other = PeopleCapturer(noise=1.2)
    other.model_id = "cd" * 32
    job = run_fused_calibration(
        [PeopleCapturer(), other],
        [people, renamed],
        targets=[0.1],
        method=Method(bound="population"),
        keep_cache=False,
    )
    first, second = job.calibration.sets
    for subject, part in first.split.parts.items():
        assert second.split.parts[f"x{subject}"] == part
    assert any("share files" in warning for warning in second.source.warnings)


def test_a_subject_spelled_twice_in_one_set_and_again_in_another(people, tmp_path):
    second = write_people(tmp_path / "again", subjects=60, samples=3)
    (second / "PERSON000").mkdir()
    for k in range(3):
        (second / "PERSON000" / f"{k}.jpg").write_text(f"0:9{k}")
    job = run(people, second)
    sets = job.calibration.sets
    assert any("two spellings" in warning for warning in sets[1].source.warnings)
    assert any("again: 1 of its people are two subjects" in note for note in facts_of(job)["notes"])
    joined = JoinedSource([one.source for one in sets], name="all")
    everybody = np.ones(len(joined.subjects), dtype=bool)
    for block in joined.blocks(everybody):
        assert np.array_equal(block.mated, block.subject_a == block.subject_b)
    own = sum(np.count_nonzero(~block.mated) for block in sets[1].source.blocks(np.ones(61, dtype=bool)))
    alone = sum(np.count_nonzero(~block.mated) for block in sets[0].source.blocks(np.ones(60, dtype=bool)))
    pooled = sum(np.count_nonzero(~block.mated) for block in joined.blocks(everybody))
    assert pooled == own + alone - 9  # the three files of one spelling against the three of the other
    # searches by one spelling that find the other are no false matches either
    searches = run(people, second, mode="1:N", gallery_size=2)
    assert searches.calibration.points
