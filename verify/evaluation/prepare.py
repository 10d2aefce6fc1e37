"""From a source of trials to the two sides of its split, with every score where it is needed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.data.splits import CALIBRATION, TEST, Split, part_of
from verify.data.subjects import folded_subject
from verify.errors import InsufficientTrialsError, ScoreError
from verify.evaluation.persons import given_split, persons_of
from verify.evaluation.side import Side
from verify.metrics.non_mated import NonMatedAccumulator, pooled_non_mated
from verify.types import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.sources import Attempt, TrialBlock, TrialSource

    Quality = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]

POOLED = "all sets"


@dataclass(frozen=True, slots=True)
class SplitSet:
    """One data set, its subjects parted in two.

    Attributes:
        name: of the data set.
        source: its trials, in the score space that is judged.
        split: which subject is on which side.
        calibration: the trials of the subjects who choose the threshold.
        test: the trials of the subjects who measure it.
        possible: side -> number of non-mated trials that there are; more than were scored if sampled.
    """

    name: str
    source: TrialSource = field(repr=False)
    split: Split = field(repr=False)
    calibration: Side
    test: Side
    possible: Mapping[str, int]


def split_of(source: TrialSource, *, seed: int = 0) -> Split:
    """The split that the source came with, else its subjects by hash of whose person each is.

    By hash one person is on one side in every set.
    """
    given = given_split(source)
    if given is not None:
        return given
    named = sorted(zip(source.subjects, persons_of(source), strict=True))
    known_as = {
        subject: subject if folded_subject(subject) == person else person for subject, person in named
    }
    parts = {subject: part_of(name, seed=seed) for subject, name in known_as.items()}
    return Split(name=source.name, seed=seed, parts=parts)


def among(source: TrialSource, split: Split, part: str) -> NDArray[np.bool_]:
    """(S,) bool, which subjects of the source are in a part of the split."""
    return np.array([split.parts[subject] == part for subject in source.subjects], dtype=bool)


def split_set(source: TrialSource, *, seed: int = 0, measures: Sequence[str] = ()) -> SplitSet:
    """Part the subjects by hash, and gather the trials of each part.

    Raises:
        InsufficientTrialsError: a side without non-mated trials, or without mated ones on both.
        ScoreError: a score that is NaN or infinite, or nothing but equal scores.
    """
    split = split_of(source, seed=seed)
    sides = {
        part: prepare(source, among(source, split, part), measures=measures, part=part)
        for part in (CALIBRATION, TEST)
    }
    return SplitSet(
        name=source.name,
        source=source,
        split=split,
        calibration=sides[CALIBRATION],
        test=sides[TEST],
        possible={part: possible_non_mated(source, side) for part, side in sides.items()},
    )


def prepare(
    source: TrialSource, chosen: NDArray[np.bool_], *, measures: Sequence[str] = (), part: str = "chosen"
) -> Side:
    """The trials among some subjects as a `Side`.

    Args:
        source: of the trials.
        chosen: (S,) bool, which subjects take part.
        measures: quality measures to keep of the mated trials.
        part: what the subjects are called in messages.

    Raises:
        InsufficientTrialsError: no non-mated trial.
        ScoreError: a score that is NaN or infinite.
    """
    mated = _Mated(measures)
    non_mated = NonMatedAccumulator(subjects=len(source.subjects))
    seen = np.zeros(len(source.subjects), dtype=bool)
    trials = 0
    left_out = getattr(source, "left_out", None)
    for block in source.blocks(chosen, measures=measures):
        _check_finite(block, source=source)
        seen[block.subject_a] = True
        seen[block.subject_b] = True
        trials += mated.take(block)
        _add(non_mated, block, named=bool(source.attempts))
    usable = [
        attempt.failure is None and bool(chosen[attempt.subject]) for attempt in source.attempts
    ]  # a sample without a partner counts as well
    for attempt, here in zip(source.attempts, usable, strict=True):
        seen[attempt.subject] |= here
    if trials == 0:
        msg = (
            f"{source.name}: there are no non-mated trials among the {part} subjects ({int(seen.sum())} with "
            "usable samples): two are needed in each part, and hundreds for a useful rate; bring more subjects"
        )
        raise InsufficientTrialsError(msg)
    scores, subject, attempts, quality = mated.finish()
    return Side(
        name=source.name,
        subjects=source.subjects,
        mated=scores,
        mated_subject=subject,
        mated_attempts=attempts,
        mated_quality=quality,
        non_mated=non_mated.finish(),
        attempts=source.attempts,
        groups=source.groups,
        among=np.asarray(chosen, dtype=bool),
        subjects_seen=int(seen.sum()),
        samples_seen=sum(usable),
        mated_left_out=np.empty(0, np.int32) if left_out is None else left_out(chosen),
    )


class _Mated:
    """Gathers the mated trials of blocks."""

    def __init__(self, measures: Sequence[str]) -> None:
        self._measures = tuple(measures)
        self._blocks: list[TrialBlock] = []

    def take(self, block: TrialBlock) -> int:
        """Keep the mated trials of a block; the number of its other trials."""
        mated = block.mated
        count = int(np.count_nonzero(mated))
        if count:
            self._blocks.append(taken(block, mated))
        return int(mated.size) - count

    def finish(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32], Quality]:
        """Scores, subjects, (M, 2) attempts and quality of all mated trials."""
        blocks = self._blocks
        quality = {
            name: (
                _joined([block.quality[name][0] for block in blocks]),
                _joined([block.quality[name][1] for block in blocks]),
            )
            for name in self._measures
        }
        attempts = [np.stack([block.attempt_a, block.attempt_b], axis=1) for block in blocks]
        return (
            _joined([block.score for block in blocks]),
            np.concatenate([np.empty(0, np.int32), *(block.subject_a for block in blocks)]),
            np.concatenate([np.empty((0, 2), np.int32), *attempts]),
            quality,
        )


def taken(block: TrialBlock, chosen: NDArray[np.bool_]) -> TrialBlock:
    """Only some trials of a block; `chosen` is (n,) bool."""
    return dataclasses.replace(
        block,
        score=block.score[chosen],
        mated=block.mated[chosen],
        subject_a=block.subject_a[chosen],
        subject_b=block.subject_b[chosen],
        attempt_a=block.attempt_a[chosen],
        attempt_b=block.attempt_b[chosen],
        quality={name: (x[chosen], y[chosen]) for name, (x, y) in block.quality.items()},
    )


def pooled_side(sides: Sequence[Side]) -> Side:
    """Several sets' trials as one: none across sets, because one person may be in two of them."""
    if len(sides) == 1:
        return sides[0]
    subject_offsets = np.cumsum([0, *(len(side.subjects) for side in sides)])
    attempt_offsets = np.cumsum([0, *(len(side.attempts) for side in sides)])
    columns = sorted({column for side in sides for column in side.groups})
    return Side(
        name=POOLED,
        subjects=tuple(subject for side in sides for subject in side.subjects),
        mated=np.concatenate([side.mated for side in sides]),
        mated_subject=np.concatenate(
            [side.mated_subject + offset for side, offset in zip(sides, subject_offsets, strict=False)]
        ).astype(np.int32),
        mated_attempts=np.concatenate(
            [
                np.where(side.mated_attempts >= 0, side.mated_attempts + offset, -1)
                for side, offset in zip(sides, attempt_offsets, strict=False)
            ]
        ).astype(np.int32),
        mated_quality=_pooled_quality(sides),
        non_mated=pooled_non_mated([side.non_mated for side in sides]),
        attempts=tuple(_shifted(sides, subject_offsets)),
        groups={
            column: tuple(
                label for side in sides for label in side.groups.get(column, ("",) * len(side.subjects))
            )
            for column in columns
        },
        among=np.concatenate([side.among for side in sides]),
        subjects_seen=sum(side.subjects_seen for side in sides),
        samples_seen=sum(side.samples_seen for side in sides),
        mated_left_out=np.concatenate(
            [
                side.mated_left_out + np.int32(offset)
                for side, offset in zip(sides, subject_offsets.tolist(), strict=False)
            ]
        ),
    )


