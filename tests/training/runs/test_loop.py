"""The loop as a whole: it learns to verify people it never saw, and it ends well when it must end."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("torch", reason="needs the training extra")

import torch

from tests.training.small_runs import small_recipe, small_set
from verify.config import plain
from verify.errors import DataError, StorageError, TrainingError, UsageError
from verify.training import checkpoint as checkpoints
from verify.training import loop
from verify.training.course import Progress
from verify.training.estimate import estimate
from verify.training.logs import LOG, read_log
from verify.training.loop import train

if TYPE_CHECKING:
    from verify.training.course import Reading
    from verify.training.parts import Parts
from verify.training.objectives import margins

pytestmark = pytest.mark.train


def steps(run_dir: Path) -> list[dict]:
    return [line for line in read_log(run_dir) if line["event"] == "step"]


class TestItLearns:
    def test_unseen_people_are_told_apart(self, tmp_path) -> None:
        made = small_set(tmp_path / "set", modality="voice", train=36, validation=14, samples=4)
        recipe = small_recipe(
            *made,
            modality="voice",
            model={"network": "ecapa_tdnn", "dim": 32, "options": {"width": 0.1}},
            objective=[{"name": "arcface", "margin_rad": 0.2, "scale": 16.0}, {"name": "triplet"}],
            sampler={"batch": 0, "identities": 12, "samples": 2},
            schedule={"epochs": 8, "warmup_epochs": 1.0, "margin_ramp_epochs": 2.0},
            validation={"every_epochs": 4},
            run={"ema": 0.8},
        )
        result = train(recipe, run_dir=tmp_path / "run")
        assert result.best["subjects"] == 14
        assert result.best["eer"] < result.untrained["eer"] - 0.08

    def test_every_part_of_the_plan_is_gone_through(self, recipe, tmp_path, monkeypatch) -> None:
        """Accumulation, gradient caching, average, bf16, large margin, several objectives, workers: together."""
        planned = recipe(
            objective=[{"name": "arcface", "margin_rad": 0.2}, {"name": "supcon", "weight": 0.5}],
            data={"workers": 1, "crop_s": 0.4},
            schedule={"epochs": 2, "accumulate": 2, "chunk": 8, "warmup_epochs": 1, "margin_ramp_epochs": 1},
            sampler={"batch": 12},
            large_margin={"epochs": 1, "margin_rad": 0.4, "crop_s": 0.8, "lr": 1e-4},
            run={"ema": 0.9, "precision": "bf16"},
            augment={"speed": {"factors": [0.9]}},
        )
        seen: list[Progress] = []
        added: list[float] = []
        add_angle = margins.add_angle

        def noted(cosine, *, margin_rad):
            added.append(margin_rad)
            return add_angle(cosine, margin_rad=margin_rad)

        monkeypatch.setattr(margins, "add_angle", noted)
        result = train(planned, run_dir=tmp_path, on_progress=seen.append)
        lines = steps(tmp_path)
        assert result.steps == 6
        assert added == [value for value in (0.0, 0.1, 0.2, 0.2, 0.4, 0.4) for _ in range(2)]
        assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
        assert [line["margin"] for line in lines] == [0, 0.5, 1, 1, 1, 1]
        assert [line["lr"] for line in lines[-2:]] == [1e-4, 1e-4]
        assert [line["step"] for line in read_log(tmp_path) if line["event"] == "validation"] == [0, 2, 4, 6]
        assert seen[-1].epochs == 3
        assert sum("EER" in progress.message for progress in seen) == 4
        assert list((tmp_path / "tensorboard").iterdir())
        state = checkpoints.read_state(tmp_path / "checkpoints/best")
        assert state["weights"] == "ema"
        assert state["identities"] == 12
        assert state["recipe"] == plain(planned)

    def test_caching_and_accumulation_give_the_gradients_of_the_whole_batch(self, recipe, tmp_path) -> None:
        """With batch statistics kept out of it: the first step's loss and gradient norm agree."""
        norms = batch_norms(32)
        frozen = {"network": "ecapa_tdnn", "dim": 32, "options": {"width": 0.1}, "freeze": norms}
        once = {"epochs": 1, "steps_per_epoch": 1, "warmup_epochs": 0}
        pairs = [{"name": "triplet"}]
        whole = {"model": frozen, "objective": pairs, "schedule": once, "sampler": {"batch": 24}}
        train(recipe(**whole), run_dir=tmp_path / "whole")
        train(recipe(**whole | {"schedule": once | {"chunk": 7}}), run_dir=tmp_path / "cached")
        margin = {"model": frozen, "schedule": once, "sampler": {"batch": 24}}
        parts = margin | {"schedule": once | {"accumulate": 2}, "sampler": {"batch": 12}}
        train(recipe(**margin), run_dir=tmp_path / "margin")
        train(recipe(**parts), run_dir=tmp_path / "accumulated")
        for one, other in (("whole", "cached"), ("margin", "accumulated")):
            mine, theirs = steps(tmp_path / one)[0], steps(tmp_path / other)[0]
            assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
            assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3)

    def test_it_stops_when_strangers_are_told_apart_no_better(self, recipe, tmp_path) -> None:
        planned = recipe(
            schedule={"epochs": 6, "steps_per_epoch": 1},
            optimiser={"name": "sgd", "lr": 1e-12},
            model={"network": "ecapa_tdnn", "dim": 32, "options": {"width": 0.1}, "freeze": batch_norms(32)},
            validation={"patience": 2},
            large_margin={"epochs": 1, "lr": 1e-3},
        )
        result = train(planned, run_dir=tmp_path)
        assert result.stopped_early
        assert [line["step"] for line in steps(tmp_path)] == [1, 2, 7]  # the last stage still has its turn
        assert result.best_step == 0
        assert any(line["event"] == "stop" for line in read_log(tmp_path))

    def test_frozen_statistics_stay_while_the_weights_around_them_learn(self, recipe, tmp_path) -> None:
        short = {"epochs": 1, "steps_per_epoch": 2}
        first = train(recipe(schedule=short), run_dir=tmp_path / "first")
        model = {"network": "ecapa_tdnn", "dim": 32, "options": {"width": 0.1}}
        for name, frozen in (("moving", False), ("still", True)):
            begun = model | {"initial": str(first.run_dir), "freeze_statistics": frozen}
            train(recipe(model=begun, schedule=short), run_dir=tmp_path / name)
        before = checkpoints.read_tensors(first.run_dir / "checkpoints/best", "model")
        for name, moves in (("moving", True), ("still", False)):
            after = checkpoints.read_tensors(tmp_path / name / "checkpoints/last", "model")
            changed = {key for key in before if not torch.equal(before[key], after[key])}
            assert any("running_mean" in key for key in changed) is moves
            assert any("running_var" in key for key in changed) is moves
            assert any(key.endswith("weight") for key in changed)

    def test_strangers_are_counted_within_their_own_set(self, recipe, tmp_path) -> None:
        """Two sets of 3 validation subjects with 4 samples: 2 (12 over 2) pairs less 36 of one subject."""
        made = [
            small_set(
                tmp_path / name / name,
                modality="voice",
                train=4,
                validation=3,
                samples=4,
                seed=seed,
                name=name,
            )
            for seed, name in enumerate(("studio", "street"))
        ]
        sets = [{"prepared": str(prepared), "split": str(split)} for prepared, split in made]
        once = {"epochs": 1, "steps_per_epoch": 1}
        result = train(
            recipe(data={"sets": sets}, schedule=once, sampler={"batch": 8}), run_dir=tmp_path / "run"
        )
        assert (result.latest["subjects"], result.latest["mated"]) == (6, 36)
        assert result.latest["non_mated"] == 2 * 66 - 36

    def test_frozen_parameters_and_their_statistics_stay(self, recipe, tmp_path) -> None:
        model = {"network": "ecapa_tdnn", "dim": 32, "options": {"width": 0.1}, "freeze": ["blocks.0"]}
        train(
            recipe(model=model, schedule={"epochs": 1, "steps_per_epoch": 2}, run={"keep": 5}),
            run_dir=tmp_path,
        )
        before, after = (
            checkpoints.read_tensors(tmp_path / "checkpoints" / name, "model")
            for name in ("step-000000", "step-000002")
        )
        same = {name for name in before if torch.equal(before[name], after[name])}
        assert {name for name in before if name.startswith("blocks.0.")} <= same
        assert not any(name.startswith("blocks.1.") and name.endswith("weight") for name in same)


