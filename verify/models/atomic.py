"""Writes that are there in full or not at all: temporary name, fsync, rename."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from verify.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path


def write_file(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or all of the new, also after a power cut.

    Raises:
        StorageError: the folder is missing, read-only or full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
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
        msg = f"{path} cannot be written: {error.strerror or error}"
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
