from __future__ import annotations

import numpy as np
import pytest

from verify.errors import InsufficientTrialsError
from verify.evaluation.thresholds import MIN_ERRORS, ChosenThreshold, choose_thresholds
from verify.metrics import DyadDesign, non_mated_rate


def tied_population(seed, subjects=40, samples=3, levels=200):
    rng = np.random.default_rng(seed)
    i, j = np.triu_indices(subjects, 1)
    a, b = np.repeat(i, samples**2), np.repeat(j, samples**2)
    u = 0.3 * rng.standard_normal(subjects)
    return np.round((u[a] + u[b] + rng.standard_normal(a.size)) * levels / 8) / levels, a, b


@pytest.mark.parametrize("seed", range(5))
def test_the_chosen_threshold_is_the_smallest_whose_bound_holds(seed):
    scores, a, b = tied_population(seed, subjects=60, levels=60)
    targets = [0.2, 0.05, 0.02, 0.005]
    chosen = choose_thresholds(non_mated=scores, subject_a=a, subject_b=b, targets=targets)
    rates = {
        t: non_mated_rate(non_mated=scores, subject_a=a, subject_b=b, threshold=t)
        for t in np.unique(scores).tolist()
    }
    for target in targets:
        fitting = [t for t, rate in rates.items() if rate.errors >= MIN_ERRORS and rate.upper <= target]
        choice = chosen[target]
        assert isinstance(choice, ChosenThreshold)
        assert choice.threshold == min(fitting)
        assert choice.rate == rates[choice.threshold]


def test_out_of_reach_says_how_many_subjects_would_do():
    scores, a, b = tied_population(1)
    chosen = choose_thresholds(non_mated=scores, subject_a=a, subject_b=b, targets=[1e-2, 1e-6])
    assert isinstance(chosen[1e-2], ChosenThreshold)
    error = chosen[1e-6]
    assert isinstance(error, InsufficientTrialsError)
    assert "40 calibration subjects" in str(error)
    assert "1e-06" in str(error)


def test_constant_scores_support_only_what_independent_pairs_do():
    a, b = np.triu_indices(200, 1)
    scores = np.full(a.size, 0.25)
    chosen = choose_thresholds(non_mated=scores, subject_a=a, subject_b=b, targets=[0.05, 0.01])
    assert chosen[0.05].threshold == np.nextafter(0.25, 1)
    assert chosen[0.05].rate.errors == 0
    assert isinstance(chosen[0.01], InsufficientTrialsError)


def test_no_threshold_above_a_perfect_score():
    a, b = np.triu_indices(200, 1)
    chosen = choose_thresholds(non_mated=np.ones(a.size), subject_a=a, subject_b=b, targets=[0.1])
    assert isinstance(chosen[0.1], InsufficientTrialsError)


def test_few_errors_do_not_pass_for_independent_ones():
    """Nine errors of nine pairs would look independent; the claim must not rest on them."""
    a, b = np.triu_indices(300, 1)
    scores = np.zeros(a.size)
    scores[np.linspace(0, a.size - 1, MIN_ERRORS - 1).astype(int)] = 0.9
    chosen = choose_thresholds(non_mated=scores, subject_a=a, subject_b=b, targets=[1e-3])
    assert isinstance(chosen[1e-3], InsufficientTrialsError)
    assert (
        DyadDesign.of(subject_a=a, subject_b=b, trials=a.size).rate(a[scores > 0], b[scores > 0]).upper < 1e-3
    )
