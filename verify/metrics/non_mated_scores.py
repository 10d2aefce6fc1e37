"""Non-mated scores with the subjects behind them; `verify.metrics.non_mated` says what of them is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.choosing import choose_from
from verify.metrics.dyadic import DyadDesign
from verify.metrics.non_mated_rates import rates_of
from verify.metrics.pair_counts import PairCounter
from verify.metrics.rates import errors_allowed
from verify.metrics.score_histogram import ScoreHistogram
from verify.metrics.scores import checked_rate, kept_scores
from verify.metrics.subjects import checked_pairs
from verify.metrics.tail_buffer import TailBuffer, Top

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from verify.errors import InsufficientTrialsError
    from verify.metrics.choosing import ChosenThreshold
    from verify.metrics.prediction import Bound
    from verify.types import Rate


@dataclass(frozen=True, slots=True, eq=False)
class NonMatedScores:
    """Non-mated scores: the highest exactly, with their subjects; the others as a histogram.

    Attributes:
        design: who met whom how often.
        tail: the highest scores in ascending order, with their subjects and payload.
        floor: the highest score outside the tail; -inf if all are in it.
        body: the scores at or below the floor.
        minimum: lowest score of all.
        maximum: highest.
        mean: of all.
    """

    design: DyadDesign
    tail: Top = field(repr=False)
    floor: float
    body: ScoreHistogram = field(repr=False)
    minimum: float
    maximum: float
    mean: float

    @classmethod
    def of(
        cls,
        scores: ArrayLike,
        *,
        subject_a: ArrayLike,
        subject_b: ArrayLike,
        payload: ArrayLike | None = None,
    ) -> NonMatedScores:
        """All of (N,) scores exactly, however many.

        Args:
            scores: (N,) finite, higher = more alike.
            subject_a: (N,) subject numbers of one side, integers >= 0.
            subject_b: (N,) of the other; never equal to `subject_a`.
            payload: (N,) int64 of any meaning, handed back by `top`.

        Raises:
            ScoreError: bad scores, or subjects that do not fit them.
        """
        values = kept_scores(scores, name="non_mated")
        a, b = checked_pairs(subject_a, subject_b, trials=values.size)
        size = int(max(a.max(), b.max())) + 1
        pairs, body = PairCounter(size), ScoreHistogram()
        pairs.add(a, b)
        tail = TailBuffer(values.size, dropped=body.add)
        tail.add(values, a, b, payload)
        return cls(
            design=DyadDesign.counted(
                trials=values.size,
                per_subject=np.bincount(a, minlength=size) + np.bincount(b, minlength=size),
                pairs=pairs,
            ),
            tail=tail.finish(),
            floor=-math.inf,
            body=body,
            minimum=float(values.min()),
            maximum=float(values.max()),
            mean=float(values.sum(dtype=np.float64)) / values.size,
        )

    @property
    def trials(self) -> int:
        """Number of scores."""
        return self.design.trials

    @property
    def subjects(self) -> int:
        """Number of subjects who took part in a trial."""
        return self.design.subjects

    @property
    def size(self) -> int:
        """Number of scores, as for an array."""
        return self.design.trials

    def count(self, threshold: float) -> int:
        """Number of scores at or above `threshold`; below the tail, at or above the next lower bin edge."""
        inside = self.tail.at_or_above(threshold)
        return inside if threshold > self.floor else inside + self.body.at_or_above(threshold)

    def fmr(self, thresholds: ArrayLike) -> NDArray[np.float64]:
        """(T,) FMR at each of (T,) thresholds; exact above `floor`, never below the truth elsewhere."""
        counts = [self.count(t) for t in np.atleast_1d(np.asarray(thresholds, dtype=np.float64)).tolist()]
        return np.array(counts, dtype=np.float64) / self.trials

    def threshold_at_fmr(self, target: float) -> float:
        """The smallest observed score t with FMR(t) <= target, as `verify.metrics.threshold_at_fmr`.

        If that is not in the tail: the lowest bin edge at which the FMR is at most the target.
        """
        allowed = errors_allowed(target, trials=self.trials)
        tail = self.tail.score
        if allowed == 0:
            return float(np.nextafter(self.maximum, math.inf))
        if allowed > tail.size:
            edges, counts = self.body.filled()
            above = tail.size + np.cumsum(counts[::-1])[::-1]
            fitting = np.flatnonzero(above <= allowed)
            if fitting.size:
                return float(edges[fitting[0]])
            allowed = tail.size
            if allowed == 0:
                return float(np.nextafter(self.maximum, math.inf))
        lowest = tail[tail.size - allowed]
        if allowed < tail.size and tail[tail.size - allowed - 1] == lowest:
            above_tie = int(np.searchsorted(tail, lowest, side="right"))
            if above_tie == tail.size:
                return float(np.nextafter(float(lowest), math.inf))
            lowest = tail[above_tie]
        return float(lowest)

    def rate(
        self,
        threshold: float,
        *,
        confidence: float = 0.95,
        bound: Bound = "population",
        further_subjects: int | None = None,
    ) -> Rate:
        """FMR at `threshold` with its bounds; see `rates`."""
        return self.rates([threshold], confidence=confidence, bound=bound, further_subjects=further_subjects)[
            0
        ]

    def rates(
        self,
        thresholds: Sequence[float] | NDArray[np.float64],
        *,
        confidence: float = 0.95,
        bound: Bound = "population",
        further_subjects: int | None = None,
    ) -> list[Rate]:
        """FMR at each threshold with dyadic bounds, from one pass over the tail.

        Below the tail it is not known who errs. There the bound is ``wilson-disjoint-pairs``: the rate of all
        pairs varies no more than that of floor(S / 2) pairs that share nobody (Hoeffding, 1948), so it
        is safe, and wide.

        Args:
            thresholds: accepted is ``score >= threshold``.
            confidence: of each one-sided bound.
            bound: ``population``, or ``prediction`` for what a further group will show.
            further_subjects: size of that group; None for as many as seen.
        """
        return rates_of(
            self, thresholds, confidence=confidence, bound=bound, further_subjects=further_subjects
        )

    def choose(
        self,
        targets: Sequence[float],
        *,
        confidence: float = 0.95,
        bound: Bound = "population",
        further_subjects: int | None = None,
        ceiling: float = math.inf,
    ) -> dict[float, ChosenThreshold | InsufficientTrialsError]:
        """A threshold for each target; see `verify.metrics.choosing.choose_from`."""
        return choose_from(
            self,
            targets,
            confidence=confidence,
            bound=bound,
            further_subjects=further_subjects,
            ceiling=ceiling,
        )

    def histogram(self, edges: ArrayLike) -> NDArray[np.int64]:
        """(B,) counts in ascending edges (B + 1,), the last bin closed; the body counts at its bins' lower edges."""
        sides = np.asarray(edges, dtype=np.float64)
        lower, counts = self.body.filled()
        body = np.histogram(lower, bins=sides, weights=counts)[0]
        tail = np.histogram(self.tail.score, bins=sides)[0]
        counted: NDArray[np.int64] = np.rint(body).astype(np.int64) + tail
        return counted

    def quantile(self, p: float) -> float:
        """The smallest score with at least a share `p` of all at or below it; a bin's lower edge below the tail."""
        rank = max(math.ceil(checked_rate(p, name="p") * self.trials), 1)
        if rank > self.body.total:
            return float(self.tail.score[rank - self.body.total - 1])
        edges, counts = self.body.filled()
        return max(float(edges[np.searchsorted(np.cumsum(counts), rank)]), self.minimum)

    def sample(self, n: int, seed: int = 0) -> NDArray[np.float64]:
        """(min(n, N),) scores drawn without replacement, ascending; those of the body at their bins' lower edges."""
        rng = np.random.default_rng(seed)
        wanted = min(n, self.trials)
        ranks = np.sort(rng.choice(self.trials, size=wanted, replace=False, shuffle=False))
        edges, counts = self.body.filled()
        low = ranks[ranks < self.body.total]
        body = edges[np.searchsorted(np.cumsum(counts), low, side="right")]
        tail = self.tail.score[ranks[low.size :] - self.body.total]
        return np.concatenate([body, tail.astype(np.float64)])

    def top(self, k: int) -> Top:
        """The k highest scores (or all of the tail), highest first, with subjects and payload."""
        return self.tail.highest(k)

    def errors_by_subject(self, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(S,) errors at `threshold` and (S,) trials of each subject number.

        Raises:
            ScoreError: the threshold lies below the tail, where it is not known who errs.
        """
        if threshold <= self.floor:
            msg = (
                f"threshold {threshold:g} lies below the exact tail, which begins above {self.floor:g}: errors by "
                "subject are known at higher thresholds only; give NonMatedAccumulator a larger tail"
            )
            raise ScoreError(msg)
        above = self.tail.highest(self.tail.at_or_above(threshold))
        size = self.design.per_subject.size
        errors = np.bincount(above.subject_a, minlength=size) + np.bincount(above.subject_b, minlength=size)
        return errors, self.design.per_subject
