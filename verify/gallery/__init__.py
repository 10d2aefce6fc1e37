"""Stores of references: SQLite by default, memory for tests and embedding.

Names load on first use: the command line asks only for `location` and must not pull in numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verify.gallery.location import default_path
    from verify.gallery.memory import MemoryGallery
    from verify.gallery.sqlite import SqliteGallery
    from verify.gallery.subject import check_subject_id

_HOMES = {
    "MemoryGallery": "verify.gallery.memory",
    "SqliteGallery": "verify.gallery.sqlite",
    "check_subject_id": "verify.gallery.subject",
    "default_path": "verify.gallery.location",
}

__all__ = ["MemoryGallery", "SqliteGallery", "check_subject_id", "default_path"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'verify.gallery' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(home), name)
