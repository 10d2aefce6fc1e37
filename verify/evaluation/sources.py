"""Where trials come from: media, trial lists, score files and what is made of them, behind one face.

A source hands out its trials in blocks, so that 10^8 of them never stand in memory at once, and can
do so again and again (the trials of a block may differ in order, never in number). Score spaces
are sources around sources: a normalised source has the scores of the one inside it, normalised.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from verify.types import Reason


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sample that was to be captured: whose, what it is called, and why it failed if it did."""

    subject: int
    name: str
    failure: Reason | None = None


@dataclass(frozen=True, slots=True)
class TrialBlock:
    """n trials.

    Attributes:
        score: (n,) float32 or float64, finite, in the source's score space; higher = more alike.
        mated: (n,) bool.
        subject_a: (n,) int32, place of the enrolled side in the source's `subjects`.
        subject_b: (n,) int32, of the probe side; equal to `subject_a` where mated.
        attempt_a: (n,) int32, place in the source's `attempts`; -1 where the source has no samples.
        attempt_b: (n,) int32.
        quality: measure -> (x, y), each (n,) float64: the measure of side a and of side b, NaN where
            there is none. Only measures that were asked for.
    """

    score: NDArray[np.floating]
    mated: NDArray[np.bool_]
    subject_a: NDArray[np.int32]
    subject_b: NDArray[np.int32]
    attempt_a: NDArray[np.int32]
    attempt_b: NDArray[np.int32]
    quality: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict)


class TrialSource(Protocol):
    """A data set as trials.

    Attributes:
        name: of the data set, as messages and operating points call it.
        kind: ``folder``, ``manifest``, ``trial list`` or ``score file``.
        data_sha256: over the sorted hashes of the files used, or of the score file's bytes.
        subjects: subject ids, in a fixed order; trials refer to places in it.
        groups: column of the manifest -> (S,) the label of each subject, ``""`` where there is none.
        attempts: every sample that was to be captured; empty where only scores are known.
        measures: the quality measures that blocks can carry.
        model_id: of the model that made the scores; None for scores of unknown origin.
        copies: number of files left out because the subject has the same bytes already.
        conflicts: groups of equal files under several subjects, each as ``subject: file``.
        warnings: what a person should look at, in words.
    """

    name: str
    kind: str
    data_sha256: str
    subjects: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    attempts: tuple[Attempt, ...]
    measures: tuple[str, ...]
    model_id: str | None
    copies: int
    conflicts: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]

    def blocks(
        self, among: NDArray[np.bool_], *, measures: Sequence[str] = (), mated_only: bool = False
    ) -> Iterator[TrialBlock]:
        """The trials both of whose subjects are marked in `among` (S,), each once.

        Args:
            among: which subjects take part.
            measures: quality measures that the blocks must carry.
            mated_only: leave out non-mated trials (a cheap first look).
        """
        ...

    def crossing(self, among: NDArray[np.bool_]) -> int:
        """How many trials have one subject marked and one not; they belong to neither side."""
        ...
