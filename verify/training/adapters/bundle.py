"""An adapter fused into its encoders' graph, proven on real samples, as a bundle with a model_id of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from verify import __version__
from verify.capture import NOT_JUDGED
from verify.data.splits import write_split
from verify.errors import UsageError
from verify.models.assemble import file_facts
from verify.models.bundle import open_bundle
from verify.models.card import CARD_FILE, NAME_PATTERN, Card
from verify.models.graphs.joined import joined
from verify.models.graphs.reading import read_model
from verify.models.identity import graph_content_hash, model_id
from verify.models.learnt_from import KEY, marks_of
from verify.models.registry import entries
from verify.models.shelf import new_folder, put_in_place, scratch_folder, write_plain
from verify.models.views import joint_contract
from verify.training.adapters.proof import prove
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from verify.data.splits import Split
    from verify.models.bundle import ModelBundle
    from verify.training.adapters.samples import Affine

GRAPH = "model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an adapter comes from, for the card.

    Attributes:
        kind: of adapter.
        people: what it learnt from, in words.
        measured: rates on people that took no part, and everything needed to fit it again.
        samples: files of such people, on which graph and encoders are held against each other.
        thresholds: name -> cosine at which their decisions must agree.
        learnt_from: what the card keeps of the files of those people, see `verify.models.learnt_from`.
    """

    kind: str
    people: str
    measured: Mapping[str, Any]
    samples: Sequence[Path] = field(repr=False)
    thresholds: Mapping[str, float]
    learnt_from: tuple[str, ...] = field(default=(), repr=False)


def check_name(name: str) -> None:
    """Refuse names that no new bundle can have.

    Raises:
        UsageError: not a bundle name, or one of the registry's.
    """
    if not NAME_PATTERN.fullmatch(name) or name in entries():
        msg = f"--as {name!r}: a new name of lower-case letters, digits and . _ - that no known model has"
        raise UsageError(msg)


def write_adapted(
    bundles: Sequence[ModelBundle],
    affine: Affine,
    *,
    name: str,
    target: Path,
    origin: Origin,
    splits: Mapping[str, Split] | None = None,
    models_dir: Path | None = None,
) -> Card:
    """Write a bundle whose graph runs encoders and adapter; it is there whole, or not at all.

    Args:
        bundles: the encoders, in the order of the adapter's blocks.
        affine: for their embeddings side by side.
        name: of the new bundle.
        target: its folder; must not exist.
        origin: what its card says.
        splits: file name -> split to lie in the folder: who was learnt from, and who can calibrate.
        models_dir: where the locator is found while the graph is proven.

    Raises:
        UsageError: the encoders cannot be joined, or the name or folder is taken.
        ModelIntegrityError: the graph does not compute what encoders and adapter compute apart; nothing is written.
    """
    check_name(name)
    if target.exists():
        msg = f"{target} exists already: name another folder with -o"
        raise UsageError(msg)
    contract, inputs = joint_contract(bundles)
    if bundles[0].modality is Modality.VOICE:
        contract["several_speakers"] = NOT_JUDGED
    graphs = [read_model(bundle.file(GRAPH)) for bundle in bundles]
    model = joined(graphs, inputs=inputs, matrix=affine.matrix, offset=affine.offset)
    with scratch_folder(target.absolute().parent) as scratch:
        built = new_folder(scratch / "bundle")
        write_plain(built / GRAPH, model.SerializeToString(deterministic=True))
        content = {GRAPH: graph_content_hash(model)}
        card = _card(
            bundles, name=name, dim=len(affine.offset), contract=contract, content=content, origin=origin
        )
        card = replace(card, files={GRAPH: file_facts(built / GRAPH)})
        _write_card(built / CARD_FILE, card)
        parity = prove(
            open_bundle(built, models_dir=models_dir), bundles, affine, reads=inputs,
            samples=origin.samples, thresholds=origin.thresholds,
        )  # fmt: skip
        card = replace(card, parity=parity)
        _write_card(built / CARD_FILE, card)
        for file, split in (splits or {}).items():
            write_split(built / file, split)
        put_in_place(built, target)
    return card


def _card(
    bundles: Sequence[ModelBundle],
    *,
    name: str,
    dim: int,
    contract: Mapping[str, Any],
    content: Mapping[str, str],
    origin: Origin,
) -> Card:
    cards = [bundle.card for bundle in bundles]
    encoders = [{"name": one.name, "model_id": one.model_id, "after": one.postprocessing} for one in cards]
    postprocessing = {"encoders": encoders, "adapter": origin.kind, "l2_norm": "in-graph"}
    names = " + ".join(one.name for one in cards)
    learnt_from = sorted({*origin.learnt_from, *(mark for one in cards for mark in marks_of(one.sources))})
    learnt = f"adapter ({origin.kind}) fitted to {origin.people}"
    return Card(
        name=name,
        task="embedder",
        modality=cards[0].modality,
        model_id=model_id(
            content=content,
            input_contract=contract,
            postprocessing=postprocessing,
            locator_id=cards[0].locator_id,
        ),
        dim=dim,
        input=contract,
        requires=_required(cards),
        licence=" AND ".join(dict.fromkeys(one.licence for one in cards)),
        sources=(
            *({"kind": "bundle", "address": one.name, "model_id": one.model_id} for one in cards),
            {"kind": "adapter", "address": f"fitted by verify {__version__}", KEY: learnt_from},
        ),
        training_data="; ".join([*(f"{one.name}: {one.training_data}" for one in cards), learnt]),
        files={},
        content=content,
        postprocessing=postprocessing,
        measured={"adapter": dict(origin.measured)},
        description=f"{names} with a {origin.kind} adapter, {dim}-d",
        licence_url=" ".join(dict.fromkeys(one.licence_url for one in cards if one.licence_url)),
        commercial_use=all(one.commercial_use for one in cards),
    )


def _required(cards: Sequence[Card]) -> dict[str, Any]:
    required: dict[str, Any] = {}
    for one in cards:
        required |= one.requires
    return required


def _write_card(path: Path, card: Card) -> None:
    write_plain(path, json.dumps(card.to_json(), indent=2, ensure_ascii=False).encode() + b"\n")
