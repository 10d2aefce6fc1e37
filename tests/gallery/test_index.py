"""The matrix index against a brute-force search."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.gallery.index import MatrixIndex, _kth_highest
from verify.gallery.vectors import exact_cosines


def random_units(rng: np.random.Generator, count: int, dim: int, *, coarse: bool = False) -> np.ndarray:
    vectors = rng.integers(-1, 2, (count, dim)) if coarse else rng.standard_normal((count, dim))
    vectors = vectors + 1e-9 * (np.abs(vectors).sum(axis=1, keepdims=True) == 0)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def brute(kept: dict[int, tuple[int, np.ndarray]], probe: np.ndarray, k: int) -> list[tuple[int, float]]:
    best: dict[int, float] = {}
    for owner, vector in kept.values():
        score = float(exact_cosines(vector[None, :], probe)[0])
        best[owner] = max(score, best.get(owner, -2.0))
    ranked = sorted(best.items(), key=lambda item: (-item[1], item[0]))
    return [hit for hit in ranked if hit[1] >= ranked[min(k, len(ranked)) - 1][1]]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), coarse=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_agrees_with_brute_force_through_any_history(data, coarse, seed):
    rng = np.random.default_rng(seed)
    dim = data.draw(st.sampled_from([1, 3, 8]))
    index = MatrixIndex(dim)
    kept: dict[int, tuple[int, np.ndarray]] = {}
    next_id = 1
    for _ in range(data.draw(st.integers(1, 6))):
        count = data.draw(st.integers(0, 15))
        vectors = random_units(rng, count, dim, coarse=coarse)
        owners = rng.integers(0, 9, count)
        ids = np.arange(next_id, next_id + count)
        index.append(ids, owners, vectors)
        kept |= {int(i): (int(o), v) for i, o, v in zip(ids, owners, vectors, strict=True)}
        next_id += count
        gone = [i for i in list(kept) if rng.random() < data.draw(st.sampled_from([0.0, 0.1, 0.9]))]
        assert index.remove(np.array([*gone, next_id + 5], np.int64)) == len(gone)
        for i in gone:
            del kept[i]
        assert len(index) == len(kept)
        probe = random_units(rng, 1, dim, coarse=coarse)[0]
        k = data.draw(st.integers(1, 12))
        found = sorted(index.top(probe, k), key=lambda hit: (-hit[1], hit[0]))
        assert found == (brute(kept, probe, k) if kept else [])


def test_removed_vectors_are_zeroed_in_memory():
    index = MatrixIndex(32)
    vectors = random_units(np.random.default_rng(1), 300, 32)
    index.append(np.arange(300), np.arange(300), vectors)
    index.remove(np.arange(10, 20))
    held = index._vectors.tobytes()
    assert not any(vectors[i].tobytes() in held for i in range(10, 20))
    assert vectors[9].tobytes() in held
    assert vectors[20].tobytes() in held


def test_memory_stays_near_the_matrix_as_it_grows_and_shrinks():
    index = MatrixIndex(64)
    vectors = random_units(np.random.default_rng(1), 10_000, 64)
    for start in range(0, 10_000, 100):
        index.append(np.arange(start, start + 100), np.arange(100), vectors[start : start + 100])
    assert index.nbytes <= 1.2 * vectors.nbytes
    index.remove(np.arange(0, 10_000, 2))
    assert index.nbytes <= 1.2 * vectors.nbytes / 2
    index.remove(np.arange(10_000))
    assert index.nbytes == 0


def test_a_view_that_somebody_holds_does_not_stop_growth():
    vectors = random_units(np.random.default_rng(1), 500, 8)
    index = MatrixIndex(8)
    index.append(np.arange(100), np.arange(100), vectors[:100])
    view = index._vectors[:1]
    index.append(np.arange(100, 500), np.arange(100, 500), vectors[100:])
    assert not view.any()  # what it shows was zeroed
    np.testing.assert_array_equal(index._vectors[:500], vectors)


def test_a_hundred_templates_of_one_subject_do_not_hide_the_next():
    rng = np.random.default_rng(1)
    probe = random_units(rng, 1, 16)[0]
    crowd = np.repeat(probe[None, :], 500, axis=0)
    other = random_units(rng, 1, 16)
    index = MatrixIndex(16)
    index.append(np.arange(500), np.zeros(500, np.int64), crowd)
    index.append(np.array([500]), np.array([1]), other)
    assert [owner for owner, _ in index.top(probe, 2)] == [0, 1]


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=3000).map(lambda v: np.array(v, np.float32)),
    st.integers(1, 20),
)
def test_kth_highest_is_the_kth_of_the_sorted(values, k):
    k = min(k, len(values))
    assert _kth_highest(values, k) == np.sort(values)[-k]


def test_kth_highest_of_many_with_few_groups():
    values = np.random.default_rng(5).standard_normal(10_007).astype(np.float32)
    values[:50] = -np.inf
    for k in (1, 3, 30, 5000):
        assert _kth_highest(values, k) == np.sort(values)[-k]


def test_a_score_does_not_depend_on_where_its_row_lies():
    rng = np.random.default_rng(2)
    probe, row = random_units(rng, 2, 512)
    index = MatrixIndex(512)
    filler = random_units(rng, 200, 512) * np.float32(-1)
    for i in range(200):
        vectors = row if i % 3 == 0 else filler[i]
        index.append(np.array([i]), np.array([i]), vectors[None, :])
    scores = {score for owner, score in index.top(probe, 200) if owner % 3 == 0}
    assert len(scores) == 1
