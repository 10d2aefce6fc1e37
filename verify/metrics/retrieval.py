"""Retrieval by embedding: every sample asks a gallery for its own subject, in bounded memory.

The measures are those of metric learning (Recall@K, MRR, mAP@R, nDCG, k-NN), defined in `verify.metrics.ranking`.
They say how a network sorts, not at what threshold a door may open: for that there are FMR and FNMR.

>>> import numpy as np
>>> from verify.metrics import retrieval_measures
>>> embeddings = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]])
>>> found = retrieval_measures(embeddings, subjects=[0, 0, 1, 2])  # each searches among the others
>>> found.recall_at[1], found.queries, found.without_mate  # subjects 1 and 2 have one sample each
(0.5, 2, 2)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import ScoreError
from verify.metrics.mate_search import MateSearch, joined
from verify.metrics.ranking import (
    average_precision_at_r,
    ndcg,
    r_precision,
    recall_at,
    reciprocal_rank,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]
    Reals = NDArray[np.float64]

CELLS = 1 << 27  # scores held at once: half a gigabyte
_ROWS = 1 << 14  # vectors looked at together
_MATRIX = 2


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How well each query found its own subject; means are over queries.

    Attributes:
        at: the K of Recall@K and nDCG@K.
        neighbours: the k of k-NN.
        gallery: members that each query was ranked against.
        without_mate: queries left out, because nobody of their subject is in the gallery.
        query: (Q,) int64, place of each query among the vectors given.
        subject: (Q,) int64, its subject.
        mates: (Q,) int64, R, its mates in the gallery.
        per_query: name of a measure -> (Q,) float64 in [0, 1]: ``Recall@1``, ``MRR``, ``mAP@R``, ``R-precision``,
            ``nDCG``, ``nDCG@10``, ``5-NN accuracy``.
    """

    at: tuple[int, ...]
    neighbours: tuple[int, ...]
    gallery: int
    without_mate: int
    query: Ints = field(repr=False)
    subject: Ints = field(repr=False)
    mates: Ints = field(repr=False)
    per_query: dict[str, Reals] = field(repr=False)

    @property
    def queries(self) -> int:
        """Queries that have a mate in the gallery: those that count."""
        return int(self.query.size)

    @property
    def values(self) -> dict[str, float]:
        """Each measure's mean over queries."""
        return {name: float(each.mean()) for name, each in self.per_query.items()}

    @property
    def recall_at(self) -> dict[int, float]:
        """K -> Recall@K."""
        return {k: float(self.per_query[f"Recall@{k}"].mean()) for k in self.at}

    @property
    def mrr(self) -> float:
        """Mean reciprocal rank of the best mate."""
        return float(self.per_query["MRR"].mean())

    @property
    def map_at_r(self) -> float:
        """Mean average precision over the first R ranks."""
        return float(self.per_query["mAP@R"].mean())

    @property
    def ndcg(self) -> float:
        """Normalised discounted cumulative gain over the whole ranking."""
        return float(self.per_query["nDCG"].mean())

    @property
    def knn_accuracy(self) -> dict[int, float]:
        """Number of neighbours -> share of queries that they name rightly."""
        return {k: float(self.per_query[f"{k}-NN accuracy"].mean()) for k in self.neighbours}


