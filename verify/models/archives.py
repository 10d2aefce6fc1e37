"""Take single members out of zips and wheels; nothing is unpacked wholesale, nothing is run."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Self

from verify.errors import ModelIntegrityError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

MAX_MEMBER_BYTES = 1 << 30
_CHUNK_BYTES = 1 << 20


class Archive:
    """A zip opened for reading members by name.

    The caller chooses where each member goes; a member's own path never becomes a path on disk.

    Raises:
        ModelIntegrityError: the file is no zip or is truncated.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            msg = f"{path} is not a readable zip or wheel (truncated?): {error}"
            raise ModelIntegrityError(msg) from error
        self._sizes = {item.filename: item.file_size for item in self._zip.infolist()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._zip.close()

    def has(self, member: str) -> bool:
        """Whether there is such a member."""
        return member in self._sizes

    def names_in(self, folder: str) -> tuple[str, ...]:
        """Names of the files right in a folder (its path prefix, ``""`` for the root)."""
        inside = (name[len(folder) :] for name in self._sizes if name.startswith(folder))
        return tuple(name for name in inside if name and "/" not in name)

    def has_card(self) -> bool:
        """Whether this is a zipped bundle: ``card.json`` at its root or in its one folder."""
        return any(name.count("/") <= 1 and name.rsplit("/", 1)[-1] == "card.json" for name in self._sizes)

    def find(self, file_name: str, *, preferred: Sequence[str] = ()) -> str | None:
        """The member that is a file: one of `preferred`, else the only one of that file name."""
        for member in preferred:
            if self.has(member):
                return member
        named = [name for name in self._sizes if name.rsplit("/", 1)[-1] == file_name]
        return named[0] if len(named) == 1 else None

    def folder_of(self, file_name: str) -> str:
        """Path prefix of the folder that holds `file_name`: the root, or the only top folder.

        Raises:
            ModelIntegrityError: it is in neither.
        """
        if self.has(file_name):
            return ""
        tops = {
            name.split("/")[0] + "/"
            for name in self._sizes
            if name.count("/") == 1 and name.endswith(f"/{file_name}")
        }
        if len(tops) != 1:
            msg = f"{self._path} is no bundle: it has no {file_name} at its root or in one folder"
            raise ModelIntegrityError(msg)
        return tops.pop()

    def write(self, member: str, target: Path, *, max_bytes: int = MAX_MEMBER_BYTES) -> None:
        """Write one member to `target`, checked against the zip's own CRC.

        Raises:
            ModelIntegrityError: no such member, larger than `max_bytes`, or damaged.
            StorageError: `target` cannot be written.
        """
        if not self.has(member):
            msg = f"{self._path} has no member {member}"
            raise ModelIntegrityError(msg)
        if self._sizes[member] > max_bytes:
            msg = (
                f"{self._path}: {member} has {self._sizes[member]} bytes, more than the {max_bytes} expected"
            )
            raise ModelIntegrityError(msg)
        try:
            with self._zip.open(member) as source:
                self._copy(source, target)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            msg = f"{self._path}: member {member} is damaged: {error}"
            raise ModelIntegrityError(msg) from error

    def _copy(self, source: object, target: Path) -> None:
        try:
            stream = target.open("wb")
        except OSError as error:
            msg = f"{target} cannot be written: {error.strerror or error}"
            raise StorageError(msg) from error
        with stream:
            while True:
                chunk = source.read(_CHUNK_BYTES)  # type: ignore[attr-defined]
                if not chunk:
                    return
                try:
                    stream.write(chunk)
                except OSError as error:
                    msg = f"{target} cannot be written: {error.strerror or error}"
                    raise StorageError(msg) from error
