"""Whose file is which: read subjects and their files from a folder or a CSV.

Three layouts are understood:

- ``subject-folders``: one sub-folder a subject, its files (at any depth) are the samples.
- ``file-per-subject``: a flat folder, one file a subject, named after it.
- ``csv``: ``subject,path[,session,group...]`` in UTF-8, paths relative to the CSV's own folder.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from verify.errors import ManifestError, UsageError
from verify.types import MAX_SUBJECT_ID_BYTES

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff")
RECORDING_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au")
MEDIA_SUFFIXES = frozenset(PHOTO_SUFFIXES + RECORDING_SUFFIXES)


class Layout(StrEnum):
    """How subjects and files are laid out."""

    SUBJECT_FOLDERS = "subject-folders"
    FILE_PER_SUBJECT = "file-per-subject"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of one subject; `labels` are the CSV's further columns as they stand."""

    subject_id: str
    path: Path
    session: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Entries in a fixed order, and what was left out.

    Attributes:
        name: what messages and operating points call the data: the folder's or CSV's name.
        entries: by subject, then path (CSV: by line).
        skipped: reason -> number of files left out (``hidden``, ``not media``, ``not in a subject folder``).
        warnings: what a person should look at, in words.
    """

    name: str
    entries: tuple[Entry, ...] = field(repr=False)
    skipped: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subject ids, each once, in order."""
        return tuple(sorted({entry.subject_id for entry in self.entries}))


def read_manifest(
    source: str | os.PathLike[str], *, layout: Layout | str | None = None, must_exist: bool = True
) -> Manifest:
    """Read a folder or CSV.

    Args:
        source: the folder or CSV file.
        layout: one of `Layout`; None tells a CSV by its being a file, and the folder layouts by
            whether the folder holds sub-folders with files.
        must_exist: whether a CSV line whose file is not there is an error.

    Raises:
        UsageError: an unknown layout.
        ManifestError: nothing there, no usable file in it, or a malformed line; names the line.
    """
    path = Path(source)
    if not path.exists():
        msg = f"{path}: no such folder or CSV file"
        raise ManifestError(msg)
    chosen = _guess_layout(path) if layout is None else _known_layout(layout)
    if (chosen is Layout.CSV) != path.is_file():
        msg = f"{path}: layout {chosen} needs a {'CSV file' if chosen is Layout.CSV else 'folder'}"
        raise ManifestError(msg)
    skipped: Counter[str] = Counter()
    if chosen is Layout.CSV:
        entries = _from_csv(path, must_exist=must_exist)
    elif chosen is Layout.FILE_PER_SUBJECT:
        entries = [Entry(subject_id=file.stem, path=file) for file in _media(path, skipped, deep=False)]
    else:
        entries = _from_subject_folders(path, skipped)
    if not entries:
        left_out = "".join(f", {count} left out as {why}" for why, count in sorted(skipped.items()))
        msg = f"{path}: no photo or recording with layout {chosen}{left_out}; try layout {_other(chosen)}"
        raise ManifestError(msg)
    for entry in entries:
        check_subject_id(entry.subject_id, where=str(entry.path))
    return Manifest(
        name=path.resolve().stem if chosen is Layout.CSV else path.resolve().name,
        entries=tuple(entries),
        skipped=dict(skipped),
        warnings=tuple(near_equal_subjects(entry.subject_id for entry in entries)),
    )


def near_equal_subjects(subject_ids: Iterable[str]) -> Iterator[str]:
    """Warn of subject ids that differ only by case, spaces or Unicode form: likely one person."""
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for subject_id in subject_ids:
        spellings[folded_subject(subject_id)].add(subject_id)
    for group in spellings.values():
        if len(group) > 1:
            names = " and ".join(repr(name) for name in sorted(group))
            yield f"{names} look like one subject in two spellings"


def folded_subject(subject_id: str) -> str:
    """The spelling that near-equal subject ids share: Unicode NFKC, one case, single inner spaces."""
    return " ".join(unicodedata.normalize("NFKC", subject_id).casefold().split())


def _known_layout(name: Layout | str) -> Layout:
    try:
        return Layout(name)
    except ValueError as error:
        msg = f"layout must be one of {', '.join(Layout)}, not {name!r}"
        raise UsageError(msg) from error


