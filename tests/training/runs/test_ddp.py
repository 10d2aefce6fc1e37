"""Two processes are one: `verify train` under torchrun against the same joint batches in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the training extra")

import torch

from tests.training.runs.test_loop import batch_norms
from verify.errors import UsageError
from verify.training import checkpoint as checkpoints
from verify.training.logs import read_log
from verify.training.loop import train
from verify.training.recipe import read_recipe, replaced

pytestmark = pytest.mark.train

ROOT = Path(__file__).resolve().parents[3]
RECIPE = """
name = "two"
modality = "voice"
data = {{ workers = 0, crop_s = 0.5 }}
sampler = {{ identities = 6, samples = 2 }}
optimiser = {{ name = "sgd", lr = 0.02 }}
schedule = {{ epochs = 2, steps_per_epoch = 3, warmup_epochs = 1, accumulate = 2, chunk = {chunk} }}
run = {{ precision = "fp32", ema = 0.9 }}
[model]
network = "ecapa_tdnn"
dim = 32
options = {{ width = 0.1 }}
freeze = {freeze}
[[objective]]
name = "arcface"
margin_rad = 0.2
scale = 16.0
sharded = {sharded}
[[objective]]
name = "triplet"
"""


def losses(run_dir: Path) -> list[float]:
    lines = [line for line in read_log(run_dir) if line["event"] == "step"]
    return [value for line in lines for value in (line["loss"], line["grad_norm"])]


@pytest.fixture(scope="module")
def runs(voices, tmp_path_factory) -> dict[str, Path]:
    """By name: a run of two processes; a sharded one; the same, resumed after its first epoch; and their recipes."""
    folder = tmp_path_factory.mktemp("two")
    data = ["--data", str(voices[0]), "--split", str(voices[1]), "--device", "cpu"]
    jobs = []
    for name, freeze, sharded, chunk in (
        ("plain", batch_norms(32), "false", 0),
        ("sharded", [], "true", 4),
    ):
        (folder / f"{name}.toml").write_text(RECIPE.format(freeze=freeze, sharded=sharded, chunk=chunk))
        jobs.append({"arguments": [str(folder / f"{name}.toml"), *data, "-o", str(folder / name)]})
    again = [str(folder / "sharded.toml"), *data, "-o", str(folder / "again")]
    jobs += [{"arguments": again}, {"arguments": [*again, "--resume"], "forget": str(folder / "again")}]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "tests.training.runs.two_processes", str(folder / "jobs.json")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("6 unseen subjects") == len(jobs)  # of two processes one talks
    return {name: folder / name for name in ("plain", "sharded", "again", "plain.toml")}


def test_two_processes_train_as_one(runs, voices, tmp_path) -> None:
    """Losses, gradient norms and weights of margin and pair objectives together, batch statistics kept out of it."""
    sets = {"data.sets": [{"prepared": str(voices[0]), "split": str(voices[1])}]}
    alone = replaced(read_recipe(runs["plain.toml"]), sets)
    one = train(alone, run_dir=tmp_path / "one", device="cpu")
    assert losses(runs["plain"]) == pytest.approx(losses(tmp_path / "one"), rel=2e-4)
    last = [folder / "checkpoints/last" for folder in (tmp_path / "one", runs["plain"])]
    for name in ("model", "ema"):
        mine, theirs = (checkpoints.read_tensors(folder, name) for folder in last)
        for key, tensor in mine.items():
            assert torch.allclose(tensor, theirs[key], rtol=1e-3, atol=1e-5), key
    states = [checkpoints.read_state(folder) for folder in last]
    assert [state["world_size"] for state in states] == [1, 2]
    assert states[1]["course"]["best"]["eer"] == pytest.approx(one.best["eer"], abs=0.02)


def test_every_process_resumes_its_own_class_centres(runs) -> None:
    whole, again = (checkpoints.read_state(runs[name] / "checkpoints/last") for name in ("sharded", "again"))
    assert {"objective.safetensors", "objective-rank-1.safetensors"} < set(whole["files"])
    assert [line["step"] for line in read_log(runs["again"]) if line["event"] == "resume"] == [3]
    assert again["files"] == whole["files"]
    assert losses(runs["again"]) == losses(runs["sharded"])
    # the averaged network's batch statistics are all processes', and all validate with the same
    assert again["course"] == whole["course"]


def test_shards_are_resumed_by_as_many_processes_only(runs, voices) -> None:
    sets = {"data.sets": [{"prepared": str(voices[0]), "split": str(voices[1])}]}
    recipe = replaced(read_recipe(runs["plain.toml"].with_name("sharded.toml")), sets)
    with pytest.raises(UsageError, match="written by 2 processes"):
        train(recipe, run_dir=runs["sharded"], device="cpu", resume=True)
