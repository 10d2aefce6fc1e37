from __future__ import annotations

import math

import numpy as np
import pytest

from verify.errors import InsufficientTrialsError, ScoreError
from verify.metrics import GeneralisedParetoTail, NonMatedAccumulator, NonMatedScores, subject_bootstrap


def people(seed, *, subjects=100, samples=2, leaning=0.25):
    rng = np.random.default_rng(seed)
    i, j = np.triu_indices(subjects, 1)
    a, b = np.repeat(i, samples**2), np.repeat(j, samples**2)
    u = leaning * rng.standard_normal(subjects)
    return u[a] + u[b] + rng.standard_normal(a.size), a, b


def test_bootstrap_weighs_both_sides_by_how_often_a_subject_was_drawn():
    scores, a, b = people(1, subjects=7)
    subject, mated = np.repeat(np.arange(7), 5), np.random.default_rng(2).standard_normal(35)
    thresholds = [0.3, 1.0]
    seen = subject_bootstrap(
        non_mated=NonMatedScores.of(scores, subject_a=a, subject_b=b),
        mated=mated,
        mated_subject=subject,
        thresholds=thresholds,
        replicates=20,
        seed=3,
    )
    drawn = np.random.default_rng(3).multinomial(7, np.full(7, 1 / 7), size=20)
    for w, fmr, fnmr in zip(drawn, seen.fmr, seen.fnmr, strict=True):
        for t, x, y in zip(thresholds, fmr, fnmr, strict=True):
            dyads = w[a] * w[b]
            assert x == pytest.approx(dyads[scores >= t].sum() / dyads.sum())
            assert y == pytest.approx(w[subject[mated < t]].sum() / w[subject].sum())


def test_bootstrap_bound_is_near_the_dyadic_one_and_seeded():
    scores, a, b = people(4)
    held = NonMatedScores.of(scores, subject_a=a, subject_b=b)
    seen = subject_bootstrap(non_mated=held, thresholds=[2.0], replicates=400, seed=1)
    assert np.isnan(seen.fnmr).all()
    again = subject_bootstrap(non_mated=held, thresholds=[2.0], replicates=400, seed=1)
    np.testing.assert_array_equal(seen.fmr, again.fmr)
    dyadic = held.rate(2.0)
    room = dyadic.upper - dyadic.value
    assert seen.fmr_upper()[0] == pytest.approx(dyadic.upper, abs=0.4 * room)


def test_bootstrap_of_nothing_or_below_the_tail_is_refused():
    scores, a, b = people(5)
    taken = NonMatedAccumulator(subjects=100, tail=200)
    taken.add(scores, a, b)
    with pytest.raises(ScoreError, match="exact tail"):
        subject_bootstrap(non_mated=taken.finish(), thresholds=[0.0])
    with pytest.raises(ScoreError, match="give non_mated"):
        subject_bootstrap(thresholds=[0.5])
    with pytest.raises(ScoreError, match="mated_subject"):
        subject_bootstrap(mated=[0.5], thresholds=[0.5])


def test_extrapolation_finds_the_rate_of_a_known_tail():
    """Normal scores of 200 people: at FMR 1e-5, beyond 1e-4, the bound holds and is not absurd."""
    scores, a, b = people(6, subjects=200, samples=1, leaning=0.2)
    tail = GeneralisedParetoTail.fit(NonMatedScores.of(scores, subject_a=a, subject_b=b), replicates=150)
    threshold = tail.threshold_at_fmr(1e-5)
    truth = 0.5 * math.erfc(threshold / math.sqrt(1 + 2 * 0.2**2) / math.sqrt(2))
    assert truth <= 1e-5
    assert tail.upper(threshold) <= 1e-5 * (1 + 1e-6)
    assert tail.upper(threshold + 0.2) > 1e-8  # people differ: no end of the scores is believed in
    assert tail.fmr(threshold) <= tail.upper(threshold)
    assert tail.fmr(tail.location) == pytest.approx(tail.rate)
    assert tail.threshold_at_fmr(1e-4) < threshold
    assert tail.threshold_at_fmr(1e-5, confidence=0.99) > threshold


def test_extrapolation_refuses_silly_fits():
    scores, a, b = people(7)
    held = NonMatedScores.of(scores, subject_a=a, subject_b=b)
    tail = GeneralisedParetoTail.fit(held, replicates=50)
    for target, problem in ((0.1, "must lie"), (1e-12, "must lie")):
        with pytest.raises(InsufficientTrialsError, match=problem):
            tail.threshold_at_fmr(target)
    with pytest.raises(InsufficientTrialsError, match="not reached"):
        tail.threshold_at_fmr(1e-4, ceiling=tail.location + 1e-6)
    with pytest.raises(InsufficientTrialsError, match="measured"):
        tail.fmr(tail.location - 1)
    with pytest.raises(InsufficientTrialsError, match="at least 100"):
        GeneralisedParetoTail.fit(held, exceedances=20)
    few = NonMatedScores.of(scores[:150], subject_a=a[:150], subject_b=b[:150])
    with pytest.raises(InsufficientTrialsError, match="subjects in effect"):
        GeneralisedParetoTail.fit(few)
    tied = NonMatedScores.of(np.round(scores), subject_a=a, subject_b=b)
    with pytest.raises(InsufficientTrialsError, match="distinct"):
        GeneralisedParetoTail.fit(tied)
