"""Where model bundles lie on this machine, and what their names are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MODELS_VARIABLE = "VERIFY_MODELS"
ALIASES = {"face": "sface", "voice": "campplus", "dlib": "dlib-resnet"}


def default_models_dir() -> Path:
    """The folder of bundles: VERIFY_MODELS if it is set, else the platform's data folder."""
    named = os.environ.get(MODELS_VARIABLE)
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "verify" / "models"


def canonical_name(name: str) -> str:
    """The model behind an alias: ``face`` is sface, ``voice`` campplus, ``dlib`` dlib-resnet; other names stay."""
    return ALIASES.get(name, name)
