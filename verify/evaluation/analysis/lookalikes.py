"""Two names that look like one person: one sample filed under the other's name, or the same person twice.

- *A sample filed under another name* scores high with the samples of that other subject, and not with the rest of
  its own: most of those samples have to, and evidence for its own name is taken off.
- *One person under two names* makes most trials between two subjects score high.

Only the highest non-mated scores are looked at; trials of a pair that are not among them count as if they said
what the average stranger says.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from verify.evaluation.analysis.label_evidence import CORRELATION, witnesses
from verify.metrics.evidence import llr_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verify.evaluation.side import Side
    from verify.score_space import LlrMap

_TOP = 200_000  # highest non-mated scores that are looked at


@dataclass(frozen=True, slots=True)
class Lookalike:
    """Two subjects some of whose samples look like one person's.

    Attributes:
        subjects: numbers of the two; if a single sample is in question, the first is the one it is filed under.
        attempts: two samples, of the first subject and of the second: the one in question and the other subject's
            that is most like it, or the two that are most alike; empty where no samples are known.
        evidence: for one person, in nats; see `verify.evaluation.analysis.label_evidence`.
        score: highest score between the two, or of that sample with the other subject.
        hits: trials between them, or of that sample, that speak for one person.
        trials: trials between them, or of that sample, in all.
        whole: whether it is the subjects as a whole; False if a single sample.
    """

    subjects: tuple[int, int]
    attempts: tuple[int, ...]
    evidence: float
    score: float
    hits: int
    trials: int
    whole: bool


@dataclass(frozen=True, slots=True)
class _High:
    """(n,) the non-mated trials that speak for one person, highest score first; `silent` is what others say."""

    a: NDArray[np.int64] = field(repr=False)
    b: NDArray[np.int64] = field(repr=False)
    attempt_a: NDArray[np.int64] = field(repr=False)
    attempt_b: NDArray[np.int64] = field(repr=False)
    score: NDArray[np.float64] = field(repr=False)
    llr: NDArray[np.float64] = field(repr=False)
    silent: float
    attempts_known: bool

    def both_ways(self) -> _High:
        """Each trial twice, once from either side, so that all of a sample's stand under its own number."""
        order = np.argsort(-np.tile(self.score, 2), kind="stable")
        return replace(
            self,
            a=np.append(self.a, self.b)[order],
            b=np.append(self.b, self.a)[order],
            attempt_a=np.append(self.attempt_a, self.attempt_b)[order],
            attempt_b=np.append(self.attempt_b, self.attempt_a)[order],
            score=np.tile(self.score, 2)[order],
            llr=np.tile(self.llr, 2)[order],
        )


@dataclass(frozen=True, slots=True)
class _Sums:
    """(k,) what the trials of each key come to: one of its trials, hits, total llr and highest score."""

    keys: NDArray[np.int64]
    first: NDArray[np.intp]
    hits: NDArray[np.int64]
    llr: NDArray[np.float64]
    highest: NDArray[np.float64]


def lookalikes(side: Side, mapping: LlrMap) -> list[Lookalike]:
    """Pairs of subjects who look like one person, strongest evidence first; one entry a pair.

    Args:
        side: whose non-mated trials carry their attempts as payload; without, whole subjects are judged.
        mapping: of the side's scores to llrs.
    """
    high = _highest(side, mapping)
    if not high.llr.size:
        return []
    best = _whole_pairs(side, high)
    if high.attempts_known:
        for key, attempts in _closest(high).items():
            best[key] = replace(best[key], attempts=attempts)
        for one in _single(high.both_ways(), _samples(side), _at_home(side, mapping)):
            key = (min(one.subjects), max(one.subjects))
            if one.evidence > best[key].evidence:
                best[key] = one
    return sorted(best.values(), key=lambda one: -one.evidence)


def _highest(side: Side, mapping: LlrMap) -> _High:
    top = side.non_mated.top(_TOP)
    score = np.asarray(top.score, dtype=np.float64)
    llr = llr_of(mapping, score)
    speaking = llr > 0
    payload = np.full(score.size, -1, dtype=np.int64) if top.payload is None else top.payload
    payload = payload[speaking]
    return _High(
        a=top.subject_a[speaking].astype(np.int64),
        b=top.subject_b[speaking].astype(np.int64),
        attempt_a=payload >> 32,
        attempt_b=payload & 0xFFFFFFFF,
        score=score[speaking],
        llr=llr[speaking],
        silent=min(0.0, float(llr_of(mapping, np.array([side.non_mated.mean]))[0])),
        attempts_known=bool(side.attempts) and bool((payload >= 0).all()),
    )


