from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import ScoreError
from verify.metrics import (
    cmc,
    fnir,
    fpir,
    gini,
    mate_ranks,
    max_over_geometric_mean,
    rank_k,
    subjects_for,
    trials_without_errors,
    zero_error_bound,
)
from verify.metrics.planning import effective_trials_for

RATES = st.lists(st.floats(1e-6, 1), min_size=2, max_size=8)


def test_gini_by_hand():
    assert gini([0.1, 0.1, 0.1]) == 0
    assert gini([0.1, 0.3]) == pytest.approx(2 * 2 * 0.2 / (2 * 4 * 0.2))
    assert gini([1e-12, 1.0]) == pytest.approx(1.0)
    assert max_over_geometric_mean([0.1, 0.4]) == pytest.approx(2.0)


@given(RATES)
def test_inequality_is_scale_free_and_bounded(rates):
    assert 0 <= gini(rates) <= 1 + 1e-9
    assert gini([rate / 2 for rate in rates]) == pytest.approx(gini(rates), abs=1e-9)
    assert max_over_geometric_mean(rates) >= 1 - 1e-9


@pytest.mark.parametrize("rates", [[0.1], [], [0.0, 0.1]])
def test_no_ratio_without_errors_or_groups(rates):
    assert gini(rates) is None
    assert max_over_geometric_mean(rates) is None


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1])
def test_rates_of_groups_must_be_rates(bad):
    with pytest.raises(ScoreError, match="group 1"):
        gini([0.1, bad])


def test_searches_by_hand():
    mate, others = np.array([0.9, 0.5, 0.3]), np.array([[0.1, 0.2], [0.5, 0.1], [0.4, 0.6]])
    ranks = mate_ranks(mate=mate, others=others)
    assert ranks.tolist() == [1, 2, 3]  # a stranger as like as the mate goes first
    assert rank_k(mate_rank=ranks) == pytest.approx(1 / 3)
    np.testing.assert_allclose(cmc(mate_rank=ranks, most=4), [1 / 3, 2 / 3, 1, 1])
    assert fnir(mate=mate, threshold=0.5) == pytest.approx(1 / 3)
    assert fnir(mate=mate, threshold=0.5, mate_rank=ranks, most=1) == pytest.approx(2 / 3)
    assert fpir(best_non_mated=[0.2, 0.5, 0.6], threshold=0.5) == pytest.approx(2 / 3)
    assert fpir(best_non_mated=np.float32([0.1]), threshold=math.nextafter(float(np.float32(0.1)), 1)) == 0


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_cmc_rises_to_all(ranks):
    curve = cmc(mate_rank=ranks, most=9)
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1
    assert curve[2] == rank_k(mate_rank=ranks, k=3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: rank_k(mate_rank=[0]),
        lambda: rank_k(mate_rank=[1.5]),
        lambda: rank_k(mate_rank=[1], k=0),
        lambda: cmc(mate_rank=[], most=3),
        lambda: cmc(mate_rank=[1], most=0),
        lambda: fnir(mate=[0.1], threshold=0.5, most=1),
        lambda: fnir(mate=[0.1], threshold=0.5, mate_rank=[1, 2], most=1),
        lambda: fpir(best_non_mated=[math.nan], threshold=0.5),
        lambda: mate_ranks(mate=[0.1], others=[[math.inf]]),
        lambda: trials_without_errors(0.0),
        lambda: subjects_for(1e-3, n_eff=100.0),
        lambda: subjects_for(1e-3, confidence=1.0),
    ],
)
def test_searches_and_plans_that_cannot_be(call):
    with pytest.raises(ScoreError):
        call()


@given(target=st.floats(1e-9, 0.5), confidence=st.floats(0.5, 0.999))
def test_the_rule_of_three_is_the_smallest_number_that_does(target, confidence):
    trials = trials_without_errors(target, confidence=confidence)
    assert zero_error_bound(trials, confidence=confidence) <= target * (1 + 1e-9)
    if trials > 1:
        assert zero_error_bound(trials - 1, confidence=confidence) > target * (1 - 1e-9)


def test_plans_scale_what_was_measured():
    plain = subjects_for(1e-5)
    assert (plain.trials, plain.subjects_zero_errors) == (299_572, 599_144)
    assert plain.fewest is None
    needed = effective_trials_for(1e-4)
    assert needed == pytest.approx(16.3 / 1e-4, rel=0.5)
    enough = subjects_for(1e-4, n_eff=needed, subjects=300)
    assert (enough.fewest, enough.most) == (300, 300)
    quarter = subjects_for(1e-4, n_eff=needed / 4, subjects=300)
    assert quarter.fewest == pytest.approx(600, abs=2)
    assert quarter.most == pytest.approx(1200, abs=2)
