"""What there is: the registry's models and the bundles on this machine, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from verify.errors import ModelError
from verify.models.bundle import is_path, open_bundle
from verify.models.card import Card
from verify.models.places import ALIASES, canonical_name, default_models_dir
from verify.models.registry import entries, find_entry
from verify.models.shelf import installed

if TYPE_CHECKING:
    from pathlib import Path

    from verify.models.registry import Entry


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the catalogue.

    Attributes:
        state: ``installed``, ``damaged`` (the card cannot be used) or ``-``.
        alias: ``face`` or ``voice`` for the defaults, else empty.
        bytes: on disk if installed, else of the download; 0 if unknown.
        problem: what is wrong with a damaged bundle.
    """

    name: str
    alias: str
    modality: str
    task: str
    state: str
    bytes: int
    licence: str
    commercial_use: bool
    description: str
    model_id: str = ""
    problem: str = ""


def catalogue(*, models_dir: Path | None = None) -> tuple[Listed, ...]:
    """Known models in the registry's order, then the bundles here that the registry does not know."""
    here = installed(models_dir=models_dir)
    known = entries()
    lines = [_listed_entry(entry, here.get(name)) for name, entry in known.items()]
    lines += [_listed_stranger(name, found) for name, found in here.items() if name not in known]
    return tuple(lines)


def describe(name: str, *, models_dir: Path | None = None) -> dict[str, Any]:
    """All that is known of one model, licence first: its card if it is installed, else its entry.

    A bundle anywhere is described by its path, as `open_bundle` takes it.

    Raises:
        UnknownModelError: neither installed nor known.
        ModelIntegrityError: installed, but damaged.
    """
    name = canonical_name(name)
    if is_path(name) or name in installed(models_dir=models_dir):
        bundle = open_bundle(name, models_dir=models_dir or default_models_dir())
        points = bundle.operating_points()
        card = bundle.card.to_json()
        facts = {"installed": True, "path": bundle.path, **card, "operating_points": [p.name for p in points]}
    else:
        entry = find_entry(name)
        facts = {"installed": False, **_plain(entry)}
    first = ("name", "licence", "licence_url", "commercial_use", "licence_notice")
    return {key: facts[key] for key in (*first, *facts) if key in facts}


def _listed_entry(entry: Entry, found: Card | ModelError | None) -> Listed:
    alias = next((alias for alias, name in ALIASES.items() if name == entry.name), "")
    size = _bytes_on_disk(found) if isinstance(found, Card) else entry.download_bytes
    return Listed(
        name=entry.name,
        alias=alias,
        modality=entry.modality.value,
        task=entry.task,
        state="-" if found is None else "installed" if isinstance(found, Card) else "damaged",
        bytes=size,
        licence=entry.licence,
        commercial_use=entry.commercial_use,
        description=entry.description,
        model_id=found.model_id if isinstance(found, Card) else entry.model_id,
        problem=str(found) if isinstance(found, ModelError) else "",
    )


def _listed_stranger(name: str, found: Card | ModelError) -> Listed:
    if isinstance(found, ModelError):
        return Listed(
            name, "", "", "", "damaged", 0, "", commercial_use=False, description="", problem=str(found)
        )
    return Listed(
        name=name,
        alias="",
        modality=found.modality.value,
        task=found.task,
        state="installed",
        bytes=_bytes_on_disk(found),
        licence=found.licence,
        commercial_use=found.commercial_use,
        description=found.description,
        model_id=found.model_id,
    )


def _bytes_on_disk(card: Card) -> int:
    return sum(int(facts["size"]) for facts in card.files.values())


def _plain(entry: Entry) -> dict[str, Any]:
    from dataclasses import asdict

    plain = asdict(entry)
    plain["modality"] = entry.modality.value
    return {key: value for key, value in plain.items() if value not in ("", {}, (), None)}
