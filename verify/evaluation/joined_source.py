"""Several sets as one source, people of one name taken as one person; still no trial across sets."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from verify.evaluation.persons import persons_of
from verify.evaluation.prepare import pooled_side, taken
from verify.metrics.non_mated import NonMatedScores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from verify.evaluation.side import Side
    from verify.evaluation.sources import TrialBlock, TrialSource


def shared_subjects(sources: Sequence[TrialSource]) -> tuple[str, ...]:
    """Subjects whose person is in more than one source, in whatever spelling and under whatever name."""
    first: dict[str, int] = {}
    shared: dict[str, None] = {}
    for number, source in enumerate(sources):
        for subject, person in zip(source.subjects, persons_of(source), strict=True):
            if first.setdefault(person, number) != number:
                shared.setdefault(subject)
    return tuple(shared)


class JoinedSource:
    """The trials of several sources, one after the other; see `verify.evaluation.sources.TrialSource`.

    Subjects of one person (see `verify.evaluation.persons`) are one subject here. Where they are two subjects
    of one source, their trials against each other are neither mated nor non-mated, and left out.
    """

    def __init__(self, sources: Sequence[TrialSource], *, name: str) -> None:
        number: dict[str, int] = {}
        subjects: dict[int, str] = {}
        self._places: list[NDArray[np.int32]] = []  # of each source's subjects in the joint numbering
        for source in sources:
            places = [number.setdefault(one, len(number)) for one in persons_of(source)]
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
        first = self._joint_places([top.subject_a for top in found])
        second = self._joint_places([top.subject_b for top in found])
        apart = first != second
        return dataclasses.replace(
            pooled,
            subjects=self.subjects,
            mated_subject=places[pooled.mated_subject],
            non_mated=NonMatedScores.of(
                np.concatenate([top.score for top in found])[apart],
                subject_a=first[apart],
                subject_b=second[apart],
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
                joint = dataclasses.replace(
                    block,
                    subject_a=places[block.subject_a],
                    subject_b=places[block.subject_b],
                    attempt_a=np.where(block.attempt_a >= 0, block.attempt_a + np.int32(offset), -1),
                    attempt_b=np.where(block.attempt_b >= 0, block.attempt_b + np.int32(offset), -1),
                )
                clear = joint.mated == (joint.subject_a == joint.subject_b)
                yield joint if clear.all() else taken(joint, clear)

    def left_out(self, among: NDArray[np.bool_]) -> NDArray[np.int32]:
        """(L,) int32 subjects of mated trials without a score; see `verify.evaluation.spaces.LlrSource`."""
        found = [np.empty(0, dtype=np.int32)]
        for source, places in zip(self._sources, self._places, strict=True):
            of_source = getattr(source, "left_out", None)
            if of_source is not None:
                found.append(places[of_source(among[places])])
        return np.concatenate(found)

    def crossing(self, among: NDArray[np.bool_]) -> int:
        """See `TrialSource.crossing`."""
        return sum(
            source.crossing(among[places]) for source, places in zip(self._sources, self._places, strict=True)
        )
