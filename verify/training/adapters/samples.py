"""Embeddings of people, as adapters learn from them, and the affine map that an adapter is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError, ScoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Embeddings with their owners; sets are people of different sources, never compared across in measurements.

    Attributes:
        vectors: (N, D) float64, for each encoder a block of unit L2 norm.
        owner: (N,) int64 person of each row, numbered over all sets; numbers may have gaps.
        source: (N,) int64 set of each row.
        dims: width of each encoder's block; they sum to D.
    """

    vectors: NDArray[np.float64] = field(repr=False)
    owner: NDArray[np.int64] = field(repr=False)
    source: NDArray[np.int64] = field(repr=False)
    dims: tuple[int, ...]

    def __post_init__(self) -> None:
        n = len(self.vectors)
        fits = self.vectors.shape == (n, sum(self.dims)) and self.owner.shape == self.source.shape == (n,)
        if not fits or not np.isfinite(self.vectors).all():
            shapes = (
                f"{self.vectors.shape}, {self.owner.shape}, {self.source.shape} and blocks of {self.dims}"
            )
            msg = f"people are finite vectors (N, D) with an owner and a source each, not {shapes}"
            raise ScoreError(msg)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def subjects(self) -> NDArray[np.int64]:
        """The persons, each once, in order."""
        return np.unique(self.owner)

    def among(self, subjects: NDArray[np.int64]) -> People:
        """Those rows that belong to some of the people."""
        kept = np.isin(self.owner, subjects)
        return People(self.vectors[kept], self.owner[kept], self.source[kept], self.dims)

    def mapped(self, affine: Affine) -> People:
        """The same people with ``x @ matrix + offset``, before any normalisation; the matrix is square."""
        return People(self.vectors @ affine.matrix + affine.offset, self.owner, self.source, self.dims)

    def repeated(self) -> int:
        """How many persons have two samples or more: only they show what varies within a person."""
        return int(np.count_nonzero(np.bincount(np.unique(self.owner, return_inverse=True)[1]) > 1))


def joined_people(sets: Sequence[People]) -> People:
    """Several sets as one; people of different sets are different people.

    Raises:
        InsufficientTrialsError: no set.
    """
    if not sets:
        msg = "an adapter learns from people: give at least one set"
        raise InsufficientTrialsError(msg)
    owners, sources, first = [], [], 0
    for number, one in enumerate(sets):
        places = np.unique(one.owner, return_inverse=True)[1]
        owners.append(places + first)
        sources.append(np.full(len(one), number))
        first += int(places.max(initial=-1)) + 1
    vectors = np.concatenate([one.vectors for one in sets])
    return People(vectors, np.concatenate(owners), np.concatenate(sources), sets[0].dims)


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """``x @ matrix + offset``, brought to unit L2 norm: all that any adapter here is at run time.

    Attributes:
        matrix: (D, P) float64.
        offset: (P,) float64.
    """

    matrix: NDArray[np.float64] = field(repr=False)
    offset: NDArray[np.float64] = field(repr=False)

    @classmethod
    def linear(cls, matrix: NDArray[np.float64]) -> Affine:
        """Without offset, scaled so that the matrix is no larger than a rotation on average.

        The scale is lost in the norm; it keeps the graph's float32 away from its ends.
        """
        scale = np.sqrt(max(matrix.shape)) / max(float(np.linalg.norm(matrix)), _SMALLEST)
        return cls(matrix * scale, np.zeros(matrix.shape[1]))

    @classmethod
    def identity(cls, dim: int) -> Affine:
        """Leaves directions as they are."""
        return cls(np.eye(dim), np.zeros(dim))

    def apply(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, D) -> (N, P) float64 of unit L2 norm."""
        mapped = np.asarray(vectors, np.float64) @ self.matrix + self.offset
        mapped /= np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), _SMALLEST)
        return mapped

    def then(self, other: Affine) -> Affine:
        """This map, not normalised, and the other behind it, as one."""
        return Affine(self.matrix @ other.matrix, self.offset @ other.matrix + other.offset)