class TestItEndsWell:
    def test_a_loss_that_is_no_number_stops_it_and_names_the_samples(self, recipe, tmp_path) -> None:
        planned = recipe(optimiser={"name": "sgd", "lr": 1e38}, schedule={"epochs": 1, "warmup_epochs": 0})
        with pytest.raises(TrainingError, match=r"not finite.*made/p0\d\d.*lower optimiser.lr"):
            train(planned, run_dir=tmp_path)
        facts = json.loads(next(tmp_path.glob("not-finite-*.json")).read_text())
        assert len(facts["samples"]) == 24
        kept = checkpoints.newest(tmp_path)
        assert all(tensor.isfinite().all() for tensor in checkpoints.read_tensors(kept, "model").values())

    @pytest.mark.parametrize("every", [1, 2])  # epochs between validations: at its end, one is due or not
    def test_so_does_an_update_after_a_sound_loss_that_leaves_no_numbers(
        self, every, recipe, tmp_path, monkeypatch
    ) -> None:
        update = loop.update

        def breaking(parts: Parts, micro_batches: Any, **options: Any) -> Reading:
            reading = update(parts, micro_batches, **options)
            if reading.step == parts.plan.steps_per_epoch:
                for parameter in (*parts.net.parameters(), *parts.best_net.parameters()):
                    parameter.data.fill_(float("nan"))
            return reading

        monkeypatch.setattr(loop, "update", breaking)
        planned = recipe(schedule={"epochs": 2, "warmup_epochs": 0}, validation={"every_epochs": every})
        with pytest.raises(TrainingError, match=r"the weights after it: not finite.*made/p0\d\d"):
            train(planned, run_dir=tmp_path)
        assert json.loads(next(tmp_path.glob("not-finite-*.json")).read_text())["samples"]
        kept = checkpoints.newest(tmp_path)
        assert all(tensor.isfinite().all() for tensor in checkpoints.read_tensors(kept, "model").values())

    def test_out_of_memory_says_which_batch_fits(self, recipe, tmp_path, monkeypatch) -> None:
        from verify.nets.ecapa import ECAPATDNN

        raw = ECAPATDNN.raw

        def limited(self, x):
            if self.training and len(x) > 10:
                msg = "CUDA out of memory"
                raise torch.cuda.OutOfMemoryError(msg)
            return raw(self, x)

        monkeypatch.setattr(ECAPATDNN, "raw", limited)
        with pytest.raises(TrainingError, match=r"24 samples at once do not fit, 10 do"):
            train(recipe(), run_dir=tmp_path)

    def test_out_of_memory_elsewhere_is_said_too(self, recipe, tmp_path, monkeypatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise torch.cuda.OutOfMemoryError

        monkeypatch.setattr("verify.training.loop.assemble", full)
        with pytest.raises(TrainingError, match=r"optimiser, augmentation or validation"):
            train(recipe(), run_dir=tmp_path)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_is_answered_with_a_checkpoint(self, number, recipe, tmp_path) -> None:
        before = signal.getsignal(number)

        def interrupt(progress: Progress) -> None:
            if progress.step == 3 and not progress.message:
                os.kill(os.getpid(), number)

        said: list[str] = []
        with pytest.raises(KeyboardInterrupt):
            train(
                recipe(schedule={"epochs": 2, "steps_per_epoch": 4}),
                run_dir=tmp_path,
                on_progress=lambda progress: (interrupt(progress), said.append(progress.message)),
            )
        assert checkpoints.newest(tmp_path).name == "step-000003"
        assert "go on with --resume" in said[-1]
        assert signal.getsignal(number) is before

    def test_a_full_disk_leaves_the_last_checkpoint_whole(self, recipe, disk) -> None:
        model = {"network": "ecapa_tdnn", "dim": 8, "options": {"width": 0.02}}
        planned = recipe(
            model=model, run={"keep": 99, "checkpoint_steps": 1}, schedule={"epochs": 9, "steps_per_epoch": 9}
        )
        run_dir = disk.folder / "run"
        with pytest.raises(StorageError, match="make room"):
            train(planned, run_dir=run_dir)
        kept = checkpoints.newest(run_dir)
        assert kept is not None
        for name in ("model", "objective", "optimiser"):
            checkpoints.read_tensors(kept, name)  # held against its hash
        assert not list((run_dir / "checkpoints").glob(".*partial"))

    def test_corrupt_media_is_named(self, own_voices, recipe, tmp_path) -> None:
        shard = next(own_voices[0].glob("*.arrow"))
        content = bytearray(shard.read_bytes())
        middle = len(content) // 3
        content[middle : middle + 4096] = os.urandom(4096)
        shard.write_bytes(content)
        sets = [{"prepared": str(own_voices[0]), "split": str(own_voices[1])}]
        with pytest.raises(DataError, match=shard.name):
            train(
                recipe(data={"sets": sets, "crop_s": 9.0}, validation={"crop_s": 9.0}),
                run_dir=tmp_path / "run",
            )


class TestItRefuses:
    def test_a_folder_with_a_run_in_it(self, recipe, tmp_path) -> None:
        (tmp_path / "recipe.json").write_text("{}")
        with pytest.raises(UsageError, match=r"holds a run already.*--resume"):
            train(recipe(), run_dir=tmp_path)

    @pytest.mark.parametrize("found", ["ann/1.jpg", "shard-00000.arrow", "card.json"])
    def test_a_folder_of_something_else(self, recipe, tmp_path, found) -> None:
        (tmp_path / found).parent.mkdir(exist_ok=True)
        (tmp_path / found).write_bytes(b"")
        with pytest.raises(UsageError, match=rf"something else than a run \({found.split('/')[0]}\).*-o"):
            train(recipe(), run_dir=tmp_path)
        assert len(list(tmp_path.iterdir())) == 1

    def test_batches_without_a_pair_for_what_learns_from_pairs(self, recipe, tmp_path) -> None:
        lonely = {"batch": 0, "identities": 6, "samples": 1}
        with pytest.raises(UsageError, match=r"triplet learns from pairs.*sampler.samples to 2"):
            train(recipe(objective=[{"name": "triplet"}], sampler=lonely), run_dir=tmp_path)

    def test_one_sample_a_subject_where_pairs_are_drawn(self, tmp_path) -> None:
        made = small_set(tmp_path / "set", modality="voice", train=6, validation=4, samples=1)
        voice = {"modality": "voice", "model": {"network": "ecapa_tdnn", "options": {"width": 0.1}}}
        pairs = small_recipe(*made, sampler={"batch": 0, "identities": 3, "samples": 2}, **voice)
        with pytest.raises(DataError, match=r"every one of the 6 training subjects has one sample"):
            train(pairs, run_dir=tmp_path / "run")
        with pytest.raises(DataError, match=r"validation part has 4 subjects and 4 samples.*two samples"):
            train(small_recipe(*made, sampler={"batch": 3}, **voice), run_dir=tmp_path / "run")

    def test_one_identity(self, tmp_path) -> None:
        made = small_set(tmp_path / "set", modality="voice", train=1, validation=3, samples=3)
        recipe = small_recipe(*made, modality="voice", model={"network": "ecapa_tdnn"})
        with pytest.raises(DataError, match="1 identities in the part 'train'"):
            train(recipe, run_dir=tmp_path / "run")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"model": {"network": "ecapa_tdn"}}, "did you mean 'ecapa_tdnn'"),
            ({"model": {"network": "mobilefacenet"}}, "mobilefacenet takes kind"),
            ({"model": {"network": "ecapa_tdnn", "freeze": ["block"]}}, "did you mean 'blocks'"),
            ({"objective": [{"name": "arcfase"}]}, "did you mean 'arcface'"),
            ({"objective": [{"name": "arcface", "margin_rad": 28.6}]}, "0.499"),
            ({"objective": [{"name": "byol"}], "sampler": {"batch": 8, "views": 2}}, "set run.ema"),
            ({"modality": "face"}, "the prepared data holds 'voice'"),
            ({"sampler": {"batch": 1000}}, "batch"),
            ({"augment": {"nois": {}}}, "did you mean 'noise'"),
        ],
    )
    def test_what_cannot_be(self, changes, message, recipe, tmp_path) -> None:
        with pytest.raises((UsageError, DataError), match=re.escape(message)):
            train(dataclasses.replace(recipe(), **sections(recipe(**changes))), run_dir=tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_a_dry_run_counts_what_a_run_does(recipe, tmp_path) -> None:
    planned = recipe(schedule={"epochs": 1, "chunk": 6}, sampler={"batch": 12})
    found = estimate(planned)
    result = train(planned, run_dir=tmp_path)
    state = checkpoints.read_state(tmp_path / "checkpoints/last")
    assert found.steps == result.steps
    assert found.network_parameters == state["network"]["parameters"]
    assert found.embeddings == (12, 32)
    assert found.inputs == (12, 48, 80)
    assert found.unseen_samples == result.best["samples"]
    assert estimate(recipe(sampler={"batch": 12})).activations_gib == pytest.approx(2 * found.activations_gib)


def test_the_log_is_one_json_object_a_line(recipe, tmp_path) -> None:
    train(recipe(schedule={"epochs": 1, "steps_per_epoch": 2}), run_dir=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert events == ["start", "validation", "checkpoint", "step", "step", "validation", "checkpoint", "end"]
    assert all({"step", "time_s"} <= line.keys() for line in lines)
    assert {"loss", "grad_norm", "lr", "margin", "spread", "gap"} <= lines[3].keys()


def sections(recipe):
    return {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}


def batch_norms(dim: int) -> list[str]:
    from verify.nets.registry import make_network

    net = make_network("ecapa_tdnn", dim=dim, width=0.1)
    kinds = torch.nn.modules.batchnorm._BatchNorm
    return [name for name, module in net.named_modules() if isinstance(module, kinds)]
