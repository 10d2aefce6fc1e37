"""Weights to begin from: those published for a network, a run's, or a file's. All of them, or none."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from verify.errors import DataError, ModelIntegrityError, UsageError
from verify.models.acquire import Fetcher, PullOptions, acquire
from verify.models.download import silent
from verify.models.identity import file_sha256
from verify.models.places import default_models_dir
from verify.models.registry import find_entry
from verify.models.shelf import new_folder, scratch_folder
from verify.models.weights import read_weights
from verify.nets import inception_resnet_v1
from verify.nets.registry import find_network, networks
from verify.training import ancestry
from verify.training import checkpoint as checkpoints
from verify.training.ancestry import Ancestry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from verify.models.download import Progress

PUBLISHED = "published"
SUFFIXES = (".pt", ".pth", ".safetensors")
SECTIONS = ("state_dict", "model_state", "model")  # under which checkpoints of others keep their weights
WRAPPER = "module."  # which DataParallel puts before every name
SHOWN = 3  # names in a message
# what a published state dict holds beside the network
CLEANED: Mapping[str, Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]] = {
    "inception_resnet_v1": inception_resnet_v1.published
}


def load_initial(
    net: nn.Module,
    initial: str,
    *,
    network: str,
    models_dir: Path | None = None,
    progress: Progress = silent,
) -> Ancestry:
    """Load weights into a network, every tensor of it, in place.

    Args:
        net: the network.
        initial: ``"published"``: of the registry's model that fits the network, fetched as
            `verify models pull` does it and kept beside the bundles for the next time. Else a path: a run's
            folder or one of its checkpoints (the averaged weights, where the run kept them), or a state
            dict in a ``.safetensors``, ``.pt`` or ``.pth`` file, which is never unpickled.
        network: name of the network in `verify.nets.registry`.
        models_dir: where bundles lie; None takes the usual place.
        progress: called with (label, bytes so far, bytes in all or 0) while weights are fetched.

    Returns:
        Where the weights came from, in words, and what comes along with them: licence, and whom they know.

    Raises:
        UsageError: nothing is published for this network, no such file, or weights of another network or
            another embedding size; the message names the tensors.
        DataError: the file holds no state dict.
        ModelIntegrityError: a checkpoint is damaged.
        DownloadError: the published weights cannot be fetched.
    """
    if initial == PUBLISHED:
        state, first = _published(network, models_dir, progress)
    elif (path := Path(initial).expanduser()).is_dir():
        state, first = _of_run(path, network)
    elif path.is_file():
        state, first = _of_file(path), _beside(path)
    else:
        msg = (
            f"model.initial = {initial!r}: no such file or folder; it is {PUBLISHED!r}, a run's folder, "
            f"or a file of weights ({', '.join(SUFFIXES)}); empty begins from random weights"
        )
        raise UsageError(msg)
    clean = CLEANED.get(network, dict)(_unwrapped(state))
    _check_fits(net, clean, network=network, source=initial)
    own = net.state_dict()
    with torch.no_grad():
        for name, tensor in clean.items():
            own[name].copy_(tensor)
    return first


def _published(
    network: str, models_dir: Path | None, progress: Progress
) -> tuple[dict[str, Tensor], Ancestry]:
    model = find_network(network).published
    if not model:
        known = ", ".join(sorted(name for name, item in networks().items() if item.published))
        msg = f"model.initial = {PUBLISHED!r}: no weights are published for {network}; there are some for {known}"
        raise UsageError(msg)
    entry = find_entry(model)
    base = default_models_dir() if models_dir is None else models_dir
    with scratch_folder(base) as scratch:
        folder = new_folder(scratch / "weights")
        source = acquire(
            entry, folder, models_dir=base, fetcher=Fetcher(PullOptions(progress=progress), scratch)
        )
        (path,) = folder.iterdir()
        state = _of_file(path)
        with suppress(OSError):  # the next run finds it there; without, it is fetched again
            path.replace(base / path.name)
    sha256 = source["files"][path.name]["sha256"]
    words = f"published weights of {entry.name} ({path.name}, sha256 {sha256})"
    return state, ancestry.of_entry(entry, words=words)


def _of_run(folder: Path, network: str) -> tuple[dict[str, Tensor], Ancestry]:
    """The best checkpoint of a run, else its last one; or the checkpoint itself."""
    places = [
        folder,
        *(checkpoints.folder_of(folder) / name for name in (checkpoints.BEST, checkpoints.LAST)),
    ]
    found = next((place for place in places if (place / checkpoints.STATE).is_file()), None)
    if found is None:
        msg = f"model.initial: {folder} is no run: it has neither {checkpoints.STATE} nor a checkpoint best or last"
        raise UsageError(msg)
    state = checkpoints.read_state(found)
    try:
        theirs, weights, recipe = state["network"]["name"], state["weights"], state["recipe"]["name"]
        words = f"run {recipe}, step {int(state['step'])} (recipe sha256 {state['recipe_sha256']})"
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{found / checkpoints.STATE} does not say which network it holds ({error!r} is missing or malformed)"
        raise ModelIntegrityError(msg) from error
    if theirs != network:
        msg = (
            f"model.initial: {folder} trained {theirs}, not {network}; set model.network = {theirs!r}, "
            "or begin from another run"
        )
        raise UsageError(msg)
    return checkpoints.read_tensors(found, weights), ancestry.of_run(state, words=words)


def _beside(path: Path) -> Ancestry:
    """Of weights in a file: a run's, if they lie in one of its checkpoints; else nothing is known of them."""
    sha256 = file_sha256(path)
    words = f"{path.name} (sha256 {sha256})"
    with suppress(ModelIntegrityError):
        state = checkpoints.read_state(path.parent)
        if state.get("files", {}).get(path.name) == sha256:
            return ancestry.of_run(state, words=words)
    return Ancestry(words=words)


