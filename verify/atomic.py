"""Writes that are there in full or not at all: temporary name, fsync, rename."""

from __future__ import annotations

import os
import secrets
import sys
from typing import TYPE_CHECKING

from verify.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

_HERE = -100  # AT_FDCWD: paths are relative to the working directory
_SWAP = 2  # RENAME_EXCHANGE on Linux, RENAME_SWAP on macOS


def write_file(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or all of the new, also after a power cut.

    Raises:
        StorageError: the folder is missing, read-only or full.
    """
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}")  # a long name stays one
    try:
        try:
            with temporary.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        msg = f"{path} cannot be written ({error.strerror or error}): name a folder with room that may be written to"
        raise StorageError(msg) from error


def sync_folder(path: Path) -> None:
    """Make renames inside a folder durable; a no-op where folders cannot be opened (Windows)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step, so that a reader finds either the old or the new, never none.

    Linux (renameat2) and macOS (renamex_np) can do it, most file systems too.

    Returns:
        Whether it was done; if not, nothing has changed.
    """
    import ctypes

    paths = (os.fsencode(one), os.fsencode(other))
    try:
        library = ctypes.CDLL(None)
        if sys.platform == "darwin":
            return bool(library.renamex_np(*paths, _SWAP) == 0)
        return bool(library.renameat2(_HERE, paths[0], _HERE, paths[1], _SWAP) == 0)
    except (OSError, AttributeError, TypeError):  # Windows, an old C library
        return False