def _sums(keys: NDArray[np.int64], high: _High) -> _Sums:
    unique, first, place = np.unique(keys, return_index=True, return_inverse=True)
    highest = np.full(unique.size, -np.inf)
    np.maximum.at(highest, place, high.score)
    hits: NDArray[np.int64] = np.bincount(place).astype(np.int64)
    return _Sums(unique, first, hits, np.bincount(place, weights=high.llr).astype(np.float64), highest)


def _whole_pairs(side: Side, high: _High) -> dict[tuple[int, int], Lookalike]:
    """Evidence that two subjects are one, from all their trials."""
    size = len(side.subjects)
    sums = _sums(np.minimum(high.a, high.b) * size + np.maximum(high.a, high.b), high)
    one, other = sums.keys // size, sums.keys % size
    trials = np.maximum(side.non_mated.design.pairs.trials_of(one, other), sums.hits)
    evidence = (sums.llr + (trials - sums.hits) * high.silent) / trials * witnesses(trials)
    columns = (one, other, evidence, sums.highest, sums.hits, trials)
    return {
        (i, j): Lookalike((i, j), (), value, score, hits, met, whole=True)
        for i, j, value, score, hits, met in zip(*(column.tolist() for column in columns), strict=True)
    }


def _single(high: _High, samples: NDArray[np.int64], at_home: NDArray[np.float64]) -> list[Lookalike]:
    """Evidence that one sample of side a is side b's subject's and not its own one's."""
    sums = _sums(high.attempt_a * samples.size + high.b, high)
    attempt, other, own = high.attempt_a[sums.first], high.b[sums.first], high.a[sums.first]
    theirs = np.maximum(samples[other], sums.hits)
    mean = (sums.llr + (theirs - sums.hits) * high.silent) / theirs
    evidence = mean * witnesses(theirs) - at_home[attempt]
    # against a single sample the pair as a whole says the same; and a sample that most of the other's samples
    # are unlike is nobody's: it stands among those unlike their own subject
    several = (theirs > 1) & (evidence > 0) & (2 * sums.hits >= theirs)
    nearest = high.attempt_b[sums.first]  # the trials are in descending order
    columns = (own, other, attempt, nearest, evidence, sums.highest, sums.hits, theirs)
    return [
        Lookalike((i, j), (sample, like), value, score, hits, met, whole=False)
        for i, j, sample, like, value, score, hits, met in zip(
            *(column[several].tolist() for column in columns), strict=True
        )
    ]


def _samples(side: Side) -> NDArray[np.int64]:
    """(S,) usable samples of each subject."""
    usable = [attempt.subject for attempt in side.attempts if attempt.failure is None]
    return np.bincount(np.array(usable, dtype=np.int64), minlength=len(side.subjects))


def _at_home(side: Side, mapping: LlrMap) -> NDArray[np.float64]:
    """(attempts,) evidence that each sample is its own subject's, from its mated trials; 0 without any."""
    total, count = np.zeros(len(side.attempts)), np.zeros(len(side.attempts))
    if side.mated.size:
        llr = llr_of(mapping, side.mated)
        for ends in side.mated_attempts.T:
            known = ends >= 0
            total += np.bincount(ends[known], weights=llr[known], minlength=total.size)
            count += np.bincount(ends[known], minlength=total.size)
    return np.where(count > 0, total / (1 + np.maximum(count - 1, 0) * CORRELATION), 0.0)


def _closest(high: _High) -> dict[tuple[int, int], tuple[int, int]]:
    """The two most alike samples of each pair of subjects."""
    pairs: dict[tuple[int, int], tuple[int, int]] = {}
    columns = (high.a, high.b, high.attempt_a, high.attempt_b)
    for i, j, x, y in zip(*(column.tolist() for column in columns), strict=True):
        pairs.setdefault((min(i, j), max(i, j)), (x, y) if i < j else (y, x))
    return pairs
