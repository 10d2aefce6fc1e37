"""Which settings: tried on people left out of the fit, inside the training part only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from verify.config import unknown
from verify.errors import InsufficientTrialsError, UsageError
from verify.training.adapters.closed import centring, lda, plda, wccn
from verify.training.adapters.heads import linear_head
from verify.training.adapters.measures import Judge
from verify.training.adapters.samples import Affine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from verify.training.adapters.samples import People

Setting = Mapping[str, float]
Progress = Callable[[int, int], None]

KINDS: Mapping[str, str] = {
    "concat": "encoders side by side, each with its weight",
    "wccn": "centring and within-class covariance normalisation",
    "lda": "linear discriminant analysis",
    "plda": "the cross term of two-covariance PLDA",
    "arcface": "a linear head trained with ArcFace",
    "supcon": "a linear head trained with SupCon",
}
FOLDS = 5
_HEAD_FOLDS = 3  # training heads takes its time
_WEIGHTS = (0.5, 0.7, 1.0, 1.4, 2.0)
_CENTRES = (0.0, 0.5, 1.0)
_SHRINKS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
_RIDGES = (10.0, 40.0, 160.0)
_LEAST_SUBJECTS = 6
_LEAST_PLDA = 0.5  # below it PLDA never won on fewer than thousands of people
HEADS = ("arcface", "supcon")


@dataclass(frozen=True, slots=True)
class Fitted:
    """An adapter with what it was chosen from.

    Attributes:
        kind: a key of `KINDS`.
        affine: for embeddings as the encoders give them.
        weights: of the encoders' blocks, part of `affine` already.
        setting: the one chosen.
        tried: each setting with its badness on people left out; the lower, the better.
        base: badness of the encoders as they are.
    """

    kind: str
    affine: Affine
    weights: tuple[float, ...]
    setting: Setting
    tried: tuple[tuple[Setting, float], ...] = field(repr=False)
    base: float

    @property
    def gained(self) -> bool:
        """Whether the setting did better than the encoders as they are, on people left out."""
        return min(score for _, score in self.tried) < self.base


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """People inside, whom a fit may see, and those left out, whom it is judged on.

    Attributes:
        inside: their numbers.
        rows: (N,) bool, samples of the people left out.
        judge: of these samples.
    """

    inside: NDArray[np.int64]
    rows: NDArray[np.bool_]
    judge: Judge


def fit_adapter(
    kind: str,
    people: People,
    *,
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,  # noqa: ARG005
) -> Fitted:
    """Choose weights and settings on people left out, then fit to all.

    Args:
        kind: a key of `KINDS`.
        people: the training part. Nobody else is looked at.
        seed: of the folds and of training.
        on_progress: called with fits done and fits in all.

    Raises:
        UsageError: an unknown kind.
        InsufficientTrialsError: too few people, or nobody with two samples.
        MissingExtraError: a head without torch.
    """
    if kind not in KINDS:
        raise UsageError(unknown(kind, KINDS, what="adapter"))
    if people.repeated() < _LEAST_SUBJECTS:
        msg = (
            f"{people.repeated()} training subjects have two samples or more: choosing an adapter needs at least "
            f"{_LEAST_SUBJECTS}, and a hundred to gain by it"
        )
        raise InsufficientTrialsError(msg)
    folds = _folds(people, _HEAD_FOLDS if kind in HEADS else FOLDS, seed=seed)
    as_they_are = Affine.identity(people.vectors.shape[1])
    base = _judged([as_they_are] * len(folds), people, folds)
    weights, weighing = _weights(people, folds)
    weighted = people.scaled(weights)
    if kind == "concat":
        affine = as_they_are.after_weights(weights, people.dims)
        return Fitted(kind, affine, weights, {}, weighing, base)
    grid = list(settings(kind, dim=people.vectors.shape[1]))
    tried: list[tuple[Setting, float]] = []
    for number, setting in enumerate(grid):
        on_progress(number, len(grid) + 1)
        fits = [_fit(kind, weighted.among(fold.inside), setting, seed=seed) for fold in folds]
        tried.append((setting, _judged(fits, weighted, folds)))
    on_progress(len(grid), len(grid) + 1)
    chosen = min(tried, key=lambda one: one[1])[0]
    affine = _fit(kind, weighted, chosen, seed=seed).after_weights(weights, people.dims)
    on_progress(len(grid) + 1, len(grid) + 1)
    return Fitted(kind, affine, weights, chosen, tuple(tried), base)


def settings(kind: str, *, dim: int) -> Iterator[Setting]:
    """What is tried for one kind, for embeddings of `dim` values, from the mildest on."""
    shares = sorted(_SHRINKS, reverse=True)
    if kind == "wccn":
        yield from ({"centre": c, "shrink": s} for s, c in product(shares, _CENTRES))
    elif kind == "lda":
        sizes = sorted({dim, 3 * dim // 4, dim // 2}, reverse=True)
        yield from ({"centre": c, "shrink": s, "dim": d} for d, s, c in product(sizes, shares, _CENTRES))
    elif kind == "plda":
        pairs = [(w, b) for w, b in product(shares, shares) if min(w, b) >= _LEAST_PLDA]
        yield from (
            {"centre": c, "shrink_within": w, "shrink_between": b} for (w, b), c in product(pairs, _CENTRES)
        )
    else:
        yield from ({"centre": c, "ridge": r} for r, c in product(_RIDGES, _CENTRES[1:]))


def _fit(kind: str, people: People, setting: Setting, *, seed: int) -> Affine:
    if kind == "wccn":
        plain = setting["shrink"] == 1.0
        return centring(people, centre=setting["centre"]) if plain else wccn(people, **setting)
    if kind == "lda":
        return lda(people, centre=setting["centre"], shrink=setting["shrink"], dim=int(setting["dim"]))
    if kind == "plda":
        return plda(people, **setting)
    return linear_head(people, objective=kind, centre=setting["centre"], ridge=setting["ridge"], seed=seed)


def _weights(
    people: People, folds: Sequence[Fold]
) -> tuple[tuple[float, ...], tuple[tuple[Setting, float], ...]]:
    """Each encoder's weight beside the first, one after the other, and what was tried."""
    weights = [1.0] * len(people.dims)
    plain = Affine.identity(people.vectors.shape[1])
    tried: list[tuple[Setting, float]] = [({}, _judged([plain] * len(folds), people, folds))]
    for place in range(1, len(weights)):
        found = {}
        for weight in _WEIGHTS:
            candidate = [*weights[:place], weight, *weights[place + 1 :]]
            maps = [plain.after_weights(candidate, people.dims)] * len(folds)
            found[weight] = _judged(maps, people, folds)
            tried.append(({f"weight_{n}": value for n, value in enumerate(candidate)}, found[weight]))
        weights[place] = min(found, key=found.__getitem__)
    return tuple(weights), tuple(tried)


def _folds(people: People, count: int, *, seed: int) -> tuple[Fold, ...]:
    """Everybody is left out once, and every set is in every fold, as far as it goes."""
    rng = np.random.default_rng(seed)
    subjects = people.subjects
    fold = np.zeros(len(subjects), dtype=np.int64)
    for number in np.unique(people.source):
        mine = np.isin(subjects, people.owner[people.source == number])
        fold[mine] = rng.permutation(np.arange(np.count_nonzero(mine)) % count)
    return tuple(_fold(people, subjects, fold == out) for out in range(count))


def _fold(people: People, subjects: NDArray[np.int64], out: NDArray[np.bool_]) -> Fold:
    rows = np.isin(people.owner, subjects[out])
    return Fold(subjects[~out], rows, Judge(people.among(subjects[out])))


def _judged(maps: Sequence[Affine], people: People, folds: Sequence[Fold]) -> float:
    """Mean badness over folds, of each fold's map on the people left out of it."""
    found = [
        fold.judge.badness(affine.apply(people.vectors[fold.rows]))
        for affine, fold in zip(maps, folds, strict=True)
    ]
    return float(np.mean(found))
