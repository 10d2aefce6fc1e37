"""A histogram of scores of any range at the resolution of 13 bits of mantissa, in 32 MB.

A score is rounded down to float32, whose bits, read as a whole number, order as the scores do; the top 22
of them number the bin. So bins are 1/8192 of the score wide, whatever the scale of the scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DROPPED_BITS = 10
_SIGN = np.uint32(1 << 31)


class ScoreHistogram:
    """Counts of scores; rates from it are counts at bin edges, never below the truth."""

    __slots__ = ("_counts", "_filled", "total")

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] | None = None  # most calibrations keep every score exactly
        self._filled: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        self.total = 0

    def add(self, scores: NDArray[np.floating]) -> None:
        """Count (n,) finite scores."""
        if scores.size:
            np.add.at(self._bins(), bin_of(scores), np.int64(1))
            self.total += scores.size
            self._filled = None

    def merge(self, other: ScoreHistogram) -> None:
        """Take the counts of another histogram in."""
        if other.total:
            self._bins()[:] += other._bins()
            self.total += other.total
            self._filled = None

    def at_or_above(self, threshold: float) -> int:
        """How many scores lie in the threshold's bin or above: at least those at or above it."""
        if not self.total or threshold == np.inf:
            return 0
        if threshold == -np.inf:
            return self.total
        bins, above = self._sums()
        first = np.searchsorted(bins, bin_of(np.array([threshold], dtype=np.float64))[0])
        return int(above[first]) if first < bins.size else 0

    def filled(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Lower edges, ascending, and counts of the bins that hold anything."""
        if not self.total:
            return np.empty(0), np.empty(0, dtype=np.int64)
        bins, _ = self._sums()
        return lower_edge(bins), self._bins()[bins]

    def _sums(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The bins that hold anything, and how many scores lie in each or above."""
        if self._filled is None:
            counts = self._bins()
            bins = np.flatnonzero(counts)
            self._filled = bins, np.cumsum(counts[bins][::-1])[::-1]
        return self._filled

    def _bins(self) -> NDArray[np.int64]:
        if self._counts is None:
            self._counts = np.zeros(1 << (32 - _DROPPED_BITS), dtype=np.int64)
        return self._counts


def bin_of(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """(n,) bin numbers; a higher score never has a lower bin."""
    with np.errstate(over="ignore"):
        rounded = scores.astype(np.float32)
    if scores.dtype != np.float32:  # down, not to the nearest, so that an edge is at or below its scores
        limit = np.finfo(np.float32).max
        rounded = np.clip(rounded, -limit, limit)
        too_high = rounded > scores
        rounded[too_high] = np.nextafter(rounded[too_high], np.float32(-limit))
    rounded += np.float32(0.0)  # -0.0 is 0.0
    bits = rounded.view(np.uint32)
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    numbers: NDArray[np.int64] = (ordered >> np.uint32(_DROPPED_BITS)).astype(np.int64)
    return numbers


def lower_edge(bins: NDArray[np.integer]) -> NDArray[np.float64]:
    """(n,) the smallest score of each bin."""
    ordered = bins.astype(np.uint32) << np.uint32(_DROPPED_BITS)
    bits = np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered)
    edges: NDArray[np.float64] = bits.astype(np.uint32).view(np.float32).astype(np.float64)
    return edges
