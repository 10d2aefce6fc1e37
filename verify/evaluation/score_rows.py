"""Rows of a score file in batches, by whichever reader is there: the csv module, or pyarrow if installed.

Both readers hand out the same: texts as distinct values with a code a row, numbers as float64. What
is wrong with a row is said in the same words by both.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from verify.errors import MissingExtraError, ScoreError
from verify.evaluation.score_bytes import opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.score_bytes import CheckedText, Place

_CSV_ROWS = 1 << 16
_ARROW_BYTES = 8 << 20
_PARQUET_ROWS = 1 << 18


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


def arrow_is_there() -> bool:
    """Whether pyarrow is installed."""
    return find_spec("pyarrow") is not None


# --- the csv module --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _CsvRows:
    columns: dict[str, tuple[str, ...]]
    size: int

    def texts(self, column: str) -> Texts:
        places: dict[str, int] = {}
        codes = [places.setdefault(cell, len(places)) for cell in self.columns[column]]
        return Texts(values=list(places), codes=np.array(codes, dtype=np.int32))

    def numbers(self, column: str) -> NDArray[np.float64]:
        return parse_numbers(self.columns[column])


def csv_rows(text: CheckedText, *, place: Place, header: Sequence[str]) -> Iterator[Rows]:
    """Batches by the csv module: about a million rows a second.

    Raises:
        ScoreError: a line with too few or too many cells, a broken quote; names the line.
    """
    width = len(header)
    reader = csv.reader(
        io.TextIOWrapper(io.BufferedReader(text, 1 << 20), encoding="utf-8", newline=""), strict=True
    )
    while True:
        before = reader.line_num + 1  # the header is line 1
        try:
            batch = list(islice(reader, _CSV_ROWS))
        except csv.Error as error:
            msg = f"{place.path}, line {reader.line_num + 1}: {error}"
            raise ScoreError(msg) from error
        if not batch:
            return
        if reader.line_num + 1 - before != len(batch):
            _refuse_line_breaks(batch, place=place, before=before)
        if any(len(row) != width for row in batch):
            for number, row in enumerate(batch, before + 1):
                if row and len(row) != width:
                    msg = f"{place.path}, line {number}: {len(row)} cells where the header has {width}"
                    raise ScoreError(msg)
            batch = [row for row in batch if row]  # blank lines
        if batch:
            yield _CsvRows(columns=dict(zip(header, zip(*batch, strict=True), strict=True)), size=len(batch))


def _refuse_line_breaks(batch: Sequence[Sequence[str]], *, place: Place, before: int) -> None:
    """A cell over two lines is a quote that somebody forgot to close."""
    for number, row in enumerate(batch, before + 1):
        if any("\n" in cell or "\r" in cell for cell in row):
            msg = f"{place.path}, line {number}: a cell with a line break; is a quote left open?"
            raise ScoreError(msg)


# --- pyarrow ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ArrowRows:
    batch: Any  # pyarrow.RecordBatch

    @property
    def size(self) -> int:
        return int(self.batch.num_rows)

    def texts(self, column: str) -> Texts:
        import pyarrow as pa

        found = self.batch.column(column)
        if not pa.types.is_dictionary(found.type):
            found = found.cast(pa.string()).dictionary_encode()
        values = found.dictionary.cast(pa.string()).to_pylist()
        codes = found.indices
        if codes.null_count:
            codes, values = codes.fill_null(len(values)), [*values, ""]
        return Texts(values=values, codes=codes.cast(pa.int32()).to_numpy(zero_copy_only=False))

    def numbers(self, column: str) -> NDArray[np.float64]:
        import pyarrow as pa

        found = self.batch.column(column)
        if pa.types.is_dictionary(found.type):
            found = found.dictionary_decode()
        try:
            cast = found.cast(pa.float64(), safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # empty cells, signs, spaces, or the culprit
            return parse_numbers(["" if cell is None else str(cell) for cell in found.to_pylist()])
        numbers: NDArray[np.float64] = cast.fill_null(math.nan).to_numpy(zero_copy_only=False)
        return numbers


def arrow_csv_rows(
    text: CheckedText, *, place: Place, header: Sequence[str], numbers: Sequence[str]
) -> Iterator[Rows]:
    """Batches by pyarrow: about ten times as fast. `numbers` are the columns asked for as numbers.

    Raises:
        ScoreError: as `csv_rows`, which is asked for the words.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    coded = pa.dictionary(pa.int32(), pa.string())
    names = [name or f"column {number}" for number, name in enumerate(header, 1)]
    try:
        reader = arrow_csv.open_csv(
            pa.PythonFile(text, mode="r"),
            read_options=arrow_csv.ReadOptions(column_names=names, block_size=_ARROW_BYTES),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=False),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.string() if name in numbers else coded for name in names},
                check_utf8=False,  # seen to while reading
            ),
        )
        for batch in reader:
            if batch.num_rows:
                yield _ArrowRows(batch)
    except pa.ArrowInvalid as error:
        with opened(place) as (_, again):
            again.head()
            for _ in csv_rows(again, place=place, header=header):
                pass  # it names the line
        msg = f"{place.path}: cannot be read as CSV ({error})"
        raise ScoreError(msg) from error


# --- Parquet ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParquetTable:
    """An open Parquet file: its columns, which of them hold numbers, and how many rows there are."""

    file: Any  # pyarrow.parquet.ParquetFile
    place: Place
    header: tuple[str, ...]
    numeric: frozenset[str]
    total: int

    def rows(self, columns: Sequence[str]) -> Iterator[Rows]:
        """Batches of the columns named.

        Raises:
            ScoreError: a damaged file.
        """
        import pyarrow as pa

        try:
            for batch in self.file.iter_batches(batch_size=_PARQUET_ROWS, columns=list(columns)):
                if batch.num_rows:
                    yield _ArrowRows(batch)
        except (pa.ArrowException, OSError) as error:
            msg = f"{self.place.path}: damaged Parquet file ({error})"
            raise ScoreError(msg) from error


def open_parquet(place: Place) -> ParquetTable:
    """Open a Parquet file.

    Raises:
        MissingExtraError: pyarrow is not installed.
        ScoreError: no Parquet file after all, cut off, a column twice, or no rows.
    """
    if not arrow_is_there():
        msg = f"{place.path}: Parquet files need pyarrow: pip install 'verify[parquet]' (a CSV file needs nothing)"
        raise MissingExtraError(msg)
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(place.path) as file:
            schema = file.schema_arrow
        texts = [
            one.name for one in schema if pa.types.is_string(one.type) or pa.types.is_large_string(one.type)
        ]
        # strings as codes, and no more of a large row group in memory than is needed
        file = parquet.ParquetFile(place.path, read_dictionary=texts, pre_buffer=False, buffer_size=1 << 20)
    except (pa.ArrowException, OSError) as error:
        msg = f"{place.path}: damaged or cut off Parquet file ({error})"
        raise ScoreError(msg) from error
    header = tuple(schema.names)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        msg = f"{place.path}: column {twice[0]!r} stands there twice"
        raise ScoreError(msg)
    if not file.metadata.num_rows:
        msg = f"{place.path}: has columns and no trials"
        raise ScoreError(msg)
    numeric = frozenset(
        one.name
        for one in schema
        if pa.types.is_integer(one.type) or pa.types.is_floating(one.type) or pa.types.is_decimal(one.type)
    )
    return ParquetTable(file, place, header, numeric, int(file.metadata.num_rows))
