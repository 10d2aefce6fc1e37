"""Several sets as one source, people of one name taken as one person; still no trial across sets."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from verify.data.subjects import folded_subject
from verify.evaluation.prepare import pooled_side
from verify.metrics.non_mated import NonMatedScores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.side import Side
    from verify.evaluation.sources import TrialBlock, TrialSource


def shared_subjects(sources: Sequence[TrialSource]) -> tuple[str, ...]:
    """Subject ids that occur in more than one source, in whatever spelling."""
    first: dict[str, int] = {}
    shared: dict[str, None] = {}
    for number, source in enumerate(sources):
        for subject in source.subjects:
            if first.setdefault(folded_subject(subject), number) != number:
                shared.setdefault(subject)
    return tuple(shared)


class JoinedSource:
    """The trials of several sources, one after the other; see `verify.evaluation.sources.TrialSource`.

    Subjects of one name in two sources are one subject here. If they are two people after all, their
    trials are taken as dependent for nothing, and the bounds are wider than need be; the other way
    round, two names for one person, they would be too narrow.
    """

    def __init__(self, sources: Sequence[TrialSource], *, name: str) -> None:
        number: dict[str, int] = {}
        subjects: dict[int, str] = {}
        self._places: list[NDArray[np.int32]] = []  # of each source's subjects in the joint numbering
        for source in sources:
            places = [number.setdefault(folded_subject(one), len(number)) for one in source.subjects]
            for place, subject in zip(places, source.subjects, strict=True):
                subjects.setdefault(place, subject)
            self._places.append(np.array(places, dtype=np.int32))
        self._sources = tuple(sources)
        self._offsets = np.cumsum([0, *(len(source.attempts) for source in sources)])
        self.name, self.kind = name, sources[0].kind
        self.data_sha256 = ""
        self.subjects = tuple(subjects[place] for place in range(len(subjects)))
        self.groups: Mapping[str, tuple[str, ...]] = {}
        self.attempts = tuple(
            dataclasses.replace(attempt, subject=int(places[attempt.subject]))
            for source, places in zip(sources, self._places, strict=True)
            for attempt in source.attempts
        )
        self.measures = tuple(
            name for name in sources[0].measures if all(name in one.measures for one in sources)
        )
        self.model_id = sources[0].model_id
        self.copies = 0
        self.conflicts: tuple[tuple[str, ...], ...] = ()
        self.warnings: tuple[str, ...] = ()

    def joint(self, chosen: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """(S,) bool over the joint subjects: who is marked in the mask of any source."""
        joined = np.zeros(len(self.subjects), dtype=bool)
        for places, mask in zip(self._places, chosen, strict=True):
            joined[places[mask]] = True
        return joined

    def searches(self, sides: Sequence[Side]) -> Side:
        """Searches of each source's subjects, see `verify.evaluation.searching`, as one side of the joint subjects."""
        places = np.concatenate(self._places)
        pooled = pooled_side(sides)
        found = [
            side.non_mated.top(side.non_mated.trials) for side in sides
        ]  # searches are few: all are there
        return dataclasses.replace(
            pooled,
            subjects=self.subjects,
            mated_subject=places[pooled.mated_subject],
            non_mated=NonMatedScores.of(
                np.concatenate([top.score for top in found]),
                subject_a=self._joint_places([top.subject_a for top in found]),
                subject_b=self._joint_places([top.subject_b for top in found]),
            ),
            attempts=self.attempts,
            groups={},
            among=self.joint([side.among for side in sides]),
        )

    def _joint_places(self, subjects: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
        """Each source's subject numbers, one array after the other, in the joint numbering."""
        return np.concatenate([places[one] for places, one in zip(self._places, subjects, strict=True)])

    def blocks(
        self, among: NDArray[np.bool_], *, measures: Sequence[str] = (), mated_only: bool = False
    ) -> Iterator[TrialBlock]:
        """See `TrialSource.blocks`."""
        parts = zip(self._sources, self._places, self._offsets.tolist(), strict=False)
        for source, places, offset in parts:
            for block in source.blocks(among[places], measures=measures, mated_only=mated_only):
                yield dataclasses.replace(
                    block,
                    subject_a=places[block.subject_a],
                    subject_b=places[block.subject_b],
                    attempt_a=np.where(block.attempt_a >= 0, block.attempt_a + np.int32(offset), -1),
                    attempt_b=np.where(block.attempt_b >= 0, block.attempt_b + np.int32(offset), -1),
                )

    def crossing(self, among: NDArray[np.bool_]) -> int:
        """See `TrialSource.crossing`."""
        return sum(
            source.crossing(among[places]) for source, places in zip(self._sources, self._places, strict=True)
        )
