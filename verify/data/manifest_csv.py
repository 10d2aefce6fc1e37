"""The manifest as a CSV: ``subject,path[,session,group...]``, every line checked and named."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.data.subjects import check_subject_id, folded_subject, near_equal
from verify.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

COLUMNS = ("subject", "path", "session")
_NAMED = 5
_FEW_LINES = 10  # fewer say nothing about what a column is
# what other tools call these columns
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "subject": (
        "subjects",
        "subject_id",
        "id",
        "name",
        "person",
        "identity",
        "speaker",
        "speaker_id",
        "label",
    ),
    "path": ("paths", "file", "files", "filename", "file_name", "filepath", "image", "photo", "audio", "wav"),
    "session": ("sessions", "session_id"),
}
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line: whose, which file, and the further cells as they stand."""

    number: int
    subject_id: str
    path: Path
    session: str
    labels: Mapping[str, str]


def read_lines(path: Path, *, must_exist: bool) -> tuple[list[Line], tuple[str, ...]]:
    """All lines of a manifest, and what a person should look at.

    Raises:
        ManifestError: no such text, a missing column, a malformed line, or files that are not there.
    """
    rows = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    lines: list[Line] = []
    try:
        header = [name.strip() for name in next(rows, [])]
        _check_header(header, path)
        filled = (row for row in rows if any(cell.strip() for cell in row))
        lines.extend(_line(row, header, path, number=rows.line_num) for row in filled)
    except csv.Error as error:
        msg = f"{path}, line {rows.line_num}: {error}"
        raise ManifestError(msg) from error
    if must_exist:
        _refuse_missing_lines(lines, source=path)
    return lines, tuple(_warnings(header, lines))


def refuse_missing(files: Iterable[Path], *, source: Path, relative_to: Path) -> None:
    """Refuse a list of files some of which are not there.

    Raises:
        ManifestError: tells how many are missing and names the first ones.
    """
    missing = [f"{_shown(file, relative_to)} {_problem(file)}" for file in files if not file.is_file()]
    _refuse(missing, source=source, relative_to=relative_to)


def _refuse_missing_lines(lines: Sequence[Line], *, source: Path) -> None:
    missing = [
        f"line {line.number}: {_shown(line.path, source.parent)} {_problem(line.path)}"
        for line in lines
        if not line.path.is_file()
    ]
    _refuse(missing, source=source, relative_to=source.parent)


def _refuse(missing: Sequence[str], *, source: Path, relative_to: Path) -> None:
    if not missing:
        return
    note = f"(paths are relative to {relative_to})"
    if len(missing) == 1:
        msg = f"{source}, {missing[0]} {note}"
        raise ManifestError(msg)
    named = "; ".join(missing[:_NAMED])
    more = f"; and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    msg = f"{source}: {len(missing)} files are missing: {named}{more} {note}"
    raise ManifestError(msg)


def _problem(file: Path) -> str:
    return "is a folder" if file.is_dir() else "is not there"


def _shown(file: Path, folder: Path) -> str:
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")  # with or without the mark that spreadsheets write
    except UnicodeDecodeError as error:
        msg = f"{path}: not UTF-8 at byte {error.start}; save it as 'CSV UTF-8'"
        raise ManifestError(msg) from error
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise ManifestError(msg) from error
    if "\0" in text:
        msg = f"{path}: holds NUL bytes, so it is no CSV text"
        raise ManifestError(msg)
    return text


def _check_header(header: Sequence[str], path: Path) -> None:
    for needed in ("subject", "path"):
        if needed in header:
            continue
        for mark, name in _SEPARATORS.items():
            if len(header) == 1 and mark in header[0]:
                msg = (
                    f"{path}, line 1: columns are separated by {name}; separate them by commas ('CSV UTF-8')"
                )
                raise ManifestError(msg)
        near = [name for name in header if _meant(name) == needed]
        hint = f"; is it {near[0]!r}? rename it" if near else ""
        msg = (
            f"{path}, line 1: no column '{needed}' among {', '.join(header) or 'nothing'}{hint}; "
            "the header must read subject,path[,session,group...]"
        )
        raise ManifestError(msg)
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        msg = f"{path}, line 1: column {twice[0]!r} stands there twice"
        raise ManifestError(msg)


def _meant(column: str) -> str | None:
    """The known column that this one's name comes close to."""
    plain = folded_subject(column).replace(" ", "_").replace("-", "_")
    return next((known for known in COLUMNS if plain == known or plain in _ALIASES[known]), None)


def _line(row: Sequence[str], header: Sequence[str], path: Path, *, number: int) -> Line:
    where = f"{path}, line {number}"
    if len(row) != len(header):
        msg = f"{where}: {len(row)} cells where the header has {len(header)}"
        raise ManifestError(msg)
    cells = dict(zip(header, row, strict=True))
    subject_id, name = cells.pop("subject"), cells.pop("path").strip()
    check_subject_id(subject_id, where=where)
    if not name:
        msg = f"{where}: the path is empty"
        raise ManifestError(msg)
    return Line(number, subject_id, path.parent / name, cells.pop("session", ""), cells)


def _warnings(header: Sequence[str], lines: Sequence[Line]) -> Iterator[str]:
    """Further columns are groups; tell of those that hardly can be."""
    for column in header:
        if column in COLUMNS:
            continue
        if not column:
            yield "a column without a name is taken as a group"
        elif _meant(column) == "session" and "session" not in header:
            yield f"column {column!r} is taken as a group; for sessions, call it 'session'"
        labels = {line.labels[column].strip() for line in lines}
        if len(lines) >= _FEW_LINES and len(labels) == len(lines):
            yield f"column {column!r} has another label on every line, so it makes no groups"
            continue
        for spellings in near_equal(labels - {""}):
            names = " and ".join(repr(name) for name in spellings)
            yield f"{names} in column {column!r} look like one group in two spellings"
