"""One side of a split, calibration or test, with its trials in the score space that is judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from verify.evaluation.sources import Attempt
    from verify.metrics.non_mated import NonMatedScores


def _nobody() -> NDArray[np.int32]:
    return np.empty(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Side:
    """The trials of one group of subjects.

    Attributes:
        name: of the data set, or of the pool.
        subjects: all subject ids of the source; numbers below refer to places in it.
        mated: (M,) float64 scores.
        mated_subject: (M,) int32.
        mated_attempts: (M, 2) int32 places in `attempts`, -1 where there are no samples.
        mated_quality: measure -> (x, y), each (M,) float64, of the measures that were asked for.
        non_mated: the non-mated scores; payload is ``attempt_a << 32 | attempt_b``, none where
            only scores are known.
        attempts: every sample that was to be captured, of these subjects or others of the source.
        groups: column -> (S,) label of each subject.
        among: (S,) bool, which subjects are on this side.
        subjects_seen: number of subjects of this side with at least one usable sample or trial.
        samples_seen: number of their usable samples; 0 where only scores are known.
        mated_left_out: (L,) int32 subjects of mated trials of scores alone that a quality-aware map says nothing
            about; they count as failures to acquire.
    """

    name: str
    subjects: tuple[str, ...] = field(repr=False)
    mated: NDArray[np.float64] = field(repr=False)
    mated_subject: NDArray[np.int32] = field(repr=False)
    mated_attempts: NDArray[np.int32] = field(repr=False)
    mated_quality: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(repr=False)
    non_mated: NonMatedScores = field(repr=False)
    attempts: tuple[Attempt, ...] = field(repr=False)
    groups: Mapping[str, tuple[str, ...]] = field(repr=False)
    among: NDArray[np.bool_] = field(repr=False)
    subjects_seen: int
    samples_seen: int
    mated_left_out: NDArray[np.int32] = field(default_factory=_nobody, repr=False)
