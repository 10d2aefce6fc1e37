"""Who may be who: near-duplicates across identities, and one person under two ids, told from embeddings.

A split by subject id keeps ids apart, not people. Two things break it without a trace: a photo that was
encoded anew under another name, and a person who is there under two names. Both show in the embeddings.

Near-duplicates are pairs of samples of two identities whose cosine no two takes reach. Same persons are pairs of
identities whose mean cosine over all their pairs of samples is so high that, going by the bulk of all pairs
of identities, fewer than `chance` such pairs would be expected among strangers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.embeddings import EmbeddedSet

ROWS = 2048  # of a block: its scores against all others take 16 bytes each at the most
BINS = 20_000
DUPLICATE_COSINE = 0.95
CHANCE = 1.0
MOST = 10_000  # pairs kept of each kind
_BULK = (0.5, 0.999)  # quantiles of the pairs of identities that the tail is told from
_LEAST_PAIRS = 1000  # below that there is no bulk to tell a tail from


@dataclass(frozen=True, slots=True)
class Audited:
    """One embedded set and the part of each of its subjects."""

    embedded: EmbeddedSet = field(repr=False)
    parts: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Suspect:
    """Two identities that may be one person.

    Attributes:
        kind: ``near-duplicate`` (two samples) or ``same person`` (all of their samples).
        cosine: of the two samples; or the mean over all pairs of samples.
        one: ``set/subject``.
        other: ``set/subject``.
        parts: of the split, of both.
        files: of the two samples; of a same person the most alike.
        pairs: of samples behind the cosine.
        expected: how many such pairs strangers would give by chance; NaN for near-duplicates.
    """

    kind: str
    cosine: float
    one: str
    other: str
    parts: tuple[str, str]
    files: tuple[str, str]
    pairs: int
    expected: float

    @property
    def across(self) -> bool:
        """Whether the two stand in different parts."""
        return self.parts[0] != self.parts[1]


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found.

    Attributes:
        suspects: those across parts first, then near-duplicates, then by cosine.
        identities: that were looked at.
        samples: that were looked at.
        failed: captures that failed and so were not.
        person_cosine: from this mean cosine on two identities are suspected; NaN if too few to tell.
    """

    suspects: tuple[Suspect, ...]
    identities: int
    samples: int
    failed: int
    duplicate_cosine: float
    person_cosine: float


def audit(
    sets: Sequence[Audited],
    *,
    duplicate_cosine: float = DUPLICATE_COSINE,
    chance: float = CHANCE,
    progress: Callable[[Iterator[int], int], Iterator[int]] = lambda blocks, _: blocks,
) -> Audit:
    """Look at every pair of samples and every pair of identities, over all sets together.

    Time grows with the square of the samples (10^5 of 512 numbers: 10^13 multiplications), memory does not.

    Args:
        sets: embedded by one model, each subject with its part.
        duplicate_cosine: samples of two identities at least so alike are near-duplicates.
        chance: suspect pairs of identities of which strangers would give fewer than so many.
        progress: wraps the blocks of rows, given their number.

    Raises:
        UsageError: limits that cannot be.
    """
    if not 0 < duplicate_cosine <= 1 or chance <= 0:
        msg = f"duplicate_cosine must be in (0, 1] and chance above 0, not {duplicate_cosine} and {chance}"
        raise UsageError(msg)
    people = _People.of(sets)
    starts = range(0, len(people.vectors), ROWS)
    duplicates = list(_near_duplicates(people, progress(iter(starts), len(starts)), limit=duplicate_cosine))
    limit, expected = person_limit(_histogram(people.means), chance=chance)
    same = list(_same_persons(people, limit=limit, expected=expected))
    suspects = sorted([*duplicates, *same], key=lambda one: (not one.across, one.kind, -one.cosine))
    return Audit(
        suspects=tuple(suspects),
        identities=len(people.names),
        samples=len(people.vectors),
        failed=sum(int(np.isnan(one.embedded.vectors[:, 0]).sum()) for one in sets),
        duplicate_cosine=duplicate_cosine,
        person_cosine=limit,
    )


def person_limit(
    counts: NDArray[np.int64], *, chance: float = CHANCE
) -> tuple[float, Callable[[float], float]]:
    """The mean cosine from which on fewer than `chance` pairs of strangers are expected.

    The bulk of all pairs are strangers. Between its median and its 99.9 % quantile the normal quantiles of the
    cumulative counts are a nearly straight line in the cosine; its continuation says how many strangers lie above
    a cosine. The few pairs that are one person lie beyond that stretch and do not move it.

    Args:
        counts: (BINS,) pairs of identities by mean cosine over [-1, 1].
        chance: pairs.

    Returns:
        The limit, and the number of stranger pairs expected at or above a cosine. NaN if there are fewer than a
        thousand pairs, which tell no tail.
    """
    from scipy.special import ndtr, ndtri

    total = int(counts.sum())
    if total < _LEAST_PAIRS:
        return float("nan"), lambda _: float("nan")
    below = np.cumsum(counts) / total
    edges = np.linspace(-1, 1, len(counts) + 1)[1:]
    bulk = (below >= _BULK[0]) & (below <= _BULK[1]) & (counts > 0)
    if np.count_nonzero(bulk) < 2:  # noqa: PLR2004  a line takes two points
        return float("nan"), lambda _: float("nan")
    slope, level = np.polyfit(edges[bulk], ndtri(below[bulk]), 1)
    limit = float((-ndtri(min(0.5, chance / total)) - level) / slope)
    return limit, lambda cosine: float(total * ndtr(-(slope * cosine + level)))


