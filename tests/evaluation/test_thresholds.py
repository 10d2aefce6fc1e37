from __future__ import annotations

import numpy as np
import pytest

from verify.errors import InsufficientTrialsError
from verify.evaluation.thresholds import MIN_ERRORS, ChosenThreshold, choose_thresholds
from verify.metrics import DyadDesign, choosing, non_mated_rate
from verify.metrics.choosing import START


def tied_population(seed, subjects=40, samples=3, levels=200):
    rng = np.random.default_rng(seed)
    i, j = np.triu_indices(subjects, 1)
    a, b = np.repeat(i, samples**2), np.repeat(j, samples**2)
    u = 0.3 * rng.standard_normal(subjects)
    return np.round((u[a] + u[b] + rng.standard_normal(a.size)) * levels / 8) / levels, a, b


def walked(rates, target, trials):
    """The module's rule word by word: `rates` strictest first."""
    rates = [(t, rate) for t, rate in rates if rate.errors >= MIN_ERRORS]
    wanted = max(MIN_ERRORS, target * trials * START)
    start = next((k for k, (_, rate) in enumerate(rates) if rate.errors >= wanted), len(rates) - 1)
    if rates[start][1].upper > target:
        return next((pair for pair in rates[:start][::-1] if pair[1].upper <= target), None)
    end = start
    while end + 1 < len(rates) and rates[end + 1][1].upper <= target:
        end += 1
    return rates[end]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bound", ["population", "prediction"])
def test_the_walk_ends_where_item_by_item_tests_end(seed, bound):
    scores, a, b = tied_population(seed, subjects=60, levels=60)
    targets = [0.2, 0.05, 0.02, 0.005, 0.002]
    chosen = choose_thresholds(non_mated=scores, subject_a=a, subject_b=b, targets=targets, bound=bound)
    rates = [
        (t, non_mated_rate(non_mated=scores, subject_a=a, subject_b=b, threshold=t, bound=bound))
        for t in np.unique(scores)[::-1].tolist()
    ]
    kinds = set()
    for target in targets:
        expected, choice = walked(rates, target, scores.size), chosen[target]
        kinds.add(type(choice))
        if expected is None:
            assert isinstance(choice, InsufficientTrialsError)
        else:
            assert (choice.threshold, choice.rate) == expected
    assert ChosenThreshold in kinds


class Bounds:
    """Stands in for evidence: upper bounds as given, one candidate an error."""

    def __init__(self, upper) -> None:
        self.upper, self.trials = np.asarray(upper, dtype=float), 100

    def __getitem__(self, which) -> Bounds:
        return Bounds(self.upper[which])

    def bounds(self, **_: object):
        return self.upper, self.upper


@pytest.mark.parametrize(
    ("upper", "end"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 4),
        ([0.9, 0.9, 0.9, 0.4, 0.4, 0.4], 5),
        ([0.9, 0.2, 0.3, 0.4, 0.9, 0.1], 3),  # the dip beyond the failure is luck
        ([0.9, 0.2, 0.3, 0.9, 0.1, 0.1], 2),  # the start fails: back to stricter ones
        ([0.9, 0.2, 0.9, 0.9, 0.1, 0.1], 1),
        ([0.2, 0.9, 0.9, 0.9, 0.4, 0.4], 0),
        ([0.9, 0.9, 0.9, 0.9, 0.1, 0.1], None),
        ([0.1, 0.1, 0.1], 2),  # fewer candidates than the start asks for
    ],
)
@pytest.mark.parametrize("batch", [1, 2, 100])
def test_the_order_of_tests(monkeypatch, upper, end, batch):
    monkeypatch.setattr(choosing, "_BATCH", batch)
    errors = np.arange(MIN_ERRORS, MIN_ERRORS + len(upper))
    walk = choosing._Walk(errors, Bounds(upper), confidence=0.95, bound="population", further_subjects=None)
    assert walk.stop(0.5) == end  # of 100 trials: the start has 0.5 x 100 / 4 = 12.5, so 13 errors, element 3
    assert walk.smallest_bound() == min(upper)


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
