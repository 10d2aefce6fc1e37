from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm

from verify.errors import ScoreError
from verify.metrics import (
    DyadDesign,
    clopper_pearson,
    far,
    fpir_if_independent,
    frr,
    gfar,
    gfrr,
    mated_rate,
    non_mated_rate,
    wilson,
    zero_error_bound,
)
from verify.metrics.intervals import hoeffding_upper
from verify.metrics.pair_counts import PairCounter, PooledPairs

RATES = st.floats(0, 1)


def test_clopper_pearson_of_the_golden_counts():
    assert clopper_pearson(0, trials=10, sides=2) == pytest.approx((0.0, 0.3085), abs=5e-5)
    assert clopper_pearson(0, trials=300)[1] == pytest.approx(1 - 0.05 ** (1 / 300), rel=1e-12)
    assert clopper_pearson(7, trials=7)[1] == 1.0


@given(trials=st.integers(1, 400), share=RATES, confidence=st.floats(0.6, 0.999))
def test_two_sided_bounds_agree_with_scipy(trials, share, confidence):
    errors = round(share * trials)
    exact = clopper_pearson(errors, trials=trials, confidence=confidence, sides=2)
    score = wilson(errors / trials, n_eff=trials, confidence=confidence, sides=2)
    for ours, method in ((exact, "exact"), (score, "wilson")):
        theirs = binomtest(errors, trials).proportion_ci(confidence, method=method)
        assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-7)


@given(trials=st.integers(1, 60), rate=st.floats(0.01, 0.99))
def test_clopper_pearson_covers(trials, rate):
    k = np.arange(trials + 1)
    probability = binom.pmf(k, trials, rate)
    covered = np.array([clopper_pearson(int(i), trials=trials)[1] >= rate for i in k])
    assert probability[covered].sum() >= 0.95 - 1e-9


def test_zero_error_rule_of_three():
    assert zero_error_bound(3000) == pytest.approx(3 / 3000, rel=2e-3)


def brute_evidence(wrong, a, b, subjects):
    """Item by item as the formulas stand, with dense matrices."""
    k, n = np.zeros((subjects, subjects)), np.zeros((subjects, subjects))
    for x, y, error in zip(a, b, wrong, strict=True):
        n[x, y] += 1
        n[y, x] += 1
        k[x, y] += error
        k[y, x] += error
    trials = len(a)
    f = sum(wrong) / trials
    r = k - n * f
    s = subjects
    by_subject = r.sum(axis=1)
    pairs = np.sum(np.triu(r) ** 2)
    variance = max(np.sum(by_subject**2) - pairs, pairs) / trials**2
    variance *= s * (s - 1) / ((s - 2) * (s - 3))
    n_eff = trials if variance <= 1e-18 else min(max(f * (1 - f) / variance, 1), trials)
    fourths = np.sum(by_subject**4)
    return n_eff, max(np.sum(by_subject**2) ** 2 / fourths - 1, 1) if fourths > 1e-9 else None


@given(st.data())
def test_running_dyadic_variance_equals_the_formula(data):
    subjects = data.draw(st.integers(4, 9))
    pair = st.tuples(st.integers(0, subjects - 1), st.integers(0, subjects - 1)).filter(
        lambda p: p[0] != p[1]
    )
    pairs = [(i, (i + 1) % subjects) for i in range(subjects)] + data.draw(st.lists(pair, max_size=60))
    a, b = np.array(pairs).T
    order = np.array(data.draw(st.permutations(range(len(pairs)))))[: data.draw(st.integers(1, len(pairs)))]
    design = DyadDesign.of(subject_a=a, subject_b=b, trials=a.size)
    running = design.evidence(a[order], b[order])
    for count in range(1, order.size + 1):
        wrong = np.isin(np.arange(a.size), order[:count])
        n_eff, freedom = brute_evidence(wrong, a, b, subjects)
        assert running.n_eff[count - 1] == pytest.approx(n_eff, rel=1e-6)
        if freedom is not None:
            assert running.freedom[count - 1] == pytest.approx(freedom, rel=1e-4)


