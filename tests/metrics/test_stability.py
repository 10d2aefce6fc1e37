from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import ScoreError
from verify.metrics.stability import bin_counts, population_stability, quantile_edges


@given(st.integers(0, 2**32 - 1))
def test_two_samples_of_one_population_are_stable(seed: int):
    rng = np.random.default_rng(seed)
    then, now = rng.normal(0.6, 0.1, 2000), rng.normal(0.6, 0.1, 200)
    edges = quantile_edges(then)
    found = population_stability(
        then=bin_counts(then, edges=edges), now=bin_counts(now, edges=edges), confidence=0.999999
    )
    assert found.level == "stable"


def test_by_chance_is_passed_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    passed = 0
    for _ in range(400):
        then, now = rng.normal(size=3000), rng.normal(size=600)
        edges = quantile_edges(then)
        found = population_stability(
            then=bin_counts(then, edges=edges), now=bin_counts(now, edges=edges), confidence=0.9
        )
        passed += found.psi > found.by_chance
    assert 20 <= passed <= 64  # 40 expected


@pytest.mark.parametrize(("shift", "level"), [(0.4, "moderate"), (1.5, "shifted")])
def test_a_moved_distribution_is_seen(shift: float, level: str):
    rng = np.random.default_rng(6)
    then, now = rng.normal(size=5000), rng.normal(shift, 1.0, size=1000)
    edges = quantile_edges(then)
    found = population_stability(then=bin_counts(then, edges=edges), now=bin_counts(now, edges=edges))
    assert found.level == level


def test_the_index_is_that_of_the_formula():
    found = population_stability(then=[5000, 5000], now=[2500, 7500])
    assert found.psi == pytest.approx(0.25 * np.log(1.5) + -0.25 * np.log(0.5), rel=1e-3)


def test_ties_and_constant_scores_make_fewer_bins_not_empty_ones():
    assert quantile_edges(np.zeros(100)).tolist() == [0.0]
    assert bin_counts([0.0, -1.0, 1.0], edges=np.array([0.0])).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("then", "now"),
    [([1, 2], [1, 2, 3]), ([1], [1]), ([0, 0], [1, 1]), ([1, -1], [1, 1]), ([1, np.nan], [1, 1])],
)
def test_counts_that_cannot_be_are_refused(then, now):
    with pytest.raises(ScoreError):
        population_stability(then=then, now=now)
