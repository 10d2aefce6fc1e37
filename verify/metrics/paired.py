"""Is one matcher better than another? Both on the same trials, differences by resampling subjects.

Two matchers that are judged on the same people share most of their luck: the people. What counts is
the difference within each resampled group of subjects (the vertex bootstrap of Snijders and Borgatti,
1999, as in `verify.metrics.bootstrap`), whose interval is far narrower than either rate's own, and
honest about how few people there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.scores import checked_confidence, kept_scores
from verify.metrics.subjects import checked_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

EER = "eer"


@dataclass(frozen=True, slots=True)
class PairedRates:
    """Figures of several matchers on the same trials.

    Attributes:
        measures: ``eer`` and ``fnmr_at_fmr_<target>`` in order.
        measured: matcher -> (F,) each figure on all trials.
        replicates: matcher -> (R, F) each figure in every resampled group; the same groups for all.
    """

    measures: tuple[str, ...]
    measured: Mapping[str, NDArray[np.float64]]
    replicates: Mapping[str, NDArray[np.float64]] = field(repr=False)

    def upper(self, name: str, *, confidence: float = 0.95) -> NDArray[np.float64]:
        """(F,) one-sided upper percentile bound of each figure."""
        bound: NDArray[np.float64] = np.quantile(
            self.replicates[name], checked_confidence(confidence), axis=0
        )
        return bound

    def difference(
        self, name: str, *, to: str, confidence: float = 0.95
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Figures of `name` minus those of `to`: measured, and one-sided lower and upper bounds, each (F,).

        Below zero is better. A gain is shown where the upper bound is below zero.
        """
        share = checked_confidence(confidence)
        drawn = self.replicates[name] - self.replicates[to]
        low, high = np.quantile(drawn, [1 - share, share], axis=0)
        return self.measured[name] - self.measured[to], low, high


def paired_rates(
    *,
    mated: Mapping[str, ArrayLike],
    mated_subject: ArrayLike,
    non_mated: Mapping[str, ArrayLike],
    subject_a: ArrayLike,
    subject_b: ArrayLike,
    targets: Sequence[float] = (1e-2, 1e-3),
    replicates: int = 500,
    seed: int = 0,
) -> PairedRates:
    """Measure matchers on the same trials, and on the same resampled subjects.

    The FNMR at an FMR is taken at the threshold of `verify.metrics.threshold_at_fmr` on these very trials: it compares
    matchers, it promises nothing. The EER is where the two error curves cross, interpolated linearly.

    Args:
        mated: matcher -> (M,) scores; higher is more alike.
        mated_subject: (M,) subject number of each mated trial.
        non_mated: matcher -> (N,) scores, of the same matchers.
        subject_a: (N,) subject numbers of one side of each non-mated trial.
        subject_b: (N,) of the other; never equal to `subject_a`.
        targets: FMRs in (0, 1).
        replicates: R resampled groups.
        seed: of the draws.

    Raises:
        ScoreError: matchers without one of the classes, scores that do not fit each other, or no matcher.
    """
    if not mated or set(mated) != set(non_mated) or replicates < 1:
        msg = "give the same matchers, at least one, to mated and non_mated, and at least one replicate"
        raise ScoreError(msg)
    first, second = checked_pairs(subject_a, subject_b, trials=np.size(next(iter(non_mated.values()))))
    own = np.asarray(mated_subject, dtype=np.int64)
    sides = {
        name: (kept_scores(mated[name], name="mated"), kept_scores(non_mated[name], name="non_mated"))
        for name in mated
    }
    for name, (genuine, impostor) in sides.items():
        if genuine.shape != own.shape or impostor.shape != first.shape or not own.size or not first.size:
            counts = f"{genuine.size} mated and {impostor.size} non-mated scores"
            msg = f"{name}: {counts} for subjects of {own.size} and {first.size} trials"
            raise ScoreError(msg)
    ranked = {name: _Ranked(genuine, impostor) for name, (genuine, impostor) in sides.items()}
    subjects = np.unique(np.concatenate([own, first, second]))
    own, first, second = (np.searchsorted(subjects, numbers) for numbers in (own, first, second))
    goals = np.asarray(targets, dtype=np.float64)
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in mated}
    while len(next(iter(drawn.values()))) < replicates:
        times = rng.multinomial(subjects.size, np.full(subjects.size, 1 / subjects.size)).astype(np.float64)
        of_mated, of_non_mated = times[own], times[first] * times[second]
        if not of_mated.any() or not of_non_mated.any():
            continue  # a group in which nobody can be judged
        for name, rank in ranked.items():
            drawn[name].append(rank.figures(of_mated, of_non_mated, goals))
    ones = np.ones(own.size), np.ones(first.size)
    return PairedRates(
        measures=(EER, *(f"fnmr_at_fmr_{target:g}" for target in targets)),
        measured={name: rank.figures(*ones, goals) for name, rank in ranked.items()},
        replicates={name: np.stack(rows) for name, rows in drawn.items()},
    )


class _Ranked:
    """One matcher's trials from the highest score down, and where a threshold may stand between them."""

    def __init__(self, mated: NDArray[np.floating], non_mated: NDArray[np.floating]) -> None:
        scores = np.concatenate([mated, non_mated])
        self._order = np.argsort(-scores, kind="stable")
        self._mated = self._order < mated.size
        ranked = scores[self._order]
        self._ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # equal scores fall together

    def figures(
        self, of_mated: NDArray[np.float64], of_non_mated: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """EER and FNMR at each FMR, with every trial counted as often as its weight says."""
        weight = np.concatenate([of_mated, of_non_mated])[self._order]
        accepted = np.cumsum(np.where(self._mated, weight, 0.0))[self._ends]
        let_in = np.cumsum(np.where(self._mated, 0.0, weight))[self._ends]
        fmr = np.append(0.0, let_in / let_in[-1])
        fnmr = np.append(1.0, 1.0 - accepted / accepted[-1])
        last = np.searchsorted(fmr, targets * (1 + 1e-12), side="right") - 1
        # thresholds stand on non-mated scores, as everywhere in verify; without one, just above the highest
        place = np.where(fmr[last] > 0, np.searchsorted(fmr, fmr[last], side="left"), last)
        cross = int(np.argmax(fmr >= fnmr))
        rise, fall = fmr[cross] - fmr[cross - 1], fnmr[cross - 1] - fnmr[cross]
        share = (fnmr[cross - 1] - fmr[cross - 1]) / (rise + fall)
        return np.append(fmr[cross - 1] + share * rise, fnmr[place])
