"""Model bundles: a registry of published weights, their conversion to ONNX, and opened models.

>>> from verify.models import open_bundle  # doctest: +SKIP
>>> open_bundle("face").session()  # doctest: +SKIP
"""

from __future__ import annotations

from verify.models.bundle import ModelBundle, open_bundle
from verify.models.card import Card
from verify.models.operating_points import read_operating_points, write_operating_points
from verify.models.places import ALIASES, default_models_dir

__all__ = [
    "ALIASES",
    "Card",
    "ModelBundle",
    "default_models_dir",
    "open_bundle",
    "read_operating_points",
    "write_operating_points",
]
