"""Rows of a score file in batches, by the csv module; `verify.evaluation.score_arrow` is several times as fast.

Both readers hand out the same: texts as distinct values with a code a row, numbers as float64. What
is wrong with a row is said in the same words by both.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from verify.errors import ScoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.score_bytes import CheckedText, Place

_CSV_ROWS = 1 << 14
_ROWS_AT_ONCE = 500


class BadNumberError(ValueError):
    """A cell that is no number; for the caller to place."""

    def __init__(self, row: int, cell: str) -> None:
        super().__init__(cell)
        self.row = row
        self.cell = cell


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts: `values` (each once) and, for each row, the place of its value in them, (n,) int32."""

    values: Sequence[str]
    codes: NDArray[np.int32]


class Rows(Protocol):
    """A batch of n rows."""

    @property
    def size(self) -> int:
        """N."""
        ...

    def texts(self, column: str) -> Texts:
        """A column as texts; an absent value is ``""``."""
        ...

    def numbers(self, column: str) -> NDArray[np.float64]:
        """A column as (n,) float64, NaN where the cell is empty.

        Raises:
            BadNumberError: a cell is something else.
        """
        ...


def parse_numbers(cells: Sequence[str]) -> NDArray[np.float64]:
    """Decimal numbers as (n,) float64; empty cells are NaN.

    Raises:
        BadNumberError: a cell is something else.
    """
    together = "".join(cells)
    if together.isascii() and "_" not in together:  # float() takes 1_0 and the digits of all scripts
        try:
            return np.array(list(map(float, cells)), dtype=np.float64)
        except ValueError:
            pass  # an empty cell, or the culprit
    found = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if not cell.strip():
            continue
        number = decimal(cell)
        if number is None:
            raise BadNumberError(row, cell)
        found[row] = number
    return found


def decimal(cell: str) -> float | None:
    """The number that a cell spells, else None."""
    if not cell.isascii() or "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _CsvRows:
    columns: Mapping[str, Sequence[str]]
    size: int

    def texts(self, column: str) -> Texts:
        cells = self.columns[column]
        values = list(dict.fromkeys(cells))
        places = {value: place for place, value in enumerate(values)}
        codes = np.fromiter(map(places.__getitem__, cells), dtype=np.int32, count=len(cells))
        return Texts(values=values, codes=codes)

    def numbers(self, column: str) -> NDArray[np.float64]:
        return parse_numbers(self.columns[column])


def csv_rows(text: CheckedText, *, place: Place, header: Sequence[str]) -> Iterator[Rows]:
    """Batches by the csv module: several hundred thousand rows a second.

    Raises:
        ScoreError: a line with too few or too many cells, a broken quote; names the line.
    """
    width = len(header)
    reader = csv.reader(
        io.TextIOWrapper(io.BufferedReader(text, 1 << 20), encoding="utf-8", newline=""), strict=True
    )
    columns: list[list[str]] = [[] for _ in header]
    for some in _checked(reader, place=place, width=width):
        for column, cells in zip(columns, zip(*some, strict=True), strict=True):
            column.extend(cells)
        if len(columns[0]) >= _CSV_ROWS:
            yield _CsvRows(columns=dict(zip(header, columns, strict=True)), size=len(columns[0]))
            columns = [[] for _ in header]
    if columns[0]:
        yield _CsvRows(columns=dict(zip(header, columns, strict=True)), size=len(columns[0]))


def _checked(reader: Any, *, place: Place, width: int) -> Iterator[list[list[str]]]:
    """A few rows at a time, which go before Python's garbage collector begins to look at them."""
    while True:
        before = reader.line_num + 1  # the header is line 1
        try:
            some = list(islice(reader, _ROWS_AT_ONCE))
        except csv.Error as error:
            msg = f"{place.path}, line {reader.line_num + 1}: {error}"
            raise ScoreError(msg) from error
        if not some:
            return
        if reader.line_num + 1 - before != len(some):
            _refuse_line_breaks(some, place=place, before=before)
        if set(map(len, some)) != {width}:
            for number, row in enumerate(some, before + 1):
                if row and len(row) != width:
                    msg = f"{place.path}, line {number}: {len(row)} cells where the header has {width}"
                    raise ScoreError(msg)
            some = [row for row in some if row]  # blank lines
        if some:
            yield some


def _refuse_line_breaks(batch: Sequence[Sequence[str]], *, place: Place, before: int) -> None:
    """A cell over two lines is a quote that somebody forgot to close."""
    for number, row in enumerate(batch, before + 1):
        if any("\n" in cell or "\r" in cell for cell in row):
            msg = f"{place.path}, line {number}: a cell with a line break; is a quote left open?"
            raise ScoreError(msg)
