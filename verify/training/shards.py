"""A prepared set: faces aligned and voices cut to their speech once, to be read many times.

A folder of Arrow shards (`verify.training.shard_files`) with ``index.json``, which says what the samples are
and how they were made, and ``fta.csv``, the files that gave none. Faces are JPEG of quality 98 without
chroma subsampling, or PNG; voices are 16-bit samples at 16 kHz.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from verify.errors import DataError, UsageError
from verify.models.identity import canonical_sha256
from verify.training.shard_files import Shard
from verify.types import Modality

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

INDEX_FILE, FTA_FILE = "index.json", "fta.csv"
FORMAT, VERSION = "verify-prepared", 1
BYTES_PER_SAMPLE = 2  # of a voice: int16


class PreparedSet:
    """An open prepared set. Safe across threads; pickles as its path.

    Made by `PreparedSet.open`.

    Attributes:
        path: the folder.
        index: the facts of ``index.json``.
        subjects: each once, in order; `owner` points into it.
        owner: (n,) int32, whose each sample is.
        lengths: (n,) int64: samples of a voice at 16 kHz, 1 for a face.
    """

    def __init__(self, path: Path, index: Mapping[str, Any], shards: Sequence[Shard]) -> None:
        self.path = path
        self.index = index
        self._shards = tuple(shards)
        counts = np.array([len(shard) for shard in shards], dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self.subjects = tuple(sorted({name for shard in shards for name in shard.subjects}))
        place = {name: number for number, name in enumerate(self.subjects)}
        self.owner: NDArray[np.int32] = np.concatenate(
            [
                np.zeros(0, np.int32),
                *(
                    np.array([place[s] for s in one.subjects], np.int32)[one.codes]
                    for one in shards
                    if len(one)
                ),
            ]
        )
        self.lengths: NDArray[np.int64] = np.concatenate(
            [np.zeros(0, np.int64), *(shard.lengths for shard in shards)]
        )

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open a folder that `verify prepare` finished.

        Raises:
            MissingExtraError: pyarrow is not installed.
            DataError: no such set, one that is not finished, of a later version, or with a shard that is
                missing, empty, cut short or of another preparation; the message names it.
        """
        folder = Path(path)
        index = read_index(folder)
        if not index["complete"]:
            msg = f"{folder}: its preparation was interrupted; run the same `verify prepare` again, and it goes on"
            raise DataError(msg)
        shards = []
        for listed in index["shards"]:
            shard = Shard(folder / str(listed["file"]))
            if len(shard) != listed["rows"] or shard.facts.get("chunk") != listed["chunk"]:
                msg = (
                    f"{shard.path}: holds other rows than {folder / INDEX_FILE} says; run the same `verify prepare` "
                    "again: it makes such shards anew"
                )
                raise DataError(msg)
            shards.append(shard)
        return cls(folder, index, shards)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopened, (self.path, self.sha256))

    def __repr__(self) -> str:
        return f"PreparedSet({self.name!r}, {len(self)} samples of {len(self.subjects)} subjects)"

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def name(self) -> str:
        """What the set is called: the first part of its identities' names."""
        return str(self.index["name"])

    @property
    def modality(self) -> Modality:
        """Face or voice."""
        return Modality(self.index["modality"])

    @property
    def contract(self) -> Mapping[str, Any]:
        """The input contract that the samples were made for, as on a model's card."""
        contract: Mapping[str, Any] = self.index["contract"]
        return contract

    @property
    def locator(self) -> Mapping[str, str]:
        """Name and model_id of what found the faces or the speech, as on a model's card; empty if unknown."""
        locator: Mapping[str, str] = self.index["locator"]
        return locator

    @property
    def sha256(self) -> str:
        """Hash over what the samples are and how they were made, the same whatever the shards' size."""
        return str(self.index["sha256"])

    @cached_property
    def sha256s(self) -> NDArray[np.bytes_]:
        """(n,) S64: hash of the file that each sample came from, as hex."""
        return np.concatenate([np.zeros(0, "S64"), *(shard.sha256s for shard in self._shards)])

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The file that each sample came from: relative to the folder that was prepared."""
        return self._texts("path")

    @cached_property
    def sessions(self) -> tuple[str, ...]:
        """The session of each sample, empty where the manifest gave none."""
        return self._texts("session")

    @cached_property
    def labels(self) -> tuple[Mapping[str, str], ...]:
        """The manifest's further columns of each sample."""
        return tuple(json.loads(text) for text in self._texts("labels"))

    def media(self, i: int, *, start: int = 0, count: int | None = None) -> NDArray[Any]:
        """One sample.

        Args:
            i: its row.
            start: voices: first sample of the stretch to read.
            count: voices: its length; None reads to the end. Beyond the end there is nothing: the stretch is
                shorter then.

        Returns:
            A face: (H, W, 3) uint8 RGB. A voice: (N,) int16 at 16 kHz. The caller's own, to write into.

        Raises:
            UsageError: no such row, or a stretch of a face.
            DataError: the sample is damaged; the message names shard and row. A stretch of a voice is
                not held against its checksum, which is of the whole: see `check`.
        """
        if not 0 <= i < len(self) or start < 0 or (count is not None and count < 0):
            msg = f"{self.path}: no sample {i} from {start} on: there are {len(self)}, from 0 on"
            raise UsageError(msg)
        number = int(np.searchsorted(self._starts, i, side="right")) - 1
        shard, row = self._shards[number], i - int(self._starts[number])
        if self.modality is Modality.VOICE:
            return _voice(shard, row, start=start, count=count)
        if start or count is not None:
            msg = f"{self.path}: sample {i} is a face, of which there are no stretches"
            raise UsageError(msg)
        return self._face(shard, row)

    def name_of(self, i: int) -> str:
        """What to call a sample in messages: set, subject and file."""
        return f"{self.name}/{self.subjects[self.owner[i]]}: {self.paths[i]}"

    def check(self) -> None:
        """Hold every sample against its checksum: a whole read of the set.

        Raises:
            DataError: the first damaged sample; names shard and row.
        """
        for shard in self._shards:
            shard.check()
        if rows_sha256(self.index, self._shards) != self.sha256:
            msg = f"{self.path / INDEX_FILE}: its sha256 is not that of the shards; run the same `verify prepare` again"
            raise DataError(msg)

    def _face(self, shard: Shard, row: int) -> NDArray[np.uint8]:
        import cv2

        encoded = shard.media(row)
        shard.check_row(row, encoded)
        bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        height, width = self.contract["size_px"]
        if bgr is None or bgr.shape != (height, width, 3):
            msg = (
                f"{shard.path}, row {row}: holds no face of {height} x {width} pixels; prepare the set again"
            )
            raise DataError(msg)
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))

    def _texts(self, column: str) -> tuple[str, ...]:
        return tuple(text for shard in self._shards for text in shard.texts(column))


