from __future__ import annotations

import numpy as np
import pytest

from tests.training.adapters.people import drawn, side_by_side
from verify.errors import InsufficientTrialsError, MissingExtraError, UsageError
from verify.training.adapters import (
    AFTER,
    BEFORE,
    Affine,
    People,
    before_and_after,
    fit_adapter,
    joined_people,
    thresholds,
    verdict,
)
from verify.training.adapters.heads import linear_head
from verify.training.adapters.measures import Judge, trials_of


def gain(kind: str, fit: People, test: People) -> float:
    fitted = fit_adapter(kind, fit)
    judge = Judge(test)
    return judge.badness(test.vectors) - judge.badness(fitted.affine.apply(test.vectors))


@pytest.mark.parametrize("kind", ["wccn", "lda", "plda"])
def test_people_never_seen_are_told_apart_better_where_something_varies_within(kind: str) -> None:
    assert gain(kind, drawn(60, seed=1), drawn(80, seed=2)) > 0.5  # misses fall by two in five at least


@pytest.mark.train
@pytest.mark.parametrize("kind", ["arcface", "supcon"])
def test_so_do_trained_heads(kind: str) -> None:
    pytest.importorskip("torch", reason="needs the training extra").set_num_threads(1)
    assert gain(kind, drawn(40, seed=1), drawn(60, seed=2)) > 0.05  # tied to their start


def test_a_common_mean_is_taken_away() -> None:
    fitted = fit_adapter("concat", drawn(60, nuisance=0.35, mean=6.0))
    assert fitted.gained
    assert fitted.placement.centres[0] > 0


def test_where_nothing_varies_more_than_anything_else_little_is_changed() -> None:
    """An encoder that is right already comes back nearly as it was: over-fitting would show here first."""
    fit, test = drawn(30, nuisance=0.35, samples=3, seed=4), drawn(80, nuisance=0.35, seed=5)
    for kind in ("wccn", "plda"):
        assert gain(kind, fit, test) > -0.1


def test_a_useless_encoder_gets_little_weight() -> None:
    good = drawn(60, nuisance=0.35, seed=1)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=good.vectors.shape)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    useless = People(noise, good.owner, good.source, good.dims)
    assert fit_adapter("concat", side_by_side(good, useless)).placement.weights == (1.0, 0.5)


def test_the_choice_depends_on_the_seed_alone() -> None:
    people = drawn(20)
    one, two = (fit_adapter("plda", people, seed=3) for _ in range(2))
    assert np.array_equal(one.affine.matrix, two.affine.matrix)
    assert one.tried == two.tried


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    fit_adapter("wccn", drawn(20), on_progress=lambda done, total: told.append((done, total)))
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] == len(told) - 1


def test_a_misspelt_adapter_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'wccn'"):
        fit_adapter("wcnn", drawn(20))


@pytest.mark.parametrize("people", [drawn(50, samples=1), drawn(1, samples=9), drawn(5, samples=9)])
def test_too_few_people_with_two_samples_are_refused(people: People) -> None:
    with pytest.raises(InsufficientTrialsError, match="two samples"):
        fit_adapter("wccn", people)


@pytest.mark.train
def test_a_head_that_is_tied_fast_stays_where_it_was() -> None:
    torch = pytest.importorskip("torch", reason="needs the training extra")
    torch.set_num_threads(1)
    people = drawn(20)
    tied = linear_head(people, objective="supcon", ridge=1e6, steps=30)
    loose = linear_head(people, objective="supcon", ridge=1e-3, steps=30)
    far = [float(np.abs(one.matrix - np.eye(12)).max()) for one in (tied, loose)]
    assert far[0] < 0.01
    assert far[1] > 0.03
    with pytest.raises(InsufficientTrialsError, match="two samples"):
        linear_head(drawn(9, samples=1), objective="arcface", ridge=1.0)


def test_without_torch_the_closed_forms_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    assert fit_adapter("wccn", drawn(20)).affine.matrix.shape == (12, 12)
    with pytest.raises(MissingExtraError, match="pip install"):
        fit_adapter("supcon", drawn(20))


def test_trials_stay_inside_their_set() -> None:
    people = joined_people([drawn(3, samples=2), drawn(2, samples=2)])
    trials = trials_of(people)
    assert len(trials.mated) == 3 + 2
    assert len(trials.non_mated) == (15 - 3) + (6 - 2)
    assert (people.source[trials.non_mated[:, 0]] == people.source[trials.non_mated[:, 1]]).all()
    with pytest.raises(InsufficientTrialsError, match="non-mated"):
        trials_of(drawn(1))


def test_the_same_embeddings_show_no_difference() -> None:
    people = drawn(40)
    found = before_and_after(people, vectors={BEFORE: people.vectors, AFTER: people.vectors}, replicates=20)
    assert found["subjects"] == 40
    assert found["measures"]["eer"]["difference"] == {"value": 0, "lower": 0, "upper": 0}
    assert verdict([found]) == "no difference shown"
    assert "fnmr_at_fmr_0.0001" not in found["measures"]  # 780 x 25 pairs cannot tell it


def test_a_gain_that_is_there_is_shown_and_so_is_a_loss() -> None:
    people, fit = drawn(80, seed=2), drawn(60, seed=1)
    better = fit_adapter("wccn", fit).affine.apply(people.vectors)
    gained = before_and_after(people, vectors={BEFORE: people.vectors, AFTER: better}, replicates=60)
    lost = before_and_after(people, vectors={BEFORE: better, AFTER: people.vectors}, replicates=60)
    assert verdict([gained]) == "better"
    assert verdict([lost]) == "worse"
    assert verdict([gained, lost]) == "mixed"


def test_thresholds_are_those_of_the_adapted_cosines() -> None:
    people = drawn(80)
    found = thresholds(people, Affine.identity(12).apply(people.vectors))
    assert found["fmr_0.01"] < found["fmr_0.001"] <= 1
