"""Model bundles: a registry of published weights, their conversion to ONNX, and opened models.

>>> from verify.models import open_bundle, pull  # doctest: +SKIP
>>> pull("face")  # doctest: +SKIP
>>> open_bundle("face").session()  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verify.models.bundle import ModelBundle, open_bundle
from verify.models.card import Card
from verify.models.operating_points import read_operating_points, write_operating_points
from verify.models.places import ALIASES, default_models_dir

if TYPE_CHECKING:
    from verify.models.install import pull

__all__ = [
    "ALIASES",
    "Card",
    "ModelBundle",
    "default_models_dir",
    "open_bundle",
    "pull",
    "read_operating_points",
    "write_operating_points",
]


def __getattr__(name: str) -> Any:
    # Pulling needs numpy and the registry; opening a bundle does not.
    if name == "pull":
        from verify.models.install import pull

        return pull
    msg = f"module 'verify.models' has no attribute {name!r}"
    raise AttributeError(msg)
