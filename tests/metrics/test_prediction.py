from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.measure_coverage import fmr_coverage, fnmr_coverage
from verify.errors import ScoreError, UsageError
from verify.metrics import DyadDesign, mated_rate, non_mated_rate
from verify.metrics.intervals import stretched, wilson_bounds
from verify.metrics.prediction import dyadic_growth, subject_share, upper_without_errors


@pytest.fixture(scope="module")
def dyads():
    rng = np.random.default_rng(2)
    a, b = np.triu_indices(120, 1)
    leaning = 0.3 * rng.standard_normal(120)
    return leaning[a] + leaning[b] + rng.standard_normal(a.size), a, b


def test_bounds_cover_with_200_subjects_where_people_differ():
    """Nominal 95 %: at least 92 % for the population, and for a further 200 subjects."""
    seen = fmr_coverage(200, 1, rate=0.01, effect=0.1, rounds=150)
    slack = 0.035  # two standard errors of 150 rounds
    assert seen.population >= 0.92 - slack
    assert seen.prediction >= 0.92 - slack
    assert seen.independent < 0.85
    assert seen.independent_further < 0.85
    mated = fnmr_coverage(200, 2, rate=0.05, effect=0.1, rounds=150)
    assert mated.population >= 0.92 - slack
    assert mated.prediction >= 0.92 - slack
    assert mated.independent_further < 0.9


def test_a_population_bound_is_no_promise_to_the_next_group():
    """Phi(1.645 / sqrt 2) = 87.8 % is what theory leaves of 95 %."""
    rng = np.random.default_rng(4)
    kept = {"population": 0, "prediction": 0}
    subject = np.repeat(np.arange(150), 4)

    def group():
        return 0.6 * rng.standard_normal(150)[subject] + 0.8 * rng.standard_normal(600)

    for _ in range(400):
        seen, further = group(), float(np.mean(group() < -1.2))
        for bound in kept:
            kept[bound] += (
                mated_rate(mated=seen, subject=subject, threshold=-1.2, bound=bound).upper >= further
            )
    assert 0.82 <= kept["population"] / 400 <= 0.94
    assert kept["prediction"] / 400 >= 0.93


@pytest.mark.parametrize("further", [40, 120, 480, 10**7])
def test_the_smaller_the_further_group_the_wider_the_bound(dyads, further):
    scores, a, b = dyads

    def predicted(subjects):
        return non_mated_rate(
            non_mated=scores,
            subject_a=a,
            subject_b=b,
            threshold=2.5,
            bound="prediction",
            further_subjects=subjects,
        )

    population = non_mated_rate(non_mated=scores, subject_a=a, subject_b=b, threshold=2.5)
    own = predicted(further)
    assert own.bound == "wilson-dyadic-prediction"
    assert own.value == population.value
    assert own.n_eff == population.n_eff
    assert own.upper >= population.upper
    assert own.lower <= population.lower
    assert own.upper >= predicted(further + 1).upper
    if further == 120:
        assert own == predicted(None)
    if further == 10**7:
        assert own.upper == pytest.approx(population.upper, rel=1e-4)


def test_shares_of_subjects_and_pairs_are_told_apart():
    rng = np.random.default_rng(6)
    a, b = np.triu_indices(400, 1)
    design = DyadDesign.of(subject_a=a, subject_b=b, trials=a.size)
    shares = []
    for spread in (0.0, 0.4):
        leaning = spread * rng.standard_normal(400)
        wrong = leaning[a] + leaning[b] + rng.standard_normal(a.size) > 2
        shares.append(design.evidence(a[wrong], b[wrong], at=np.array([wrong.sum() - 1])).subject_share[0])
    assert shares[0] < 0.3
    assert shares[1] > 0.9


def test_variance_components_follow_the_derivation():
    """V = 4 s_u / S + s_p / P and Q = (2 s_u + s_p) / P, for any S and S'."""
    for s, further, s_u, s_p in ((10, 10, 1.0, 3.0), (50, 20, 0.2, 5.0), (50, 500, 1.0, 0.0)):
        pairs, further_pairs = s * (s - 1) / 2, further * (further - 1) / 2
        v, q = 4 * s_u / s + s_p / pairs, (2 * s_u + s_p) / pairs
        share = subject_share(total=np.array([v]), pairs=np.array([q]), subjects=s)
        assert share[0] * v == pytest.approx(4 * s_u / s)
        growth = dyadic_growth(subject_share=share, subjects=s, further_subjects=further)
        assert growth[0] * v == pytest.approx(4 * s_u / further + s_p / further_pairs)


def test_no_errors_say_less_about_the_next_group():
    given = {"confidence": 0.95, "bound": "prediction"}
    assert upper_without_errors(100, further_units=100, **given) == 0.04  # 2^-4 > 0.05 > 2^-5, nearly
    many = upper_without_errors(100, further_units=10**6, **given)
    assert many == pytest.approx(-np.log(0.05) / 100, rel=0.03)
    a, b = np.triu_indices(200, 1)
    rate = non_mated_rate(
        non_mated=np.zeros(a.size), subject_a=a, subject_b=b, threshold=1, bound="prediction"
    )
    assert rate.bound == "zero-errors-dyadic-prediction"
    assert rate.upper == 0.04
    mated = mated_rate(mated=np.ones(100), subject=np.arange(100), threshold=0.5, bound="prediction")
    assert (mated.upper, mated.bound) == (0.04, "zero-errors-cluster-prediction")


@given(rate=st.floats(1e-6, 0.9), n=st.floats(2, 1e6), trials=st.floats(1, 1e3), z=st.floats(0.1, 4))
def test_stretching_never_narrows_and_leaves_independent_trials_alone(rate, n, trials, z):
    upper = wilson_bounds(rate, n, z=z)[1]
    assert stretched(upper, rate=rate, n=n, trials=n, z=z) == pytest.approx(upper)
    wide = float(stretched(upper, rate=rate, n=n, trials=n * trials, z=z))
    assert upper * (1 - 1e-12) <= wide <= 1


def test_other_bounds_are_refused(dyads):
    scores, a, b = dyads
    for threshold in (0.5, 99.0):
        with pytest.raises(UsageError, match="population, prediction"):
            non_mated_rate(non_mated=scores, subject_a=a, subject_b=b, threshold=threshold, bound="guess")
    with pytest.raises(ScoreError, match="further_subjects"):
        non_mated_rate(
            non_mated=scores, subject_a=a, subject_b=b, threshold=0.5, bound="prediction", further_subjects=1
        )
