"""How many trials each pair of subjects has: what the dyadic variance asks of a design.

Up to about 23,000 subjects the pairs are counted in a triangle of 32-bit counters, at one increment a
trial; its pages cost memory only where there are pairs (10^4 subjects: 200 MB). Beyond that, the pairs
that met are kept as sorted keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_CELLS = 1 << 28  # of the triangle: 1 GiB of address space at most
_ROWS = 256  # of the triangle, weighed at once
_CHUNK = 1 << 22  # cells summed, or keys merged, at once


class PairTrials(Protocol):
    """Trials of pairs of subjects, however they are kept."""

    def trials_of(self, a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.int64]:
        """(n,) trials of each pair; 0 for pairs that never met."""
        ...

    def sum_of_squares(self) -> int:
        """Sum over pairs of n_ij^2, exact."""
        ...

    def largest(self) -> int:
        """The largest n_ij, or more."""
        ...

    def weighted(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(R,) sum over pairs of n_ij weights[i, r] weights[j, r], for (S, R) weights."""
        ...


class PairCounter:
    """Counts trials of unordered pairs of subjects 0..S-1.

    Args:
        subjects: S.
    """

    __slots__ = ("_cells", "_counts", "_keys", "_pending", "_pending_size")

    def __init__(self, subjects: int) -> None:
        cells = subjects * (subjects - 1) // 2
        self._cells = np.zeros(cells, dtype=np.uint32) if cells <= _MOST_CELLS else None
        self._keys = np.empty(0, dtype=np.int64)
        self._counts = np.empty(0, dtype=np.int64)
        self._pending: list[NDArray[np.int64]] = []
        self._pending_size = 0

    def add(self, a: NDArray[np.integer], b: NDArray[np.integer]) -> None:
        """Count n more trials between subjects a[i] and b[i], who differ; (n,) each."""
        cell = _cell(a, b)
        if self._cells is not None:
            np.add.at(self._cells, cell, np.uint32(1))
            return
        self._pending.append(cell)
        self._pending_size += cell.size
        if self._pending_size >= max(_CHUNK, self._keys.size // 2):
            self._merge()

    def trials_of(self, a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.int64]:
        """(n,) trials of each pair; 0 for pairs that never met."""
        cell = _cell(a, b)
        if self._cells is not None:
            return self._cells[cell].astype(np.int64)
        self._merge()
        at = np.minimum(np.searchsorted(self._keys, cell), max(self._keys.size - 1, 0))
        met: NDArray[np.int64] = np.where(self._keys[at] == cell, self._counts[at], 0)
        return met

    def sum_of_squares(self) -> int:
        """Sum over pairs of n_ij^2, exact."""
        self._merge()
        counts = self._counts if self._cells is None else self._cells
        total = 0
        for start in range(0, counts.size, _CHUNK):
            part = counts[start : start + _CHUNK].astype(np.int64)
            total += int(np.dot(part, part))
        return total

    def largest(self) -> int:
        """The largest n_ij."""
        self._merge()
        counts = self._counts if self._cells is None else self._cells
        return int(counts.max(initial=0))

    def weighted(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(R,) sum over pairs of n_ij weights[i, r] weights[j, r], for (S, R) weights."""
        total = np.zeros(weights.shape[1])
        if self._cells is None:
            self._merge()
            step = max(1, _CHUNK // weights.shape[1])
            for start in range(0, self._keys.size, step):
                a, b = _pair(self._keys[start : start + step])
                total += self._counts[start : start + step] @ (weights[a] * weights[b])
            return total
        subjects = (1 + math.isqrt(1 + 8 * self._cells.size)) // 2
        for first in range(0, subjects, _ROWS):
            rows = range(first, min(first + _ROWS, subjects))
            block = np.zeros((len(rows), rows[-1]))
            for row, high in enumerate(rows):
                block[row, :high] = self._cells[high * (high - 1) // 2 : high * (high + 1) // 2]
            total += np.einsum("ir,ir->r", weights[rows[0] : rows[-1] + 1], block @ weights[: rows[-1]])
        return total

    def _merge(self) -> None:
        """Take what is pending into the sorted keys."""
        if not self._pending:
            return
        keys, counts = np.unique(np.concatenate(self._pending), return_counts=True)
        self._pending, self._pending_size = [], 0
        known = np.searchsorted(self._keys, keys)
        seen = np.zeros(keys.size, dtype=bool)
        inside = known < self._keys.size
        seen[inside] = self._keys[known[inside]] == keys[inside]
        self._counts[known[seen]] += counts[seen]
        self._keys = np.insert(self._keys, known[~seen], keys[~seen])
        self._counts = np.insert(self._counts, known[~seen], counts[~seen])


@dataclass(frozen=True, slots=True)
class RenumberedPairs:
    """Pairs of subjects who are numbered otherwise in the counter.

    Attributes:
        inside: the counter.
        number: (S,) number[s] is what s is there.
        present: the other way round.
    """

    inside: PairCounter
    number: NDArray[np.int64]
    present: NDArray[np.int64]

    def trials_of(self, a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.int64]:
        """(n,) trials of each pair."""
        return self.inside.trials_of(self.number[a], self.number[b])

    def sum_of_squares(self) -> int:
        """Sum over pairs of n_ij^2, exact."""
        return self.inside.sum_of_squares()

    def largest(self) -> int:
        """The largest n_ij."""
        return self.inside.largest()

    def weighted(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(R,) sum over pairs of n_ij weights[i, r] weights[j, r], for (S, R) weights."""
        return self.inside.weighted(weights[self.present])


@dataclass(frozen=True, slots=True)
class PooledPairs:
    """Pairs of several groups without a common subject, numbered one group after the other.

    Attributes:
        parts: one a group.
        offsets: (G,) first number of each group.
    """

    parts: tuple[PairTrials, ...]
    offsets: NDArray[np.int64]

    def trials_of(self, a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.int64]:
        """(n,) trials of each pair, whose subjects are of one group."""
        group = np.searchsorted(self.offsets, a, side="right") - 1
        trials = np.zeros(a.size, dtype=np.int64)
        for number, part in enumerate(self.parts):
            own = group == number
            if own.any():
                offset = self.offsets[number]
                trials[own] = part.trials_of(a[own] - offset, b[own] - offset)
        return trials

    def sum_of_squares(self) -> int:
        """Sum over pairs of n_ij^2, exact."""
        return sum(part.sum_of_squares() for part in self.parts)

    def largest(self) -> int:
        """The largest n_ij."""
        return max(part.largest() for part in self.parts)

    def weighted(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """(R,) sum over pairs of n_ij weights[i, r] weights[j, r], for (S, R) weights."""
        ends = np.append(self.offsets[1:], weights.shape[0])
        total = np.zeros(weights.shape[1])
        for part, start, end in zip(self.parts, self.offsets.tolist(), ends.tolist(), strict=True):
            total += part.weighted(weights[start:end])
        return total


def _cell(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.int64]:
    """The place of each unordered pair in the triangle, the larger number's rows one below the other."""
    high, low = np.maximum(a, b).astype(np.int64), np.minimum(a, b)
    place: NDArray[np.int64] = high * (high - 1) // 2 + low
    return place


def _pair(cells: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The subjects of each place in the triangle."""
    high = ((1 + np.sqrt(1 + 8 * cells.astype(np.float64))) / 2).astype(np.int64)
    high -= high * (high - 1) // 2 > cells  # the root may round up
    return high, cells - high * (high - 1) // 2
