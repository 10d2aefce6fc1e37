"""Retrieval over embedded media as lines of a protocol's result, each with a bound over people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError, ScoreError, UsageError
from verify.evaluation.embedded_source import EmbeddedSource
from verify.evaluation.figures import Figure
from verify.evaluation.probes import identity_probe
from verify.metrics.retrieval import retrieval_measures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.sources import TrialSource
    from verify.metrics.retrieval import Retrieval

AT = (1, 5, 10)
NEIGHBOURS = (5,)
REPLICATES = 1000
_LEFT_OUT = ("nDCG@1", "nDCG@5")  # the first is Recall@1; one cut is enough
_SAYS = {
    "Recall@1": "the nearest other sample is of the same subject",
    "MRR": "mean of 1 / rank of the nearest mate",
    "mAP@R": "average precision over the first R ranks, R the mates there are (Musgrave et al., 2020)",
    "R-precision": "mates among the first R",
    "nDCG": "discounted gain over the whole ranking (Jarvelin and Kekalainen, 2002)",
    "5-NN accuracy": "the subject that most of the five nearest are of",
}


def retrieval_figures(
    source: TrialSource,
    *,
    among: NDArray[np.bool_],
    confidence: float = 0.95,
    seed: int = 0,
    progress: Callable[[Iterator[int], int], Iterable[int]] = lambda blocks, _: blocks,
) -> list[Figure]:
    """Every sample searches for its own subject among all the others (leave-one-out), and a linear probe.

    The bounds are lower ones: subjects are drawn anew, with their queries, from the same gallery.

    Args:
        source: embedded media.
        among: (S,) bool, the subjects that take part, as queries and in the gallery.
        confidence: of the bounds.
        seed: of the draws and of the probe's folds.
        progress: wraps the blocks of queries, given their number.

    Raises:
        UsageError: the source has scores and no embeddings.
        InsufficientTrialsError: no subject has two usable samples.
    """
    if not isinstance(source, EmbeddedSource):
        msg = f"{source.name}: --retrieval searches embeddings: give DATA and --model, no --scores and no --trial-list"
        raise UsageError(msg)
    rows = np.flatnonzero(source.usable() & among[source.owner])
    vectors, owner = source.vectors[rows], source.owner[rows]
    try:
        found = retrieval_measures(vectors, subjects=owner, at=AT, neighbours=NEIGHBOURS, progress=progress)
    except ScoreError as error:
        msg = f"{source.name}: {error}"
        raise InsufficientTrialsError(msg) from error
    figures = [
        Figure("retrieval queries", found.queries, f"each against {found.gallery:,} other samples"),
        Figure("queries without a mate", found.without_mate, "left out: no other sample of their subject"),
    ]
    lower = lower_bounds(found, confidence=confidence, seed=seed)
    figures += [
        Figure(name, value, f"at least {lower[name]:.4g}" + (f"; {_SAYS[name]}" if name in _SAYS else ""))
        for name, value in found.values.items()
        if name not in _LEFT_OUT
    ]
    return figures + _probe(vectors, owner, names=source.subjects, seed=seed)


def lower_bounds(
    found: Retrieval, *, confidence: float = 0.95, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, float]:
    """One-sided lower percentile bound of each measure over subjects drawn anew, all queries of a subject together."""
    _, subject = np.unique(found.subject, return_inverse=True)
    people = int(subject.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=replicates)
    queries = drawn @ np.bincount(subject)
    bounds = {}
    for name, each in found.per_query.items():
        means = (drawn @ np.bincount(subject, weights=each)) / queries
        bounds[name] = float(np.quantile(means, 1.0 - confidence))
    return bounds


def _probe(
    vectors: NDArray[np.float32], owner: NDArray[np.int32], *, names: Sequence[str], seed: int
) -> list[Figure]:
    try:
        probe = identity_probe(vectors, subjects=owner, names=names, seed=seed)
    except InsufficientTrialsError:
        return []  # one subject has mates: it can be found, but there is nobody to tell it from
    note = (
        f"a linear classifier names the subject of a sample that it has not seen; chance {probe.chance:.3g}; "
        f"{probe.subjects:,} subjects, {probe.samples:,} samples"
    )
    return [Figure("linear probe", probe.accuracy, note)]
