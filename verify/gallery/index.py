"""Exact search over an in-memory float32 matrix that grows and shrinks in place.

The matrix is a list of blocks of 16 MiB: growing never copies what is there, and at most
one block is partly empty. The product over the blocks runs at memory bandwidth, on as many threads
as the BLAS of numpy is set to (by default one a core, `OPENBLAS_NUM_THREADS` and its like set it);
threads of our own on top would only compete for the same bandwidth.

BLAS only shortlists. The few rows that could be among the best, given the rounding error of a
float32 product, are scored again in double precision, which decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.gallery.vectors import exact_cosines

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK_NUMBERS = 1 << 22  # 16 MiB of float32
_FIRST_ROWS = 64
_RESCORED_AT_ONCE = 4096
_GROUPS = 64
_NOBODY = -1


@dataclass(slots=True)
class _Block:
    """Rows of the matrix: (capacity, D) vectors, their template ids, their subjects."""

    vectors: NDArray[np.float32] = field(repr=False)
    ids: NDArray[np.int64] = field(repr=False)
    owners: NDArray[np.int64] = field(repr=False)
    used: int = 0

    @classmethod
    def empty(cls, capacity: int, dim: int) -> _Block:
        return cls(
            np.empty((capacity, dim), np.float32), np.empty(capacity, np.int64), np.empty(capacity, np.int64)
        )

    @property
    def capacity(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        return self.vectors.nbytes + self.ids.nbytes + self.owners.nbytes

    def put(self, at: int, other: _Block, rows: NDArray[np.intp] | slice) -> None:
        count = len(other.ids[rows])
        self.vectors[at : at + count] = other.vectors[rows]
        self.ids[at : at + count] = other.ids[rows]
        self.owners[at : at + count] = other.owners[rows]


class MatrixIndex:
    """The templates of one model, searched exactly by subject. Not safe across threads by itself.

    Template ids must come in rising order, as the gallery hands them out. Removed rows are zeroed
    at once and their room is taken back when they are a tenth of the matrix.
    """

    def __init__(self, dim: int, *, block_rows: int | None = None) -> None:
        self.dim = dim
        self._block_rows = block_rows or max(256, _BLOCK_NUMBERS // dim)
        self._blocks: list[_Block] = []
        self._dead: NDArray[np.int64] = np.empty(0, np.int64)

    def __repr__(self) -> str:
        return f"MatrixIndex(dim={self.dim}, templates={len(self)})"

    def __len__(self) -> int:
        """Number of templates that can be found."""
        return self._used - len(self._dead)

    @property
    def nbytes(self) -> int:
        """Bytes set aside for vectors and their bookkeeping."""
        return sum(block.nbytes for block in self._blocks) + self._dead.nbytes

    @property
    def _used(self) -> int:
        return (len(self._blocks) - 1) * self._block_rows + self._blocks[-1].used if self._blocks else 0

    def append(self, ids: NDArray[np.int64], owners: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add (N,) template ids, their (N,) subjects (0 or more) and their (N, D) checked vectors."""
        batch = _Block(vectors, ids, owners)
        start = 0
        while start < len(ids):
            block = self._roomy_block(len(ids) - start)
            count = min(block.capacity - block.used, len(ids) - start)
            block.put(block.used, batch, slice(start, start + count))
            block.used += count
            start += count

    def remove(self, ids: NDArray[np.int64]) -> int:
        """Zero the rows of these template ids; ids that are not here are passed over."""
        dead = []
        for template_id in np.unique(ids):
            row = self._find(int(template_id))
            if row is not None:
                block, at = self._blocks[row // self._block_rows], row % self._block_rows
                block.vectors[at] = 0.0
                block.owners[at] = _NOBODY
                dead.append(row)
        self._dead = np.union1d(self._dead, np.array(dead, np.int64))
        if len(self._dead) * 10 >= self._used:
            self._compact()
        return len(dead)

    def clear(self) -> None:
        """Zero and release everything."""
        for block in self._blocks:
            block.vectors.fill(0.0)
        self._blocks = []
        self._dead = np.empty(0, np.int64)

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
        for start, block in zip(range(0, self._used, self._block_rows), self._blocks, strict=True):
            np.dot(block.vectors[: block.used], probe, out=products[start : start + block.used])
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
            if count == live or len(np.unique(self._owners(rows[products[rows] >= bar]))) >= k:
                return rows
            count = min(live, 4 * count)
        return np.empty(0, np.intp)

    def _rescore(
        self, rows: NDArray[np.intp], probe: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        scores = np.empty(len(rows), np.float64)
        for start in range(0, len(rows), _RESCORED_AT_ONCE):
            part = rows[start : start + _RESCORED_AT_ONCE]
            vectors = np.stack(
                [self._blocks[r // self._block_rows].vectors[r % self._block_rows] for r in part]
            )
            scores[start : start + len(part)] = exact_cosines(vectors, probe)
        return self._owners(rows), scores

    def _owners(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        owners = [self._blocks[r // self._block_rows].owners[r % self._block_rows] for r in rows]
        return np.array(owners, np.int64)

    def _find(self, template_id: int) -> int | None:
        for number, block in enumerate(self._blocks):
            if block.used and block.ids[block.used - 1] >= template_id:
                at = int(np.searchsorted(block.ids[: block.used], template_id))
                here = block.ids[at] == template_id and block.owners[at] != _NOBODY
                return number * self._block_rows + at if here else None
        return None

    def _roomy_block(self, wanted: int) -> _Block:
        last = self._blocks[-1] if self._blocks else None
        if last is None or last.used == self._block_rows:
            capacity = self._block_rows if last else min(self._block_rows, max(_FIRST_ROWS, wanted))
            self._blocks.append(_Block.empty(capacity, self.dim))
        elif last.used == last.capacity:
            grown = _Block.empty(min(self._block_rows, max(2 * last.capacity, last.used + wanted)), self.dim)
            grown.put(0, last, slice(0, last.used))
            grown.used = last.used
            last.vectors.fill(0.0)  # no template may stay in freed memory
            self._blocks[-1] = grown
        return self._blocks[-1]

    def _compact(self) -> None:
        """Move the living rows down over the dead ones, in order, block by block."""
        old, self._blocks = self._blocks, []
        self._dead = np.empty(0, np.int64)
        old.reverse()
        while old:  # each block goes as soon as it is emptied: there are never two matrices
            block = old.pop()
            keep = np.flatnonzero(block.owners[: block.used] != _NOBODY)
            if len(keep):
                self.append(block.ids[keep], block.owners[keep], block.vectors[keep])
            block.vectors.fill(0.0)


def _kth_highest(values: NDArray[np.float32], k: int) -> np.float32:
    """Return the `k`-th highest value, without sorting through all of them."""
    width = len(values) // _GROUPS
    if width >= 4 * k:
        # k group maxima are k different values, so the k-th highest maximum is a floor under the
        # k-th highest value: only what reaches it needs to be looked at
        maxima = values[: width * _GROUPS].reshape(_GROUPS, width).max(axis=0)
        values = values[values >= np.partition(maxima, width - k)[width - k]]
    return np.float32(np.partition(values, len(values) - k)[len(values) - k])
