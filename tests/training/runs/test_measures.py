"""The small pieces of the loop, each by its own definition: plan, average, alarms, validation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the training extra")

import torch

from tests.training.small_runs import small_recipe, small_set
from verify.metrics import eer, fnmr, threshold_at_fmr
from verify.training.alarms import READINGS, Alarms, health
from verify.training.averaging import Average
from verify.training.checkpoint import git_revision
from verify.training.course import Course
from verify.training.failures import largest_that_fits
from verify.training.loop import train
from verify.training.optimisers import clip
from verify.training.schedule import LARGE_MARGIN, MAIN, Plan
from verify.training.validation import Validated, choose, compare, is_better

pytestmark = pytest.mark.train
PLAN = Plan(
    steps_per_epoch=10, epochs=4, large_margin_epochs=1, lr=1.0, final_lr=0.1, large_margin_lr=0.01,
    warmup_steps=10, ramp_steps=20,
)  # fmt: skip


class TestPlan:
    def test_the_rate_rises_falls_and_stays(self) -> None:
        rates = [PLAN.lr_at(step) for step in range(PLAN.steps)]
        assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
        assert (np.diff(rates[9:40]) <= 0).all()
        assert rates[39] == pytest.approx(0.1)
        assert rates[40:] == [0.01] * 10

    def test_the_margin_rises_to_its_own(self) -> None:
        assert [PLAN.margin_at(step) for step in (0, 5, 20, 39, 45)] == [0, 0.25, 1, 1, 1]

    def test_stages(self) -> None:
        assert [PLAN.stage_at(step) for step in (0, 39, 40, 49)] == [MAIN, MAIN, LARGE_MARGIN, LARGE_MARGIN]
        assert [PLAN.after_stage(epoch) for epoch in (0, 3, 4)] == [40, 40, 50]

    @given(st.integers(1, 50), st.integers(1, 5), st.integers(0, 200))
    def test_every_step_has_a_rate_above_nothing(self, steps, epochs, warmup) -> None:
        plan = Plan(steps_per_epoch=steps, epochs=epochs, lr=0.3, final_lr=0.01, warmup_steps=warmup)
        assert all(0 < plan.lr_at(step) <= 0.3 + 1e-12 for step in range(plan.steps))


def test_the_average_follows_weights_and_statistics() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    average = Average(net, decay=0.75)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.add_(2)
    average.follow(net, step=1000)
    for name, tensor in average.state_dict().items():
        expected = before[name] + (2 if name.endswith("num_batches_tracked") else 0.5)
        assert torch.allclose(tensor, expected), name
    assert not any(parameter.requires_grad for parameter in average.net.parameters())


def test_what_is_frozen_is_frozen_in_the_average_too() -> None:
    class Net(torch.nn.Sequential):
        def raw(self, x):
            return self(x)

    net = Net(torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2))
    average = Average(net, decay=0.5, frozen=(net[0],))
    average.target(torch.randn(8, 2) + 3.0)
    moved = [bool(average.net[n].running_mean.any()) for n in (0, 1)]
    assert moved == [False, True]


def test_a_batch_of_one_is_not_tried() -> None:
    """It would have no batch statistics, and the error would be about those."""
    tried = []

    def attempt(rows: int) -> None:
        tried.append(rows)
        raise torch.cuda.OutOfMemoryError

    assert largest_that_fits(9, attempt) == 0
    assert min(tried) == 2


class TestAlarms:
    def test_one_point_for_all_is_a_collapse(self) -> None:
        raw = torch.ones(8, 4) + 1e-3 * torch.randn(8, 4)
        spread, gap = health(raw, torch.arange(8) // 2).tolist()
        assert spread < 0.01
        assert abs(gap) < 0.01

    def test_people_apart_are_none(self) -> None:
        spread, gap = health(torch.eye(4).repeat_interleave(2, 0), torch.arange(8) // 2).tolist()
        assert spread == pytest.approx(0.75)
        assert gap == pytest.approx(1)

    def test_without_mated_pairs_there_is_no_gap(self) -> None:
        assert health(torch.randn(4, 3), torch.arange(4))[1].isnan()

    def test_it_is_said_once_and_again_after_a_recovery(self) -> None:
        alarms = Alarms(after_step=10)
        assert not any(alarms.judge(step=step, spread=0.0, gap=1.0) for step in range(10))
        low = [alarms.judge(step=step, spread=0.0, gap=float("nan")) for step in range(10, 30)]
        assert [len(said) for said in low] == [0] * (READINGS - 1) + [1] + [0] * (20 - READINGS)
        assert "collapse" in low[READINGS - 1][0]
        alarms.judge(step=30, spread=0.5, gap=1.0)
        resumed = Alarms(after_step=10)
        resumed.restore(alarms.state())
        assert sum(bool(resumed.judge(step=step, spread=0.0, gap=1.0)) for step in range(31, 41)) == 1


class TestValidation:
    @given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 60), st.integers(0, 3))
    def test_those_who_can_be_verified_come_first(self, labels, most, seed) -> None:
        owner = np.array(labels)
        chosen = choose(owner, most=most, seed=seed)
        assert len(chosen) == min(most, len(owner))
        assert (np.diff(chosen) > 0).all()
        counts, taken = np.bincount(owner, minlength=10), np.bincount(owner[chosen], minlength=10)
        several = counts > 1
        if taken[~several].any():  # those of one sample only fill up
            assert (taken[several] == counts[several]).all()
        assert taken[several].max(initial=0) <= max(2, taken[several & (taken < counts)].min(initial=99) + 1)

    def test_rates_are_those_of_all_pairs(self) -> None:
        generator = np.random.default_rng(0)
        labels = np.repeat(np.arange(12), 4)
        points = generator.normal(size=(12, 8))[labels] + 0.8 * generator.normal(size=(48, 8))
        unit = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
        found = compare(unit, labels)
        mated, non_mated, hits = [], [], []
        for i in range(48):
            others = [(float(unit[i] @ unit[j]), labels[i] == labels[j]) for j in range(48) if j != i]
            hits.append(max(others)[1])
            for j in range(i):
                (mated if labels[i] == labels[j] else non_mated).append(float(unit[i] @ unit[j]))
        assert (found.mated, found.non_mated) == (len(mated), len(non_mated))
        assert found.eer == pytest.approx(float(eer(mated=mated, non_mated=non_mated)), abs=1e-6)
        threshold = threshold_at_fmr(non_mated=non_mated, target=1e-2)
        assert found.fnmr_at_fmr_1e_2 == pytest.approx(fnmr(mated=mated, threshold=threshold), abs=0.02)
        assert found.recall_at_1 == pytest.approx(np.mean(hits))
        assert found.gap == pytest.approx(np.mean(mated) - np.mean(non_mated), abs=1e-5)

    @pytest.mark.parametrize("order", ["together", "in turn"])
    def test_a_collapse_recalls_no_more_than_guessing(self, order) -> None:
        """Equal cosines are equal, wherever the mates stand."""
        labels = np.repeat(np.arange(5), 4) if order == "together" else np.tile(np.arange(5), 4)
        point = np.full((20, 3), 3**-0.5, np.float32)
        assert compare(point, labels).recall_at_1 == pytest.approx(3 / 19)

    def test_blocks_of_rows_change_nothing(self, monkeypatch) -> None:
        labels = np.random.default_rng(1).integers(0, 7, 40)
        points = np.random.default_rng(2).normal(size=(40, 6))
        unit = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
        whole = compare(unit, labels).as_dict()
        monkeypatch.setattr("verify.training.validation.ROWS", 7)
        assert compare(unit, labels).as_dict() == pytest.approx(whole, abs=1e-6)

    def test_better_is_lower_but_for_recall(self) -> None:
        assert is_better(0.1, 0.2, metric="eer")
        assert is_better(0.2, 0.1, metric="recall_at_1")
        assert is_better(0.5, None, metric="eer")
        assert not is_better(float("nan"), None, metric="eer")
        assert not is_better(0.2, 0.2, metric="fnmr_at_fmr_1e-2")


def test_gradients_are_clipped_together() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(n)) for n in (3, 4)]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    assert float(clip(parameters[:1], sharded=parameters[1:], max_norm=0.0)) == pytest.approx(7**0.5)
    assert float(clip(parameters, max_norm=1.0)) == pytest.approx(7**0.5)
    assert sum(float(p.grad.square().sum()) for p in parameters) == pytest.approx(1, rel=1e-4)


def test_the_revision_is_this_source_only(monkeypatch, tmp_path) -> None:
    import verify

    monkeypatch.setattr(verify, "__file__", str(tmp_path / "__init__.py"))
    assert git_revision() == ""


def test_among_equals_the_other_figures_and_then_the_gap_choose_but_do_not_keep_a_run_alive():
    def found(**changes: float):
        figures = {
            "eer": 0.0,
            "fnmr_at_fmr_1e_2": 0.0,
            "fnmr_at_fmr_1e_3": 0.0,
            "recall_at_1": 1.0,
            "gap": 0.5,
        }
        rest = {"spread": 0.9, "subjects": 3, "samples": 30, "mated": 90, "non_mated": 300}
        return Validated(**{**figures, **rest, **changes})

    course = Course()
    assert course.take(found(fnmr_at_fmr_1e_3=0.1), metric="eer", step=1)
    assert course.take(found(), metric="eer", step=2)
    assert course.take(found(gap=0.6), metric="eer", step=3)
    assert not course.take(found(gap=0.6), metric="eer", step=4)
    assert not course.take(found(gap=0.9, eer=0.01), metric="eer", step=5)
    assert not course.take(found(eer=float("nan")), metric="eer", step=6)
    assert (course.best_step, course.waiting) == (3, 5)


def test_strangers_of_two_sets_are_not_held_against_each_other():
    rng = np.random.default_rng(5)
    people = rng.standard_normal((8, 16)).repeat(4, axis=0)
    sets = np.repeat([0, 1], 16)
    light = np.where(sets[:, None] == 0, 1.0, -1.0) * rng.standard_normal(16) * 3  # each set's own camera
    embeddings = (people + light + 0.8 * rng.standard_normal((32, 16))).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = np.arange(8).repeat(4)
    pooled, within = compare(embeddings, labels), compare(embeddings, labels, sets=sets)
    assert within.non_mated == 2 * (16 * 15 // 2 - 4 * 6)
    assert pooled.non_mated == 32 * 31 // 2 - 8 * 6
    assert within.mated == pooled.mated == 48
    parts = [compare(embeddings[sets == one], labels[sets == one]) for one in (0, 1)]
    assert pooled.eer < min(part.eer for part in parts) <= within.eer + 0.05


def test_sets_of_one_person_each_are_held_against_each_other():
    embeddings = np.eye(4, dtype=np.float32)
    found = compare(embeddings, np.array([0, 0, 1, 1]), sets=np.array([0, 0, 1, 1]))
    assert (found.mated, found.non_mated) == (2, 4)


def test_a_run_leaves_the_callers_arithmetic_as_it_was(tmp_path):
    prepared, split = small_set(tmp_path, train=4, validation=2, samples=3)
    recipe = small_recipe(prepared, split, schedule={"epochs": 1, "warmup_epochs": 0.0}, sampler={"batch": 6})
    train(recipe, run_dir=tmp_path / "run", device="cpu")
    assert np.float64(5e-324) > 0
    assert float(torch.tensor(1e-42) * 2) > 0
