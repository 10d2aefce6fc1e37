"""A split file in place of the usual halves: only its subjects of the parts asked for take part.

People whose data trained a model are no strangers to it, so that a threshold chosen or measured on them
promises too much. ``verify calibrate --split`` takes the calibration and the test part of the split that training
went by, and leaves everybody else out.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from verify.config import unknown
from verify.data.manifest import read_manifest, refuse_one_subject
from verify.data.splits import CALIBRATION, TEST, Split, check_disjoint, read_split
from verify.errors import InsufficientTrialsError, ManifestError, UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Sequence

    from verify.data.manifest import Layout, Manifest

HALVES_OF_A_SPLIT = (CALIBRATION, TEST)
_SHOWN = 3


def splits_for(files: Sequence[str | os.PathLike[str]], *, sets: int) -> tuple[Split, ...] | tuple[None, ...]:
    """The splits of so many data sets, one each in their order; without files there are none.

    Raises:
        UsageError: another number of files than sets.
        ManifestError: no split file, or one that has a person in two parts.
    """
    if not files:
        return (None,) * sets
    if len(files) != sets:
        msg = (
            f"--split goes with DATA, one file for each in the same order: {len(files)} files for {sets} DATA"
        )
        raise UsageError(msg)
    return tuple(open_split(file) for file in files)


def manifest_of(one: str | os.PathLike[str], split: Split | None, *, layout: Layout | str | None) -> Manifest:
    """A data set's files; of a split, those of its calibration and test parts.

    Raises:
        DataError: malformed data, one subject alone, or a split that does not know them.
    """
    manifest = read_manifest(one, layout=layout)
    if split is not None:
        manifest = taking_part(manifest, split, parts=HALVES_OF_A_SPLIT)
    refuse_one_subject(manifest)
    return manifest


def open_split(file: str | os.PathLike[str]) -> Split:
    """Read a split that has nobody in two parts.

    Raises:
        ManifestError: no split file, or one that has a person in two parts.
    """
    split = read_split(file)
    check_disjoint(split, where=str(file))
    return split


def taking_part(manifest: Manifest, split: Split, *, parts: Collection[str]) -> Manifest:
    """A manifest with the subjects of some parts only.

    Raises:
        UsageError: the split has no such part.
        ManifestError: it does not know a subject of the manifest.
        InsufficientTrialsError: nobody is left.
    """
    strangers = [subject for subject in manifest.subjects if subject not in split.parts]
    if strangers:
        msg = (
            f"{manifest.name}: the split of {split.name} does not know {len(strangers)} subjects "
            f"({', '.join(strangers[:_SHOWN])}{', ...' if len(strangers) > _SHOWN else ''}): make it anew from "
            "the same data, by `verify split` (the same seed and fractions leave everybody else where they are)"
        )
        raise ManifestError(msg)
    there = Counter(split.parts.values())
    for part in parts:
        if part not in there:
            msg = f"the split of {split.name}: {unknown(part, there, what='part')}"
            raise UsageError(msg)
    kept = tuple(entry for entry in manifest.entries if split.parts[entry.subject_id] in parts)
    if not kept:
        msg = (
            f"{manifest.name}: none of its subjects are in {' or '.join(parts)} of the split of {split.name}"
        )
        raise InsufficientTrialsError(msg)
    left_out = len(manifest.subjects) - len({entry.subject_id for entry in kept})
    said = f"{left_out} of {len(manifest.subjects)} subjects take no part: the split has them in other parts"
    return dataclasses.replace(
        manifest, entries=kept, warnings=(*manifest.warnings, *([said] if left_out else []))
    )
