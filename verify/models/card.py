"""The card of a model bundle: what the model is, takes, gives, may be used for and was made from."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from verify.errors import ModelIntegrityError
from verify.models.checked import Fields, is_sha256, read_document
from verify.models.identity import model_id as compute_model_id
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CARD_FILE = "card.json"
CARD_SCHEMA = 1
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
TASKS = ("embedder", "locator")


@dataclass(frozen=True, slots=True)
class Card:
    """Everything that the code and the reader need to know about a model.

    Attributes:
        name: name of the bundle.
        task: ``embedder`` (sample to template) or ``locator`` (finds faces or speech).
        modality: face or voice.
        model_id: sha256 over content, input contract, postprocessing and the locator's model_id.
        dim: embedding size; 0 for locators.
        input: the input contract: all that preprocessing depends on, units in the names.
        postprocessing: what happens to the raw output, for example ``{"l2_norm": "in-graph"}``.
        requires: ``{"locator": {"name": ..., "model_id": ...}}`` and ``{"extra": ...}``.
        licence: SPDX name of the weights' licence, or a short name.
        commercial_use: False if the licence forbids commercial use.
        sources: where the weights came from: each with kind, address, sha256 and size.
        training_data: what the weights were trained on, in words.
        files: sha256 and size in bytes of each file of the bundle.
        content: hash of each weights file that does not depend on its serialisation.
        measured: results measured by verify, with their conditions.
        parity: proof that the converted graph computes what its origin does.
    """

    name: str
    task: str
    modality: Modality
    model_id: str
    dim: int
    input: Mapping[str, Any]
    requires: Mapping[str, Any]
    licence: str
    sources: tuple[Mapping[str, Any], ...]
    training_data: str
    files: Mapping[str, Mapping[str, Any]]
    content: Mapping[str, str]
    postprocessing: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    licence_url: str = ""
    commercial_use: bool = True

    @property
    def locator_name(self) -> str | None:
        """Name of the locator bundle that this embedder's inputs are cut by."""
        locator = self.requires.get("locator")
        return str(locator["name"]) if locator else None

    @property
    def locator_id(self) -> str | None:
        """model_id of the locator that this embedder's inputs are cut by."""
        locator = self.requires.get("locator")
        return str(locator["model_id"]) if locator else None

    def expected_model_id(self) -> str:
        """The model_id that follows from the card's other fields."""
        return compute_model_id(
            content=self.content,
            input_contract=self.input,
            postprocessing=self.postprocessing,
            locator_id=self.locator_id,
        )

    def to_json(self) -> dict[str, Any]:
        """The card as plain JSON values."""
        plain = asdict(self)
        return {
            "schema": CARD_SCHEMA,
            **plain,
            "modality": self.modality.value,
            "sources": list(plain["sources"]),
        }


def read_card(path: Path) -> Card:
    """Read and check a card.

    Raises:
        ModelIntegrityError: not JSON, a field missing or of the wrong type, a file name that leaves
            the bundle, a future schema, or a model_id that does not follow from the other fields.
    """
    fields = read_document(path)
    schema = fields.integer("schema", low=1)
    if schema > CARD_SCHEMA:
        msg = f"{path}: schema {schema} is of a newer verify (this reads up to {CARD_SCHEMA}); upgrade verify"
        raise ModelIntegrityError(msg)
    card = Card(
        name=_name(fields, path),
        task=fields.text("task", choices=TASKS),
        modality=Modality(fields.text("modality", choices=tuple(Modality))),
        model_id=fields.sha256("model_id"),
        dim=fields.integer("dim", low=0),
        input=fields.mapping("input"),
        requires=_requires(fields),
        licence=fields.text("licence"),
        sources=_sources(fields, path),
        training_data=fields.text("training_data", default=""),
        files=_files(fields, path),
        content=_content(fields, path),
        postprocessing=fields.mapping("postprocessing", default={}),
        measured=fields.mapping("measured", default={}),
        parity=fields.mapping("parity", default={}),
        description=fields.text("description", default=""),
        licence_url=fields.text("licence_url", default=""),
        commercial_use=fields.truth("commercial_use", default=True),
    )
    if card.model_id != card.expected_model_id():
        msg = (
            f"{path}: model_id {card.model_id[:12]} does not follow from the card's content, input, "
            f"postprocessing and locator (these give {card.expected_model_id()[:12]}): the card was changed by hand; "
            f"pull the model again (verify models pull {card.name} --force)"
        )
        raise ModelIntegrityError(msg)
    return card


def _name(fields: Fields, path: Path) -> str:
    name = fields.text("name")
    if not NAME_PATTERN.fullmatch(name):
        msg = f"{path}: field 'name' must be of lower-case letters, digits and . _ -, found {name[:80]!r}"
        raise ModelIntegrityError(msg)
    return name


def _requires(fields: Fields) -> dict[str, Any]:
    requires = fields.mapping("requires", default={})
    if "locator" in requires:
        locator = fields.fields("requires").fields("locator")
        locator.text("name")
        locator.sha256("model_id")
    return requires


def _sources(fields: Fields, path: Path) -> tuple[Mapping[str, Any], ...]:
    sources = fields.items("sources", default=[])
    for i, item in enumerate(sources):
        Fields(item, where=f"{path}: sources[{i}]").text("kind")
    return tuple(sources)


def _files(fields: Fields, path: Path) -> dict[str, Mapping[str, Any]]:
    files = fields.mapping("files")
    for name in files:
        if not is_plain_file_name(name):
            msg = f"{path}: files: {name!r} is not a plain file name inside the bundle"
            raise ModelIntegrityError(msg)
        entry = fields.fields("files").fields(name)
        entry.sha256("sha256")
        entry.integer("size", low=0)
    return files


def _content(fields: Fields, path: Path) -> dict[str, str]:
    content = fields.mapping("content")
    missing = sorted(set(content) - set(fields.mapping("files")))
    if not content or missing or not all(is_sha256(value) for value in content.values()):
        msg = f"{path}: field 'content' must give a sha256 for each weights file listed in 'files'"
        raise ModelIntegrityError(msg)
    return content


def is_plain_file_name(name: str) -> bool:
    """Whether `name` is a file name without folders, drive or parent references."""
    return bool(name) and name not in {".", ".."} and not set(name) & set('/\\:\0<>|?*"') and name[0] != "."
