"""Where the gallery is when nobody says."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def default_path() -> Path:
    r"""Return the gallery's path: VERIFY_GALLERY if set, else the platform's data folder.

    Linux ``$XDG_DATA_HOME/verify`` (``~/.local/share/verify``), macOS
    ``~/Library/Application Support/verify``, Windows ``%LOCALAPPDATA%\\verify``; the file is
    ``gallery.db``. Nothing is created.
    """
    chosen = os.environ.get("VERIFY_GALLERY", "")
    if chosen:
        return Path(chosen).expanduser()
    return _data_folder() / "verify" / "gallery.db"


def _data_folder() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", "")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    # the XDG base directory specification has relative values ignored
    given = Path(os.environ.get("XDG_DATA_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".local" / "share"
