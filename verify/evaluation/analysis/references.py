"""Who is enrolled with which samples, when embeddings stand in for a door: drawn at random, by a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Samples:
    """The usable samples of one side, each subject's in a random order.

    Attributes:
        vectors: (n, D) float32 of unit norm, subjects side by side.
        number: (n,) int64 place of each sample's subject in `subjects`.
        place: (n,) int64 place of each sample among its subject's, 0 first.
        counts: (S,) samples of each subject.
        subjects: (S,) the subjects' numbers as given.
    """

    vectors: NDArray[np.float32] = field(repr=False)
    number: NDArray[np.int64] = field(repr=False)
    place: NDArray[np.int64] = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    subjects: NDArray[np.int64] = field(repr=False)

    @property
    def starts(self) -> NDArray[np.int64]:
        """(S,) row of each subject's first sample."""
        firsts: NDArray[np.int64] = np.cumsum(self.counts) - self.counts
        return firsts

    def references(self, among: NDArray[np.intp], *, templates: int) -> NDArray[np.float32]:
        """(G, D) mean of the first `templates` samples of each subject in `among` (G,).

        The cosine with the mean of unit vectors, not brought to unit norm again, is the mean of the cosines:
        the score of a reference.
        """
        rows = self.starts[among][:, None] + np.arange(templates)
        mean: NDArray[np.float32] = self.vectors[rows].mean(axis=1, dtype=np.float32)
        return mean


def shuffled_samples(
    vectors: NDArray[np.float32],
    owner: ArrayLike,
    *,
    among: NDArray[np.bool_] | None = None,
    rng: np.random.Generator,
) -> Samples:
    """The usable samples of the subjects marked in `among`, in a random order within each subject.

    Args:
        vectors: (n, D) float32 of unit norm; rows of NaN are failed captures and left out.
        owner: (n,) whole subject numbers >= 0.
        among: (S,) which subjects take part; None takes all.
        rng: draws the order.

    Raises:
        ScoreError: vectors or owners of the wrong shape, or vectors that are not of unit norm.
    """
    whose = np.asarray(owner)
    if vectors.ndim != 2 or whose.shape != vectors.shape[:1] or whose.dtype.kind not in "iu":  # noqa: PLR2004
        msg = f"vectors {vectors.shape} need one whole subject number a row, not {whose.dtype} {whose.shape}"
        raise ScoreError(msg)
    usable = np.isfinite(vectors).all(axis=1)
    if among is not None:
        usable &= np.asarray(among)[whose]
    rows = np.flatnonzero(usable)
    norms = np.linalg.norm(vectors[rows], axis=1)
    if not np.allclose(norms, 1.0, atol=1e-3):
        at = int(rows[np.argmax(np.abs(norms - 1.0))])
        msg = f"vectors: row {at} has norm {np.linalg.norm(vectors[at]):.4g}, not 1"
        raise ScoreError(msg)
    rows = rng.permutation(rows)
    rows = rows[np.argsort(whose[rows], kind="stable")]
    subjects, number, counts = np.unique(whose[rows], return_inverse=True, return_counts=True)
    starts = np.cumsum(counts) - counts
    return Samples(
        vectors=np.ascontiguousarray(vectors[rows], dtype=np.float32),
        number=number.astype(np.int64),
        place=np.arange(rows.size) - starts[number],
        counts=counts.astype(np.int64),
        subjects=subjects.astype(np.int64),
    )
