"""The search behind `verify.metrics.retrieval`: a block of queries against the whole gallery at once.

Scores are cosines in float32. Memory is the gallery plus one block of scores, and every query's ranks are exact:
nothing is approximated by a list of the nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.metrics.ranking import MateLevels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]
    Reals = NDArray[np.float64]

_FEW = 12  # so many thresholds are counted one by one sooner than the row is sorted
_SPAN = 64  # members of which the best is taken first, to find the nearest of a long row
_ROWS = 1 << 14  # gallery rows looked at together


@dataclass(frozen=True, slots=True)
class MateSearch:
    """A gallery sorted by subject on paper: `order[start[s]:start[s + 1]]` are the rows of subject s."""

    queries: Floats
    gallery: Floats
    asked: Ints
    owners: Ints
    names: Ints
    order: Ints
    starts: Ints
    copies: Ints
    originals: Ints
    alone: bool
    neighbours: tuple[int, ...]

    @classmethod
    def of(
        cls,
        queries: Floats,
        gallery: Floats,
        *,
        asked: Ints,
        owners: Ints,
        alone: bool,
        neighbours: tuple[int, ...],
    ) -> MateSearch:
        """Queries (n, D) against a gallery (N, D), both of unit norm; `alone`: they are the same vectors."""
        order = np.argsort(owners, kind="stable")
        names, starts = np.unique(owners[order], return_index=True)
        copies, originals = _equal_rows(gallery)
        return cls(
            queries, gallery, asked, owners, names, order, np.append(starts, owners.size), copies, originals, alone,
            neighbours,
        )  # fmt: skip

    def mates_of(self, subjects: Ints) -> Ints:
        """How many mates a query of each of these subjects has in the gallery."""
        place = np.minimum(np.searchsorted(self.names, subjects), self.names.size - 1)
        counts: Ints = np.where(self.names[place] == subjects, np.diff(self.starts)[place], 0) - int(
            self.alone
        )
        return counts

    def block(self, places: Ints, *, buffer: Floats) -> tuple[MateLevels, Reals]:
        """Levels of mates, and (B, neighbours) votes, of the queries at these places; `buffer` is (B or more, N)."""
        scores = np.matmul(self.queries[places], self.gallery.T, out=buffer[: places.size])  # (B, N)
        # BLAS rounds by position: equal vectors are given one score, or their ties would be lost
        if self.copies.size:
            scores[:, self.copies] = scores[:, self.originals]
        if self.alone:
            scores[np.arange(places.size), places] = -np.inf
        found, votes = [], np.empty((places.size, len(self.neighbours)))
        for number, (place, row) in enumerate(zip(places.tolist(), scores, strict=True)):
            at = int(np.searchsorted(self.names, self.asked[place]))
            mates = self.order[self.starts[at] : self.starts[at + 1]]
            found.append(_levels(row, row[mates[mates != place] if self.alone else mates]))
            votes[number] = self._votes(row, subject=int(self.asked[place]))
        above, tied, count = (np.concatenate(column) for column in zip(*found, strict=True))
        sizes = np.array([len(one) for one, _, _ in found])
        relevant = np.array([int(one.sum()) for _, _, one in found])
        return MateLevels(above, tied, count, np.cumsum(sizes) - sizes, relevant), votes

    def _votes(self, row: Floats, *, subject: int) -> list[float]:
        """Share of the vote's outcome that is `subject`, for each number of neighbours."""
        size = row.size - self.alone
        near = np.flatnonzero(row >= _floor(row, min(max(self.neighbours), size)))
        near = near[np.argsort(-row[near], kind="stable")]
        return [_vote(row[near], self.owners[near], k=min(k, size), subject=subject) for k in self.neighbours]


def _floor(row: Floats, most: int) -> np.float32:
    """A score that at least `most` members reach, and not many more: the exact one in a short row."""
    best = row[: row.size // _SPAN * _SPAN].reshape(-1, _SPAN).max(axis=1)
    pool = best if best.size > _SPAN * most else row
    floor: np.float32 = np.partition(pool, pool.size - most)[pool.size - most]
    return floor


def _levels(row: Floats, mates: Floats) -> tuple[Ints, Ints, Ints]:
    """(L,) each: members above each distinct score of the mates, on it, and mates on it; the best first."""
    scores, count = np.unique(mates, return_counts=True)
    kept = row >= scores[0]
    if scores.size <= _FEW and np.count_nonzero(kept) > row.size // _FEW:
        above = np.array([np.count_nonzero(row > score) for score in scores])
        at_least = np.array([np.count_nonzero(row >= score) for score in scores])
    else:
        near = np.sort(row[kept])
        above = near.size - np.searchsorted(near, scores, side="right")
        at_least = near.size - np.searchsorted(near, scores, side="left")
    return above[::-1], (at_least - above)[::-1], count[::-1]


def _vote(scores: Floats, owners: Ints, *, k: int, subject: int) -> float:
    """Share of the outcome that is `subject`; the neighbours come best first, with all that tie with the last."""
    last = scores[k - 1]
    sure, end = int(np.count_nonzero(scores > last)), int(np.count_nonzero(scores >= last))
    if k == 1:
        return np.count_nonzero(owners[:end] == subject) / end
    weight = np.ones(end)
    weight[sure:] = (k - sure) / (end - sure)
    names, whose = np.unique(owners[:end], return_inverse=True)
    votes = np.bincount(whose, weights=weight)
    together = np.bincount(whose, weights=weight * scores[:end])
    first = votes >= votes.max() - 1e-9  # weights are fractions
    first &= together >= together[first].max() - 1e-9
    return float(subject in names[first]) / np.count_nonzero(first)


def joined(parts: Sequence[MateLevels]) -> MateLevels:
    """The levels of all blocks as one."""
    before = np.cumsum([0, *(part.above.size for part in parts[:-1])])
    return MateLevels(
        above=np.concatenate([part.above for part in parts]),
        tied=np.concatenate([part.tied for part in parts]),
        mates=np.concatenate([part.mates for part in parts]),
        first=np.concatenate([part.first + start for part, start in zip(parts, before, strict=True)]),
        relevant=np.concatenate([part.relevant for part in parts]),
    )


def _equal_rows(vectors: Floats) -> tuple[Ints, Ints]:
    """Rows that repeat an earlier row bit for bit, and which: found by a 64-bit hash, then compared."""
    keys = np.random.default_rng(0).integers(1, 1 << 63, size=vectors.shape[1], dtype=np.uint64)
    hashes = np.empty(len(vectors), dtype=np.uint64)
    for start in range(0, len(vectors), _ROWS):
        bits = (np.ascontiguousarray(vectors[start : start + _ROWS]) + 0.0).view(np.uint32)  # -0.0 is 0.0
        hashes[start : start + _ROWS] = bits.astype(np.uint64) @ keys
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    originals = first[inverse]
    copies = np.flatnonzero(originals != np.arange(len(vectors)))
    same = np.array(
        [np.array_equal(vectors[a], vectors[b]) for a, b in zip(copies, originals[copies], strict=True)]
    )
    copies = copies[same.astype(bool)]
    return copies.astype(np.int64), originals[copies].astype(np.int64)
