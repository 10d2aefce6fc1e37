"""Published trial lists as they are written: which two files, and whether they are of one subject.

- ``csv``: ``mated,path_a,path_b[,subject_a,subject_b][,group...]`` or
  ``subject_a,path_a,subject_b,path_b[,group...]``, with commas and a header.
- ``voxceleb``: ``1 path_a path_b`` a line; label first or last, 1/0 or target/nontarget.
- ``lfw``: a head of ``folds pairs`` (or ``pairs``), then ``name i j`` and ``name i other j``.

Where no column says whose a file is, the first folder of its path does.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from verify.errors import ManifestError, ScoreError
from verify.evaluation.score_bytes import Packing, header_and_sample, look_at, opened
from verify.evaluation.score_columns import MATED_WORDS, numeric_columns, plan_columns
from verify.evaluation.score_rows import csv_rows
from verify.evaluation.trial_listing import Listing, ListStyle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from verify.evaluation.score_bytes import CheckedText, Place
    from verify.evaluation.score_rows import Rows
    from verify.evaluation.trial_listing import ListedTrials


def read_trial_list(path: Path) -> ListedTrials:
    """Read a trial list; its style is told by its first line.

    Raises:
        ManifestError: no trial list, or a malformed or contradictory line; names the line.
    """
    try:
        place = look_at(path)
        if place.packing is Packing.PARQUET:
            msg = f"{path}: a trial list is text; a Parquet file of scores is a score file"
            raise ManifestError(msg)
        with opened(place) as (_, text):
            style = _style(text.head()[0].decode(), path)
        with opened(place) as (raw, text):
            listing = Listing(path)
            if style is ListStyle.CSV:
                _read_csv(listing, text, place)
            else:
                lines = io.TextIOWrapper(io.BufferedReader(text, 1 << 20), encoding="utf-8-sig")
                numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
                (_read_lfw if style is ListStyle.LFW else _read_pairs)(listing, numbered)
            return listing.finish(style, sha256=raw.drain())
    except ScoreError as error:  # of the layer that score files share
        raise ManifestError(str(error)) from error


def subject_of(file: str) -> str:
    """The first folder of a path, ``""`` if it has none: whose the file is, in published lists."""
    parts = [part for part in PurePosixPath(file).parts if part not in ("/", ".", "..")]
    return parts[0] if len(parts) > 1 else ""


def _style(first: str, path: Path) -> ListStyle:
    fields = first.split()
    if 1 <= len(fields) <= 2 and all(field.isdecimal() for field in fields):  # noqa: PLR2004
        return ListStyle.LFW
    if "," in first or ";" in first:
        return ListStyle.CSV
    if len(fields) == 3 and {fields[0].lower(), fields[2].lower()} & MATED_WORDS.keys():  # noqa: PLR2004
        return ListStyle.VOXCELEB
    msg = (
        f"{path}, line 1: {first[:80]!r} begins no trial list that is known: '1 path_a path_b' lines, LFW's "
        "'10 300' and names, or a CSV with mated,path_a,path_b or subject_a,path_a,subject_b,path_b"
    )
    raise ManifestError(msg)


def _read_pairs(listing: Listing, lines: Iterator[tuple[int, str]]) -> None:
    """``1 path_a path_b`` or ``path_a path_b 1``, all lines alike."""
    label_at: int | None = None
    for number, line in lines:
        where = f"{listing.path}, line {number}"
        fields = line.split()
        if len(fields) != 3:  # noqa: PLR2004
            msg = f"{where}: {len(fields)} words where a label and two paths are expected"
            raise ManifestError(msg)
        if label_at is None:
            label_at = 0 if fields[0].lower() in MATED_WORDS else 2
        mated = _mated(fields.pop(label_at), where)
        listing.add(mated, *(listing.file(file, subject_of(file), where) for file in fields), where=where)


def _read_lfw(listing: Listing, lines: Iterator[tuple[int, str]]) -> None:
    """LFW's ``pairs.txt``: per fold its mated pairs, then as many non-mated ones."""
    head = next(lines)[1].split()
    folds, pairs = (1, int(head[0])) if len(head) == 1 else (int(head[0]), int(head[1]))
    number = 1
    for number, line in lines:
        where = f"{listing.path}, line {number}"
        fields = line.split("\t") if "\t" in line else line.split()
        fields = [one.strip() for one in fields]
        if len(fields) not in (3, 4) or not fields[1].isdecimal() or not fields[-1].isdecimal():
            msg = f"{where}: neither 'name i j' nor 'name i other j'"
            raise ManifestError(msg)
        name, other = fields[0], fields[-2] if len(fields) == 4 else fields[0]  # noqa: PLR2004
        mated = len(listing.mated) // max(1, pairs) % 2 == 0
        if mated != (name == other):
            kind = "mated" if mated else "non-mated"
            msg = f"{where}: a {kind} pair is due here, by the head of {folds} folds of {pairs} pairs a kind"
            raise ManifestError(msg)
        listing.folds.append(len(listing.mated) // max(1, 2 * pairs))
        sides = ((name, int(fields[1])), (other, int(fields[-1])))
        files = (listing.file(f"{who}/{who}_{which:04d}.jpg", who, where) for who, which in sides)
        listing.add(mated, *files, where=where)
    if len(listing.mated) != 2 * folds * pairs:
        msg = (
            f"{listing.path}: {len(listing.mated)} pairs up to line {number}, where the head announces {folds} folds "
            f"of {pairs} mated and {pairs} non-mated ones; is the file cut off?"
        )
        raise ManifestError(msg)


def _read_csv(listing: Listing, text: CheckedText, place: Place) -> None:
    """A CSV with a header."""
    header, sample = header_and_sample(text, path=listing.path)
    sides = [f"subject_{side}" for side in "ab" if f"subject_{side}" in header]
    known = ["path_a", "path_b", *sides, *(["mated"] if "mated" in header or not sides else [])]
    if len(sides) == 1:
        known += ["subject_a", "subject_b"]  # the missing one is told
    plan = plan_columns(header, numeric=numeric_columns(header, sample), path=listing.path, known=known)
    listing.warnings += plan.warnings
    listing.warnings += [f"columns {one.a!r} and {one.b!r} hold numbers: not used" for one in plan.measures]
    for rows in csv_rows(text, place=place, header=header):
        first = len(listing.mated)
        _take_rows(listing, rows, known, place)
        for one in plan.labels:
            for column, files in ((one.a, listing.a), (one.b, listing.b)):
                if column is not None:
                    listing.label(one.name, rows.texts(column), files[first:])


def _take_rows(listing: Listing, rows: Rows, known: Sequence[str], place: Place) -> None:
    cells = {}
    for column in known:
        texts = rows.texts(column)
        cells[column] = [texts.values[code].strip() for code in texts.codes.tolist()]
    first = len(listing.mated)
    for row in range(rows.size):
        where = _Row(place, first + row)
        files = []
        for side in "ab":
            file = cells[f"path_{side}"][row]
            subject = cells[f"subject_{side}"][row] if "subject_a" in cells else subject_of(file)
            files.append(listing.file(file, subject, where))
        same = listing.owner[files[0]] == listing.owner[files[1]]
        mated = _mated(cells["mated"][row], where) if "mated" in cells else same
        listing.add(mated, *files, where=where)


def _mated(word: str, where: object) -> bool:
    mated = MATED_WORDS.get(word.lower())
    if mated is None:
        msg = f"{where}: the label {word!r} is not 1/0, true/false or target/nontarget"
        raise ManifestError(msg)
    return mated


@dataclass(frozen=True, slots=True)
class _Row:
    """A data row of a CSV, looked up only if it must be named."""

    place: Place
    row: int

    def __str__(self) -> str:
        return self.place.row(self.row)