def test_a_single_error_proves_little():
    a, b = all_pairs(100, 1)
    evidence = DyadDesign.of(subject_a=a, subject_b=b, trials=a.size).evidence(a[17:18], b[17:18])
    assert evidence.freedom[0] == pytest.approx(1, abs=0.1)
    assert evidence.bounds(confidence=0.95)[1][0] > 30 / a.size


def all_pairs(subjects, samples):
    i, j = np.triu_indices(subjects, 1)
    return np.repeat(i, samples**2), np.repeat(j, samples**2)


def test_bounds_cover_although_trials_share_subjects():
    """Nominal 95 % must cover at least 92 % with 200 subjects; independent bounds come nowhere near."""
    rng = np.random.default_rng(20)
    subjects, rounds, rate, effect = 200, 300, 0.01, 0.1
    i, j = all_pairs(subjects, 1)
    design = DyadDesign.of(subject_a=i, subject_b=j, trials=i.size)
    threshold = norm.isf(rate)
    dyadic = independent = 0
    for _ in range(rounds):
        u = rng.standard_normal(subjects)
        scores = np.sqrt(effect) * (u[i] + u[j]) + np.sqrt(1 - 2 * effect) * rng.standard_normal(i.size)
        wrong = np.flatnonzero(scores >= threshold)
        dyadic += design.rate(i[wrong], j[wrong]).upper >= rate
        independent += clopper_pearson(wrong.size, trials=i.size)[1] >= rate
    assert dyadic / rounds >= 0.92 - 0.03  # 0.03: two standard errors of 300 rounds
    assert independent / rounds < 0.85


def test_one_subject_behind_all_errors_widens_the_bound():
    a, b = all_pairs(60, 2)
    spread, one_wolf = np.zeros(a.size), np.zeros(a.size)
    touching = np.flatnonzero((a == 7) | (b == 7))[::4]
    one_wolf[touching] = 1
    spread[np.random.default_rng(1).choice(a.size, touching.size, replace=False)] = 1
    wide = non_mated_rate(non_mated=one_wolf, subject_a=a, subject_b=b, threshold=0.5)
    narrow = non_mated_rate(non_mated=spread, subject_a=a, subject_b=b, threshold=0.5)
    assert wide.errors == narrow.errors
    assert wide.n_eff < narrow.n_eff / 5
    assert wide.upper > 1.5 * narrow.upper


def test_no_errors_claim_only_independent_pairs():
    a, b = all_pairs(60, 3)
    rate = non_mated_rate(non_mated=np.zeros(a.size), subject_a=a, subject_b=b, threshold=0.5)
    assert (rate.errors, rate.bound, rate.n_eff) == (0, "zero-errors-dyadic", 30)
    assert rate.upper == pytest.approx(1 - 0.05 ** (1 / 30))


def test_mated_trials_of_one_subject_are_one_cluster():
    subject = np.repeat(np.arange(40), 10)
    whole_subjects = (subject < 4).astype(float)  # four subjects fail always
    scattered = np.zeros(400)
    scattered[np.random.default_rng(3).choice(400, 40, replace=False)] = 1
    wide = mated_rate(mated=-whole_subjects, subject=subject, threshold=-0.5)
    narrow = mated_rate(mated=-scattered, subject=subject, threshold=-0.5)
    assert wide.value == narrow.value == 0.1
    assert wide.n_eff == pytest.approx(40, rel=0.05)  # a subject is one trial, whatever the number of samples
    assert narrow.n_eff > 200
    assert wide.upper > narrow.upper
    assert mated_rate(mated=np.ones(400), subject=subject, threshold=0.5).n_eff == 40


