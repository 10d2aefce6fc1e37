"""What can be read out of embeddings by a linear classifier: who it is, and how it was captured.

An encoder should tell people and nothing else. If a *linear probe* (Alain and Bengio, 2016) can tell the
camera, the session or the microphone from the embedding of somebody it has never seen, then two captures score higher
or lower for a reason that is no likeness, and that reason is an artefact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError
from verify.evaluation.discriminant import Fold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Ints = NDArray[np.intp]
    Reals = NDArray[np.float64]

FOLDS = 5
PERMUTATIONS = 200
FEWEST = 5  # samples of a class
MOST_CLASSES = 50
CONFIDENCE = 0.95
FAINT = 0.1


@dataclass(frozen=True, slots=True)
class Probe:
    """How well a linear classifier tells classes from embeddings that it did not learn from.

    Attributes:
        name: what is told: ``identity``, a column of the manifest, a measure of quality.
        classes: their names, sorted; for ``identity`` the subjects.
        samples: that took part.
        subjects: that they are of.
        left_out: samples without a class, or of one too rare to learn.
        accuracy: mean over classes of the share told rightly, in [0, 1].
        chance: the same for shuffled labels (identity: 1 / number of subjects).
        chance_upper: 95 % of shufflings stay at or below; None for identity, which is not shuffled.
        p_value: share of shufflings that do as well, counting the true labels as one; None for identity.
        shuffled: ``within subjects`` if labels were shuffled among each subject's samples, so that whatever goes with
            the person is in `chance` too; ``between subjects`` if each subject has one class only: then a tie with the
            class may be one with the people who have it. Empty for identity.
        mated_shift: mean cosine of two samples of one subject under one class, less that under two; None if a
            kind has no pair.
        non_mated_shift: the same of two subjects: how much likeness a shared condition feigns.
    """

    name: str
    classes: tuple[str, ...]
    samples: int
    subjects: int
    left_out: int
    accuracy: float
    chance: float
    chance_upper: float | None = None
    p_value: float | None = None
    shuffled: str = ""
    mated_shift: float | None = None
    non_mated_shift: float | None = None

    @property
    def visible(self) -> bool:
        """Whether the condition shows: at most 5 % of shufflings, the true labels among them, are told as well."""
        return self.p_value is not None and self.p_value <= 1 - CONFIDENCE + 1e-12

    @property
    def strength(self) -> float:
        """How far from chance to certainty the accuracy is, at most 1; below 0 where it is worse than chance."""
        return (self.accuracy - self.chance) / (1.0 - self.chance) if self.chance < 1 else 0.0

    @property
    def says(self) -> str:
        """``no trace``, ``a faint trace`` (less than a tenth of the way from chance to certainty) or ``it shows``."""
        if not self.visible:
            return "no trace"
        return "a faint trace" if self.strength < FAINT else "it shows"


def condition_probe(
    vectors: ArrayLike,
    *,
    subjects: ArrayLike,
    labels: Sequence[str],
    name: str,
    folds: int = FOLDS,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Probe:
    """Tell a capture condition from embeddings of subjects that the classifier has not met.

    The folds are subject-disjoint, and classes count alike however many samples they have. Classes of fewer than
    5 samples or of one subject are left out, and so are all but the 50 largest.

    Args:
        vectors: (n, D) float, unit L2.
        subjects: (n,) whole numbers.
        labels: (n,) the condition of each sample; ``""`` where it is not known.
        name: of the condition.
        folds: that the subjects are dealt into; never more than there are subjects.
        permutations: shufflings of the labels that make out the level of chance.
        seed: of folds and shufflings.

    Raises:
        InsufficientTrialsError: fewer than two classes that can be told; the message says why.
    """
    everybody = np.asarray(subjects)
    names, numbers = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    kept = _classes(names, numbers, everybody)
    if len(kept) < 2:  # noqa: PLR2004
        shared = f"one value, {str(names[kept[0]])!r}, is" if kept else "no value is"
        msg = (
            f"{name}: {shared} shared by two subjects with {FEWEST} samples in all; a condition is told from another "
            "by what people under each have in common"
        )
        raise InsufficientTrialsError(msg)
    chosen = np.flatnonzero(np.isin(numbers, kept))
    wanted = np.searchsorted(kept, numbers[chosen])
    points = np.asarray(vectors)[chosen]
    _, owner = np.unique(everybody[chosen], return_inverse=True)
    rng = np.random.default_rng(seed)
    parts = _disjoint(owner, wanted, folds=min(folds, int(owner.max()) + 1), rng=rng)
    fitted = [
        (Fold.of(points[parts != k], points[parts == k]), parts == k) for k in range(int(parts.max()) + 1)
    ]
    classes = len(kept)
    accuracy = _accuracy(fitted, wanted, classes=classes)
    shuffle, how = _shuffler(owner, wanted, rng=rng)
    by_luck = np.array([_accuracy(fitted, shuffle(), classes=classes) for _ in range(permutations)])
    mated, non_mated = _shifts(points.astype(np.float64), owner, wanted)
    return Probe(
        name=name,
        classes=tuple(names[kept].tolist()),
        samples=chosen.size,
        subjects=int(owner.max()) + 1,
        left_out=everybody.size - chosen.size,
        accuracy=accuracy,
        chance=float(by_luck.mean()),
        chance_upper=float(np.quantile(by_luck, CONFIDENCE)),
        p_value=(1 + int(np.count_nonzero(by_luck >= accuracy))) / (1 + permutations),
        shuffled=how,
        mated_shift=mated,
        non_mated_shift=non_mated,
    )


def identity_probe(
    vectors: ArrayLike, *, subjects: ArrayLike, names: Sequence[str] = (), folds: int = FOLDS, seed: int = 0
) -> Probe:
    """Tell the subject from embeddings, by a classifier that knows other samples of the same subjects.

    Args:
        vectors: (n, D) float, unit L2.
        subjects: (n,) whole numbers; those with one sample are left out.
        names: of the subjects, by number; () names them by number.
        folds: that each subject's samples are dealt into.
        seed: of the dealing.

    Raises:
        InsufficientTrialsError: fewer than two subjects with two samples.
    """
    everybody = np.asarray(subjects)
    numbers, inverse, counts = np.unique(everybody, return_inverse=True, return_counts=True)
    chosen = np.flatnonzero(counts[inverse] > 1)
    present, owner = np.unique(inverse[chosen], return_inverse=True)
    if present.size < 2:  # noqa: PLR2004
        msg = f"identity: {present.size} subjects have two samples; a classifier needs two such subjects"
        raise InsufficientTrialsError(msg)
    rng = np.random.default_rng(seed)
    points = np.asarray(vectors)[chosen]
    parts = _place_within(owner, rng=rng) % folds
    fitted = [
        (Fold.of(points[parts != k], points[parts == k]), parts == k) for k in np.unique(parts).tolist()
    ]
    told = [names[number] if names else str(number) for number in numbers[present].tolist()]
    return Probe(
        name="identity",
        classes=tuple(told),
        samples=chosen.size,
        subjects=present.size,
        left_out=everybody.size - chosen.size,
        accuracy=_accuracy(fitted, owner, classes=present.size),
        chance=1.0 / present.size,
    )


def _classes(names: NDArray[np.str_], numbers: Ints, subjects: NDArray[np.integer]) -> list[int]:
    """Classes that can be told: of two subjects and `FEWEST` samples; the largest, in the order of their names."""
    counts = np.bincount(numbers, minlength=names.size)
    pairs = np.unique(np.stack([numbers, subjects]), axis=1)
    people = np.bincount(pairs[0], minlength=names.size)
    fit = [k for k in range(names.size) if names[k] and counts[k] >= FEWEST and people[k] > 1]
    return sorted(sorted(fit, key=lambda k: -counts[k])[:MOST_CLASSES])


def _disjoint(owner: Ints, labels: Ints, *, folds: int, rng: np.random.Generator) -> Ints:
    """(n,) the fold of each sample: whole subjects, those of a class dealt over all folds."""
    subjects = int(owner.max()) + 1
    main = np.zeros(subjects, dtype=np.intp)
    main[owner] = labels  # of a subject with several, one of them
    order = np.lexsort((rng.permutation(subjects), main))
    part = np.empty(subjects, dtype=np.intp)
    part[order] = np.arange(subjects) % folds
    return part[owner]


def _place_within(owner: Ints, *, rng: np.random.Generator) -> Ints:
    """(n,) a place of each sample among its subject's, 0 upwards, by lot."""
    order = np.lexsort((rng.permutation(owner.size), owner))
    starts = np.searchsorted(owner[order], owner[order])
    place = np.empty(owner.size, dtype=np.intp)
    place[order] = np.arange(owner.size) - starts
    return place


