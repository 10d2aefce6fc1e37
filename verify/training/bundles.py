"""Build a bundle from torch weights, with the proof against torch on its card (needs the extra train)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from verify.errors import UsageError
from verify.models.acquire import Fetcher, PullOptions, acquire, check_may_pull
from verify.models.assemble import build_bundle
from verify.models.card import NAME_PATTERN
from verify.models.download import silent
from verify.models.install import Installed, install_locator
from verify.models.places import default_models_dir
from verify.models.registry import WeightsFile, entries, find_entry
from verify.models.selftest import run_selftest
from verify.models.shelf import new_folder, put_in_place, scratch_folder

if TYPE_CHECKING:
    from pathlib import Path

    from verify.models.download import Progress
    from verify.models.registry import Entry


def build_proven(
    name: str,
    *,
    weights: Path | None = None,
    new_name: str = "",
    models_dir: Path | None = None,
    progress: Progress = silent,
) -> tuple[Installed, ...]:
    """Build one of the registry's torch networks, run it beside torch, and put the bundle in place.

    Args:
        name: the network: name of a registry entry that is published as torch weights.
        weights: its weights; None takes the published ones, as pulling does.
        new_name: name of the bundle. Weights that are not the published ones need one of their own.
        models_dir: where bundles lie.
        progress: called with (label, bytes so far, bytes in all or 0).

    Raises:
        UnknownModelError: no such model.
        UsageError: the model is not published as torch weights, or the new name is none.
        MissingExtraError: torch is not installed.
        DataError: the weights are of another network.
        ModelIntegrityError: graph and torch disagree.
    """
    from verify.training.parity import build, network_of

    entry = find_entry(name)
    network = network_of(entry.recipe)
    if network is None:
        msg = f"{entry.name} is not published as torch weights; `verify models pull {entry.name}` brings it"
        raise UsageError(msg)
    base = default_models_dir() if models_dir is None else models_dir
    entry = _renamed(entry, weights, new_name)
    options = PullOptions(from_files=(weights,) if weights else (), accept_hash=True, progress=progress)
    check_may_pull(entry, options)
    with scratch_folder(base) as scratch:
        fetcher = Fetcher(options, scratch)
        located = install_locator(entry, base=base, scratch=scratch, fetcher=fetcher)
        files = new_folder(scratch / "weights")
        source = acquire(entry, files, models_dir=base, fetcher=fetcher)
        paths = list(files.iterdir())
        parity = build(network, weights=paths[0] if len(paths) == 1 else files).parity
        built = new_folder(scratch / entry.name)
        card = build_bundle(replace(entry, parity=parity), files, built, source=source, models_dir=base)
        cosine = run_selftest(built, name=entry.name)
        status = put_in_place(built, base / entry.name)
    here = base / entry.name
    return (*located, Installed(entry.name, status, here, card.model_id, str(source["address"]), cosine))


def _renamed(entry: Entry, weights: Path | None, new_name: str) -> Entry:
    """The entry under a new name: it takes any weights, and no pin of the published ones holds."""
    if not new_name or new_name == entry.name:
        return entry
    if not NAME_PATTERN.fullmatch(new_name) or new_name in entries():
        msg = f"--as {new_name!r}: a new name of lower-case letters, digits and . _ - that no known model has"
        raise UsageError(msg)
    if weights is None:
        return replace(entry, name=new_name, model_id="")
    if len(entry.weights) != 1:
        msg = f"{entry.name} consists of {len(entry.weights)} files; only the published ones can be built"
        raise UsageError(msg)
    own = (WeightsFile(weights.name),)
    training = f"weights of your own for the network {entry.name}"
    return replace(entry, name=new_name, model_id="", weights=own, sources=(), training_data=training)
