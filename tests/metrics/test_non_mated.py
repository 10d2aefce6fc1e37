from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.errors import ScoreError
from verify.metrics import (
    ChosenThreshold,
    NonMatedAccumulator,
    NonMatedScores,
    fmr,
    non_mated_rate,
    pooled_non_mated,
    threshold_at_fmr,
)
from verify.metrics.pair_counts import PairCounter
from verify.metrics.score_histogram import bin_of, lower_edge

TARGETS = [0.1, 0.02, 5e-3]


def people(seed, *, subjects=40, samples=3, dtype=np.float32, step=0.0):
    rng = np.random.default_rng(seed)
    i, j = np.triu_indices(subjects, 1)
    a, b = np.repeat(i, samples**2), np.repeat(j, samples**2)
    leaning = 0.2 * rng.standard_normal(subjects)
    scores = leaning[a] + leaning[b] + rng.standard_normal(a.size)
    if step:
        scores = np.round(scores / step) * step
    return scores.astype(dtype), a, b


def streamed(scores, a, b, *, seed, tail, subjects=40):
    """In random order, in blocks of random size, a random half of the pairs turned round."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(scores.size)
    turn = rng.random(scores.size) < 0.5
    x, y = np.where(turn, b, a), np.where(turn, a, b)
    taken = NonMatedAccumulator(subjects=subjects, tail=tail)
    for block in np.array_split(order, rng.integers(1, 30)):
        taken.add(scores[block], x[block], y[block], block)
    return taken.finish()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(3))
def test_streamed_results_equal_those_in_memory_to_the_bit(seed, step, dtype):
    scores, a, b = people(seed, step=step, dtype=dtype)
    whole = NonMatedScores.of(scores, subject_a=a, subject_b=b, payload=np.arange(scores.size))
    part = streamed(scores, a, b, seed=seed, tail=1500)
    assert whole.floor == -math.inf
    assert part.floor > -math.inf
    assert part.tail.score.size <= 1500
    assert part.tail.score.size + part.body.total == scores.size
    assert (part.trials, part.subjects) == (whole.trials, whole.subjects)
    assert (part.minimum, part.maximum) == (whole.minimum, whole.maximum)
    assert part.mean == pytest.approx(whole.mean, rel=1e-6)
    at = np.unique(scores[scores > part.floor]).tolist()
    np.testing.assert_array_equal(part.fmr(at), whole.fmr(at))
    for bound in ("population", "prediction"):
        assert part.rates(at[-40:], bound=bound) == whole.rates(at[-40:], bound=bound)
        chosen, expected = (one.choose(TARGETS, bound=bound) for one in (part, whole))
        for target in TARGETS:
            assert isinstance(expected[target], ChosenThreshold) or target < 0.01
            assert str(chosen[target]) == str(expected[target])
    for one, other in zip(part.errors_by_subject(at[3]), whole.errors_by_subject(at[3]), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(part.top(50).score, whole.top(50).score)
    np.testing.assert_array_equal(scores[part.top(50).payload], part.top(50).score)
    assert part.threshold_at_fmr(0.01) == threshold_at_fmr(non_mated=scores, target=0.01)
    assert part.quantile(0.99) == whole.quantile(0.99)


def test_below_the_tail_rates_are_never_understated():
    scores, a, b = people(5)
    part = streamed(scores, a, b, seed=5, tail=500)
    for threshold in np.linspace(-3, part.floor, 50).tolist():
        truth = fmr(non_mated=scores, threshold=threshold)
        rate = part.rate(threshold)
        assert truth <= rate.value <= truth + 0.01
        assert rate.bound == "wilson-disjoint-pairs"
        assert (
            rate.upper
            >= non_mated_rate(non_mated=scores, subject_a=a, subject_b=b, threshold=threshold).upper - 0.02
        )
        assert part.rate(threshold, bound="prediction").upper > rate.upper
    low = part.threshold_at_fmr(0.5)
    assert fmr(non_mated=scores, threshold=low) <= 0.5
    assert fmr(non_mated=scores, threshold=low) > 0.49
    assert part.rate(-math.inf).value == 1.0
    with pytest.raises(ScoreError, match="exact tail"):
        part.errors_by_subject(part.floor)


def test_histogram_sample_and_quantiles_of_a_stream():
    scores, a, b = people(6)
    part = streamed(scores, a, b, seed=6, tail=700)
    edges = np.linspace(-4.05, 4.05, 28)
    exact = np.histogram(scores, edges)[0]
    assert part.histogram(edges).sum() == scores.size
    assert np.abs(part.histogram(edges) - exact).max() <= 3
    sample = part.sample(2000, seed=1)
    assert sample.size == 2000
    assert (np.diff(sample) >= 0).all()
    assert abs(np.median(sample) - np.median(scores)) < 0.1
    np.testing.assert_array_equal(sample, part.sample(2000, seed=1))
    assert part.sample(10**9).size == scores.size
    for p in (0.0, 0.1, 0.5, 0.97, 1.0):
        exact_quantile = np.quantile(scores, p, method="inverted_cdf")
        assert part.quantile(p) == pytest.approx(exact_quantile, rel=2e-4, abs=1e-6)


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=50))
def test_bins_order_as_the_scores_do(values):
    scores = np.sort(np.array(values))
    bins = bin_of(scores)
    assert (np.diff(bins) >= 0).all()
    edges = lower_edge(bins)
    inside = scores > np.finfo(np.float32).min
    assert (edges[inside] <= scores[inside]).all()


@settings(max_examples=30)
@given(st.data())
def test_stream_equals_memory_whatever_the_scores(data):
    subjects = data.draw(st.integers(4, 8))
    n = data.draw(st.integers(2, 60))
    level = st.integers(-3, 3) if data.draw(st.booleans()) else st.floats(-5, 5, width=32)
    scores = np.array(data.draw(st.lists(level, min_size=n, max_size=n)), dtype=np.float32)
    a = np.array(data.draw(st.lists(st.integers(0, subjects - 1), min_size=n, max_size=n)))
    b = (a + np.array(data.draw(st.lists(st.integers(1, subjects - 1), min_size=n, max_size=n)))) % subjects
    whole = NonMatedScores.of(scores, subject_a=a, subject_b=b)
    taken = NonMatedAccumulator(subjects=subjects, tail=data.draw(st.integers(1, n)))
    for block in np.array_split(data.draw(st.permutations(range(n))), data.draw(st.integers(1, 5))):
        taken.add(scores[block], b[block], a[block])
    part = taken.finish()
    thresholds = [t for t in np.unique(scores).tolist() if t > part.floor]
    assert part.rates(thresholds) == whole.rates(thresholds)
    np.testing.assert_array_equal(part.fmr(thresholds), whole.fmr(thresholds))
    everywhere = np.sort(np.append(scores, [-9.0, 9.0]))
    assert (np.diff(part.fmr(everywhere)) <= 0).all()
    assert (part.fmr(everywhere) >= whole.fmr(everywhere)).all()


@given(seed=st.integers(0, 50), target=st.sampled_from([0.3, 0.1, 0.05]))
def test_choices_do_not_depend_on_the_scale_of_the_scores(seed, target):
    scores, a, b = people(seed, subjects=14, dtype=np.float64)
    plain = NonMatedScores.of(scores, subject_a=a, subject_b=b)
    bent = NonMatedScores.of(np.exp(3 * scores), subject_a=a, subject_b=b)
    one, other = plain.choose([target])[target], bent.choose([target])[target]
    if isinstance(one, ChosenThreshold) and one.rate.errors:
        assert other.rate == one.rate
        assert other.threshold == np.exp(3 * one.threshold)
        assert one.rate.upper <= target
        assert fmr(non_mated=scores, threshold=one.threshold) < target


def test_pooled_groups_are_one_design_without_pairs_across():
    sets = [people(seed, subjects=20) for seed in (1, 2)]
    together = NonMatedScores.of(
        np.concatenate([scores for scores, _, _ in sets]),
        subject_a=np.concatenate([sets[0][1], sets[1][1] + 20]),
        subject_b=np.concatenate([sets[0][2], sets[1][2] + 20]),
    )
    pooled = pooled_non_mated([NonMatedScores.of(s, subject_a=a, subject_b=b) for s, a, b in sets])
    at = np.unique(together.tail.score)[-200:].tolist()
    assert pooled.rates(at) == together.rates(at)
    assert pooled.subjects == 40
    streams = [streamed(s, a, b, seed=3, tail=400, subjects=20) for s, a, b in sets]
    coarse = pooled_non_mated(streams)
    assert coarse.floor == max(one.floor for one in streams)
    high = [t for t in at if t > coarse.floor]
    assert high
    assert coarse.rates(high) == together.rates(high)
    assert coarse.tail.score.size + coarse.body.total == together.trials


def test_pairs_are_counted_alike_in_a_triangle_and_as_sorted_keys(monkeypatch):
    rng = np.random.default_rng(0)
    a = rng.integers(0, 30, 5000)
    b = (a + rng.integers(1, 30, 5000)) % 30
    dense = PairCounter(30)
    monkeypatch.setattr("verify.metrics.pair_counts._MOST_CELLS", 1)
    monkeypatch.setattr("verify.metrics.pair_counts._CHUNK", 64)
    sparse = PairCounter(30)
    for block in np.array_split(np.arange(5000), 17):
        dense.add(a[block], b[block])
        sparse.add(b[block], a[block])
    i, j = np.triu_indices(30, 1)
    np.testing.assert_array_equal(dense.trials_of(i, j), sparse.trials_of(j, i))
    assert dense.trials_of(i, j).sum() == 5000
    assert dense.sum_of_squares() == sparse.sum_of_squares() == int((dense.trials_of(i, j) ** 2).sum())
    weights = rng.integers(0, 3, (30, 7)).astype(float)
    by_hand = (dense.trials_of(i, j)[:, None] * weights[i] * weights[j]).sum(axis=0)
    np.testing.assert_allclose(dense.weighted(weights), by_hand)
    np.testing.assert_allclose(sparse.weighted(weights), by_hand)


def test_a_threshold_between_two_float32_is_not_rounded_to_the_score():
    scores = np.full(10, np.float32(0.1))
    a, b = np.zeros(10, int), np.ones(10, int)
    kept = NonMatedScores.of(scores, subject_a=a, subject_b=b)
    just_above = math.nextafter(float(np.float32(0.1)), 1)
    assert kept.count(float(np.float32(0.1))) == 10
    assert kept.count(just_above) == 0
    assert fmr(non_mated=scores, threshold=just_above) == 0
    assert kept.rate(just_above).errors == 0


@pytest.mark.parametrize(
    ("scores", "a", "b", "payload", "problem"),
    [
        ([0.1, math.nan], [0, 1], [1, 0], None, "score 1"),
        ([0.1], [0], [9], None, "below 4"),
        ([0.1], [2], [2], None, "both sides"),
        ([0.1, 0.2], [0, 1], [1, 0], [1], "payload"),
        ([0.1], [0], [1], [0.5], "payload"),
        (["x"], [0], [1], None, "numbers"),
    ],
)
def test_bad_trials_are_named(scores, a, b, payload, problem):
    with pytest.raises(ScoreError, match=problem):
        NonMatedAccumulator(subjects=4).add(scores, a, b, payload)


def test_no_trials_are_no_scores():
    taken = NonMatedAccumulator(subjects=4)
    taken.add([], [], [])
    with pytest.raises(ScoreError, match="no scores"):
        taken.finish()
    with pytest.raises(ScoreError, match="no groups"):
        pooled_non_mated([])


def test_parts_with_and_without_payload_are_pooled_with_minus_one_where_there_is_none():
    one = NonMatedScores.of([0.1, 0.9], subject_a=[0, 0], subject_b=[1, 2], payload=[7, 8])
    other = NonMatedScores.of([0.5], subject_a=[0], subject_b=[1])
    top = pooled_non_mated([one, other]).top(3)
    assert top.payload is not None
    assert top.payload.tolist() == [8, -1, 7]
