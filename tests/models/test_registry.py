from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from verify.errors import ModelIntegrityError, UnknownModelError
from verify.models import registry
from verify.models.card import NAME_PATTERN
from verify.models.places import ALIASES
from verify.models.recipes import find_recipe
from verify.types import Modality

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _fresh_registry():
    registry.entries.cache_clear()
    yield
    registry.entries.cache_clear()


@pytest.mark.parametrize("entry", registry.read_entries(registry._BUILT_IN), ids=lambda entry: entry.name)
def test_every_entry_is_complete(entry: registry.Entry) -> None:
    known = registry.entries()
    assert NAME_PATTERN.fullmatch(entry.name)
    assert callable(find_recipe(entry.recipe))
    assert entry.licence
    assert entry.training_data
    assert entry.input["kind"]
    assert entry.sources
    assert (entry.dim > 0) == (entry.task == "embedder") == bool(entry.locator)
    if entry.locator:
        assert known[entry.locator].task == "locator"
        assert known[entry.locator].modality == entry.modality
    for source in entry.sources:
        if source.kind == "url":
            assert len(entry.weights) == 1
            assert source.address.startswith("https://")
        else:
            assert set(source.members) == {item.name for item in entry.weights}
            assert source.sha256
            assert source.size
    if any(source.kind == "wheel" for source in entry.sources):  # whatever can be built here is pinned
        assert len(entry.model_id) == 64
        assert all(item.sha256 and item.size for item in entry.weights)
    assert entry.commercial_use or entry.licence_notice


def test_aliases_name_embedders_of_their_modality() -> None:
    for alias, name in ALIASES.items():
        assert alias not in set(Modality) or registry.entries()[name].modality == alias
        assert registry.find_entry(alias).name == name


def test_models_that_differ_in_anything_have_different_ids() -> None:
    pinned = [entry.model_id for entry in registry.entries().values() if entry.model_id]
    assert len(set(pinned)) == len(pinned)


@dataclass
class Point:
    result: Any
    name: str = "more"
    value: str = "more:entries"

    def load(self) -> Any:
        return lambda: self.result


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch):
    def install(result: Any) -> None:
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: [Point(result, name=group)])

    return install


def test_other_distributions_add_models(offer) -> None:
    offer([replace(registry.read_entries(registry._BUILT_IN)[1], name="mine")])
    assert registry.find_entry("mine").recipe == registry.find_entry("sface").recipe
    with pytest.raises(UnknownModelError, match="did you mean mine"):
        registry.find_entry("minee")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (["text"], "gave a str, not an Entry"),
        (None, "failed"),
        ([registry.read_entries(registry._BUILT_IN)[0]], "taken"),
    ],
)
def test_a_bad_entry_point_is_named(offer, result: Any, message: str) -> None:
    offer(result)
    with pytest.raises(ModelIntegrityError, match=message):
        registry.entries()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[model]", "no readable registry"),
        ("", "field 'model' is missing"),
        ("[[model]]\nname = 3", "'name' must be a string"),
        ('[[model]]\nname = "x"\nlike = "y"', "names no model further up"),
        ('[[model]]\nname = "x"', "is missing"),
    ],
)
def test_a_malformed_registry_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "registry.toml"
    path.write_text(text)
    with pytest.raises(ModelIntegrityError, match=message):
        registry.read_entries(path)


@pytest.mark.parametrize(
    "name", ["nowhere", "verify.models.recipes:nothing", "no.such.module:f", "verify:__version__"]
)
def test_a_recipe_that_is_none_is_named(name: str) -> None:
    with pytest.raises(ModelIntegrityError, match="recipe"):
        find_recipe(name)


def test_listing_models_loads_no_runtime() -> None:
    program = "import sys, verify.models.catalogue as c; c.catalogue(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert {"numpy", "onnx", "onnxruntime", "cv2", "torch"}.isdisjoint(done.stdout.split())
