"""Check a bundle's files against its card, and remember which ones passed.

Hashing 39 MB costs about 50 ms, every time a command starts. A file that passed once and whose
size, times, and inode are unchanged since is the same file: its identity is kept in a small stamp
beside it. The change time is part of it, so that setting a file's modification time back does
not hide a swap. A stamp that is missing, unreadable or does not match only means hashing again.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from verify.errors import ModelIntegrityError
from verify.models.identity import file_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from verify.models.card import Card

STAMP_FILE = ".verified.json"


def check_files(folder: Path, card: Card) -> None:
    """Hold every file of a bundle against the card.

    Raises:
        ModelIntegrityError: a file is missing, unreadable, or differs from its recorded hash.
    """
    stamps = _read_stamps(folder)
    fresh: dict[str, list[int | str]] = {}
    for name, facts in card.files.items():
        path = folder / name
        try:
            identity = _identity(path, str(facts["sha256"]))
            if identity[0] != facts["size"]:
                raise _differs(path, card, f"{identity[0]} bytes instead of {facts['size']}")
            if stamps.get(name) != identity and file_sha256(path) != facts["sha256"]:
                raise _differs(path, card, "its sha256 is not the recorded one")
        except OSError as error:
            msg = (
                f"{path} cannot be read: {error.strerror or error}; "
                f"pull it again: verify models pull {card.name} --force"
            )
            raise ModelIntegrityError(msg) from error
        fresh[name] = identity
    if fresh != stamps:
        _write_stamps(folder, fresh)


def _identity(path: Path, sha256: str) -> list[int | str]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, sha256]


def _differs(path: Path, card: Card, how: str) -> ModelIntegrityError:
    return ModelIntegrityError(
        f"{path} is not the file that its card describes ({how}); it was changed or is damaged: "
        f"verify models pull {card.name} --force"
    )


def _read_stamps(folder: Path) -> dict[str, list[int | str]]:
    try:
        data = json.loads((folder / STAMP_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _write_stamps(folder: Path, stamps: dict[str, list[int | str]]) -> None:
    temporary = folder / f"{STAMP_FILE}.{os.getpid()}"
    try:
        temporary.write_text(json.dumps(stamps))
        temporary.replace(folder / STAMP_FILE)
    except OSError:
        # A read-only or full disk is fine: the files are hashed each time instead.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
