from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.evaluation import score_checks
from verify.evaluation.names import Attempts, Labels, Names
from verify.evaluation.score_checks import Repeats, SampleOfScores

few = st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 3)), max_size=8), max_size=5)


def int32(values):
    return np.array(list(values), dtype=np.int32)


@given(batches=st.lists(st.lists(st.sampled_from("abcdef"))))
def test_names_are_numbered_as_they_come(batches):
    names = Names()
    numbers = [names.numbers(batch) for batch in batches]
    everything = [name for batch in batches for name in batch]
    assert names.all() == tuple(dict.fromkeys(everything))
    back = [names.all()[number] for batch in numbers for number in batch]
    assert back == everything


@given(batches=few)
def test_a_subject_has_its_only_label(batches):
    labels = Labels()
    labels.names.numbers("wxyz")
    seen = {}
    for batch in batches:
        labels.add(int32(s for s, _ in batch), int32(label for _, label in batch))
        for subject, label in batch:
            if label >= 0:
                seen.setdefault(subject, set()).add("wxyz"[label])
    wanted = tuple(next(iter(theirs)) if len(theirs := seen.get(s, ())) == 1 else "" for s in range(6))
    assert labels.of(6) == wanted
    assert labels.ambiguous().tolist() == sorted(s for s, theirs in seen.items() if len(theirs) > 1)


@given(batches=st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=10), max_size=6))
def test_attempts_are_samples_of_subjects_whatever_they_are_called(batches):
    attempts = Attempts()
    attempts.names.numbers("abcd")
    met = [
        (pair, number) for batch in batches for pair, number in zip(batch, of(attempts, batch), strict=True)
    ]
    assert len(attempts) == len({pair for pair, _ in met})
    subjects, names = attempts.pairs()
    for (subject, name), number in met:
        assert (subjects[number], names[number]) == (subject, name)


def of(attempts, batch):
    return attempts.numbers(int32(s for s, _ in batch), int32(n for _, n in batch)).tolist()


def test_more_names_and_subjects_than_the_first_tables_hold():
    attempts, labels = Attempts(), Labels()
    everyone = np.arange(5000, dtype=np.int32)
    names = attempts.names.numbers([f"{name}.wav" for name in everyone])
    np.testing.assert_array_equal(attempts.numbers(everyone, names), everyone)
    np.testing.assert_array_equal(attempts.numbers(everyone, names), everyone)
    labels.add(everyone, np.zeros(5000, dtype=np.int32) + labels.names.numbers(["x"]))
    assert set(labels.of(5000)) == {"x"}


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4))))
def test_few_repeats_are_counted_exactly(pairs):
    repeats = Repeats()
    for start in range(0, len(pairs), 7):
        some = pairs[start : start + 7]
        repeats.add(int32(a for a, _ in some), int32(b for _, b in some))
    counts = Counter(tuple(sorted(pair)) for pair in pairs)
    assert repeats.count() == sum(count - 1 for count in counts.values())


def test_many_repeats_are_counted_well_enough_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(score_checks, "_KEYS", 1 << 12)
    repeats = Repeats()
    everyone = np.arange(200_000, dtype=np.int32)
    for start in range(0, 200_000, 20_000):
        some = everyone[start : start + 20_000]
        repeats.add(some, some + 1)
        repeats.add(some[:5000] + 1, some[:5000])
    assert repeats._kept <= 1 << 12
    assert abs(repeats.count() - 50_000) < 10_000
    scores = np.array([0.0, -0.0, 1.0])
    zeros = Repeats()
    zeros.add(int32([1, 1, 1]), int32([2, 2, 2]), scores)
    assert zeros.count() == 1


def test_one_trial_over_and_over_ends(monkeypatch):
    monkeypatch.setattr(score_checks, "_KEYS", 100)
    repeats = Repeats()
    repeats.add(np.zeros(1000, dtype=np.int32), np.zeros(1000, dtype=np.int32))
    repeats.add(np.ones(1000, dtype=np.int32), np.zeros(1000, dtype=np.int32))


def test_the_sample_of_scores_is_fair_and_bounded(monkeypatch):
    monkeypatch.setattr(score_checks, "_SAMPLE", 1 << 12)
    sample = SampleOfScores(seed=1)
    for part in np.array_split(np.arange(300_000.0), 30):  # in order, so that the first ones must not win
        sample.add(part)
    assert sample._scores.size <= 1 << 12
    assert abs(sample.median - 150_000) < 15_000
    assert sample.fine
    exact = SampleOfScores(seed=1)
    exact.add(np.array([3.0, 1.0, 2.0]))
    assert exact.median == 2.0
