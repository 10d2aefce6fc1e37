"""Captures already made, kept on disk, so that an interrupted calibration goes on where it stopped.

One SQLite file, keyed by the sample's bytes, the model_id and the capture settings. It holds
templates, which are biometric data: the file is readable by its owner only, and `path` is there to
be told to the user. Deleting it costs time and nothing else.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from verify.errors import StorageError
from verify.types import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from numpy.typing import NDArray

CACHE_VARIABLE = "VERIFY_CACHE"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS measured_captures (
    sha256 TEXT NOT NULL, settings TEXT NOT NULL, vector BLOB, failure TEXT, measures TEXT NOT NULL,
    PRIMARY KEY (sha256, settings), CHECK ((vector IS NULL) <> (failure IS NULL))
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a capture came to: a unit-L2 vector, or the reason why there is none.

    Attributes:
        vector: (D,) float32, or None.
        failure: why there is no vector, else None.
        measures: the quality measures taken; for failures those that could be.
    """

    vector: NDArray[np.float32] | None
    failure: Reason | None
    measures: Mapping[str, float] = field(default_factory=dict)


def default_cache_path() -> Path:
    """``embeddings.db`` in VERIFY_CACHE if that is set, else in the platform's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser() / "embeddings.db"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "verify" / "embeddings.db"


class EmbeddingCache:
    """An open cache file. Every `put` is kept at once; several processes may share the file.

    Args:
        path: the file; made if missing, with its folder.

    Raises:
        StorageError: it cannot be made or opened, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # made private before SQLite writes a byte into it
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
            self._db.execute("PRAGMA synchronous = OFF")  # a lost cache costs time only
            self._db.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            msg = f"{path}: the embedding cache cannot be used ({error}); delete it, or run with --no-cache"
            raise StorageError(msg) from error

    def get(self, sha256: str, *, settings: str) -> Outcome | None:
        """The stored outcome, or None."""
        row = self._run(
            "SELECT vector, failure, measures FROM measured_captures WHERE sha256 = ? AND settings = ?",
            sha256,
            settings,
        )
        if row is None:
            return None
        vector, failure, text = row
        measures = json.loads(text)
        if vector is not None:
            found = np.frombuffer(vector, dtype="<f4").astype(np.float32)
            return Outcome(vector=found, failure=None, measures=measures)
        return Outcome(vector=None, failure=Reason(failure), measures=measures)

    def put(self, sha256: str, outcome: Outcome, *, settings: str) -> None:
        """Store an outcome; it is kept when the call returns."""
        vector = None if outcome.vector is None else outcome.vector.astype("<f4").tobytes()
        self._run(
            "INSERT OR REPLACE INTO measured_captures VALUES (?, ?, ?, ?, ?)",
            sha256,
            settings,
            vector,
            outcome.failure,
            json.dumps({name: float(value) for name, value in outcome.measures.items()}),
        )

    def _run(self, statement: str, *values: str | bytes | None) -> tuple[bytes | None, str, str] | None:
        try:
            found: tuple[bytes | None, str, str] | None = self._db.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            msg = f"{self.path}: the embedding cache failed ({error}); delete it, or run with --no-cache"
            raise StorageError(msg) from error
        return found

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
