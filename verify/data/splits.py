"""Subjects in identity-disjoint parts, by hash: whoever is added later moves nobody.

A subject's part depends on the seed and its own id alone, never on who else is there, so a test
subject of today can not become a training subject of tomorrow. Near-equal spellings of an id
(case, spaces) share a part, so that one person under two spellings cannot sit on both sides.
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from verify.atomic import write_file
from verify.data.subjects import folded_subject, near_equal
from verify.errors import ManifestError, UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

TRAIN, VALIDATION, CALIBRATION, TEST = PARTS = ("train", "validation", "calibration", "test")
HALVES: Mapping[str, float] = {CALIBRATION: 0.5, TEST: 0.5}
QUARTERS: Mapping[str, float] = {TRAIN: 0.7, VALIDATION: 0.1, CALIBRATION: 0.1, TEST: 0.1}

_VERSION = "1"
_FIELDS = ("verify-split", "name", "seed", "sha256")


@dataclass(frozen=True, slots=True)
class Split:
    """Which part each subject belongs to.

    Attributes:
        name: of the data set.
        seed: what the assignment was made with.
        parts: subject id -> part, in order of subject id.
    """

    name: str
    seed: int
    parts: Mapping[str, str] = field(repr=False)

    @property
    def sha256(self) -> str:
        """Hash over every subject id and its part, in order: what operating points refer to."""
        digest = hashlib.sha256()
        for subject_id in sorted(self.parts):
            digest.update(f"{subject_id}\t{self.parts[subject_id]}\n".encode())
        return digest.hexdigest()

    def subjects(self, part: str) -> tuple[str, ...]:
        """The subjects of one part, in order."""
        return tuple(sorted(subject for subject, theirs in self.parts.items() if theirs == part))


def part_of(subject_id: str, *, seed: int, fractions: Mapping[str, float] = HALVES) -> str:
    """The part of one subject: a fixed function of seed and id.

    Args:
        subject_id: the subject.
        seed: another seed gives another split.
        fractions: part -> expected share of subjects, in order; they sum to 1.

    Raises:
        UsageError: the fractions are no shares of one whole.
    """
    if not fractions or min(fractions.values()) < 0 or abs(sum(fractions.values()) - 1.0) > 1e-9:  # noqa: PLR2004
        msg = f"fractions must be shares that sum to 1, not {dict(fractions)}"
        raise UsageError(msg)
    digest = hashlib.sha256(f"{seed}\0{folded_subject(subject_id)}".encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64
    edge = 0.0
    for part, share in fractions.items():
        edge += share
        if place < edge:
            return part
    return part  # rounding may leave the last edge a hair below 1


def split_subjects(
    subject_ids: Iterable[str],
    *,
    name: str,
    seed: int = 0,
    fractions: Mapping[str, float] = HALVES,
    same: Iterable[Sequence[str]] = (),
) -> Split:
    """Assign every subject to a part; see `part_of`.

    Args:
        subject_ids: the subjects.
        name: of the data set.
        seed: another seed gives another split.
        fractions: part -> expected share of subjects.
        same: groups of ids that are, or may be, one person: all of a group get the part of the id that sorts
            first, so that a new group moves only the others. An id that is nobody's here is an error.

    Raises:
        UsageError: the fractions are no shares of one whole, or a group names somebody who is not there.
    """
    subjects = sorted(set(subject_ids))
    first = {subject: subject for subject in subjects}
    for group in same:
        strangers = [subject for subject in group if subject not in first]
        if strangers:
            msg = f"{strangers[0]!r} is said to be the same person as another, and is no subject of {name}"
            raise UsageError(msg)
        joined = {first[subject] for subject in group}
        first |= {subject: min(joined) for subject, found in first.items() if found in joined}
    parts = {
        subject: part_of(known_as, seed=seed, fractions=fractions) for subject, known_as in first.items()
    }
    return Split(name=name, seed=seed, parts=parts)


def check_disjoint(split: Split, *, where: str) -> None:
    """Refuse a split that has one person, under two spellings of the id, in two parts.

    Raises:
        ManifestError: the first such id; names both spellings and parts.
    """
    for spellings in near_equal(split.parts):
        parts = [split.parts[spelling] for spelling in spellings]
        if len(set(parts)) > 1:
            named = " and ".join(f"{name!r} ({part})" for name, part in zip(spellings, parts, strict=True))
            msg = (
                f"{where}: {named} look like one person in two parts of the split; make it anew (verify split), or "
                "give both files one subject id"
            )
            raise ManifestError(msg)


def write_split(path: str | os.PathLike[str], split: Split) -> None:
    """Write a split as a CSV under a header of ``# key: value`` lines, atomically.

    Raises:
        ManifestError: a subject id holds a line break.
        StorageError: the file cannot be written.
    """
    target = Path(path)
    if any("\n" in subject or "\r" in subject for subject in split.parts):
        msg = f"{target}: a subject id holds a line break"
        raise ManifestError(msg)
    header = dict(zip(_FIELDS, (_VERSION, split.name, str(split.seed), split.sha256), strict=True))
    text = io.StringIO(newline="")
    text.writelines(f"# {key}: {value}\n" for key, value in header.items())
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("subject", "part"))
    rows.writerows(sorted(split.parts.items()))
    write_file(target, text.getvalue().encode())


def read_split(path: str | os.PathLike[str]) -> Split:
    """Read a split and check it against its own hash.

    Raises:
        ManifestError: not a split file, of a later version, a subject twice, or edited by hand.
    """
    source = Path(path)
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{source}: cannot be read as a split ({error})"
        raise ManifestError(msg) from error
    top, body = lines[: len(_FIELDS)], lines[len(_FIELDS) :]
    header = dict(line[2:].split(": ", 1) for line in top if line.startswith("# ") and ": " in line)
    if tuple(header) != _FIELDS or not header["seed"].lstrip("-").isdecimal():
        lines_needed = ", ".join(f"# {key}:" for key in _FIELDS)
        msg = f"{source}: not a split file: it must begin with the lines {lines_needed}"
        raise ManifestError(msg)
    if header["verify-split"] != _VERSION:
        msg = f"{source}: split version {header['verify-split']} is not known to this version of verify"
        raise ManifestError(msg)
    parts: dict[str, str] = {}
    for number, row in enumerate(csv.reader(body[1:]), start=len(_FIELDS) + 2):
        if len(row) != 2:  # noqa: PLR2004  subject and part
            msg = f"{source}, line {number}: not subject,part: {','.join(row)}"
            raise ManifestError(msg)
        subject, part = row
        if subject in parts:
            msg = f"{source}, line {number}: {subject} stands there twice"
            raise ManifestError(msg)
        parts[subject] = part
    split = Split(name=header["name"], seed=int(header["seed"]), parts=parts)
    if split.sha256 != header["sha256"]:
        msg = f"{source}: the subjects do not fit the recorded sha256; the file was changed after it was made"
        raise ManifestError(msg)
    return split
