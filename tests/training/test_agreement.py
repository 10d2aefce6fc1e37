"""Two networks beside each other: what rounds is forgiven, what decides otherwise is counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import DataError, ModelIntegrityError
from verify.training.agreement import HALF, INTEGER, SAME, agreement, settled_threshold


def people(count: int = 60, each: int = 4, *, dim: int = 32, noise: float = 0.6, seed: int = 0):
    """(n, D) unit embeddings and their (n,) labels."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((count, dim))
    rows = np.repeat(centres, each, axis=0) + noise * rng.standard_normal((count * each, dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.repeat(np.arange(count), each)


def moved(rows: np.ndarray, by: float, *, seed: int = 1) -> np.ndarray:
    away = rows + by * np.random.default_rng(seed).standard_normal(rows.shape).astype(np.float32)
    return (away / np.linalg.norm(away, axis=1, keepdims=True)).astype(np.float32)


def test_rounding_changes_no_decision() -> None:
    rows, labels = people()
    found = agreement(rows, moved(rows, 1e-6), labels)
    assert found.difference < 1e-5
    assert [one.target_fmr for one in found.decisions] == [1e-2, 1e-3]
    assert all(one.mated_differing == one.non_mated_differing == 0 for one in found.decisions)
    assert found.beyond(SAME) == []
    assert (found.samples, found.subjects, found.mated) == (240, 60, 60 * 6)


def test_a_rotation_is_no_difference_between_samples_but_one_to_the_original() -> None:
    rows, labels = people()
    turn, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((32, 32)))
    found = agreement(rows, (rows @ turn).astype(np.float32), labels)
    assert found.between < 1e-6
    assert found.to_original > 0.5  # templates of the two could not be compared
    assert found.beyond(SAME)


def test_what_decides_otherwise_is_counted_by_hand() -> None:
    rows, labels = people()
    other = moved(rows, 0.1)
    found = agreement(rows, other, labels)
    upper = np.triu_indices(len(labels), 1)
    before, after = ((x.astype(np.float64) @ x.T.astype(np.float64))[upper] for x in (rows, other))
    mate = (labels[:, None] == labels[None, :])[upper]
    for one in found.decisions:
        flipped = (before >= one.threshold) != (after >= one.threshold)
        assert one.mated_differing == flipped[mate].sum()
        assert one.non_mated_differing == flipped[~mate].sum()
        assert one.fnmr_converted == pytest.approx((after[mate] < one.threshold).mean())
        assert one.fmr <= one.target_fmr
    assert max(one.mated_differing for one in found.decisions) > 0
    assert found.beyond(SAME)
    assert found.beyond(HALF)


def test_beyond_says_what_and_how_much() -> None:
    rows, labels = people()
    said = " ".join(agreement(rows, moved(rows, 0.8), labels).beyond(INTEGER))
    assert "cosine differs" in said
    assert "mated pairs are decided differently at FMR 0.01" in said


@pytest.mark.parametrize("broken", ["nan", "zero", "shape"])
def test_embeddings_that_are_none_are_refused(broken: str) -> None:
    rows, labels = people(4)
    other = rows.copy()
    if broken == "nan":
        other[3, 2] = np.nan
    elif broken == "zero":
        other[3] = 0
    else:
        other = other[:, :16]
    with pytest.raises(ModelIntegrityError, match="norm"):
        agreement(rows, other, labels)


@pytest.mark.parametrize("labels", [np.arange(8), np.zeros(8, int)])
def test_without_pairs_of_both_kinds_nothing_is_proven(labels: np.ndarray) -> None:
    rows, _ = people(4, 2)
    with pytest.raises(DataError, match="bring more validation subjects"):
        agreement(rows, rows, labels)


def test_rates_that_the_pairs_cannot_support_are_left_out() -> None:
    rows, labels = people(8, 2)  # 112 non-mated pairs
    assert agreement(rows, rows, labels).decisions == ()


scores = st.lists(st.floats(-1, 1, allow_nan=False, width=32), min_size=20, max_size=60)


@given(scores, scores, st.sampled_from([0.5, 0.2, 0.1]))
def test_the_settled_threshold_holds_the_target_and_lies_between_scores(mated, non_mated, target) -> None:
    mated, non_mated = np.array(mated), np.array(non_mated)
    threshold = settled_threshold(non_mated=non_mated, mated=mated, target=target)
    assert (non_mated >= threshold).mean() <= target
    distances = np.abs(np.concatenate([mated, non_mated]) - threshold)
    assert distances.min() > 0 or len(np.unique(np.concatenate([mated, non_mated]))) == 1


def test_the_card_gets_plain_rounded_numbers() -> None:
    import json

    rows, labels = people()
    facts = agreement(rows, moved(rows, 0.01), labels).on_card()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["max_cosine_difference"] > 0
    assert set(facts["decisions"][0]) >= {"target_fmr", "threshold", "mated_differing", "non_mated_differing"}