@dataclass(frozen=True, slots=True)
class _People:
    """All usable samples of all sets, ordered by identity.

    Attributes:
        vectors: (n, D) float32, unit L2.
        owner: (n,) int32 place in `names`, ascending.
        starts: (S + 1,) first sample of each identity.
        means: (S, D) float32, mean of each identity's vectors: the inner product of two is the mean cosine.
    """

    names: tuple[str, ...]
    parts: tuple[str, ...]
    files: tuple[str, ...]
    vectors: NDArray[np.float32]
    owner: NDArray[np.int32]
    starts: NDArray[np.intp]
    means: NDArray[np.float32]

    @classmethod
    def of(cls, sets: Sequence[Audited]) -> _People:
        rows = [
            (f"{one.embedded.name}/{entry.subject_id}", one.parts[entry.subject_id], str(entry.path), vector)
            for one in sets
            for entry, vector in zip(one.embedded.entries, one.embedded.vectors, strict=True)
            if np.isfinite(vector[0])
        ]
        rows.sort(key=lambda row: row[0])
        part_of = {name: part for name, part, _, _ in rows}
        names = tuple(part_of)
        place = {name: number for number, name in enumerate(names)}
        vectors = np.array([row[3] for row in rows], dtype=np.float32)
        owner = np.array([place[row[0]] for row in rows], dtype=np.int32)
        starts = np.searchsorted(owner, np.arange(len(names) + 1))
        sums = np.add.reduceat(vectors, starts[:-1], axis=0)
        return cls(
            names=names,
            parts=tuple(part_of.values()),
            files=tuple(row[2] for row in rows),
            vectors=vectors,
            owner=owner,
            starts=starts,
            means=np.asarray(sums / np.diff(starts)[:, None], np.float32),
        )

    def suspect(
        self, kind: str, cosine: float, samples: tuple[int, int], *, pairs: int, expected: float
    ) -> Suspect:
        one, other = (int(self.owner[sample]) for sample in samples)
        return Suspect(
            kind=kind,
            cosine=cosine,
            one=self.names[one],
            other=self.names[other],
            parts=(self.parts[one], self.parts[other]),
            files=(self.files[samples[0]], self.files[samples[1]]),
            pairs=pairs,
            expected=expected,
        )


def _near_duplicates(people: _People, starts: Iterator[int], *, limit: float) -> Iterator[Suspect]:
    found = 0
    for start in starts:
        scores = people.vectors[start : start + ROWS] @ people.vectors[start:].T  # (R, n - start)
        rows, columns = np.nonzero(scores >= limit)
        ours, theirs = people.owner[start + rows], people.owner[start + columns]
        for place in np.flatnonzero(
            ours < theirs
        ).tolist():  # samples are ordered by identity: each pair once
            if found == MOST:
                return
            found += 1
            row, column = int(rows[place]), int(columns[place])
            cosine = min(1.0, float(scores[row, column]))
            samples = (start + row, start + column)
            yield people.suspect("near-duplicate", cosine, samples, pairs=1, expected=float("nan"))


def _histogram(means: NDArray[np.float32]) -> NDArray[np.int64]:
    """(BINS,) pairs of identities by their mean cosine, each pair once."""
    counts = np.zeros(BINS, dtype=np.int64)
    for start in range(0, len(means), ROWS):
        block = means[start : start + ROWS]
        scores = block @ means[start:].T
        later = np.arange(scores.shape[1])[None, :] > np.arange(len(block))[:, None]
        bins = ((scores[later] + 1) * (BINS / 2)).astype(np.int64)
        counts += np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)
    return counts


def _same_persons(people: _People, *, limit: float, expected: Callable[[float], float]) -> Iterator[Suspect]:
    if not np.isfinite(limit):
        return
    found = 0
    for start in range(0, len(people.means), ROWS):
        block = people.means[start : start + ROWS]
        scores = block @ people.means[start:].T
        rows, columns = np.nonzero(scores >= limit)
        for place in np.flatnonzero(columns > rows).tolist():
            if found == MOST:
                return
            found += 1
            row, column = int(rows[place]), int(columns[place])
            cosine = float(scores[row, column])
            ours, theirs = (slice(*people.starts[at : at + 2]) for at in (start + row, start + column))
            pairs = people.vectors[ours] @ people.vectors[theirs].T
            nearest = np.unravel_index(int(np.argmax(pairs)), pairs.shape)
            samples = (int(ours.start + nearest[0]), int(theirs.start + nearest[1]))
            yield people.suspect("same person", cosine, samples, pairs=pairs.size, expected=expected(cosine))
