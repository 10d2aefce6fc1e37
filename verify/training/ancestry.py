"""What weights bring along: whose licence they are under, what and whom they were trained on.

A network that begins from other weights knows whom those were trained on, and stays under their licence. Every
checkpoint says both in ``state.json`` (`BEFORE`, and `KEY`: marks of all files that anything of it was trained on),
for itself and for whatever begins from it in turn; the card takes them from there.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from verify.config import build
from verify.data.splits import TRAIN
from verify.errors import VerifyError
from verify.models.learnt_from import KEY, marks, marks_of
from verify.models.registry import find_entry
from verify.nets.registry import find_network
from verify.training.recipe import Recipe
from verify.training.training_set import open_training

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verify.models.registry import Entry
    from verify.training.training_set import TrainingSet

BEFORE = "before"  # key of state.json
FORGOTTEN = "whom it was trained on is not known any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestry:
    """Weights that a run begins from.

    Attributes:
        words: where they came from; no path but a file's name and hash.
        licence: of theirs; empty if nobody stated one.
        licence_url: its address; may be empty.
        commercial_use: False if it forbids commercial use.
        training_data: what they were trained on, in words; empty if unknown.
        learnt_from: marks of files that they were trained on, see `verify.models.learnt_from`.
    """

    words: str
    licence: str = ""
    licence_url: str = ""
    commercial_use: bool = True
    training_data: str = ""
    learnt_from: frozenset[str] = field(default=frozenset(), repr=False)


RANDOM = Ancestry(words="random")


def of_entry(entry: Entry, *, words: str) -> Ancestry:
    """Of weights that the registry knows."""
    return Ancestry(
        words=words,
        licence=entry.licence,
        licence_url=entry.licence_url,
        commercial_use=entry.commercial_use,
        training_data=entry.training_data,
    )


def of_run(state: Mapping[str, Any], *, words: str) -> Ancestry:
    """Of a checkpoint's weights: what its run learnt from, after whatever that run began from.

    A checkpoint that keeps no marks is asked through its data, if that still lies where it was trained; else
    the words say that they are lost.
    """
    licence, licence_url, commercial_use = licence_of(state)
    known = marks_of([state]) if KEY in state else _marks_from_data(state)
    return Ancestry(
        words=words if known is not None else f"{words}; {FORGOTTEN}",
        licence=licence,
        licence_url=licence_url,
        commercial_use=commercial_use,
        training_data=training_data_of(state),
        learnt_from=known or frozenset(),
    )


def on_state(first: Ancestry, data: TrainingSet) -> dict[str, Any]:
    """What ``state.json`` says of it: of the weights before, and marks of all files learnt from until now."""
    before = asdict(first)
    del before["words"], before[KEY]  # the former is among the facts of the network
    return {BEFORE: before, KEY: sorted(first.learnt_from | own_marks(data))}


def own_marks(taught: TrainingSet) -> frozenset[str]:
    """Marks of a training part's files."""
    return frozenset(
        marks(
            (identity, sha256.decode())
            for identity, sha256 in zip(taught.labels.tolist(), taught.sha256s.tolist(), strict=True)
        )
    )


def licence_of(state: Mapping[str, Any]) -> tuple[str, str, bool]:
    """(licence, its address, whether commercial use is allowed): of the weights begun from; empty if none is stated."""
    before = _before(state)
    return (
        str(before.get("licence", "")),
        str(before.get("licence_url", "")),
        before.get("commercial_use") is not False,
    )


def training_data_of(state: Mapping[str, Any]) -> str:
    """What a checkpoint was trained on, in words, from the last to the first."""
    told = [
        f"{one['name']} ({one['subjects']} subjects, {one['samples']} samples, data {one['sha256'][:12]}, split "
        f"{one['split_sha256'][:12]})"
        for one in state.get("sets", ())
    ]
    own = "; ".join(told) or f"data {str(state.get('data_sha256', ''))[:12]}"
    if not state.get("recipe", {}).get("model", {}).get("initial"):
        return own
    words = str(state.get("network", {}).get("initial", "")) or "other weights"
    data = str(_before(state).get("training_data", ""))
    return f"{own}; begun from {words}" + (f", trained on: {data}" if data else "")


def _before(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """`BEFORE` of a state; of one that keeps none, what the registry says if it began from published weights."""
    found = state.get(BEFORE)
    if isinstance(found, dict):
        return found
    model = state.get("recipe", {}).get("model", {})
    if model.get("initial") == "published" and (name := find_network(model["network"]).published):
        return asdict(of_entry(find_entry(name), words=""))
    return {}


def _marks_from_data(state: Mapping[str, Any]) -> frozenset[str] | None:
    with suppress(VerifyError, KeyError):
        data = build(Recipe, state["recipe"], where="state.json").data
        taught = open_training(
            data.sets, part=TRAIN, min_samples=data.min_samples, max_identities=data.max_identities
        )
        if taught.data_sha256 == state["data_sha256"] and taught.split_sha256 == state["split_sha256"]:
            return own_marks(taught)
    return None
