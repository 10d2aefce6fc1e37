"""Where the samples behind a gallery's templates are today: where they were, or elsewhere by content."""

from __future__ import annotations

import hashlib
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from verify.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from verify.types import TemplateRecord


class SourceState(StrEnum):
    """What became of a sample."""

    KEPT = "kept"
    MISSING = "missing"
    CHANGED = "changed"
    NEVER_A_FILE = "never_a_file"  # enrolled from memory: bytes or an array


class KeptSources:
    """Finds samples by their recorded path or, in folders of the caller's, by their content.

    A file counts only if its bytes have the recorded hash: a photo that was replaced under the old
    name would put somebody else's face into the reference.

    Args:
        folders: where to look for samples that are not where they were: under their recorded relative path
            first, then anywhere inside by content. Each file there is read once, when it is first needed.

    Raises:
        UsageError: one of `folders` is none.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        for folder in folders:
            if not folder.is_dir():
                msg = f"{folder} is no folder; name one that holds the samples, for example a copy of the old one"
                raise UsageError(msg)
        self._folders = tuple(folders)
        self._by_sha256: dict[str, Path] | None = None

    def find(self, record: TemplateRecord) -> tuple[SourceState, Path | None]:
        """Where the sample of one template is; no path unless it is kept."""
        recorded = Path(record.source)
        places = [recorded]
        if not recorded.is_absolute():
            places += [folder / recorded for folder in self._folders]
        changed = False
        for place in places:
            sha256 = file_sha256(place)
            if sha256 == record.source_sha256:
                return SourceState.KEPT, place
            changed |= sha256 is not None
        if self._folders and (elsewhere := self._contents().get(record.source_sha256)) is not None:
            return SourceState.KEPT, elsewhere
        if changed:
            return SourceState.CHANGED, None
        unnamed = record.source.startswith("<") and record.source.endswith(">")
        return (SourceState.NEVER_A_FILE if unnamed else SourceState.MISSING), None

    def _contents(self) -> dict[str, Path]:
        if self._by_sha256 is None:
            found = ((file_sha256(path), path) for folder in self._folders for path in _files(folder))
            self._by_sha256 = {sha256: path for sha256, path in found if sha256 is not None}
        return self._by_sha256


def file_sha256(path: Path) -> str | None:
    """Hex hash of a regular file's bytes; None if it is none or cannot be read."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):  # ValueError: a recorded name that no file can have
        return None


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(here) / name for name in sorted(names))
