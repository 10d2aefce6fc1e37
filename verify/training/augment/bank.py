"""Recordings of a user's folder, to draw from: noises, room responses."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import DataError, MediaError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 16_000
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
MAX_ALL_S = 3600.0  # 115 MB of 16-bit samples


def recordings(folder: str, *, where: str) -> list[NDArray[np.float32]]:
    """The recordings under a folder, mono at 16 kHz in [-1, 1]; of each, the first 30 s at most.

    Files are taken in an order that the hashes of their names give until there is an hour: the same
    ones every time, and some of every kind.

    Args:
        folder: searched with all that is under it.
        where: the option that names it, for messages.

    Raises:
        UsageError: no such folder, or none but silent recordings in it.
        DataError: a recording that cannot be read.
    """
    from verify.voice.decode import open_audio

    root = Path(folder)
    files = [path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES]
    if not files:
        problem = "there are no recordings in it" if root.is_dir() else "there is no such folder"
        msg = f"{where}: {folder}: {problem}; give one with {', '.join(SUFFIXES)} files"
        raise UsageError(msg)
    files.sort(key=lambda path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest())
    found: list[NDArray[np.float32]] = []
    for path in files:
        try:
            wave = np.asarray(next(iter(open_audio(path))).media, np.float32)
        except MediaError as error:
            msg = f"{where}: {error}"
            raise DataError(msg) from error
        if np.any(wave):
            found.append(wave)
        if sum(map(len, found)) >= MAX_ALL_S * RATE_HZ:
            break
    if not found:
        msg = f"{where}: {folder}: all {len(files)} recordings are silent"
        raise UsageError(msg)
    return found
