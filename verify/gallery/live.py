"""One model's memory index, kept in step with the file that other processes write to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.gallery import rows
from verify.gallery.connection import read_transaction
from verify.gallery.index import MatrixIndex
from verify.gallery.turnstile import Turnstile

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray


class LiveIndex:
    """A `MatrixIndex` and how far of the file it has seen.

    `catch_up` is called by one thread at a time (it uses the gallery's reading connection);
    `top` by any number.
    """

    def __init__(self, *, model_pk: int, dim: int) -> None:
        self.dim = dim
        self._model_pk = model_pk
        self._index = MatrixIndex(dim)
        self._stamp = rows.Stamp()
        self._turnstile = Turnstile()

    def __len__(self) -> int:
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Bytes of memory set aside."""
        return self._index.nbytes

    @property
    def stamp(self) -> rows.Stamp:
        """How far of the file has been seen."""
        return self._stamp

    def catch_up(self, db: sqlite3.Connection) -> None:
        """Take in what was added and drop what was deleted since the last call.

        Costs one small query when nothing changed, and otherwise what changed.

        Raises:
            GalleryError: a stored vector is damaged. The index is then empty, not half-filled.
        """
        if rows.read_stamp(db) == self._stamp:
            return
        with read_transaction(db):
            stamp = rows.read_stamp(db)
            deleted = self._deleted(db)
            with self._turnstile.alone():
                try:
                    if deleted is None:
                        self._index.clear()
                        self._stamp = rows.Stamp()
                    else:
                        self._index.remove(deleted)
                    self._load(db, after=self._stamp.template)
                except BaseException:
                    self._index.clear()
                    self._stamp = rows.Stamp()
                    raise
                self._stamp = stamp

    def top(self, probe: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        """Search; see `MatrixIndex.top`."""
        with self._turnstile.shared():
            return self._index.top(probe, k)

    def clear(self) -> None:
        """Zero and release the memory."""
        with self._turnstile.alone():
            self._index.clear()
            self._stamp = rows.Stamp()

    def _load(self, db: sqlite3.Connection, *, after: int) -> None:
        if after == 0:
            query = "SELECT COUNT(*) FROM template WHERE model_pk = ?"
            self._index.reserve(int(db.execute(query, (self._model_pk,)).fetchone()[0]))
        for ids, owners, vectors in rows.new_vectors(db, model_pk=self._model_pk, dim=self.dim, after=after):
            self._index.append(np.array(ids, np.int64), np.array(owners, np.int64), vectors)

    def _deleted(self, db: sqlite3.Connection) -> NDArray[np.int64] | None:
        """Template ids to drop; None if the file no longer remembers them all, or is another one."""
        if self._stamp == rows.Stamp():
            return np.empty(0, np.int64)
        stamp = rows.read_stamp(db)
        if stamp.template < self._stamp.template or stamp.deletion < self._stamp.deletion:
            return None
        (oldest,) = db.execute("SELECT MIN(seq) FROM deletion").fetchone()
        if oldest is not None and oldest > self._stamp.deletion + 1:
            return None
        query = "SELECT template_id FROM deletion WHERE seq > ?"
        return np.array([row[0] for row in db.execute(query, (self._stamp.deletion,))], np.int64)