def _guess_layout(path: Path) -> Layout:
    if path.is_file():
        return Layout.CSV
    has_folders = any(child.is_dir() and not child.name.startswith(".") for child in path.iterdir())
    return Layout.SUBJECT_FOLDERS if has_folders else Layout.FILE_PER_SUBJECT


def _other(layout: Layout) -> Layout:
    return Layout.FILE_PER_SUBJECT if layout is Layout.SUBJECT_FOLDERS else Layout.SUBJECT_FOLDERS


def _from_subject_folders(root: Path, skipped: Counter[str]) -> list[Entry]:
    entries: list[Entry] = []
    for child in sorted(root.iterdir()):
        if child.name.startswith("."):
            skipped["hidden"] += 1
        elif child.is_dir():
            entries += [Entry(subject_id=child.name, path=file) for file in _media(child, skipped, deep=True)]
        else:
            skipped["not in a subject folder"] += 1
    return entries


def _media(folder: Path, skipped: Counter[str], *, deep: bool) -> Iterator[Path]:
    """Media files in name order, counting what is passed over; links to folders are not followed."""
    for child in sorted(folder.iterdir()):
        if child.name.startswith("."):
            skipped["hidden"] += 1
        elif child.is_dir():
            if deep and not child.is_symlink():
                yield from _media(child, skipped, deep=True)
            else:
                skipped["folder"] += 1
        elif child.suffix.lower() in MEDIA_SUFFIXES:
            yield child
        else:
            skipped["not media"] += 1


def _from_csv(path: Path, *, must_exist: bool) -> list[Entry]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # with or without the mark that spreadsheets write
    except UnicodeDecodeError as error:
        msg = f"{path}: not UTF-8 at byte {error.start}; save it as 'CSV UTF-8'"
        raise ManifestError(msg) from error
    if "\0" in text:
        msg = f"{path}: holds NUL bytes, so it is no CSV text"
        raise ManifestError(msg)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    entries: list[Entry] = []
    try:
        header = [name.strip() for name in next(rows, [])]
        _check_header(header, path)
        for row in rows:
            if any(cell.strip() for cell in row):
                entry = _csv_entry(row, header, path, line=rows.line_num, must_exist=must_exist)
                entries.append(entry)
    except csv.Error as error:
        msg = f"{path}, line {rows.line_num}: {error}"
        raise ManifestError(msg) from error
    return entries


def _check_header(header: Sequence[str], path: Path) -> None:
    for needed in ("subject", "path"):
        if needed not in header:
            msg = (
                f"{path}, line 1: no column '{needed}'; the header must read subject,path[,session,group...]"
            )
            raise ManifestError(msg)
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        msg = f"{path}, line 1: column {twice[0]!r} stands there twice"
        raise ManifestError(msg)


def _csv_entry(
    row: Sequence[str], header: Sequence[str], path: Path, *, line: int, must_exist: bool
) -> Entry:
    where = f"{path}, line {line}"
    if len(row) != len(header):
        msg = f"{where}: {len(row)} cells where the header has {len(header)}"
        raise ManifestError(msg)
    cells = dict(zip(header, row, strict=True))
    subject_id, name = cells.pop("subject"), cells.pop("path").strip()
    check_subject_id(subject_id, where=where)
    if not name:
        msg = f"{where}: the path is empty"
        raise ManifestError(msg)
    file = path.parent / name
    if must_exist and not file.is_file():
        problem = "is a folder" if file.is_dir() else "is not there"
        msg = f"{where}: {name} {problem} (paths are relative to {path.parent})"
        raise ManifestError(msg)
    return Entry(subject_id=subject_id, path=file, session=cells.pop("session", ""), labels=cells)


def check_subject_id(subject_id: str, *, where: str) -> None:
    """Refuse a subject id that cannot be one.

    Args:
        subject_id: the id.
        where: begins the message: the file and line.

    Raises:
        ManifestError: it is empty, too long, or cannot be printed.
    """
    if not subject_id.strip():
        msg = f"{where}: the subject is empty"
        raise ManifestError(msg)
    if len(subject_id.encode(errors="replace")) > MAX_SUBJECT_ID_BYTES:
        msg = f"{where}: the subject {subject_id[:40]!r}... is longer than {MAX_SUBJECT_ID_BYTES} bytes"
        raise ManifestError(msg)
    if not subject_id.isprintable():
        msg = f"{where}: the subject {subject_id!r} holds characters that cannot be printed"
        raise ManifestError(msg)
