"""Whether a split keeps people and files apart, inside its own data and against other splits."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.data.subjects import folded_subject
from verify.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from verify.data.manifest import Manifest
    from verify.data.splits import Split

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class SplitData:
    """A split, and the data that it is of.

    Attributes:
        split: who is in which part.
        manifest: its files; None where only the split is known.
        hashes: sha256 of each file's bytes.
    """

    split: Split
    manifest: Manifest | None
    hashes: Mapping[Path, str]


def check_ids(ours: Split, others: Sequence[Split]) -> None:
    """Refuse a person, by the id's folded spelling, who is in one part here and in another part there.

    Raises:
        ManifestError: the first ones, with both parts.
    """
    mine = {folded_subject(subject): (subject, part) for subject, part in ours.parts.items()}
    for other in others:
        torn = [
            f"{mine[name][0]!r} ({mine[name][1]} here, {part} there)"
            for subject, part in other.parts.items()
            if (name := folded_subject(subject)) in mine and mine[name][1] != part
        ]
        if torn:
            more = ", ..." if len(torn) > _SHOWN else ""
            msg = (
                f"{len(torn)} subjects of {ours.name} are in another part of the split of {other.name}: "
                f"{', '.join(torn[:_SHOWN])}{more}; if these are the same people, split with that split's seed "
                f"({other.seed}) and fractions; if not, give them other ids"
            )
            raise ManifestError(msg)


def check_contents(sets: Sequence[SplitData]) -> tuple[str, ...]:
    """Refuse a file whose bytes are in two parts, within a set or over several.

    Returns:
        What a person should look at: files that are under two subjects of one part, in words.

    Raises:
        ManifestError: the first files that are in two parts.
    """
    torn: list[str] = []
    twice: list[str] = []
    for owners in _shared(sets):
        named = " = ".join(f"{name}: {file} ({part})" for name, file, part in owners)
        (torn if len({part for _, _, part in owners}) > 1 else twice).append(named)
    if torn:
        msg = (
            f"{len(torn)} files are in two parts of the split, byte for byte, under different subjects: "
            f"{'; '.join(torn[:_SHOWN])}: these are likely one person; give them one subject id, or take one of the "
            "files out"
        )
        raise ManifestError(msg)
    return tuple(f"the same file under two subjects: {named}" for named in twice)


def _shared(sets: Sequence[SplitData]) -> Iterator[list[tuple[str, str, str]]]:
    """Each content that several subjects have: (set/subject, file, part) of all of them."""
    owners: defaultdict[str, dict[str, tuple[str, str, str]]] = defaultdict(dict)
    for one in sets:
        for entry in one.manifest.entries if one.manifest is not None else ():
            name = f"{one.split.name}/{entry.subject_id}"
            part = one.split.parts[entry.subject_id]
            owners[one.hashes[entry.path]].setdefault(name, (name, entry.path.name, part))
    yield from (list(those.values()) for those in owners.values() if len(those) > 1)