@given(st.integers(2, 30))
def test_subject_numbers_may_have_gaps(step):
    a, b = all_pairs(8, 2)
    scores = np.sin(np.arange(a.size) * 7.0)
    plain = non_mated_rate(non_mated=scores, subject_a=a, subject_b=b, threshold=0.3)
    assert plain == non_mated_rate(
        non_mated=scores, subject_a=b * step + 3, subject_b=a * step + 3, threshold=0.3
    )


def test_too_few_subjects_for_a_variance_claim_next_to_nothing():
    a, b = all_pairs(3, 20)
    scores = (np.arange(a.size) % 10 == 0).astype(float)
    rate = non_mated_rate(non_mated=scores, subject_a=a, subject_b=b, threshold=0.5)
    assert rate.n_eff == 1
    assert rate.upper > 0.5


@given(n=st.integers(1, 3000), share=RATES, confidence=st.floats(0.6, 0.999))
def test_hoeffding_is_no_smaller_than_the_exact_bound_on_counts(n, share, confidence):
    errors = round(share * n)
    bound = float(hoeffding_upper(errors / n, n, confidence=confidence))
    assert bound >= clopper_pearson(errors, trials=n, confidence=confidence)[1] - 1e-12
    if errors < n:
        assert n * kl(errors / n, bound) == pytest.approx(-np.log1p(-confidence), rel=1e-6)
    assert hoeffding_upper(0.0, n, confidence=confidence) == pytest.approx(
        zero_error_bound(n, confidence=confidence), rel=1e-9
    )


def kl(f, p):
    return sum(x * np.log(x / y) for x, y in ((f, p), (1 - f, 1 - p)) if x > 0)


def test_one_person_behind_all_errors_no_longer_means_100_percent():
    """Six errors of 796 trials by one of 75 subjects: Wilson's bound with one degree of freedom is beyond all use."""
    subject = np.arange(796) % 75
    wrong = np.zeros(796)
    wrong[np.flatnonzero(subject == 3)[:6]] = 1
    rate = mated_rate(mated=-wrong, subject=subject, threshold=-0.5)
    assert rate.bound == "hoeffding-cluster"
    assert rate.upper == pytest.approx(float(hoeffding_upper(6 / 796, 796 / 11)))
    assert zero_error_bound(75) < rate.upper < 0.07
    further = mated_rate(mated=-wrong, subject=subject, threshold=-0.5, bound="prediction")
    assert further.bound == "hoeffding-cluster-prediction"
    assert rate.upper < further.upper < 0.12
    spread = np.zeros(796)
    spread[:6] = 1
    assert mated_rate(mated=-spread, subject=subject, threshold=-0.5).bound == "wilson-cluster"


@pytest.mark.parametrize("subjects", [20, 75])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 3), (1, 9)])
def test_clusters_that_err_as_a_whole_are_covered(subjects, sizes):
    """The worst case for clusters: all trials of a subject fail together; sizes may differ."""
    rng = np.random.default_rng(subjects)
    subject = np.repeat(np.arange(subjects), rng.integers(sizes[0], sizes[1] + 1, subjects))
    for p in (0.05, 0.2):
        covered = 0
        for _ in range(300):
            failing = rng.random(subjects) < p
            covered += mated_rate(mated=-1.0 * failing[subject], subject=subject, threshold=-0.5).upper >= p
        assert covered / 300 >= 0.92 - 0.03  # 0.03: two standard errors


def test_a_pair_behind_all_errors_is_held_by_pairs_that_share_nobody():
    a, b = all_pairs(60, 3)
    scores = ((a == 4) & (b == 9)).astype(float)
    rate = non_mated_rate(non_mated=scores, subject_a=a, subject_b=b, threshold=0.5)
    assert rate.errors == 9
    assert rate.upper <= float(hoeffding_upper(rate.value, 29.5)) + 1e-12
    wolf = ((a == 4) & (b % 3 > 0)).astype(float)
    rate = non_mated_rate(non_mated=wolf, subject_a=a, subject_b=b, threshold=0.5)
    assert rate.bound == "hoeffding-dyadic"
    assert rate.upper == pytest.approx(float(hoeffding_upper(rate.value, 29.5)))
    assert rate.upper < 0.2


