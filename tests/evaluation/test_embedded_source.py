"""Every pair of samples once, whatever the blocks; a sample of pairs is a fair one; transactions are whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.data.manifest import Entry
from verify.errors import InsufficientTrialsError, ScoreError
from verify.evaluation import embedded_source as module
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.embeddings import EmbeddedSet
from verify.evaluation.joined_source import JoinedSource, shared_subjects
from verify.evaluation.prepare import pooled_side, prepare
from verify.evaluation.spaces import TransactionSource
from verify.types import Reason

DIM = 8


def source_of(owners, *, name="people", seed=0, failed=(), labels=None, prefix="s"):
    """Random unit vectors; `owners` are numbers, `failed` the rows without a capture."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((len(owners), DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[list(failed)] = np.nan
    quality = {"sharpness": rng.random(len(owners)) + np.arange(len(owners))}
    entries = tuple(
        Entry(f"{prefix}{owner:03d}", f"{row}.jpg", labels=labels[row] if labels else {})
        for row, owner in enumerate(owners)
    )
    embedded = EmbeddedSet(
        name=name,
        entries=entries,
        vectors=vectors,
        failures=tuple(Reason.NO_FACE if row in failed else None for row in range(len(owners))),
        quality=quality,
        sha256s=tuple(f"{row:064x}" for row in range(len(owners))),
    )
    return EmbeddedSource.of(embedded, model_id="ab" * 32)


def everybody(source):
    return np.ones(len(source.subjects), dtype=bool)


def listed(source, among=None, **how: Any):
    """(attempts, subjects, mated, score) of every trial, pairs in ascending order of attempts."""
    rows = []
    for block in source.blocks(everybody(source) if among is None else among, **how):
        for k in range(block.score.size):
            a, b = int(block.attempt_a[k]), int(block.attempt_b[k])
            assert source.attempts[a].subject == block.subject_a[k]
            assert source.attempts[b].subject == block.subject_b[k]
            for x, y in block.quality.values():
                assert x[k] == source.quality["sharpness"][a]
                assert y[k] == source.quality["sharpness"][b]
            rows.append((min(a, b), max(a, b), bool(block.mated[k]), float(block.score[k])))
    return sorted(rows)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=25),
    st.integers(1, 200),
    st.sets(st.integers(0, 24), max_size=4),
    st.integers(0, 6),
)
def test_all_pairs_once_whatever_the_block(owners, cells, failed, left_out):
    source = source_of(owners, failed={row for row in failed if row < len(owners)})
    among = np.array([subject != f"s{left_out:03d}" for subject in source.subjects])
    kept, module.CELLS = module.CELLS, cells
    try:
        found = listed(source, among, measures=("sharpness",))
        mated_only = listed(source, among, mated_only=True)
    finally:
        module.CELLS = kept
    rows = [r for r in range(len(owners)) if r not in failed and owners[r] != left_out]
    expected = [
        (i, j, owners[i] == owners[j], float(source.vectors[i] @ source.vectors[j]))
        for i, j in combinations(rows, 2)
    ]
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    assert np.allclose([row[3] for row in found], [row[3] for row in expected], atol=1e-5)
    assert [row[:3] for row in mated_only] == [row[:3] for row in expected if row[2]]
    assert source.possible_non_mated(among) == sum(not row[2] for row in expected)
    outside = [r for r in range(len(owners)) if r not in failed and owners[r] == left_out]
    assert source.crossing(among) == len(rows) * len(outside)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=16), st.integers(2, 4), st.integers(1, 60))
