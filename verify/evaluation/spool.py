"""Trials on disk while they are worked on: compact records, written once, read again and again.

The file has no name where the system allows that, so that it is gone with the process, however
that ends. Little data never touches the disk.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import StorageError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray

BLOCK_ROWS = 1 << 18
_IN_MEMORY_BYTES = 64 << 20
_RESERVE_BYTES = 256 << 20  # left free for everyone else on that disk


class Spool:
    """Records of one dtype in the order in which they came.

    Args:
        dtype: a structured dtype.
        folder: where the file goes once memory does not do; None takes the system's temporary folder.
    """

    def __init__(self, dtype: np.dtype[Any], *, folder: str | os.PathLike[str] | None = None) -> None:
        self.dtype = dtype
        self.folder = Path(folder if folder is not None else tempfile.gettempdir())
        self.rows = 0
        self._parts: list[NDArray[Any]] = []  # in memory, until there are too many
        self._file: Any = None
        self._lock = threading.Lock()  # several readers may take turns at one file position

    def append(self, records: NDArray[Any]) -> None:
        """Add records at the end.

        Raises:
            StorageError: the disk is full or cannot be written.
        """
        if not records.size:
            return
        self.rows += records.size
        if self._file is None:
            self._parts.append(records)
            if self.rows * self.dtype.itemsize <= _IN_MEMORY_BYTES:
                return
            self._file = self._open()
            parts, self._parts = self._parts, []
        else:
            parts = [records]
        try:
            for part in parts:
                left = np.ascontiguousarray(part).view(np.uint8).data
                while left:  # a write may be cut short
                    left = left[self._file.write(left) :]
        except OSError as error:
            raise self._storage_error(error) from error

    def read(self) -> Iterator[NDArray[Any]]:
        """All records, in blocks of at most `BLOCK_ROWS`; may be called again, also in between.

        Raises:
            StorageError: the disk cannot be read.
        """
        if self._file is None:
            for part in tuple(self._parts):
                for start in range(0, part.size, BLOCK_ROWS):
                    yield part[start : start + BLOCK_ROWS]
            return
        for start in range(0, self.rows, BLOCK_ROWS):
            block = np.empty(min(BLOCK_ROWS, self.rows - start), dtype=self.dtype)
            try:
                with self._lock:
                    self._file.seek(start * self.dtype.itemsize)
                    got = self._file.readinto(block.view(np.uint8).data)
            except OSError as error:
                raise self._storage_error(error) from error
            if got != block.nbytes:
                msg = f"{self.folder}: the temporary file of trials is shorter than what was written to it"
                raise StorageError(msg)
            yield block

    def _open(self) -> Any:
        try:
            file = tempfile.TemporaryFile(  # noqa: SIM115  closed when the spool goes
                prefix="verify-trials-", dir=self.folder, buffering=0
            )
        except OSError as error:
            raise self._storage_error(error) from error
        weakref.finalize(self, file.close)
        return file

    def _storage_error(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.folder}: the temporary file of trials cannot be kept there ({error.strerror or error}); "
            "set TMPDIR to a folder with room"
        )


def check_room(needed_bytes: int, *, folder: Path, what: str) -> None:
    """Refuse, before the disk is filled, what it has no room for.

    Args:
        needed_bytes: still to be written.
        folder: on the disk in question.
        what: begins the message: the file, its size and how many trials it seems to hold.

    Raises:
        StorageError: less is free than is needed with a reserve.
    """
    if needed_bytes <= _IN_MEMORY_BYTES:
        return
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        msg = f"{folder}: no folder for temporary files ({error.strerror or error}); set TMPDIR to one with room"
        raise StorageError(msg) from error
    if needed_bytes + _RESERVE_BYTES > free:
        msg = (
            f"{what} needs {in_words(needed_bytes)} of temporary space, and {folder} has {in_words(free)} free: "
            "set TMPDIR to a folder with room, or keep fewer non-mated trials"
        )
        raise StorageError(msg)


def in_words(size: float) -> str:
    """A number of bytes as people write it: ``1.6 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
