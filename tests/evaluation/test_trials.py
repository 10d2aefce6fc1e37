from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import InsufficientTrialsError, ScoreError
from verify.evaluation.thresholds import MIN_ERRORS, ChosenThreshold, choose_thresholds
from verify.evaluation.trials import make_trials, pooled
from verify.metrics import DyadDesign, non_mated_rate


def unit(n, dim=8, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def brute(vectors, subjects):
    mated, non_mated = [], []
    for i in range(len(subjects)):
        for j in range(i):
            score = float(vectors[i] @ vectors[j])
            if subjects[i] == subjects[j]:
                mated.append((subjects[i], round(score, 5)))
            else:
                non_mated.append((*sorted((subjects[i], subjects[j])), round(score, 5)))
    return sorted(mated), sorted(non_mated)


def listed(trials):
    mated = sorted(
        (int(s), round(float(m), 5)) for s, m in zip(trials.mated_subject, trials.mated, strict=True)
    )
    rows = zip(trials.subject_a, trials.subject_b, trials.non_mated, strict=True)
    return mated, sorted((*sorted((int(a), int(b))), round(float(score), 5)) for a, b, score in rows)


def same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert [row[:-1] for row in ours] == [row[:-1] for row in theirs] or len(ours) != len(theirs)
        assert np.allclose([row[-1] for row in ours], [row[-1] for row in theirs], atol=2e-5)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=25), st.integers(1, 7))
def test_all_pairs_once_whatever_the_block(subjects, block):
    from verify.evaluation import trials as module

    vectors = unit(len(subjects))
    kept, module._BLOCK = module._BLOCK, block
    try:
        trials = make_trials(vectors, subjects=subjects)
    finally:
        module._BLOCK = kept
    same(listed(trials), brute(vectors, subjects))
    assert trials.possible_non_mated == trials.non_mated.size
    assert (trials.subjects, trials.samples) == (len(set(subjects)), len(subjects))


@pytest.mark.parametrize("wanted", [1, 50, 400, 10**6])
def test_a_sample_of_pairs_is_distinct_seeded_and_true(wanted):
    subjects = np.repeat(np.arange(15), 2)
    vectors = unit(30)
    everything = set(listed(make_trials(vectors, subjects=subjects))[1])
    sample = make_trials(vectors, subjects=subjects, max_non_mated=wanted, seed=4)
    rows = listed(sample)[1]
    assert len(rows) == min(wanted, len(everything))
    rounded = {row[:2] for row in everything}
    assert {row[:2] for row in rows} <= rounded
    assert len({(a, b, round(s, 4)) for a, b, s in rows}) == len(rows)
    again = make_trials(vectors, subjects=subjects, max_non_mated=wanted, seed=4)
    assert (again.non_mated == sample.non_mated).all()


def test_every_pair_is_as_likely_to_be_sampled():
    subjects, seen = np.arange(12), np.zeros((12, 12))
    for seed in range(600):
        trials = make_trials(unit(12), subjects=subjects, max_non_mated=22, seed=seed)
        seen[trials.subject_a, trials.subject_b] += 1
    counts = (seen + seen.T)[np.triu_indices(12, 1)]
    assert counts.sum() == 600 * 22
    assert counts.min() > 140  # 200 expected, standard deviation 12
    assert counts.max() < 260


def test_sets_are_pooled_without_trials_across():
    one, two = (
        make_trials(unit(6), subjects=[0, 0, 1, 1, 2, 2]),
        make_trials(unit(4, seed=1), subjects=[0, 0, 5, 5]),
    )
    both = pooled([one, two])
    assert both.non_mated.size == one.non_mated.size + two.non_mated.size
    assert {int(n) for n in both.subject_a} & {int(n) for n in both.mated_subject}
    assert int(both.subject_b[: one.non_mated.size].max()) < int(both.subject_a[one.non_mated.size :].min())
    assert (both.subjects, both.samples) == (5, 10)


@pytest.mark.parametrize(
    ("vectors", "subjects", "problem"),
    [
        (np.full((2, 4), np.nan, dtype=np.float32), [0, 1], "row 0 has norm nan"),
        (np.array([[1, 0], [2, 0]], dtype=np.float32), [0, 1], "row 1 has norm 2"),
        (unit(3), [0, 1], "one whole subject number"),
        (unit(2), [0.5, 1.0], "one whole subject number"),
    ],
)
def test_bad_embeddings_are_named(vectors, subjects, problem):
    with pytest.raises(ScoreError, match=problem):
        make_trials(vectors, subjects=subjects)


def tied_population(seed, subjects=40, samples=3, levels=200):
    rng = np.random.default_rng(seed)
    i, j = np.triu_indices(subjects, 1)
    a, b = np.repeat(i, samples**2), np.repeat(j, samples**2)
    u = 0.3 * rng.standard_normal(subjects)
    return np.round((u[a] + u[b] + rng.standard_normal(a.size)) * levels / 8) / levels, a, b


@pytest.mark.parametrize("seed", range(5))
def test_the_chosen_threshold_is_the_smallest_whose_bound_holds(seed):
    scores, a, b = tied_population(seed)
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
