"""Every recipe in configs/ in small: it learns, on a CPU, to tell people apart that it never saw.

The networks are narrowed and the people are made; objective, sampler, schedule, augmentation and large-margin stage
are the recipe's own. What is asked for: the EER of the trained network on unseen identities is at least `MARGIN`
below the untrained one's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the training extra")

from tests.training.small_runs import small_set
from verify.config import plain
from verify.nets.registry import find_network
from verify.training.loop import train
from verify.training.recipe import Recipe, read_recipe, replaced

pytestmark = pytest.mark.train

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.toml"))
MARGIN = 0.03
SMALL: dict[str, dict[str, Any]] = {
    "mobilefacenet": {"options": {"width": 0.25}, "dim": 64},
    "iresnet50": {"options": {"width": 0.25}, "dim": 64, "network": "iresnet18"},
    "inception_resnet_v1": {"options": {"width": 0.25, "dropout": 0.0}, "dim": 64},
    "ecapa_tdnn": {"options": {"width": 0.125}, "dim": 64},
    "campplus": {},  # as it is: it begins from its published weights
}
LEARNING = {  # epochs, and AdamW's learning rate
    "mobilefacenet": (12, 1e-2),
    "iresnet50": (6, 1e-2),
    "inception_resnet_v1": (10, 1e-3),
    "ecapa_tdnn": (12, 3e-3),
    "campplus": (3, 1e-4),
}


def in_small(recipe: Recipe, folder: Path, *, initial: str = "") -> Recipe:
    epochs, lr = LEARNING[recipe.model.network]
    many = {"train": 40, "samples": 4} if recipe.modality == "voice" else {"train": 20, "samples": 8}
    wanted = find_network(recipe.model.network).contract.get("alignment", "arcface-112")
    prepared, split = small_set(
        folder / "data", modality=recipe.modality, validation=10, alignment=wanted, **many
    )
    table = plain(recipe)
    own = {} if recipe.model.initial == "published" else {"initial": initial}
    model = table["model"] | own | SMALL[recipe.model.network]
    sampler = table["sampler"]
    sampler |= {"batch": 32} if sampler["batch"] else {"identities": 8, "samples": 4}
    return replaced(
        recipe,
        {
            "data.sets": [{"prepared": str(prepared), "split": str(split)}],
            "data.workers": 0,
            "data.crop_s": 1.0,
            "model": model,
            "sampler": sampler,
            "optimiser.name": "adamw",
            "optimiser.lr": lr,
            "schedule.epochs": epochs,
            "schedule.warmup_epochs": 1.0,
            "schedule.margin_ramp_epochs": min(2.0, recipe.schedule.margin_ramp_epochs),
            "large_margin.epochs": min(1, recipe.large_margin.epochs),
            "large_margin.crop_s": 1.4,
            "validation.every_epochs": epochs,
            "run.ema": 0.5,
            "run.precision": "fp32",  # narrow layers are no faster in bf16
            "run.compile": False,
        },
    )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_recipe_in_small_learns_to_tell_strangers_apart(
    path: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = read_recipe(path)
    initial = ""
    if recipe.model.initial == "published":
        monkeypatch.setenv("VERIFY_MODELS", str(request.getfixturevalue("models_dir")))
    elif recipe.model.initial:  # a run of another recipe
        first = read_recipe(path.with_name(f"{Path(recipe.model.initial).name.replace('-', '_')}.toml"))
        first = replaced(in_small(first, tmp_path / "first"), {"schedule.epochs": 2})
        initial = str(train(first, run_dir=tmp_path / "first" / "run", device="cpu").run_dir)
    result = train(in_small(recipe, tmp_path, initial=initial), run_dir=tmp_path / "run", device="cpu")
    assert result.best["eer"] <= result.untrained["eer"] - MARGIN


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_recipe_opens_with_its_command_and_what_it_gave(path: Path) -> None:
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(f"verify train configs/{path.name}" in line for line in head)
    assert any(line.startswith("# takes") for line in head)
    assert any(line.startswith("# gave") for line in head)


def test_there_are_recipes() -> None:
    assert len(CONFIGS) >= 8
