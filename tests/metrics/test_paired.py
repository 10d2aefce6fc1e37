"""Two matchers on the same people: figures against their plain definitions, intervals against truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import ScoreError
from verify.metrics.equal_error import eer_min_difference
from verify.metrics.paired import paired_rates
from verify.metrics.rates import fnmr, threshold_at_fmr


def trials(*, subjects: int, samples: int, noise: dict[str, float], seed: int):
    """Scores of matchers that see the same people through more or less noise."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(subjects), samples)
    people = rng.standard_normal((subjects, 16))[owner]
    shared = rng.standard_normal((owner.size, 16))
    a, b = np.triu_indices(owner.size, 1)
    same = owner[a] == owner[b]
    mated, non_mated = {}, {}
    for name, level in noise.items():
        vectors = people + level * shared
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        scores = np.einsum("nd,nd->n", vectors[a], vectors[b])
        mated[name], non_mated[name] = scores[same], scores[~same]
    return {
        "mated": mated,
        "mated_subject": owner[a][same],
        "non_mated": non_mated,
        "subject_a": owner[a][~same],
        "subject_b": owner[b][~same],
    }


def test_the_figures_are_those_of_the_plain_definitions() -> None:
    case = trials(subjects=30, samples=4, noise={"m": 1.0}, seed=1)
    found = paired_rates(**case, replicates=5).measured["m"]
    mated, non_mated = case["mated"]["m"], case["non_mated"]["m"]
    assert found[0] == pytest.approx(float(eer_min_difference(mated=mated, non_mated=non_mated)), abs=2e-3)
    for target, value in zip((1e-2, 1e-3), found[1:], strict=True):
        threshold = threshold_at_fmr(non_mated=non_mated, target=target)
        assert value == pytest.approx(fnmr(mated=mated, threshold=threshold), abs=1e-12)


def test_a_real_gain_is_shown_and_none_is_not() -> None:
    case = trials(subjects=40, samples=4, noise={"old": 1.0, "new": 0.8, "same": 1.0}, seed=2)
    rates = paired_rates(**case, replicates=200)
    gain, low, high = rates.difference("new", to="old")
    assert (gain < 0).all()
    assert (high < 0).all()
    assert (low <= gain).all()
    nothing = rates.difference("same", to="old")
    assert all((part == 0).all() for part in nothing)


def test_the_difference_is_known_better_than_the_rates() -> None:
    case = trials(subjects=30, samples=4, noise={"old": 1.0, "new": 0.95}, seed=3)
    rates = paired_rates(**case, replicates=200)
    assert (rates.replicates["new"] - rates.replicates["old"])[:, 0].std() < rates.replicates["old"][
        :, 0
    ].std()


@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_figures_are_rates_and_do_not_depend_on_the_scale_of_scores(seed: int, levels: int) -> None:
    case = trials(subjects=6, samples=3, noise={"m": 1.5}, seed=seed)
    ties = {side: {"m": np.round(case[side]["m"] * levels)} for side in ("mated", "non_mated")}
    scaled = {side: {"m": ties[side]["m"] * 7.0 - 3.0} for side in ties}
    rates = paired_rates(**case | ties, replicates=3)
    assert ((rates.measured["m"] >= 0) & (rates.measured["m"] <= 1)).all()
    assert np.array_equal(rates.measured["m"], paired_rates(**case | scaled, replicates=3).measured["m"])


@pytest.mark.parametrize(
    "change",
    [
        {"mated": {}},
        {"mated": {"other": np.ones(3)}},
        {"mated_subject": np.zeros(2, int)},
        {"replicates": 0},
    ],
)
def test_trials_that_do_not_fit_are_refused(change) -> None:
    case = trials(subjects=5, samples=2, noise={"m": 1.0}, seed=0)
    with pytest.raises(ScoreError):
        paired_rates(**case | change)