def failures(side: Side) -> dict[str, int]:
    """Failures to acquire of the side's subjects by reason, most frequent first."""
    counts = Counter(
        str(attempt.failure)
        for attempt in side.attempts
        if attempt.failure is not None and side.among[attempt.subject]
    )
    if side.mated_left_out.size:
        counts[str(Reason.OUTSIDE_CALIBRATED_RANGE)] += int(side.mated_left_out.size)
    return dict(counts.most_common())


def possible_non_mated(source: TrialSource, side: Side) -> int:
    """How many non-mated trials there are on a side, scored or not."""
    count = getattr(source, "possible_non_mated", None)
    return int(count(side.among)) if count is not None else int(side.non_mated.trials)


def _add(non_mated: NonMatedAccumulator, block: TrialBlock, *, named: bool) -> None:
    """The non-mated trials of a block; which samples met is kept only where samples are `named`."""
    if block.mated.any():
        block = taken(block, ~block.mated)
    if block.score.size:
        payload = None
        if named:
            payload = (block.attempt_a.astype(np.int64) << 32) | (
                block.attempt_b.astype(np.int64) & 0xFFFFFFFF
            )
        non_mated.add(block.score, subject_a=block.subject_a, subject_b=block.subject_b, payload=payload)


def _check_finite(block: TrialBlock, *, source: TrialSource) -> None:
    finite = np.isfinite(block.score)
    if not finite.all():
        at = int(np.argmin(finite))
        pair = sorted({source.subjects[block.subject_a[at]], source.subjects[block.subject_b[at]]})
        msg = f"{source.name}: a score of {' and '.join(pair)} is {block.score[at]}, which is no score"
        raise ScoreError(msg)


def _pooled_quality(sides: Sequence[Side]) -> Quality:
    """The measures that all sides have."""
    names = [name for name in sides[0].mated_quality if all(name in side.mated_quality for side in sides)]
    return {
        name: (
            np.concatenate([side.mated_quality[name][0] for side in sides]),
            np.concatenate([side.mated_quality[name][1] for side in sides]),
        )
        for name in names
    }


def _shifted(sides: Sequence[Side], offsets: NDArray[np.intp]) -> Iterator[Attempt]:
    for side, offset in zip(sides, offsets.tolist(), strict=False):
        for attempt in side.attempts:
            yield dataclasses.replace(attempt, subject=attempt.subject + offset)


def _joined(parts: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *parts]).astype(np.float64)