def _reopened(path: Path, sha256: str) -> PreparedSet:
    """Open a set in another process, if it is still the one that was open here."""
    opened = PreparedSet.open(path)
    if opened.sha256 != sha256:
        msg = f"{path}: was prepared anew while it was in use; start again"
        raise DataError(msg)
    return opened


def read_index(folder: Path) -> dict[str, Any]:
    """The facts of ``index.json``.

    Raises:
        DataError: it is missing, no index, or of a later version.
    """
    path = folder / INDEX_FILE
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{folder}: no prepared set ({INDEX_FILE}: {error}); make one: verify prepare DATA -o {folder}"
        raise DataError(msg) from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        msg = f"{path}: not the index of a prepared set; make one: verify prepare DATA -o FOLDER"
        raise DataError(msg)
    if index["version"] != VERSION:
        msg = f"{path}: version {index['version']} is not known to this version of verify; prepare the set again"
        raise DataError(msg)
    return index


def rows_sha256(settings: Mapping[str, Any], shards: Iterable[Shard]) -> str:
    """Hash over how samples were made, whose they are, and their bytes (through their checksums)."""
    made = {key: settings[key] for key in ("modality", "contract", "locator", "encoding", "rules")}
    digest = hashlib.sha256(canonical_sha256(made).encode())
    for shard in shards:
        owners = (shard.subjects[code] for code in shard.codes.tolist())
        rows = zip(owners, shard.sha256s.tolist(), shard.lengths.tolist(), shard.crc32s.tolist(), strict=True)
        for subject, sha256, length, crc32 in rows:
            digest.update(f"{subject}\t{sha256.decode()}\t{length}\t{crc32}\n".encode())
    return digest.hexdigest()


def _voice(shard: Shard, row: int, *, start: int, count: int | None) -> NDArray[np.int16]:
    whole = start == 0 and (count is None or count >= int(shard.lengths[row]))
    span = None if count is None else count * BYTES_PER_SAMPLE
    encoded = shard.media(row, start=start * BYTES_PER_SAMPLE, count=span)
    if whole:
        shard.check_row(row, encoded)
    if len(encoded) % BYTES_PER_SAMPLE:
        msg = f"{shard.path}, row {row}: holds half a sample; prepare the set again"
        raise DataError(msg)
    return np.frombuffer(encoded, "<i2").astype(np.int16)  # a copy, in the machine's own byte order
