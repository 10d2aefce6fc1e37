"""The same bytes twice: a copied file, or one person's photo filed under another's name."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from verify.data.manifest import Entry


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """Entries of which no two are the same file.

    Attributes:
        entries: in the order given, without copies and without files that two subjects claim.
        copies: entries left out because the same subject has the same bytes already: their score
            with the first would be a perfect match that proves nothing.
        conflicts: files claimed by several subjects, all left out: likely label errors.
    """

    entries: tuple[Entry, ...]
    copies: tuple[Entry, ...]
    conflicts: tuple[tuple[Entry, ...], ...]


def content_hashes(paths: Iterable[Path]) -> dict[Path, str]:
    """sha256 of each file's bytes, as hex.

    Raises:
        ManifestError: a file cannot be read.
    """
    hashes: dict[Path, str] = {}
    for path in paths:
        if path in hashes:
            continue
        try:
            with path.open("rb") as file:
                hashes[path] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            msg = f"{path}: cannot be read ({error.strerror or error})"
            raise ManifestError(msg) from error
    return hashes


def without_duplicates(entries: Sequence[Entry], *, hashes: Mapping[Path, str]) -> Deduplicated:
    """Part entries into usable ones, copies within a subject, and conflicts across subjects."""
    same: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        same[hashes[entry.path]].append(entry)
    kept: list[Entry] = []
    copies: list[Entry] = []
    conflicts: list[tuple[Entry, ...]] = []
    for group in same.values():
        if len({entry.subject_id for entry in group}) > 1:
            conflicts.append(tuple(group))
        else:
            kept.append(group[0])
            copies.extend(group[1:])
    return Deduplicated(entries=tuple(kept), copies=tuple(copies), conflicts=tuple(conflicts))