def _accuracy(fitted: Sequence[tuple[Fold, NDArray[np.bool_]]], labels: Ints, *, classes: int) -> float:
    """Mean over classes of the share told rightly; each sample is told once."""
    right = np.zeros(labels.size, dtype=bool)
    for fold, told in fitted:
        right[told] = fold.predict(labels[~told], classes=classes) == labels[told]
    counts = np.bincount(labels, minlength=classes)
    there = counts > 0  # shuffling may lose a class
    return float(np.mean(np.bincount(labels, weights=right, minlength=classes)[there] / counts[there]))


def _shuffler(owner: Ints, labels: Ints, *, rng: np.random.Generator) -> tuple[Callable[[], Ints], str]:
    """What draws shuffled labels (n,), and how: within subjects where most samples' subjects have several classes."""
    base = np.argsort(owner, kind="stable")
    counts = np.bincount(owner)
    starts = np.cumsum(counts) - counts
    several = np.maximum.reduceat(labels[base], starts) > np.minimum.reduceat(labels[base], starts)
    place = np.arange(owner.size) - np.repeat(starts, counts)

    def within() -> Ints:
        drawn = np.empty_like(labels)
        drawn[base] = labels[np.lexsort((rng.permutation(owner.size), owner))]
        return drawn

    def between() -> Ints:
        other = np.repeat(
            rng.permutation(counts.size), counts
        )  # whose labels each subject takes, round and round
        drawn = np.empty_like(labels)
        drawn[base] = labels[base[starts[other] + place % counts[other]]]
        return drawn

    if 2 * int(counts[several].sum()) >= owner.size:
        return within, "within subjects"
    return between, "between subjects"


