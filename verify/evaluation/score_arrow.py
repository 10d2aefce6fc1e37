"""Rows of a score file in batches by pyarrow, which is no dependency: CSV several times as fast, and Parquet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from verify.errors import MissingExtraError, ScoreError
from verify.evaluation.score_bytes import opened
from verify.evaluation.score_rows import Texts, csv_rows, parse_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from verify.evaluation.score_bytes import CheckedText, Place
    from verify.evaluation.score_rows import Rows

_ARROW_BYTES = 8 << 20
_PARQUET_ROWS = 1 << 18


def arrow_is_there() -> bool:
    """Whether pyarrow is installed."""
    return find_spec("pyarrow") is not None


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
    """Batches by pyarrow: several times as fast. `numbers` are the columns asked for as numbers.

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
    finally:
        pa.default_memory_pool().release_unused()  # what comes next needs the room


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
        finally:
            pa.default_memory_pool().release_unused()


def open_parquet(place: Place) -> ParquetTable:
    """Open a Parquet file.

    Raises:
        MissingExtraError: pyarrow is not installed.
        ScoreError: no Parquet file after all, cut off, a column twice, one of lists, or no rows.
    """
    if not arrow_is_there():
        msg = f"{place.path}: Parquet files need pyarrow: pip install pyarrow (a CSV file needs nothing)"
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
    strange = [one.name for one in schema if pa.types.is_nested(one.type) or pa.types.is_binary(one.type)]
    if strange:
        msg = f"{place.path}: column {strange[0]!r} holds no texts or numbers; leave it out"
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
