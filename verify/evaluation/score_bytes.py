"""A score file's bytes: hashed as they pass, unpacked, and checked to be text before anyone parses them."""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import io
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING

from verify.errors import ScoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

HEAD_BYTES = 1 << 20
_READ_BYTES = 1 << 20
_MAX_LINE_BYTES = 1 << 17  # the csv module's limit of a cell
_FOREIGN = {
    b"PK\x03\x04": "a zip or Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


class Packing(StrEnum):
    """What a score file is, by its first bytes."""

    CSV = "csv"
    CSV_GZ = "csv.gz"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Place:
    """A score file, for messages."""

    path: Path
    packing: Packing

    def row(self, row: int) -> str:
        """How a person finds data row `row` (from 0): the line of a text, the row of a Parquet file."""
        if self.packing is Packing.PARQUET:
            return f"{self.path}, row {row + 1}"
        return f"{self.path}, line {_line_of(self, row)}"


def look_at(path: Path) -> Place:
    """Tell what kind of score file this is.

    Raises:
        ScoreError: no such file, a folder, empty, unreadable, or of another kind.
    """
    if path.is_dir():
        msg = f"{path}: is a folder; a score file is a CSV or Parquet file"
        raise ScoreError(msg)
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise ScoreError(msg) from error
    if not start:
        msg = f"{path}: is empty"
        raise ScoreError(msg)
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            msg = f"{path}: is {what}; save it as CSV (UTF-8, commas), CSV packed with gzip, or Parquet"
            raise ScoreError(msg)
    if start.startswith(b"PAR1"):
        return Place(path, Packing.PARQUET)
    return Place(path, Packing.CSV_GZ if start.startswith(b"\x1f\x8b") else Packing.CSV)


class HashedFile(io.RawIOBase):
    """A file read from start to end; `done` bytes have passed and are in `digest`."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self.digest = hashlib.sha256()
        self.done = 0
        self._size = path.stat().st_size  # what a file grows by while it is read is not read

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as one read does."""
        got = self._file.readinto(memoryview(buffer)[: self._size - self.done]) or 0
        self.digest.update(memoryview(buffer)[:got])
        self.done += got
        return got

    def drain(self) -> str:
        """Pass what is left, and give the hash of all as hex."""
        while self.read(_READ_BYTES):
            pass
        return self.digest.hexdigest()

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()


class CheckedText(io.RawIOBase):
    """The bytes of a text: UTF-8 without NUL, in lines of bearable length. A leading mark is dropped."""

    def __init__(self, source: io.RawIOBase | gzip.GzipFile, *, path: Path) -> None:
        super().__init__()
        self._source = source
        self._path = path
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._pending = b""  # read already, checked, not yet given out
        self._seen = 0
        self._line_bytes = 0
        self._mid_character = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as one read does.

        Raises:
            ScoreError: truncated or damaged gzip, NUL, not UTF-8, or a line without end.
        """
        if not self._pending:
            self._pending = self._next()
        out, self._pending = self._pending[: len(buffer)], self._pending[len(buffer) :]
        buffer[: len(out)] = out
        return len(out)

    def head(self) -> tuple[bytes, bytes]:
        """The first line, without its end, and what was read of the lines after it; these stay to be read.

        Raises:
            ScoreError: as `readinto`.
        """
        parts = [self._next()]
        while sum(map(len, parts)) < HEAD_BYTES and parts[-1]:
            parts.append(self._next())
        line, _, rest = b"".join(parts).removeprefix(codecs.BOM_UTF8).partition(b"\n")
        self._pending = rest
        return line.rstrip(b"\r"), rest

    def _next(self) -> bytes:
        try:
            data = self._source.read(_READ_BYTES) or b""
        except EOFError as error:
            msg = f"{self._path}: the gzip file ends too early: it was cut off; copy it again"
            raise ScoreError(msg) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            msg = f"{self._path}: damaged gzip file ({error}); copy it again"
            raise ScoreError(msg) from error
        except OSError as error:
            msg = f"{self._path}: cannot be read ({error.strerror or error})"
            raise ScoreError(msg) from error
        self._check(data)
        self._seen += len(data)
        return data

    def _check(self, data: bytes) -> None:
        nul = data.find(b"\0")
        if nul >= 0:
            msg = f"{self._path}: holds a NUL byte at byte {self._seen + nul}, so it is no CSV text"
            raise ScoreError(msg)
        if self._mid_character or not data or not data.isascii():
            held = len(self._decoder.getstate()[0])
            try:
                self._decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                at = self._seen - held + error.start
                msg = f"{self._path}: not UTF-8 at byte {at}; save it as 'CSV UTF-8'"
                raise ScoreError(msg) from error
            self._mid_character = bool(self._decoder.getstate()[0])
        end = data.rfind(b"\n")
        self._line_bytes = self._line_bytes + len(data) if end < 0 else len(data) - end
        if self._line_bytes > _MAX_LINE_BYTES:
            msg = f"{self._path}: a line longer than {_MAX_LINE_BYTES} bytes, so it is no score file"
            raise ScoreError(msg)


@contextmanager
def opened(place: Place) -> Iterator[tuple[HashedFile, CheckedText]]:
    """The raw file and the text in it."""
    with HashedFile(place.path) as raw:
        if place.packing is Packing.CSV_GZ:
            with gzip.GzipFile(fileobj=raw) as unpacked, CheckedText(unpacked, path=place.path) as text:
                yield raw, text
        else:
            with CheckedText(raw, path=place.path) as text:
                yield raw, text


def header_and_sample(text: CheckedText, *, path: Path) -> tuple[list[str], list[list[str]]]:
    """The column names, and the cells of the first lines, by which columns are told apart.

    Raises:
        ScoreError: no header, other separators than commas, a column twice, or nothing below it.
    """
    line, rest = text.head()
    first = line.decode()
    if "\r" in first:
        msg = f"{path}: its lines end in bare carriage returns; save it with line feeds"
        raise ScoreError(msg)
    header = [name.strip() for name in next(_cells([first], path), [])]
    if len(header) <= 1:
        for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (" ", "spaces")):
            if mark in first:
                msg = f"{path}, line 1: columns are separated by {name}; a CSV has commas (save it as 'CSV UTF-8')"
                raise ScoreError(msg)
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        msg = f"{path}, line 1: column {twice[0]!r} stands there twice"
        raise ScoreError(msg)
    lines = rest.split(b"\n", _SAMPLE_LINES)[:_SAMPLE_LINES]
    whole = [one.decode(errors="replace").rstrip("\r") for one in lines if one.strip(b"\r")]
    sample = [row for row in _cells(whole, path) if len(row) == len(header)]
    if not whole and len(header) > 1:
        msg = f"{path}: has a header and no trials"
        raise ScoreError(msg)
    return header, sample


_SAMPLE_LINES = 1000


def _cells(lines: Sequence[str], path: Path) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines)
    except csv.Error as error:
        msg = f"{path}: near its beginning: {error}"
        raise ScoreError(msg) from error


def _line_of(place: Place, row: int) -> int:
    """The line number, from 1, of a data row, from 0; blank lines are no rows. Reads up to there."""
    left = row + 1  # the header is a row too, here
    with opened(place) as (_, text):
        lines = enumerate(io.BufferedReader(text, _READ_BYTES), 1)
        filled = (number for number, line in lines if line.strip(b"\r\n"))
        return next(islice(filled, left, None))
