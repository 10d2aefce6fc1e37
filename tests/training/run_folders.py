"""Run folders without training: what `verify train` leaves behind, around weights of the test's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from verify.config import plain
from verify.nets.registry import make_network
from verify.training import ancestry
from verify.training import checkpoint as checkpoints
from verify.training.ancestry import RANDOM, Ancestry
from verify.training.recipe import Recipe
from verify.training.training_set import open_training

VALIDATED = {"eer": 0.25, "fnmr_at_fmr_1e_2": 0.5, "subjects": 8, "mated": 120, "non_mated": 1008}


def seeded_network(recipe: Recipe, *, seed: int = 0) -> torch.nn.Module:
    """A network of random weights whose normalisations have seen something, so that embeddings spread."""
    torch.manual_seed(seed)
    net = make_network(recipe.model.network, dim=recipe.model.dim, **recipe.model.options)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.1)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
    return net.eval()


def write_run(run: Path, recipe: Recipe, *, first: Ancestry = RANDOM, **weights: torch.nn.Module) -> Path:
    """A run at step 7 with the given files of weights (``model=``, ``ema=``); its folder."""
    data = open_training(recipe.data.sets, part="train")
    some = next(iter(weights.values()))
    state: dict[str, Any] = {
        "epoch": 1,
        "course": {"closed": 7, "best_step": 7, "best": VALIDATED, "latest": VALIDATED},
        "recipe": plain(recipe),
        "recipe_sha256": recipe.sha256,
        "data_sha256": data.data_sha256,
        "split_sha256": data.split_sha256,
        "sets": [dataclasses.asdict(facts) for facts in data.sets],
        "network": {"name": recipe.model.network, "dim": int(some.dim), "initial": first.words},
        **ancestry.on_state(first, data),
        "weights": "ema" if "ema" in weights else "model",
        "git_revision": "0" * 40,
        "torch": str(torch.__version__),
    }
    tensors = {name: net.state_dict() for name, net in weights.items()}
    tensors["objective"] = {"centres": torch.zeros(16, int(some.dim))}
    saved = checkpoints.save(run, step=7, tensors=tensors, state=state)
    checkpoints.publish(saved, name=checkpoints.BEST)
    return run
