"""From weights to a bundle: convert, hash, hold against the registry's pin, write the card."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from verify.errors import ModelIntegrityError
from verify.models.bundle import open_bundle
from verify.models.card import CARD_FILE, Card
from verify.models.identity import file_sha256, graph_content_hash, model_id
from verify.models.local_files import copy_file
from verify.models.operating_points import OPERATING_POINTS_FILE, shipped_operating_points
from verify.models.recipes import find_recipe
from verify.models.shelf import write_plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from verify.models.registry import Entry


def build_bundle(
    entry: Entry, weights: Path, target: Path, *, source: Mapping[str, Any], models_dir: Path
) -> Card:
    """Convert weights into a bundle's files and card, inside an empty folder.

    Args:
        entry: what to build.
        weights: folder with the published files.
        target: empty folder that becomes the bundle.
        source: where the weights came from, for the card.
        models_dir: where the entry's locator is installed.

    Raises:
        ModelIntegrityError: the weights are not of this model, or the result is not what is pinned.
    """
    files = list(weights.iterdir())
    built = find_recipe(entry.recipe)(files[0] if len(files) == 1 else weights)
    content: dict[str, str] = {}
    for name, item in built.items():
        content[name] = _write_model(item, target / name)
    locator = open_bundle(entry.locator, models_dir=models_dir) if entry.locator else None
    requires: dict[str, Any] = {"extra": entry.extra} if entry.extra else {}
    if locator is not None:
        requires["locator"] = {"name": locator.name, "model_id": locator.model_id}
    card = Card(
        name=entry.name,
        task=entry.task,
        modality=entry.modality,
        model_id=model_id(
            content=content,
            input_contract=entry.input,
            postprocessing=entry.postprocessing,
            locator_id=locator.model_id if locator else None,
        ),
        dim=entry.dim,
        input=entry.input,
        requires=requires,
        licence=entry.licence,
        sources=(source,),
        training_data=entry.training_data,
        files={
            n: {"sha256": file_sha256(target / n), "size": (target / n).stat().st_size}
            for n in sorted(content)
        },
        content=content,
        postprocessing=entry.postprocessing,
        parity=entry.parity,
        description=entry.description,
        licence_url=entry.licence_url,
        commercial_use=entry.commercial_use,
    )
    if entry.model_id and card.model_id != entry.model_id:
        msg = (
            f"{entry.name}: what was built has model_id {card.model_id}, the registry pins {entry.model_id}; "
            "the weights, the conversion or the locator differ from what this version of verify was proven with"
        )
        raise ModelIntegrityError(msg)
    write_plain(target / CARD_FILE, json.dumps(card.to_json(), indent=2, ensure_ascii=False).encode() + b"\n")
    _copy_operating_points(card, target)
    return card


def _write_model(item: Any, target: Path) -> str:
    """Write a graph, or copy a file that is kept as published; return its content hash."""
    if hasattr(item, "SerializeToString"):
        write_plain(target, item.SerializeToString(deterministic=True))
        return graph_content_hash(item)
    copy_file(item, target)
    if target.suffix != ".onnx":
        return file_sha256(target)
    from verify.models.graphs.reading import read_model

    return graph_content_hash(read_model(target))


def _copy_operating_points(card: Card, target: Path) -> None:
    shipped = shipped_operating_points(card.name, model_id=card.model_id)
    if shipped is not None:
        copy_file(shipped, target / OPERATING_POINTS_FILE)


def file_facts(path: Path) -> dict[str, Any]:
    """What a card records of a file: ``sha256`` and ``size`` in bytes."""
    return {"sha256": file_sha256(path), "size": path.stat().st_size}