def test_transactions_are_k_different_samples_of_one_subject(owners, k, cells):
    source = replace(source_of(owners), transaction=k)
    kept, module.CELLS = module.CELLS, cells
    try:
        blocks = list(source.blocks(everybody(source)))
    finally:
        module.CELLS = kept
    counts = np.bincount(source.owner, minlength=len(source.subjects))
    mated, non_mated = 0, 0
    for block in blocks:
        for start in range(0, block.score.size, k):
            run = slice(start, start + k)
            assert len(set(block.attempt_a[run].tolist())) == 1
            probes = set(block.attempt_b[run].tolist())
            assert len(probes) == k
            assert block.attempt_a[start] not in probes
            assert len(set(block.subject_b[run].tolist())) == 1
            mated += bool(block.mated[start])
            non_mated += not block.mated[start]
    assert mated == int(np.sum(counts * ((counts - 1) // k)))
    assert non_mated == source.possible_non_mated(everybody(source))


def test_a_transaction_scores_its_best_attempt():
    source = replace(source_of(np.repeat(np.arange(6), 5)), transaction=2)
    best = TransactionSource(source, attempts=2)
    plain = np.concatenate([block.score for block in source.blocks(everybody(source))]).reshape(-1, 2)
    blocks = list(best.blocks(everybody(source), measures=("sharpness",)))
    assert np.array_equal(np.concatenate([block.score for block in blocks]), plain.max(axis=1))
    for block in blocks:
        assert np.allclose(
            np.einsum("nd,nd->n", source.vectors[block.attempt_a], source.vectors[block.attempt_b]),
            block.score,
            atol=1e-5,
        )


@pytest.mark.parametrize("wanted", [1, 50, 300, 10**6])
def test_a_sample_of_pairs_is_seeded_true_and_keeps_all_mated(wanted):
    whole = source_of(np.repeat(np.arange(15), 3))
    source = replace(whole, max_non_mated=wanted, seed=4)
    everything, sample = {row[:3] for row in listed(whole)}, listed(source)
    assert {row[:3] for row in sample} <= everything
    assert len({row[:2] for row in sample}) == len(sample)
    assert sum(row[2] for row in sample) == 45
    drawn = len(sample) - 45
    possible = whole.possible_non_mated(everybody(whole))
    assert drawn == possible if wanted >= possible else abs(drawn - wanted) < 5 * np.sqrt(wanted) + 1
    assert listed(source) == sample


def test_every_pair_is_as_likely_to_be_sampled():
    source, seen = source_of(np.arange(12)), np.zeros((12, 12))
    for seed in range(600):
        for i, j, _, _ in listed(replace(source, max_non_mated=22, seed=seed)):
            seen[i, j] += 1
    counts = seen[np.triu_indices(12, 1)]
    assert counts.min() > 140  # 200 expected, standard deviation 12
    assert counts.max() < 260


def test_a_capture_ruled_out_later_counts_as_failed():
    source = source_of([0, 0, 1, 1])
    fewer = source.without(np.array([True, False, False, False]), reason=Reason.OUTSIDE_CALIBRATED_RANGE)
    assert [row[:2] for row in listed(fewer)] == [(1, 2), (1, 3), (2, 3)]
    assert fewer.attempts[0].failure is Reason.OUTSIDE_CALIBRATED_RANGE
    assert len(listed(source)) == 6


def test_vectors_that_are_none_are_named():
    embedded = EmbeddedSet(
        "x", (Entry("a", "1.jpg"), Entry("b", "2.jpg")), np.eye(2, dtype=np.float32) * 2, (None, None)
    )
    with pytest.raises(ScoreError, match=r"1\.jpg: its vector has norm 2"):
        EmbeddedSource.of(embedded, model_id="ab" * 32)


def test_groups_are_of_subjects():
    owners = [0, 0, 1, 1, 2]
    labels = [
        {"sex": "f", "camera": "x"},
        {"sex": "", "camera": "y"},
        {"sex": " m", "camera": "x"},
        {"sex": "m"},
        {},
    ]
    source = source_of(owners, labels=labels)
    assert source.groups == {"sex": ("f", "m", "")}
    assert "column 'camera' differs between the files of 1 subjects (s000 is one)" in source.warnings[0]


def test_sides_keep_subjects_attempts_and_quality():
    source = source_of(np.repeat(np.arange(10), 3), failed=[0, 1, 2, 3])
    among = np.arange(10) < 5
    side = prepare(source, among, measures=("sharpness",))
    assert (side.subjects_seen, side.samples_seen) == (4, 11)
    assert side.mated.size == 1 + 3 * 3
    assert np.array_equal(
        side.mated_quality["sharpness"][0], source.quality["sharpness"][side.mated_attempts[:, 0]]
    )
    top = side.non_mated.top(1)
    a, b = int(top.payload[0]) >> 32, int(top.payload[0]) & 0xFFFFFFFF
    assert float(source.vectors[a] @ source.vectors[b]) == pytest.approx(float(top.score[0]), abs=1e-6)
    with pytest.raises(InsufficientTrialsError, match="no non-mated trials among the chosen subjects"):
        prepare(source, np.arange(10) == 7)


def test_sets_are_pooled_without_trials_across():
    one, two = source_of([0, 0, 1, 1, 2, 2]), source_of([0, 0, 5, 5], name="others", seed=1, prefix="o")
    sides = [prepare(one, everybody(one)), prepare(two, everybody(two))]
    both = pooled_side(sides)
    assert both.non_mated.trials == sum(side.non_mated.trials for side in sides)
    assert both.non_mated.subjects == 5
    assert both.subjects_seen == 5
    assert [both.attempts[a].name for a, _ in both.mated_attempts.tolist()] == [
        "0.jpg",
        "2.jpg",
        "4.jpg",
        "0.jpg",
        "2.jpg",
    ]
    assert set(both.mated_subject.tolist()) == {0, 1, 2, 3, 4}


def test_people_of_one_name_in_two_sets_are_one_cluster():
    one, two = source_of([0, 0, 1, 1, 2]), source_of([0, 0, 5, 5], name="others", seed=1, prefix="S")
    assert shared_subjects([one, two]) == ("S000",)
    joined = JoinedSource([one, two], name="both")
    side = prepare(joined, joined.joint([everybody(one), everybody(two)]))
    assert joined.subjects == ("s000", "s001", "s002", "S005")
    assert side.non_mated.trials == 8 + 4
    assert side.non_mated.subjects == 4
    assert sorted(side.mated_subject.tolist()) == [0, 0, 1, 3]
    assert joined.crossing(np.array([True, False, False, False])) == 2 * 3 + 2 * 2