def test_trials_that_few_subjects_have_count_for_no_more_than_they_are():
    """One pair has as many trials as all others together: it is half of the mean, so it leaves two numbers or fewer."""
    i, j = np.triu_indices(40, 1)
    a, b = np.append(i, np.zeros(i.size, int)), np.append(j, np.ones(i.size, int))
    design = DyadDesign.of(subject_a=a, subject_b=b, trials=a.size)
    assert 1 <= design.disjoint <= 2
    assert DyadDesign.of(subject_a=i, subject_b=j, trials=i.size).disjoint == pytest.approx(39 / 2)


def test_two_groups_held_against_each_other_have_no_more_pairs_than_the_smaller_has_people():
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(20), np.arange(20, 100), indexing="ij"))
    whole = DyadDesign.of(subject_a=a, subject_b=b, trials=a.size)
    design = replace(whole, most_disjoint=20)
    assert design.no_errors().upper == zero_error_bound(20)
    assert design.disjoint == pytest.approx(1600 / 81)


def test_the_most_trials_of_a_pair(monkeypatch):
    a, b = np.array([0, 1, 2, 1]), np.array([1, 0, 0, 0])
    counters = [PairCounter(3)]
    monkeypatch.setattr("verify.metrics.pair_counts._MOST_CELLS", 1)
    counters.append(PairCounter(3))
    for counter in counters:
        counter.add(a, b)
        assert counter.largest() == 3
    assert PooledPairs((counters[1], PairCounter(2)), np.array([0, 3])).largest() == 3


@pytest.mark.parametrize(
    ("a", "b", "problem"),
    [
        ([0, 1], [1, 1], "trial 1 has subject 1"),
        ([0], [1, 2], "subject_a"),
        ([0.0, 1.0], [1, 2], "whole"),
        ([0, -1], [1, 0], "start at 0"),
    ],
)
def test_bad_subjects_are_named(a, b, problem):
    with pytest.raises(ScoreError, match=problem):
        non_mated_rate(non_mated=[0.1, 0.2], subject_a=a, subject_b=b, threshold=0.5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: clopper_pearson(3, trials=2),
        lambda: clopper_pearson(0, trials=0),
        lambda: clopper_pearson(1, trials=2, confidence=1.0),
        lambda: wilson(0.1, n_eff=0),
        lambda: wilson(1.1, n_eff=10),
        lambda: wilson(0.1, n_eff=10, confidence=float("nan")),
        lambda: zero_error_bound(0),
        lambda: fpir_if_independent(fmr=0.1, gallery_size=0),
        lambda: far(fmr=0.1, fta=-0.1),
    ],
)
def test_counts_and_rates_that_cannot_be(call):
    with pytest.raises(ScoreError):
        call()


@given(fmr=RATES, fnmr=RATES, fta=RATES, fte=RATES)
def test_system_rates(fmr, fnmr, fta, fte):
    assert far(fmr=fmr, fta=fta) == pytest.approx(fmr * (1 - fta))
    assert frr(fnmr=fnmr, fta=fta) == pytest.approx(1 - (1 - fnmr) * (1 - fta))
    assert gfar(fmr=fmr, fta=fta, fte=0) == far(fmr=fmr, fta=fta)
    assert gfrr(fnmr=fnmr, fta=fta, fte=fte) == pytest.approx(1 - (1 - frr(fnmr=fnmr, fta=fta)) * (1 - fte))
    assert gfar(fmr=fmr, fta=fta, fte=1) == 0


def test_independence_estimate_of_a_search():
    assert fpir_if_independent(fmr=1e-12, gallery_size=1000) == pytest.approx(1e-9)
    assert fpir_if_independent(fmr=0.5, gallery_size=2) == 0.75
    assert fpir_if_independent(fmr=1.0, gallery_size=5) == 1.0
