"""A run that is killed goes on as if it had not been: bit for bit on a CPU. What is not that run is refused."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the training extra")

import torch

from verify.config import plain
from verify.errors import ModelIntegrityError, UsageError
from verify.nets.ecapa import ECAPATDNN
from verify.training import checkpoint as checkpoints
from verify.training.logs import read_log
from verify.training.loop import train
from verify.training.recipe import replaced

pytestmark = pytest.mark.train

ROOT = Path(__file__).resolve().parents[3]
EVERYTHING = {
    "objective": [{"name": "subcenter_arcface", "margin_rad": 0.2}, {"name": "supcon", "memory": 32}],
    "augment": {"speed": {"factors": [0.9]}, "noise": {}, "spec": {}},
    "schedule": {"epochs": 3, "steps_per_epoch": 4, "warmup_epochs": 1, "margin_ramp_epochs": 2},
    "sampler": {"batch": 10},
    "run": {"ema": 0.9, "checkpoint_steps": 3, "precision": "fp32"},
    "validation": {"patience": 5},
}
DRIVER = """
import json, os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from verify.config import build
from verify.training import checkpoint as checkpoints
from verify.training.loop import train
from verify.training.recipe import Recipe

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def go(moment, run_dir, recipe):
    on_progress = lambda progress: None
    if moment == "step":
        on_progress = lambda progress: kill() if progress.step == 5 and not progress.message else None
    if moment == "writing":
        written = checkpoints.write_file
        def write(path, data):
            written(path, data)
            if path.name == "optimiser.safetensors" and "step-000008" in str(path):
                kill()
        checkpoints.write_file = write
    if moment == "best":
        published = checkpoints.publish
        def publish(checkpoint, *, name):
            kill() if name == "best" and checkpoint.name == "step-000008" else published(checkpoint, name=name)
        checkpoints.publish = publish
    train(recipe, run_dir=run_dir, on_progress=on_progress, resume=True)

recipe = build(Recipe, json.load(sys.stdin), where="test")
ends = {}
for moment in ("step", "writing", "best"):  # each in a process of its own, without importing torch again
    child = os.fork()
    if not child:
        go(moment, Path(sys.argv[1]), recipe)
        os._exit(0)
    ends[moment] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(ends))
