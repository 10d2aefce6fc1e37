from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.test_rates import TIED, golden
from verify.errors import ScoreError
from verify.metrics import actual_dcf, bayes_threshold, cllr, dcf, min_cllr, min_dcf

PRIORS = st.floats(0.001, 0.999)
COSTS = st.floats(0.01, 100)


def warped(scores):
    return np.exp(3 * np.asarray(scores)) - 2


@pytest.mark.parametrize(("name", "expected"), [("linsep", 1.20979), ("nonsep", 3.61833)])
def test_cllr_of_the_golden_scores(name, expected):
    scores = golden(name)
    found = cllr(mated_llr=scores["mated"], non_mated_llr=scores["non_mated"])
    assert found == pytest.approx(expected, abs=5e-6)


def test_min_cllr_of_the_golden_scores_does_not_break_ties():
    assert min_cllr(**golden("nonsep")) == pytest.approx(
        0.40306, abs=5e-6
    )  # 0.33736 with ties broken by class
    assert min_cllr(**golden("linsep")) == 0


def test_cllr_of_saying_nothing_is_one_bit():
    assert cllr(mated_llr=[0.0, 0.0], non_mated_llr=[0.0]) == pytest.approx(1)
    assert min_cllr(mated=[3.0] * 4, non_mated=[3.0] * 7) == pytest.approx(1)
    assert min_cllr(mated=[1.0], non_mated=[2.0]) == pytest.approx(1)  # the wrong way round tells nothing


def test_cllr_forgives_right_certainty_and_never_a_wrong_one():
    assert cllr(mated_llr=[math.inf], non_mated_llr=[-math.inf]) == 0
    assert cllr(mated_llr=[-math.inf, 5.0], non_mated_llr=[-3.0]) == math.inf
    assert math.isfinite(cllr(mated_llr=[-1e300], non_mated_llr=[1e300]))


@given(mated=TIED, non_mated=TIED)
def test_min_cllr_is_at_most_cllr_and_unchanged_by_an_increasing_map(mated, non_mated):
    least = min_cllr(mated=mated, non_mated=non_mated)
    assert 0 <= least <= 1 + 1e-12
    assert least <= cllr(mated_llr=mated, non_mated_llr=non_mated) + 1e-12
    assert least == min_cllr(mated=warped(mated), non_mated=warped(non_mated))


@given(mated=TIED, non_mated=TIED, prior=PRIORS, miss=COSTS, false_accept=COSTS)
def test_min_dcf_is_at_most_actual_dcf(mated, non_mated, prior, miss, false_accept):
    costs = {"prior": prior, "cost_miss": miss, "cost_false_accept": false_accept}
    least = min_dcf(mated=mated, non_mated=non_mated, **costs)
    assert 0 <= least <= 1 + 1e-12
    assert least <= actual_dcf(mated_llr=mated, non_mated_llr=non_mated, **costs) + 1e-12
    assert least == min_dcf(mated=warped(mated), non_mated=warped(non_mated), **costs)


@given(fmr=st.floats(0, 1), fnmr=st.floats(0, 1), prior=PRIORS, miss=COSTS, false_accept=COSTS)
def test_dcf_is_the_expected_cost_over_that_of_the_better_blind_decision(
    fmr, fnmr, prior, miss, false_accept
):
    costs = {"prior": prior, "cost_miss": miss, "cost_false_accept": false_accept}
    expected = miss * prior * fnmr + false_accept * (1 - prior) * fmr
    blind = min(dcf(fmr=1, fnmr=0, **costs), dcf(fmr=0, fnmr=1, **costs))
    assert blind == pytest.approx(1)
    assert dcf(fmr=fmr, fnmr=fnmr, **costs) == pytest.approx(
        expected / min(miss * prior, false_accept * (1 - prior))
    )


def test_threshold_and_costs_by_hand():
    assert bayes_threshold(prior=0.5) == 0
    assert bayes_threshold(prior=0.01) == pytest.approx(math.log(99))
    assert bayes_threshold(prior=0.5, cost_miss=1, cost_false_accept=100) == pytest.approx(math.log(100))
    assert bayes_threshold(prior=0.5, cost_miss=100) == pytest.approx(-math.log(100))
    # FNMR 1/4 (0.9 is below ln 9 = 2.197), FMR 1/2
    found = actual_dcf(mated_llr=[0.9, 3, 3, 3], non_mated_llr=[-4, 2.2], prior=0.1)
    assert found == pytest.approx((0.1 * 0.25 + 0.9 * 0.5) / 0.1)
    assert min_dcf(mated=[0.9, 3, 3, 3], non_mated=[-4, 2.2], prior=0.1) == pytest.approx(0.25)


def test_a_decision_at_the_threshold_accepts():
    t = bayes_threshold(prior=0.2)
    assert actual_dcf(mated_llr=[t], non_mated_llr=[t - 1], prior=0.2) == 0
    assert actual_dcf(mated_llr=[t + 1], non_mated_llr=[t], prior=0.2) == pytest.approx(4)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, math.nan])
def test_certain_priors_are_refused(prior):
    for measure in (
        lambda: bayes_threshold(prior=prior),
        lambda: dcf(fmr=0.1, fnmr=0.1, prior=prior),
        lambda: min_dcf(mated=[1.0], non_mated=[0.0], prior=prior),
    ):
        with pytest.raises(ScoreError, match="prior"):
            measure()


@pytest.mark.parametrize("cost", [0.0, -1.0, math.inf, math.nan])
def test_costs_that_cannot_be_are_refused(cost):
    with pytest.raises(ScoreError, match="cost_miss"):
        bayes_threshold(prior=0.5, cost_miss=cost)
    with pytest.raises(ScoreError, match="cost_false_accept"):
        dcf(fmr=0.1, fnmr=0.1, prior=0.5, cost_false_accept=cost)


@pytest.mark.parametrize("bad", [[], [0.1, np.nan], [[0.1, 0.2]], ["close"], None])
@pytest.mark.parametrize("argument", ["mated_llr", "non_mated_llr"])
def test_bad_llrs_are_named(bad, argument):
    llrs = {"mated_llr": [0.5], "non_mated_llr": [0.1]} | {argument: bad}
    with pytest.raises(ScoreError, match=rf"^{argument}"):
        cllr(**llrs)
    with pytest.raises(ScoreError, match=rf"^{argument}"):
        actual_dcf(**llrs, prior=0.5)
