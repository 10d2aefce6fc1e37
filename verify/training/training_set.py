"""The samples of one part of one or several prepared sets, as training and validation see them.

Subjects of different sets are different people, whatever they are called: an identity's name is
``set/subject``. Everything that would let a person or a photo stand on both sides of a split is refused here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.data.splits import Split, check_disjoint, read_split
from verify.errors import DataError, UsageError
from verify.models.identity import canonical_sha256
from verify.training.shards import PreparedSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from verify.training.recipe import SetSection
    from verify.types import Modality

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class SetFacts:
    """What a card says about one set."""

    name: str
    sha256: str
    split_sha256: str
    subjects: int
    samples: int


@dataclass(frozen=True)
class TrainingSet:
    """The samples of one part. Safe across threads; pickles as the paths of its sets.

    Made by `open_training`.

    Attributes:
        part: of the splits.
        identities: ``set/subject`` of each identity, in order.
        labels: (n,) int64 place in `identities` of each sample.
        lengths: (n,) int64: samples of a voice at 16 kHz, 1 for a face.
        sets: facts of each set, in the order given.
        split_sha256: of the split; of several, over theirs in order.
        data_sha256: of the prepared set; of several, over theirs in order.
    """

    part: str
    identities: tuple[str, ...] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    lengths: NDArray[np.int64] = field(repr=False)
    sets: tuple[SetFacts, ...]
    split_sha256: str
    data_sha256: str
    _prepared: tuple[PreparedSet, ...] = field(repr=False)
    _set: NDArray[np.int32] = field(repr=False)
    _row: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def set_numbers(self) -> NDArray[np.int32]:
        """(n,) place in `sets` of the set that each sample is of."""
        return self._set

    @property
    def modality(self) -> Modality:
        """Face or voice."""
        return self._prepared[0].modality

    @property
    def contract(self) -> Mapping[str, Any]:
        """The input contract that all samples were made for."""
        return self._prepared[0].contract

    @property
    def locator(self) -> Mapping[str, str]:
        """Name and model_id of what found the faces or the speech; empty if unknown."""
        return self._prepared[0].locator

    @cached_property
    def sha256s(self) -> NDArray[np.bytes_]:
        """(n,) S64: hash of each sample's file, as hex."""
        of = [one.sha256s[self._row[self._set == number]] for number, one in enumerate(self._prepared)]
        return np.concatenate(of)

    def media(self, i: int, *, start: int = 0, count: int | None = None) -> NDArray[Any]:
        """One sample, see `PreparedSet.media`.

        Raises:
            UsageError: no such sample, or a stretch of a face.
            DataError: the sample is damaged; the message names shard and row.
        """
        one, row = self._place(i)
        return one.media(row, start=start, count=count)

    def name(self, i: int) -> str:
        """What to call a sample in messages: set, subject and file."""
        one, row = self._place(i)
        return one.name_of(row)

    def session(self, i: int) -> str:
        """The sample's session as the manifest says; empty if it says none."""
        one, row = self._place(i)
        return one.sessions[row]

    def _place(self, i: int) -> tuple[PreparedSet, int]:
        return self._prepared[int(self._set[i])], int(self._row[i])


def open_training(
    sections: Sequence[SetSection], *, part: str = "train", min_samples: int = 1, max_identities: int = 0
) -> TrainingSet:
    """Open the samples of one part.

    Args:
        sections: the prepared sets with their splits.
        part: of the splits.
        min_samples: subjects with fewer samples take no part.
        max_identities: take only so many subjects, chosen by hash of their names; 0 takes all.

    Raises:
        UsageError: no set, a set twice, or limits that cannot be.
        MissingExtraError: pyarrow is not installed.
        DataError: a set or split that cannot be read, an identity or a file in two parts, sets made for different
            contracts, a subject that its split does not know, or fewer than two identities.
    """
    if not sections:
        msg = "no prepared set is named: give --data PREPARED --split FILE, or [[data.sets]] in the recipe"
        raise UsageError(msg)
    if min_samples < 1 or max_identities < 0:
        msg = f"min_samples must be at least 1 and max_identities at least 0, not {min_samples} and {max_identities}"
        raise UsageError(msg)
    prepared = tuple(PreparedSet.open(section.prepared) for section in sections)
    splits = tuple(read_split(section.split) for section in sections)
    _check_sets(prepared)
    parts = tuple(
        _parts_of(one, split, source=Path(section.split))
        for one, split, section in zip(prepared, splits, sections, strict=True)
    )
    _check_files(prepared, parts)
    chosen = _chosen(prepared, parts, part=part, min_samples=min_samples, max_identities=max_identities)
    if len(chosen) < 2:  # noqa: PLR2004  a comparison takes two
        raise _too_few(chosen, prepared, parts, part=part, min_samples=min_samples)
    return _gathered(prepared, splits, chosen, part=part)


def _check_sets(prepared: Sequence[PreparedSet]) -> None:
    first = prepared[0]
    names = [one.name for one in prepared]
    for name in names:
        if names.count(name) > 1:
            msg = f"two prepared sets are called {name!r}, and identities are named by set and subject: give each once"
            raise UsageError(msg)
    for other in prepared[1:]:
        ours = {"modality": first.modality.value, **first.contract, "locator": dict(first.locator)}
        theirs = {"modality": other.modality.value, **other.contract, "locator": dict(other.locator)}
        differing = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
        if differing:
            key = differing[0]
            msg = (
                f"{first.path} and {other.path} were prepared for different inputs ({', '.join(differing)}; {key} is "
                f"{ours.get(key)!r} and {theirs.get(key)!r}): prepare both in the same way"
            )
            raise DataError(msg)