"""


def losses(run_dir: Path) -> list[tuple]:
    return [
        (line["step"], line["loss"], line["grad_norm"])
        for line in read_log(run_dir)
        if line["event"] == "step"
    ]


def files(folder: Path) -> dict[str, str]:
    return checkpoints.read_state(folder)["files"]


def test_a_killed_run_goes_on_to_the_same_weights(recipe, tmp_path) -> None:
    planned = recipe(**EVERYTHING)
    whole = train(planned, run_dir=tmp_path / "whole")
    killed = tmp_path / "killed"
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(killed)],
        input=json.dumps(plain(planned)),
        text=True,
        capture_output=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    ends = json.loads(done.stdout.splitlines()[-1])
    assert ends["step"] == ends["writing"] == -signal.SIGKILL, done.stderr
    assert ends["best"] in (-signal.SIGKILL, 0)  # not the best of all epochs: nothing was published then
    result = train(planned, run_dir=killed, resume=True)
    assert losses(killed) == losses(tmp_path / "whole")
    assert [line["step"] for line in read_log(killed) if line["event"] == "validation"] == [0, 4, 8, 12]
    assert (result.best, result.best_step, result.latest) == (whole.best, whole.best_step, whole.latest)
    for name in ("last", "best"):
        assert files(killed / "checkpoints" / name) == files(tmp_path / "whole/checkpoints" / name)
    assert not list((killed / "checkpoints").glob(".*"))


def test_an_interrupted_run_goes_on_to_the_same_weights(recipe, tmp_path, monkeypatch) -> None:
    """With dropout: what a network draws is drawn again."""
    raw = ECAPATDNN.raw

    def dropped(self, x):
        return torch.nn.functional.dropout(raw(self, x), 0.2, self.training)

    monkeypatch.setattr(ECAPATDNN, "raw", dropped)
    planned = recipe(**EVERYTHING)
    train(planned, run_dir=tmp_path / "whole")

    def interrupt(progress) -> None:
        if progress.step == 7 and not progress.message:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(planned, run_dir=tmp_path / "stopped", on_progress=interrupt)
    train(planned, run_dir=tmp_path / "stopped", resume=True)
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    assert files(tmp_path / "stopped/checkpoints/last") == files(tmp_path / "whole/checkpoints/last")


@pytest.fixture(scope="module")
def run_dir(voices, tmp_path_factory) -> Path:
    from tests.training.small_runs import small_recipe

    folder = tmp_path_factory.mktemp("finished")
    train(small_recipe(*voices, **SHORT), run_dir=folder)
    return folder


SHORT = {
    "modality": "voice",
    "model": {"network": "ecapa_tdnn", "dim": 32, "options": {"width": 0.1}},
    "schedule": {"epochs": 2, "steps_per_epoch": 1},
    "run": {"keep": 1},
}


@pytest.fixture
def short(voices):
    from tests.training.small_runs import small_recipe

    return functools.partial(small_recipe, *voices)(**SHORT)


def test_a_finished_run_is_only_told_again(run_dir, short) -> None:
    before = files(run_dir / "checkpoints/last")
    result = train(short, run_dir=run_dir, resume=True)
    assert result.steps == 2
    assert files(run_dir / "checkpoints/last") == before


def test_another_recipe_is_refused_with_the_keys_that_differ(run_dir, short) -> None:
    other = replaced(short, {"optimiser.lr": 0.5, "schedule.epochs": 3})
    with pytest.raises(UsageError, match=r"optimiser.lr was 0.003, is 0.5; schedule.epochs was 2, is 3"):
        train(other, run_dir=run_dir, resume=True)


def test_what_nothing_hangs_on_may_differ(run_dir, short) -> None:
    train(replaced(short, {"data.workers": 1, "run.keep": 3}), run_dir=run_dir, resume=True)


def test_other_data_is_refused(run_dir, short, tmp_path) -> None:
    from tests.training.small_runs import small_set

    prepared, split = small_set(tmp_path, modality="voice", train=12, validation=6, samples=4, seed=5)
    other = replaced(short, {"data.sets": [{"prepared": str(prepared), "split": str(split)}]})
    with pytest.raises(UsageError, match="data_sha256 was"):
        train(other, run_dir=run_dir, resume=True)


def test_a_damaged_checkpoint_is_refused_and_the_way_out_works(recipe, tmp_path) -> None:
    planned = recipe(schedule={"epochs": 2, "steps_per_epoch": 2})
    train(planned, run_dir=tmp_path)
    for name in ("last", "step-000004"):
        path = tmp_path / "checkpoints" / name / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.unlink()
        path.write_bytes(content)
    with pytest.raises(ModelIntegrityError, match=r"step-000004.*remove the folder step-000004"):
        train(planned, run_dir=tmp_path, resume=True)
    for name in ("last", "step-000004"):
        (tmp_path / "checkpoints" / name).rename(tmp_path / name)
    assert train(planned, run_dir=tmp_path, resume=True).steps == 4


@pytest.mark.parametrize("content", ["", "{}", '{"format": 99}', "[1]"])
def test_a_broken_state_is_named(content, tmp_path) -> None:
    folder = tmp_path / "checkpoints/step-000001"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(content)
    with pytest.raises(ModelIntegrityError, match=r"step-000001.*state.json"):
        checkpoints.newest(tmp_path)


def test_only_the_newest_stay(recipe, tmp_path) -> None:
    train(recipe(schedule={"epochs": 4, "steps_per_epoch": 1}, run={"keep": 2}), run_dir=tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best", "last", "step-000003", "step-000004"]
    assert len({path.stat().st_ino for path in (tmp_path / "checkpoints").glob("*/model.safetensors")}) <= 3
