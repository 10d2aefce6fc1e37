"""Whose file is which: read subjects and their files from a folder or a CSV.

Three layouts are understood:

- ``subject-folders``: one sub-folder a subject, its files (at any depth) are the samples.
- ``file-per-subject``: a flat folder, one file a subject, named after it.
- ``csv``: ``subject,path[,session,group...]`` in UTF-8, paths relative to the CSV's own folder.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from verify.data.manifest_csv import read_lines
from verify.data.subjects import check_subject_id, near_equal_subjects
from verify.errors import ManifestError, UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

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

    @property
    def groups(self) -> tuple[str, ...]:
        """The further columns of a CSV, in order."""
        return tuple(self.entries[0].labels) if self.entries else ()


def refuse_one_subject(manifest: Manifest) -> None:
    """Refuse a manifest of a single person, on whom no false match can be measured.

    Raises:
        ManifestError: all files are of one subject.
    """
    subjects = manifest.subjects
    if len(subjects) == 1:
        msg = (
            f"{manifest.name}: all {len(manifest.entries)} files are of one subject, {subjects[0]!r}, and a false "
            "match takes two people: bring more subjects (in a folder: one sub-folder a subject)"
        )
        raise ManifestError(msg)


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
    warnings: tuple[str, ...] = ()
    if chosen is Layout.CSV:
        lines, warnings = read_lines(path, must_exist=must_exist)
        entries = [Entry(line.subject_id, line.path, line.session, line.labels) for line in lines]
    elif chosen is Layout.FILE_PER_SUBJECT:
        entries = [Entry(subject_id=file.stem, path=file) for file in _media(path, skipped, deep=False)]
    else:
        entries = _from_subject_folders(path, skipped)
    if not entries:
        msg = f"{path}: {_nothing_in(path, chosen, skipped)}"
        raise ManifestError(msg)
    for entry in entries:
        check_subject_id(entry.subject_id, where=str(entry.path))
    return Manifest(
        name=path.resolve().stem if chosen is Layout.CSV else path.resolve().name,
        entries=tuple(entries),
        skipped=dict(skipped),
        warnings=(*near_equal_subjects(entry.subject_id for entry in entries), *warnings),
    )


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


def _nothing_in(path: Path, layout: Layout, skipped: Mapping[str, int]) -> str:
    """Why there is no entry, and the way out: another layout only where that would find something."""
    if layout is Layout.CSV:
        return "has a header and no lines: give each file a line, subject,path"
    left_out = "".join(f", {count} left out as {why}" for why, count in sorted(skipped.items()))
    other = Layout.FILE_PER_SUBJECT if layout is Layout.SUBJECT_FOLDERS else Layout.SUBJECT_FOLDERS
    if other is Layout.FILE_PER_SUBJECT:
        found = any(_media(path, Counter(), deep=False))
    else:
        found = bool(_from_subject_folders(path, Counter()))
    way_out = (
        f"try layout {other}"
        if found
        else f"fill it with a folder a subject, of photos ({PHOTO_SUFFIXES[0]} ...) or recordings "
        f"({RECORDING_SUFFIXES[0]} ...), or name another"
    )
    return f"no photo or recording with layout {layout}{left_out}; {way_out}"


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
