"""Non-mated scores with the subjects behind them, in memory or streamed.

10^8 trials do not fit in memory with all that belongs to them, and do not need to: only the high
scores can be errors at a threshold that anyone would deploy. `NonMatedAccumulator` takes trials block
by block, in any order, and keeps

- the *tail*: the highest scores, each with its subjects and payload, exact. It has room for 12 million,
  so that up to 10^8 trials have all scores above FMR 0.1 in it (and fewer trials have all their scores);
- the *body*: a histogram of all lower scores, of a resolution of 1/8192 of the score;
- the design: trials of each subject and of each pair, exact.

Whatever is asked at a threshold inside the tail is exact to the bit, as if all trials had been in
memory. Below the tail counts are those at the next lower bin edge, so that rates are never understated,
and bounds fall back on pairs that share nobody (see `verify.metrics.non_mated_rates`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.dyadic import DyadDesign
from verify.metrics.non_mated_scores import NonMatedScores
from verify.metrics.pair_counts import PairCounter, PooledPairs
from verify.metrics.score_histogram import ScoreHistogram
from verify.metrics.scores import kept_scores
from verify.metrics.subjects import checked_pairs
from verify.metrics.tail_buffer import TailBuffer, Top

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

TAIL = 12_000_000

__all__ = ["TAIL", "NonMatedAccumulator", "NonMatedScores", "pooled_non_mated"]


class NonMatedAccumulator:
    """Takes non-mated trials block by block, in any order.

    Args:
        subjects: S; trials refer to subjects 0..S-1.
        tail: how many of the highest scores are kept exactly.
    """

    __slots__ = ("_body", "_high", "_low", "_pairs", "_per_subject", "_sum", "_tail", "_trials")

    def __init__(self, *, subjects: int, tail: int = TAIL) -> None:
        self._per_subject = np.zeros(subjects, dtype=np.int64)
        self._pairs = PairCounter(subjects)
        self._body = ScoreHistogram()
        self._tail = TailBuffer(tail, dropped=self._body.add)
        self._trials, self._sum = 0, 0.0
        self._low, self._high = math.inf, -math.inf

    def add(
        self, scores: ArrayLike, subject_a: ArrayLike, subject_b: ArrayLike, payload: ArrayLike | None = None
    ) -> None:
        """Take (n,) more trials; `payload` (n,) int64 comes back with the highest of them.

        Raises:
            ScoreError: bad scores, or subjects that do not fit them.
        """
        if np.size(np.asarray(scores)) == 0:
            return
        values = kept_scores(scores, name="non_mated")
        a, b = checked_pairs(subject_a, subject_b, trials=values.size)
        size = self._per_subject.size
        if max(a.max(), b.max()) >= size:
            msg = f"subject_a and subject_b must lie below {size}, not reach {max(a.max(), b.max())}"
            raise ScoreError(msg)
        self._pairs.add(a, b)
        self._per_subject += np.bincount(a, minlength=size) + np.bincount(b, minlength=size)
        self._trials += values.size
        self._sum += float(values.sum(dtype=np.float64))
        self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))
        self._tail.add(values, a, b, payload)

    def finish(self) -> NonMatedScores:
        """All of it; nothing may be added afterwards.

        Raises:
            ScoreError: there was no trial at all.
        """
        if not self._trials:
            msg = "non_mated: no scores; at least one non-mated score is needed"
            raise ScoreError(msg)
        tail = self._tail.finish()
        return NonMatedScores(
            design=DyadDesign.counted(trials=self._trials, per_subject=self._per_subject, pairs=self._pairs),
            tail=tail,
            floor=self._tail.floor,
            body=self._body,
            minimum=self._low,
            maximum=self._high,
            mean=self._sum / self._trials,
        )


def pooled_non_mated(parts: Sequence[NonMatedScores]) -> NonMatedScores:
    """Several groups without a common subject as one; subjects are numbered one group after the other.

    What lies outside any part's tail is outside the pooled one's.

    Raises:
        ScoreError: there are no parts.
    """
    if not parts:
        msg = "non_mated: no groups to pool"
        raise ScoreError(msg)
    sizes = [part.design.per_subject.size for part in parts]
    offsets = np.cumsum([0, *sizes])[:-1]
    floor = max(part.floor for part in parts)
    body = ScoreHistogram()
    pieces = []
    for part, offset in zip(parts, offsets.tolist(), strict=True):
        keep = part.tail.at_or_above(math.nextafter(floor, math.inf))
        body.merge(part.body)
        body.add(part.tail.score[: part.tail.score.size - keep])
        pieces.append(part.tail.above(keep, offset=offset))
    trials = sum(part.trials for part in parts)
    design = DyadDesign.counted(
        trials=trials,
        per_subject=np.concatenate([part.design.per_subject for part in parts]),
        pairs=PooledPairs(tuple(part.design.pairs for part in parts), offsets),
    )
    return NonMatedScores(
        design=design,
        tail=Top.ascending(pieces),
        floor=floor,
        body=body,
        minimum=min(part.minimum for part in parts),
        maximum=max(part.maximum for part in parts),
        mean=sum(part.mean * part.trials for part in parts) / trials,
    )
