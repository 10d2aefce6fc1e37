"""`verify train` as it is typed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the training extra")

from tests.cli.runner import Runner
from verify.training import loop
from verify.training.validation import summary

pytestmark = pytest.mark.train

RECIPE = """
name = "typed"
modality = "voice"
data = { workers = 0, crop_s = 0.5 }
sampler = { batch = 12 }
schedule = { epochs = 1, steps_per_epoch = 2 }
run = { precision = "fp32" }
model = { network = "ecapa_tdnn", dim = 32, options = { width = 0.1 } }
objective = [{ name = "arcface" }]
"""


@pytest.fixture
def run(capsys) -> Runner:
    return Runner(capsys)


@pytest.fixture
def typed(voices, tmp_path) -> tuple[str, ...]:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return (str(path), "--data", str(voices[0]), "--split", str(voices[1]), "-o", str(tmp_path / "run"))


def test_a_dry_run_says_what_would_be_and_writes_nothing(run, typed, tmp_path) -> None:
    result = run("train", *typed, "--dry-run", "--json", "--set", "schedule.epochs=3")
    assert result.code == 0
    assert result.json["steps"] == 6
    assert result.json["embeddings"] == [12, 32]
    assert not (tmp_path / "run").exists()
    assert "12 identities, 48 samples" in run("train", *typed, "--dry-run").out


def test_a_run_ends_with_its_gain_as_json(run, typed) -> None:
    result = run("train", *typed, "--json")
    assert result.code == 0
    assert result.json["steps"] == 2
    assert {"untrained", "best", "latest"} < result.json.keys()
    assert not result.err
    again = run("train", *typed, "--json")
    assert again.code == 2
    assert "--resume" in json.loads(again.out)["message"]


def test_what_begins_is_said_and_so_is_a_resume_of_nothing(run, typed, tmp_path) -> None:
    result = run("train", *typed, "--resume")
    assert result.code == 0
    begins, *_ = result.err.splitlines()
    assert begins.startswith(
        f"{tmp_path / 'run'} has nothing to resume, beginning anew: 12 people with 48 samples"
    )
    assert "steps: 2 an epoch, 2 in all" in begins
    again = run("train", *typed, "--resume")
    assert again.code == 0
    assert again.err.startswith("going on from step 2: 12 people")


def test_rates_that_the_pairs_cannot_show_are_not_shown() -> None:
    values = {"eer": 0.25, "fnmr_at_fmr_1e_2": 0.5, "fnmr_at_fmr_1e_3": 0.75, "recall_at_1": 0.125}
    counts = {"subjects": 4, "mated": 20, "non_mated": 999}
    shown = summary(values | counts)
    assert "FNMR 50.0 % at FMR 1e-2, Recall" in shown
    assert "75.0" not in shown
    assert "1e-" not in summary(values | counts | {"non_mated": 99})
    assert "75.0 % at FMR 1e-3" in summary(values | counts | {"non_mated": 1000})


def test_ctrl_c_ends_with_130_and_resume_goes_on(run, typed, monkeypatch) -> None:
    update = loop.update

    def interrupted(*args: object, **options: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return update(*args, **options)

    monkeypatch.setattr(loop, "update", interrupted)
    result = run("train", *typed)
    assert result.code == 130
    assert "stopped at step 1" in result.err
    monkeypatch.undo()
    assert run("train", *typed, "--resume").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name one recipe"),
        (("a.toml", "b.toml"), "name one recipe"),
        (("nowhere.toml",), "nowhere.toml"),
        ((".",), "is a folder: training takes a recipe and --data"),
        (("RECIPE", "--data", "x"), "1 --data and 0 --split"),
        (("RECIPE", "--set", "schedule.epochs"), "KEY=VALUE"),
        (("RECIPE", "--set", "shedule.epochs=1"), "did you mean 'schedule'"),
        (("RECIPE", "--set", "schedule.epoch=1"), "did you mean 'epochs'"),
        (("RECIPE", "--set", "schedule.epochs=one"), "must be a whole number"),
        (("RECIPE", "--model", "sface"), "--model goes with --adapter only"),
        (("RECIPE",), "--data PREPARED --split FILE"),
    ],
)
def test_what_is_typed_wrong_is_a_usage_error(arguments, message, run, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    result = run("train", *(str(path) if part == "RECIPE" else part for part in arguments))
    assert result.code == 2
    assert message in result.err