def retrieval_measures(
    vectors: ArrayLike,
    *,
    subjects: ArrayLike,
    gallery: ArrayLike | None = None,
    gallery_subjects: ArrayLike | None = None,
    at: Sequence[int] = (1, 5, 10),
    neighbours: Sequence[int] = (1, 5),
    cells: int = CELLS,
    progress: Callable[[Iterator[int], int], Iterable[int]] = lambda blocks, _: blocks,
) -> Retrieval:
    """Rank the gallery for every query.

    k-NN takes the subject with the most of the k nearest; among subjects with as many, the one whose neighbours score
    higher together; what is equal then is shared. Neighbours with the k-th score share the places that are left.
    1-NN is Recall@1.

    Args:
        vectors: (n, D) float, unit L2: the queries.
        subjects: (n,) whole numbers, whose they are.
        gallery: (N, D) float, unit L2; None: the queries themselves, each left out of its own search.
        gallery_subjects: (N,) whole numbers; given with `gallery`.
        at: the K of Recall@K and nDCG@K.
        neighbours: the k of k-NN; a smaller gallery votes as a whole.
        cells: most scores held at once; at least one query's are.
        progress: wraps the blocks of queries, given their number.

    Raises:
        ScoreError: vectors that are not finite or not of unit norm, shapes that do not fit, or no query with a mate.
    """
    at, neighbours = _checked_ks(at, name="at"), _checked_ks(neighbours, name="neighbours")
    queries = _checked_vectors(vectors, name="vectors")
    asked = _checked_labels(subjects, rows=len(queries), name="subjects")
    alone = gallery is None
    if alone is not (gallery_subjects is None):
        msg = "gallery and gallery_subjects belong together: give both, or neither for leave-one-out"
        raise ScoreError(msg)
    members = queries if gallery is None else _checked_vectors(gallery, name="gallery")
    owners = (
        asked
        if gallery_subjects is None
        else _checked_labels(gallery_subjects, rows=len(members), name="gallery_subjects")
    )
    if members.shape[1] != queries.shape[1]:
        msg = f"gallery has {members.shape[1]} dimensions, vectors {queries.shape[1]}: they are of two models"
        raise ScoreError(msg)
    search = MateSearch.of(queries, members, asked=asked, owners=owners, alone=alone, neighbours=neighbours)
    places = np.flatnonzero(search.mates_of(asked) > 0)
    if not places.size:
        msg = f"none of {asked.size} queries has a mate in the gallery: retrieval needs two samples of a subject"
        raise ScoreError(msg)
    step = min(places.size, max(1, cells // len(members)))
    buffer = np.empty((step, len(members)), dtype=np.float32)
    parts = [
        search.block(places[start : start + step], buffer=buffer)
        for start in progress(iter(range(0, places.size, step)), -(-places.size // step))
    ]
    size = len(members) - alone
    levels = joined([levels for levels, _ in parts])
    measured = {f"Recall@{k}": recall_at(levels, k) for k in at}
    measured |= {"MRR": reciprocal_rank(levels), "mAP@R": average_precision_at_r(levels)}
    measured |= {"R-precision": r_precision(levels), "nDCG": ndcg(levels, gallery=size)}
    measured |= {f"nDCG@{k}": ndcg(levels, gallery=size, k=k) for k in at}
    votes = np.concatenate([right for _, right in parts])
    measured |= {f"{k}-NN accuracy": votes[:, column] for column, k in enumerate(neighbours)}
    return Retrieval(
        at=at,
        neighbours=neighbours,
        gallery=size,
        without_mate=int(asked.size - places.size),
        query=places,
        subject=asked[places],
        mates=levels.relevant,
        per_query=measured,
    )


def _checked_vectors(values: ArrayLike, *, name: str) -> Floats:
    """(n, D) float32.

    Raises:
        ScoreError: no numbers, not of that shape, or a row that is not of unit norm (NaN is not).
    """
    try:
        given: Any = np.asarray(values)
        vectors: Floats = given if given.dtype == np.float32 else given.astype(np.float32)
    except (TypeError, ValueError) as error:
        msg = f"{name}: vectors must be numbers ({error})"
        raise ScoreError(msg) from error
    if vectors.ndim != _MATRIX or not vectors.size:
        msg = f"{name} must be (n, D) with n and D at least 1, not {vectors.shape}"
        raise ScoreError(msg)
    for start in range(0, len(vectors), _ROWS):
        part = vectors[start : start + _ROWS]
        norms = np.sqrt(np.einsum("nd,nd->n", part, part))
        wrong = ~(np.abs(norms - 1.0) < 1e-3)  # noqa: PLR2004  true for NaN too
        if wrong.any():
            at = int(np.argmax(wrong))
            msg = (
                f"{name}: row {start + at} has norm {norms[at]:.4g}, not 1; normalise embeddings, and leave failed "
                "captures out"
            )
            raise ScoreError(msg)
    return vectors


def _checked_labels(values: ArrayLike, *, rows: int, name: str) -> Ints:
    labels = np.asarray(values)
    if labels.shape != (rows,) or labels.dtype.kind not in "iu":
        msg = f"{name} must be {rows} whole numbers, one a vector, not {labels.dtype} {labels.shape}"
        raise ScoreError(msg)
    return labels.astype(np.int64, copy=False)


def _checked_ks(values: Sequence[int], *, name: str) -> tuple[int, ...]:
    found = tuple(dict.fromkeys(int(value) for value in values))
    if not found or min(found) < 1:
        msg = f"{name} must be whole numbers from 1, at least one of them, not {list(values)}"
        raise ScoreError(msg)
    return found