def _shifts(points: Reals, owner: Ints, labels: Ints) -> tuple[float | None, float | None]:
    """Mean cosine under one class less that under two, of mated and of non-mated pairs.

    All pairs, without making one: the sum of cosines between two groups is the product of the groups' sums.
    """
    by_both, by_owner = _squares(points, owner * (int(labels.max()) + 1) + labels), _squares(points, owner)
    by_class, by_all = _squares(points, labels), _squares(points, np.zeros_like(owner))
    itself = np.array([float(np.sum(points**2)), float(len(points))])
    mated = _difference(by_both - itself, by_owner - by_both)
    return mated, _difference(by_class - by_both, by_all - by_class - by_owner + by_both)


def _squares(points: Reals, groups: Ints) -> Reals:
    """(2,) the sum of cosines of all ordered pairs inside a group, each sample with itself too, and their number."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(groups[order]) > 0))
    sums = np.add.reduceat(points[order], starts, axis=0)
    sizes = np.diff(np.append(starts, groups.size)).astype(np.float64)
    return np.array([float(np.sum(sums**2)), float(np.sum(sizes**2))])


def _difference(same: Reals, cross: Reals) -> float | None:
    if same[1] < 1 or cross[1] < 1:
        return None
    return float(same[0] / same[1] - cross[0] / cross[1])
