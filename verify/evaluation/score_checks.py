"""What a score file tells about itself in passing: which way scores point, and trials that stand there twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

_SAMPLE = 1 << 16
_KEYS = 1 << 22
_MANY_SCORES = 0.1  # of a sample are distinct: then equal scores are no accident of coarse rounding


class SampleOfScores:
    """A random sample of the scores that pass, each as likely as any other, of bounded size."""

    def __init__(self, *, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._scores = np.empty(0, dtype=np.float64)
        self._draws = np.empty(0, dtype=np.float64)
        self._limit = 1.0

    def add(self, scores: NDArray[np.float64]) -> None:
        """Scores that pass by, (n,)."""
        draws = self._rng.random(scores.size)
        kept = draws < self._limit
        self._scores = np.concatenate([self._scores, scores[kept]])
        self._draws = np.concatenate([self._draws, draws[kept]])
        while self._scores.size > _SAMPLE:
            self._limit /= 2
            kept = self._draws < self._limit
            self._scores, self._draws = self._scores[kept], self._draws[kept]

    @property
    def median(self) -> float:
        """Of the sample."""
        return float(np.median(self._scores))

    @property
    def fine(self) -> bool:
        """Whether most scores differ."""
        return _distinct(self._scores) > _MANY_SCORES * self._scores.size


class Repeats:
    """How many trials stand there more than once, in bounded memory.

    Trials are known by a 64-bit hash. When there are too many of them, only those whose hash ends in
    zero bits are kept on: equal trials stay or go together, so the count scales up.
    """

    def __init__(self) -> None:
        self._hashes: list[NDArray[np.uint64]] = []
        self._kept = 0
        self._bits = 0

    def add(self, first: NDArray[np.int32], second: NDArray[np.int32], *more: NDArray[np.float64]) -> None:
        """Trials, (n,), known by their two places in either order, and by `more`."""
        low, high = np.minimum(first, second), np.maximum(first, second)
        key = (low.astype(np.uint64) << np.uint64(32)) | high.astype(np.uint64)
        hashes = _mixed(key)
        for one in more:
            hashes = _mixed(hashes ^ np.ascontiguousarray(one + 0.0).view(np.uint64))  # -0.0 is 0.0
        self._keep(hashes)

    def count(self) -> int:
        """About how many trials are repeats of an earlier one; exact up to some million trials."""
        if not self._hashes:
            return 0
        hashes = np.concatenate(self._hashes)
        return (hashes.size - _distinct(hashes)) << self._bits

    def _keep(self, hashes: NDArray[np.uint64]) -> None:
        hashes = hashes[self._stays(hashes)] if self._bits else hashes
        self._hashes.append(hashes)
        self._kept += hashes.size
        while self._kept > _KEYS:
            self._bits += 1
            self._hashes = [one[self._stays(one)] for one in self._hashes]
            self._kept = sum(one.size for one in self._hashes)
            if self._bits >= 63:  # noqa: PLR2004  one trial over and over
                break

    def _stays(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (hashes & np.uint64((1 << self._bits) - 1)) == 0
        return found


def _distinct(values: NDArray[Any]) -> int:
    """How many different values; sorting takes a fraction of what numpy's hashing `unique` takes."""
    ordered = np.sort(values)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + min(1, ordered.size)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele et al. 2014): every bit of the input moves every bit out."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