def _parts_of(one: PreparedSet, split: Split, *, source: Path) -> NDArray[np.str_]:
    """(S,) the part of each subject of a set."""
    check_disjoint(split, where=str(source))
    unknown = [subject for subject in one.subjects if subject not in split.parts]
    if unknown:
        msg = (
            f"{source}: does not know {len(unknown)} of the {len(one.subjects)} subjects of {one.path} "
            f"({', '.join(unknown[:_SHOWN])}{', ...' if len(unknown) > _SHOWN else ''}): make the split anew from the "
            "same data, by `verify split` (the same seed and fractions leave everybody else where they are)"
        )
        raise DataError(msg)
    return np.array([split.parts[subject] for subject in one.subjects])


def _check_files(prepared: Sequence[PreparedSet], parts: Sequence[NDArray[np.str_]]) -> None:
    """Refuse a file that is in two parts, or two people's: over all sets together."""
    hashes = np.concatenate([one.sha256s for one in prepared])
    order = np.argsort(hashes, kind="stable")
    again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if not len(again):
        return
    starts = np.cumsum([0, *map(len, prepared)])

    def told(i: int) -> tuple[str, str]:
        number = int(np.searchsorted(starts, i, side="right")) - 1
        row = i - int(starts[number])
        return prepared[number].name_of(row), str(parts[number][prepared[number].owner[row]])

    (one, its), (other, others) = (told(int(i)) for i in order[again[0] : again[0] + 2])
    where = f"are both in {its}, as two people or twice" if its == others else f"are in {its} and {others}"
    msg = (
        f"the same file stands in the data twice: {one} and {other} {where} ({len(again)} such in all): remove one of "
        "each pair, or give both subjects one id, and prepare and split again"
    )
    raise DataError(msg)


def _chosen(
    prepared: Sequence[PreparedSet],
    parts: Sequence[NDArray[np.str_]],
    *,
    part: str,
    min_samples: int,
    max_identities: int,
) -> list[tuple[int, int]]:
    """(set, place in its subjects) of every identity that takes part, in order."""
    found: list[tuple[int, int]] = []
    for number, (one, theirs) in enumerate(zip(prepared, parts, strict=True)):
        counts = np.bincount(one.owner, minlength=len(one.subjects))
        found += [
            (number, int(place)) for place in np.flatnonzero((theirs == part) & (counts >= min_samples))
        ]
    if max_identities and len(found) > max_identities:

        def order(identity: tuple[int, int]) -> bytes:
            one = prepared[identity[0]]
            return hashlib.sha256(f"{one.name}/{one.subjects[identity[1]]}".encode()).digest()

        found = sorted(sorted(found, key=order)[:max_identities])
    return found


def _too_few(
    chosen: Sequence[tuple[int, int]],
    prepared: Sequence[PreparedSet],
    parts: Sequence[NDArray[np.str_]],
    *,
    part: str,
    min_samples: int,
) -> DataError:
    there = sorted({str(name) for theirs in parts for name in np.unique(theirs)})
    of = int(sum(np.count_nonzero(theirs == part) for theirs in parts))
    short = of - len(chosen)
    few = f" ({short} more have fewer samples than data.min_samples = {min_samples})" if short else ""
    way = "bring more subjects, or split with other fractions"
    if short:
        way = f"bring {min_samples} samples of each subject"
    where = ", ".join(str(one.path) for one in prepared)
    return DataError(
        f"{where}: {len(chosen)} identities in the part {part!r}{few}, and two are the least that can be told apart; "
        f"the split has the parts {', '.join(there)}: {way}"
    )


def _gathered(
    prepared: Sequence[PreparedSet], splits: Sequence[Split], chosen: Sequence[tuple[int, int]], *, part: str
) -> TrainingSet:
    labels, sets, rows = [], [], []
    for number, one in enumerate(prepared):
        label = np.full(len(one.subjects), -1, dtype=np.int64)
        for place, (owner, subject) in enumerate(chosen):
            if owner == number:
                label[subject] = place
        taken = np.flatnonzero(label[one.owner] >= 0)
        labels.append(label[one.owner[taken]])
        rows.append(taken)
        sets.append(np.full(len(taken), number, dtype=np.int32))
    of_set = np.concatenate(sets)
    facts = tuple(
        SetFacts(
            name=one.name,
            sha256=one.sha256,
            split_sha256=split.sha256,
            subjects=sum(owner == number for owner, _ in chosen),
            samples=int(np.count_nonzero(of_set == number)),
        )
        for number, (one, split) in enumerate(zip(prepared, splits, strict=True))
    )
    return TrainingSet(
        part=part,
        identities=tuple(
            f"{prepared[owner].name}/{prepared[owner].subjects[place]}" for owner, place in chosen
        ),
        labels=np.concatenate(labels),
        lengths=np.concatenate([one.lengths[taken] for one, taken in zip(prepared, rows, strict=True)]),
        sets=facts,
        split_sha256=_joined([split.sha256 for split in splits]),
        data_sha256=_joined([one.sha256 for one in prepared]),
        _prepared=tuple(prepared),
        _set=of_set,
        _row=np.concatenate(rows),
    )


def _joined(hashes: Sequence[str]) -> str:
    return hashes[0] if len(hashes) == 1 else canonical_sha256(list(hashes))