def _of_file(path: Path) -> dict[str, Tensor]:
    """A state dict, as it is or in one of the usual sections, by the reader that runs nothing of the file."""
    try:
        arrays = read_weights(path)
    except DataError as plain:
        for section in SECTIONS:
            with suppress(DataError):
                arrays = read_weights(path, section=section)
                break
        else:
            raise plain from None
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    wrapped = bool(state) and all(name.startswith(WRAPPER) for name in state)
    return {name.removeprefix(WRAPPER) if wrapped else name: tensor for name, tensor in state.items()}


def _check_fits(net: nn.Module, state: Mapping[str, Tensor], *, network: str, source: str) -> None:
    own: Mapping[str, Any] = net.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    surplus = [name for name in state if name not in own]
    if missing or surplus:
        parts = [
            f"{what} {_some(names)}"
            for what, names in (("lacks", missing), ("has beside it", surplus))
            if names
        ]
        msg = (
            f"model.initial = {source!r} is not {network}: it {' and '.join(parts)}. Weights of another network cannot"
            " be taken, nor a part of them: name this network's, or leave model.initial empty"
        )
        raise UsageError(msg)
    differing = [name for name in own if name in state and own[name].shape != state[name].shape]
    if not differing:
        return
    shapes = [f"{name} {tuple(state[name].shape)}, not {tuple(own[name].shape)}" for name in differing]
    dim = int(getattr(net, "dim", 0))
    sizes = {int(state[name].shape[0]) for name in differing if own[name].ndim and own[name].shape[0] == dim}
    way = (
        f"set model.dim = {sizes.pop()}: it is another embedding size, and no part of a network is taken"
        if len(sizes) == 1 and _only_size_differs(differing, own, state, dim)
        else "give model.options that it was trained with"
    )
    msg = f"model.initial = {source!r} is {network} of another shape: {_some(shapes)}; {way}"
    raise UsageError(msg)


def _only_size_differs(
    differing: list[str], own: Mapping[str, Tensor], state: Mapping[str, Tensor], dim: int
) -> bool:
    """Whether all differing tensors are those of the embedding: first axis of `dim`, the others equal."""
    return all(
        own[name].ndim and own[name].shape[0] == dim and own[name].shape[1:] == state[name].shape[1:]
        for name in differing
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
