"""One shard of a prepared set: an Arrow IPC file, written whole or not at all, read in place.

The file is mapped into memory and a sample's bytes are taken out of the mapping by their offsets, so that
random access costs what the disk (or, the second time, the page cache) costs and no row is parsed. Arrow's
file format keeps the table's layout behind the data: a file that was cut short has none and is refused.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.atomic import write_file
from verify.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_FACTS = b"verify"  # where a shard's own facts stand in the schema's metadata
_COLUMNS = ("subject", "path", "session", "labels", "sha256", "length", "crc32", "media")
_HEX = np.array([f"{byte:02x}".encode() for byte in range(256)], dtype="S2")


@dataclass(frozen=True, slots=True)
class Row:
    """One sample.

    Attributes:
        subject: whose it is.
        path: of the file that it came from, as the index's reader knows it.
        session: as the manifest says.
        labels: the manifest's further columns.
        sha256: of the file's bytes, as hex.
        length: samples of a voice, 1 for a face.
        media: encoded face, or the voice's int16 samples, little-endian.
    """

    subject: str
    path: str
    sha256: str
    length: int
    media: bytes = field(repr=False)
    session: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def arrow() -> Any:
    """The module ``pyarrow``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        msg = (
            f"prepared sets are Arrow files, and pyarrow is missing ({error}): pip install '.[train]' in verify's "
            "source folder"
        )
        raise MissingExtraError(msg) from error
    return pa


def write_shard(path: Path, rows: Sequence[Row], *, facts: Mapping[str, Any]) -> None:
    """Write a shard; it is there in full when the call returns, also after a power cut.

    Args:
        path: of the file.
        rows: its samples, in order; there may be none.
        facts: JSON values to keep with them.

    Raises:
        MissingExtraError: pyarrow is not installed.
        StorageError: the folder is missing, read-only or full.
    """
    pa = arrow()
    columns = {
        "subject": pa.array([row.subject for row in rows], pa.string()).dictionary_encode(),
        "path": pa.array([row.path for row in rows], pa.string()),
        "session": pa.array([row.session for row in rows], pa.string()),
        "labels": pa.array([json.dumps(dict(row.labels), ensure_ascii=False) for row in rows], pa.string()),
        "sha256": pa.array([bytes.fromhex(row.sha256) for row in rows], pa.binary(32)),
        "length": pa.array([row.length for row in rows], pa.int64()),
        "crc32": pa.array([zlib.crc32(row.media) for row in rows], pa.uint32()),
        "media": pa.array([row.media for row in rows], pa.large_binary()),
    }
    schema = pa.schema(
        [pa.field(name, column.type, nullable=False) for name, column in columns.items()],
        metadata={_FACTS: json.dumps(facts, ensure_ascii=False, sort_keys=True).encode()},
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(list(columns.values()), schema=schema))
    write_file(path, sink.getvalue().to_pybytes())


class Shard:
    """An open shard. Safe across threads; open it again in another process.

    Args:
        path: of the file.

    Attributes:
        facts: what was kept with the rows.
        subjects: the shard's own subjects; `codes` point into it.
        codes: (n,) int32, whose each row is.
        lengths: (n,) int64.
        crc32s: (n,) uint32 of each row's media bytes.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: missing, empty, cut short, damaged or no shard.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._batch = _opened(path)
        try:
            self._read_columns()
        except (ValueError, KeyError, TypeError, OverflowError) as error:  # ArrowInvalid is a ValueError
            raise _damaged(path, str(error)) from error

    def _read_columns(self) -> None:
        batch = self._batch
        if tuple(batch.schema.names) != _COLUMNS:
            raise _damaged(self.path, f"it has the columns {', '.join(batch.schema.names)}")
        batch.validate(full=True)
        subject = batch.column("subject")
        self.facts: Mapping[str, Any] = json.loads(batch.schema.metadata[_FACTS])
        self.subjects: tuple[str, ...] = tuple(subject.dictionary.to_pylist())
        self.codes: NDArray[np.int32] = np.asarray(subject.indices, dtype=np.int32)
        self.lengths: NDArray[np.int64] = np.asarray(batch.column("length"), dtype=np.int64)
        self.crc32s: NDArray[np.uint32] = np.asarray(batch.column("crc32"), dtype=np.uint32)
        media = batch.column("media")
        _, offsets, data = media.buffers()
        self._offsets = (
            np.frombuffer(offsets, np.int64, count=len(batch) + 1) if len(batch) else np.zeros(1, int)
        )
        self._data = memoryview(data if data is not None else b"")

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def sha256s(self) -> NDArray[np.bytes_]:
        """(n,) S64: hash of each row's file, as hex."""
        raw = b"".join(self._batch.column("sha256").to_pylist())
        return _HEX[np.frombuffer(raw, np.uint8)].view("S64").reshape(-1)

    def texts(self, column: str) -> list[str]:
        """All values of ``path``, ``session`` or ``labels``."""
        values: list[str] = self._batch.column(column).to_pylist()
        return values

    def media(self, row: int, *, start: int = 0, count: int | None = None) -> memoryview:
        """A row's media bytes, or a stretch of them, without a copy; `check_row` tells whether they are whole."""
        low, high = int(self._offsets[row]) + start, int(self._offsets[row + 1])
        return self._data[low : high if count is None else min(low + count, high)]

    def check_row(self, row: int, media: memoryview) -> None:
        """Hold a row's whole media bytes against their checksum.

        Raises:
            DataError: they differ from what was written.
        """
        if zlib.crc32(media) != int(self.crc32s[row]):
            msg = (
                f"{self.path}, row {row}: {self.texts('path')[row]} is damaged; run `verify prepare` again with the "
                "same data and folder: it makes damaged shards anew"
            )
            raise DataError(msg)

    def check(self) -> None:
        """Hold all media against their checksums.

        Raises:
            DataError: the first row that differs from what was written.
        """
        for row in range(len(self)):
            self.check_row(row, self.media(row))


def _opened(path: Path) -> Any:
    """The one record batch of a shard's file, mapped."""
    pa = arrow()
    try:
        size = path.stat().st_size
        if not size:
            raise _damaged(path, "the file is empty")
        reader = pa.ipc.open_file(pa.memory_map(str(path), "r"))
        if reader.num_record_batches != 1:
            raise _damaged(path, f"it holds {reader.num_record_batches} batches")
        return reader.get_batch(0)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, str(error).splitlines()[0]) from error


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"{path}: missing, cut short or damaged ({why}); run `verify prepare` again with the same data and folder: it "
        "makes such shards anew"
    )
