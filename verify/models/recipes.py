"""From published weights to the files of a bundle: each registry entry names its recipe.

A recipe is ``module:function``. The function takes the path of the weights file (or, where
there are several, of the folder that holds them under their published names) and returns the
bundle's files: name -> ONNX model, or path of a file to be kept as it is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, TypeAlias

from verify.errors import ModelIntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import onnx

    Built: TypeAlias = Mapping[str, onnx.ModelProto | Path]


def as_model(weights: Path) -> Built:
    """Keep a published ONNX file, byte for byte, as ``model.onnx``."""
    return {"model.onnx": weights}


def as_published(folder: Path) -> Built:
    """Keep several published files, byte for byte, under their own names."""
    return {path.name: path for path in sorted(folder.iterdir())}


def find_recipe(name: str) -> Callable[[Path], Built]:
    """The function that a recipe's name points to.

    Raises:
        ModelIntegrityError: there is none of that name.
    """
    module, _, function = name.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"the recipe {name!r} cannot be loaded: {error}"
        raise ModelIntegrityError(msg) from error
    if not callable(found):
        msg = f"the recipe {name!r} is no function"
        raise ModelIntegrityError(msg)
    recipe: Callable[[Path], Built] = found
    return recipe
