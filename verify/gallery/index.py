"""Exact search over one in-memory float32 matrix that grows and shrinks in place.

The matrix is one piece, so that a search is one BLAS product and runs at memory bandwidth on as
many threads as the BLAS of numpy is set to (one a core unless `OPENBLAS_NUM_THREADS` or its like
say otherwise; threads of our own would only compete for the same bandwidth). One product also
means that the BLAS threads wait for each other once: cut into blocks the search took three times
as long on a busy machine. It grows by a sixteenth through `realloc`, which moves large arrays by
remapping their pages where the system can, without a second copy.

BLAS only shortlists. The few rows that could be among the best, given the rounding error of a
float32 product, are scored again in double precision, which decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.gallery.vectors import exact_cosines

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPARE_ROWS = 64
_AT_ONCE = 4096
_GROUPS = 64
_NOBODY = -1


class MatrixIndex:
    """The templates of one model, searched exactly by subject. Not safe across threads by itself.

    Template ids must come in rising order, as the gallery hands them out. Removed rows are zeroed
    at once and their room is taken back when they are a tenth of the matrix.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._vectors: NDArray[np.float32] = np.empty((0, dim), np.float32)
        self._ids: NDArray[np.int64] = np.empty(0, np.int64)
        self._owners: NDArray[np.int64] = np.empty(0, np.int64)
        self._dead: NDArray[np.int64] = np.empty(0, np.int64)
        self._used = 0

    def __repr__(self) -> str:
        return f"MatrixIndex(dim={self.dim}, templates={len(self)})"

    def __len__(self) -> int:
        """Number of templates that can be found."""
        return self._used - len(self._dead)

    @property
    def nbytes(self) -> int:
        """Bytes set aside for vectors and their bookkeeping."""
        return self._vectors.nbytes + self._ids.nbytes + self._owners.nbytes + self._dead.nbytes

    def reserve(self, count: int) -> None:
        """Make room for `count` more templates at once."""
        if self._used + count > len(self._ids):
            self._resize(self._used + count)

    def append(self, ids: NDArray[np.int64], owners: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add (N,) template ids, their (N,) subjects (0 or more) and their (N, D) checked vectors."""
        end = self._used + len(ids)
        if end > len(self._ids):
            self._resize(end + max(_SPARE_ROWS, end // 16))
        self._vectors[self._used : end] = vectors
        self._ids[self._used : end] = ids
        self._owners[self._used : end] = owners
        self._used = end

    def remove(self, ids: NDArray[np.int64]) -> int:
        """Zero the rows of these template ids; ids that are not here are passed over."""
        wanted = np.unique(ids)
        known = self._ids[: self._used]
        at = np.searchsorted(known, wanted)
        here = at < self._used
        rows = at[here][known[at[here]] == wanted[here]]
        rows = rows[self._owners[rows] != _NOBODY]
        self._vectors[rows] = 0.0
        self._owners[rows] = _NOBODY
        self._dead = np.union1d(self._dead, rows)
        if len(self._dead) * 10 >= self._used:
            self._compact()
        return len(rows)

    def clear(self) -> None:
        """Zero and release everything."""
        self._vectors.fill(0.0)
        self._dead = np.empty(0, np.int64)
        self._used = 0
        self._resize(0)

    def top(self, probe: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        """Return the best `k` subjects with their best scores, and every subject tied with the last.

        Args:
            probe: (D,) float32 of unit norm, finite.
            k: at least 1.

        Returns:
            (subject, score) pairs, highest score first; ties in no promised order.
        """
        rows = self._shortlist(self._products(probe), k)
        if not len(rows):
            return []
        owners, scores = self._rescore(rows, probe)
        order = np.lexsort((-scores, owners))  # by subject, the best row first
        owners, first = np.unique(owners[order], return_index=True)
        best = scores[order][first]
        ranked = np.argsort(-best, kind="stable")
        kept = ranked[best[ranked] >= best[ranked[min(k, len(ranked)) - 1]]]
        return [(int(owners[i]), float(best[i])) for i in kept]

    def _products(self, probe: NDArray[np.float32]) -> NDArray[np.float32]:
        products = np.empty(self._used, np.float32)
        np.dot(self._vectors[: self._used], probe, out=products)
        products[self._dead] = -np.inf
        return products

    def _shortlist(self, products: NDArray[np.float32], k: int) -> NDArray[np.intp]:
        """Rows that hold the best rows of the best `k` subjects, beyond doubt."""
        # |float32 dot - true dot| <= D u / (1 - D u) for unit vectors, u = 2**-24, in any order of
        # summation (Higham, Accuracy and Stability of Numerical Algorithms, 3.1); twice, because
        # both a row and the bar that it is held against are off
        slack = np.float32(2.5 * self.dim * 2.0**-24)
        live = len(self)
        count = min(live, 2 * k)
        while count:
            bar = _kth_highest(products, count)
            rows = np.flatnonzero(products >= bar - slack)
            if count == live or len(np.unique(self._owners[rows[products[rows] >= bar]])) >= k:
                return rows
            count = min(live, 4 * count)
        return np.empty(0, np.intp)

    def _rescore(
        self, rows: NDArray[np.intp], probe: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        scores = np.empty(len(rows), np.float64)
        for start in range(0, len(rows), _AT_ONCE):  # all rows are here if all of them tie
            part = rows[start : start + _AT_ONCE]
            scores[start : start + len(part)] = exact_cosines(self._vectors[part], probe)
        return self._owners[rows], scores

    def _compact(self) -> None:
        """Move the living rows down over the dead ones, in order and in place."""
        keep = np.flatnonzero(self._owners[: self._used] != _NOBODY)
        for start in range(0, len(keep), _AT_ONCE):
            rows = keep[start : start + _AT_ONCE]
            to = slice(start, start + len(rows))  # never above the rows that are still to be read
            self._vectors[to] = self._vectors[rows]
            self._ids[to] = self._ids[rows]
            self._owners[to] = self._owners[rows]
        self._vectors[len(keep) : self._used] = 0.0
        self._used = len(keep)
        self._dead = np.empty(0, np.int64)
        self._resize(self._used)

    def _resize(self, rows: int) -> None:
        self._ids = _resized(self._ids, rows, self._used)
        self._owners = _resized(self._owners, rows, self._used)
        try:
            self._vectors.resize((rows, self.dim))
        except ValueError:
            # numpy refuses while somebody (a debugger, a traceback) still looks at the matrix
            old, self._vectors = self._vectors, np.empty((rows, self.dim), np.float32)
            self._vectors[: self._used] = old[: self._used]
            old.fill(0.0)


def _resized(old: NDArray[np.int64], rows: int, used: int) -> NDArray[np.int64]:
    new = np.empty(rows, np.int64)
    new[:used] = old[:used]
    return new


def _kth_highest(values: NDArray[np.float32], k: int) -> np.float32:
    """Return the `k`-th highest value, without sorting through all of them."""
    width = len(values) // _GROUPS
    if width >= 4 * k:
        # k group maxima are k different values, so the k-th highest maximum is a floor under the
        # k-th highest value: only what reaches it needs to be looked at
        maxima = values[: width * _GROUPS].reshape(_GROUPS, width).max(axis=0)
        values = values[values >= np.partition(maxima, width - k)[width - k]]
    return np.float32(np.partition(values, len(values) - k)[len(values) - k])
