"""A finished run, opened again: the recipe, the weights that validated best, and what is known of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from verify.config import build, unknown
from verify.errors import ModelIntegrityError, UsageError
from verify.nets.registry import find_network, make_network
from verify.training.checkpoint import BEST, STATE, folder_of, read_state, read_tensors
from verify.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from verify.nets.registry import Network

NEEDED = ("recipe", "recipe_sha256", "split_sha256", "data_sha256", "weights", "files", "step")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRun:
    """One checkpoint of a run.

    Attributes:
        checkpoint: its folder.
        state: what ``state.json`` says.
        recipe: of the run.
        network: what was trained.
        net: the network with the checkpoint's weights, the averaged ones where the run kept them; in eval
            mode, on the CPU. The objective's head is not part of it.
        weights: the file that holds them, without suffix.
    """

    checkpoint: Path
    state: Mapping[str, Any] = field(repr=False)
    recipe: Recipe
    network: Network
    net: nn.Module = field(repr=False)
    weights: str

    @property
    def weights_sha256(self) -> str:
        """Hash of the file with the weights."""
        return str(self.state["files"][f"{self.weights}.safetensors"])

    @property
    def validated(self) -> Mapping[str, Any]:
        """The validation of exactly these weights; empty if the run made none at this step."""
        course = self.state.get("course") or {}
        step = self.state["step"]
        found = course.get("best") if course.get("best_step") == step else None
        if found is None and course.get("closed") == step:
            found = course.get("latest")
        return found or {}


def open_run(run: Path, *, checkpoint: str = BEST) -> TrainedRun:
    """Open a checkpoint of a run.

    Args:
        run: the run's folder, or a checkpoint's.
        checkpoint: ``best``, ``last`` or a step's name, where `run` is the run's folder.

    Raises:
        UsageError: no such folder or checkpoint (with the nearest), or a recipe that this version does not know.
        ModelIntegrityError: the checkpoint is damaged, or its weights are not of the recipe's network.
        MissingExtraError: torch is not installed.
    """
    folder = run if (run / STATE).is_file() else _checkpoint_of(run, checkpoint)
    state = read_state(folder)
    missing = [key for key in NEEDED if key not in state]
    if missing:
        msg = f"{folder / STATE}: {missing[0]!r} is missing: not the state of a training run of this version"
        raise ModelIntegrityError(msg)
    recipe = build(Recipe, state["recipe"], where=str(folder / STATE))
    network = find_network(recipe.model.network)
    net = make_network(network.name, dim=recipe.model.dim, **recipe.model.options)
    tensors = read_tensors(folder, state["weights"])
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:  # torch lists every key that does not fit
        reason = " ".join(str(error).split())[:300]
        msg = f"{folder}: its weights are not those of {network.name} as the recipe describes it ({reason})"
        raise ModelIntegrityError(msg) from error
    return TrainedRun(
        checkpoint=folder,
        state=state,
        recipe=recipe,
        network=network,
        net=net.eval(),
        weights=str(state["weights"]),
    )


def _checkpoint_of(run: Path, name: str) -> Path:
    known = [path.name for path in sorted(folder_of(run).glob("[!.]*")) if (path / STATE).is_file()]
    if not known:
        msg = f"{run}: no run with a checkpoint; name the folder that `verify train` wrote, for example runs/NAME"
        raise UsageError(msg)
    if name not in known:
        raise UsageError(f"{run}: {unknown(name, known, what='checkpoint')}")  # noqa: TRY003, EM102
    return folder_of(run) / name
