"""A map of embeddings in the plane: which samples to draw, and the projection that needs nothing but numpy."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST_POINTS = 2000


def drawn(subjects: Sequence[str], *, most: int = MOST_POINTS, seed: int = 0) -> NDArray[np.intp]:
    """Rows of whole subjects, by hash of (seed, subject), until `most` rows are full; at least two subjects.

    Subjects with one sample come last: alone on the map they show nothing.
    """
    rows: dict[str, list[int]] = {}
    for row, subject in enumerate(subjects):
        rows.setdefault(subject, []).append(row)

    def order(subject: str) -> tuple[bool, bytes]:
        key = f"{seed} {subject}".encode(errors="surrogatepass")
        return len(rows[subject]) < 2, hashlib.sha256(key).digest()  # noqa: PLR2004

    chosen: list[int] = []
    for number, subject in enumerate(sorted(rows, key=order)):
        if number > 1 and len(chosen) + len(rows[subject]) > most:
            continue
        chosen += rows[subject]
    return np.array(sorted(chosen), dtype=np.intp)


def pca(vectors: NDArray[np.floating], *, seed: int = 0) -> NDArray[np.float64]:
    """(n, 2) float64, the two directions of most variance; each points to where its longest part is positive."""
    del seed  # nothing is drawn
    centred = np.asarray(vectors, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    _, _, axes = np.linalg.svd(centred.T @ centred, hermitian=True)
    plane = axes[:2]
    plane = plane * np.sign(plane[np.arange(len(plane)), np.abs(plane).argmax(axis=1)])[:, None]
    flat = centred @ plane.T
    found: NDArray[np.float64] = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
    return found


def without_subjects(
    vectors: NDArray[np.floating], owner: NDArray[np.integer]
) -> list[tuple[float, float] | None]:
    """Places, by `pca`, of what is left of each sample without its subject's mean; None for a subject's only sample.

    Args:
        vectors: (n, D) float.
        owner: (n,) whole numbers from 0.
    """
    counts = np.bincount(owner)
    means = np.zeros((counts.size, vectors.shape[1]))
    np.add.at(means, owner, vectors)
    left = vectors - (means / np.maximum(counts, 1)[:, None])[owner]
    several = counts[owner] > 1
    if not several.any():
        return [None] * len(vectors)
    places = iter(pca(left[several]).tolist())
    return [tuple(next(places)) if there else None for there in several.tolist()]
