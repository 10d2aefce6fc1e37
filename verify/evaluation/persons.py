"""Who is who over several sets: one person may have another name in each, but never another file.

Subjects are taken as one person if their ids are spelled alike, or if they share a file, byte for byte. One
person is on one side of the split in every set, and one cluster in what is pooled. If a file lies under a
wrong name in one of the sets, two people are taken as one: their trials against each other are left out of
the pool, and the bounds are wider than need be. The other way round they would be too narrow.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from verify.data.subjects import folded_subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from verify.data.splits import Split
    from verify.evaluation.embedded_source import EmbeddedSource
    from verify.evaluation.prepare import SplitSet
    from verify.evaluation.sources import TrialSource

_SHOWN = 3


def persons_of(source: TrialSource) -> tuple[str, ...]:
    """(S,) the name that each subject's person has in every set: its own, folded, unless files say otherwise."""
    known: tuple[str, ...] = getattr(_bases(source)[0], "persons", ())
    return known or tuple(folded_subject(subject) for subject in source.subjects)


def given_split(source: TrialSource) -> Split | None:
    """The split file that a source came with; None if its subjects are halved by hash."""
    split: Split | None = getattr(_bases(source)[0], "split", None)
    return split


def with_persons(sources: Sequence[EmbeddedSource]) -> tuple[EmbeddedSource, ...]:
    """The sources with `persons` told from the files that they share, and a warning where names differ."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    first: dict[str, str] = {}  # file -> whose it was where it was met first
    for source in sources:
        for sha256, subject in _files(source):
            name = folded_subject(subject)
            one, other = sorted((root(first.setdefault(sha256, name)), root(name)))
            parent[other] = one  # the name that sorts first: the order of the sets changes nothing
    return tuple(
        dataclasses.replace(
            source,
            persons=tuple(root(folded_subject(subject)) for subject in source.subjects),
            warnings=(
                *source.warnings,
                *_warnings(source, [root(folded_subject(s)) for s in source.subjects]),
            ),
        )
        for source in sources
    )


def several_names(source: TrialSource) -> int:
    """How many persons are several subjects of this one source."""
    return sum(count > 1 for count in Counter(persons_of(source)).values())


def on_both_sides(sets: Sequence[SplitSet]) -> frozenset[str]:
    """Names of sets of which a person or a file is on one side there, and on the other side there or in another set."""
    sides: dict[str, set[bool]] = {}
    met: list[tuple[str, str]] = []
    for one in sets:
        chooses = dict(zip(one.source.subjects, one.calibration.among.tolist(), strict=True))
        measures = dict(zip(one.source.subjects, one.test.among.tolist(), strict=True))
        people = zip(persons_of(one.source), one.source.subjects, strict=True)
        keys = [(f"person {person}", subject) for person, subject in people]
        keys += [(sha256, subject) for base in _bases(one.source) for sha256, subject in _files(base)]
        for key, subject in keys:
            met.append((key, one.name))
            there = sides.setdefault(key, set())
            there.update(side for side, those in ((True, chooses), (False, measures)) if those[subject])
    return frozenset(name for key, name in met if len(sides[key]) > 1)


def _warnings(source: EmbeddedSource, persons: Sequence[str]) -> Iterator[str]:
    renamed = [
        f"{subject} is {person}"
        for subject, person in zip(source.subjects, persons, strict=True)
        if folded_subject(subject) != person
    ]
    if renamed:
        more = ", ..." if len(renamed) > _SHOWN else ""
        yield (
            f"{len(renamed)} subjects share files with subjects of other names in other sets "
            f"({', '.join(renamed[:_SHOWN])}{more}): taken as one person each, on one side of the split"
        )


def _files(source: object) -> Iterator[tuple[str, str]]:
    """(sha256 of a file, subject), of sources that know their files."""
    hashes = getattr(source, "sha256s", ())
    if hashes:
        subjects, owner = source.subjects, source.owner.tolist()  # type: ignore[attr-defined]
        yield from ((sha256, subjects[place]) for sha256, place in zip(hashes, owner, strict=True))


def _bases(source: TrialSource) -> tuple[TrialSource, ...]:
    """What is inside sources around sources: one a model."""
    while hasattr(source, "inner"):
        source = source.inner
    return tuple(getattr(source, "parts", (source,)))
