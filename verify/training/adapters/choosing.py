"""Which settings: tried on people left out of the fit, inside the training part only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from verify.config import unknown
from verify.errors import InsufficientTrialsError, UsageError
from verify.training.adapters.closed import lda, plda, wccn
from verify.training.adapters.heads import OBJECTIVES, linear_head
from verify.training.adapters.measures import Judge
from verify.training.adapters.placing import Placement, turns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from verify.training.adapters.samples import Affine, People

Setting = Mapping[str, float]
Progress = Callable[[int, int], None]

KINDS: Mapping[str, str] = {
    "concat": "centring, and several encoders side by side",
    "wccn": "centring and within-class covariance normalisation",
    "lda": "linear discriminant analysis",
    "plda": "the cross term of two-covariance PLDA",
    "arcface": "a linear head trained with ArcFace",
    "supcon": "a linear head trained with SupCon",
}
FOLDS = 5
_SHRINKS = (0.95, 0.9, 0.8, 0.7, 0.5, 0.3, 0.1)
_PLDA_SHRINKS = (1.0, 0.95, 0.9, 0.8, 0.65, 0.5)  # below, PLDA never won on fewer than thousands of people
_LDA_SHARES = (1.0, 0.75, 0.5)  # of the directions
_RIDGES = (160.0, 40.0, 10.0)
_LEAST_SUBJECTS = 6


@dataclass(frozen=True, slots=True)
class Fitted:
    """An adapter with what it was chosen from.

    Attributes:
        kind: a key of `KINDS`.
        affine: for embeddings as the encoders give them, side by side.
        placement: of the encoders' blocks; part of `affine`.
        setting: the one chosen for what follows; empty if nothing beyond the placement was better.
        tried: each placement and setting with its badness on people left out; the lower, the better.
        base: badness of the encoders as they are.
    """

    kind: str
    affine: Affine
    placement: Placement
    setting: Setting
    tried: tuple[tuple[Setting | Placement, float], ...] = field(repr=False)
    base: float

    @property
    def gained(self) -> bool:
        """Whether the choice did better than the encoders as they are, on people left out."""
        return min(score for _, score in self.tried) < self.base


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """People inside, whom a fit may see, and those left out, whom it is judged on."""

    inside: People
    outside: People
    judge: Judge


def fit_adapter(
    kind: str,
    people: People,
    *,
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,  # noqa: ARG005
) -> Fitted:
    """Choose placement and setting on people left out, then fit to all.

    Args:
        kind: a key of `KINDS`.
        people: the training part. Nobody else is looked at.
        seed: of the folds and of training.
        on_progress: called with settings done and settings in all.

    Raises:
        UsageError: an unknown kind.
        InsufficientTrialsError: too few people with two samples.
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
    folds = _folds(people, seed=seed)
    placement, placed, base = _placement(folds, encoders=len(people.dims))
    tried: list[tuple[Setting | Placement, float]] = [*placed]
    best: tuple[float, Setting] = (min(score for _, score in placed), {})
    grid = list(settings(kind, dim=people.vectors.shape[1]))
    for number, setting in enumerate(grid):
        on_progress(number, len(grid))
        score = _judged(folds, partial(_fit, kind, placement=placement, setting=setting, seed=seed))
        tried.append((setting, score))
        best = min(best, (score, setting), key=lambda one: one[0])
    affine = _fit(kind, people, placement=placement, setting=best[1], seed=seed)
    on_progress(len(grid), len(grid))
    return Fitted(kind, affine, placement, best[1], tuple(tried), base)


def settings(kind: str, *, dim: int) -> Iterator[Setting]:
    """What is tried for one kind beyond placement, for embeddings of `dim` values, from the mildest on."""
    if kind == "wccn":
        yield from ({"shrink": share} for share in _SHRINKS)
    elif kind == "lda":
        sizes = [int(share * dim) for share in _LDA_SHARES]
        yield from ({"dim": size, "shrink": share} for size, share in product(sizes, _SHRINKS))
    elif kind == "plda":
        pairs = list(product(_PLDA_SHRINKS, _PLDA_SHRINKS))[1:]  # the first would be no change
        yield from ({"shrink_within": inside, "shrink_between": across} for inside, across in pairs)
    elif kind in OBJECTIVES:
        yield from ({"ridge": ridge} for ridge in _RIDGES)


def _fit(kind: str, people: People, *, placement: Placement, setting: Setting, seed: int) -> Affine:
    """Place the people, and fit what the kind puts behind; an empty setting puts nothing there."""
    first = placement.fitted(people)
    if not setting:
        return first
    placed = people.mapped(first)
    if kind == "wccn":
        return first.then(wccn(placed, shrink=setting["shrink"]))
    if kind == "lda":
        return first.then(lda(placed, shrink=setting["shrink"], dim=int(setting["dim"])))
    if kind == "plda":
        return first.then(plda(placed, **setting))
    return first.then(linear_head(placed, objective=kind, ridge=setting["ridge"], seed=seed))


def _placement(
    folds: Sequence[Fold], *, encoders: int
) -> tuple[Placement, list[tuple[Placement, float]], float]:
    """The best placement, all that were tried, and the badness of none at all."""
    best = Placement.plain(encoders)
    scores = {best: _judged(folds, best.fitted)}
    base = scores[best]
    for encoder, what in turns(encoders):
        for candidate in best.alternatives(encoder, what):
            if candidate not in scores:
                scores[candidate] = _judged(folds, candidate.fitted)
        best = min(scores, key=scores.__getitem__)
    return best, list(scores.items()), base


def _folds(people: People, *, seed: int) -> tuple[Fold, ...]:
    """Everybody is left out once, and every set is in every fold, as far as it goes."""
    rng = np.random.default_rng(seed)
    subjects = people.subjects
    fold = np.zeros(len(subjects), dtype=np.int64)
    for number in np.unique(people.source):
        mine = np.isin(subjects, people.owner[people.source == number])
        fold[mine] = rng.permutation(np.arange(np.count_nonzero(mine)) % FOLDS)
    parts = [
        (people.among(subjects[fold != out]), people.among(subjects[fold == out])) for out in range(FOLDS)
    ]
    return tuple(Fold(inside, outside, Judge(outside)) for inside, outside in parts)


def _judged(folds: Sequence[Fold], fit: Callable[[People], Affine]) -> float:
    """Mean badness over folds, of what is fitted inside each on the people left out of it."""
    return float(
        np.mean([fold.judge.badness(fit(fold.inside).apply(fold.outside.vectors)) for fold in folds])
    )
