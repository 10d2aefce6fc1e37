"""A trial list as it is read: every file has one subject, and every label fits the subjects."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from verify.data.subjects import check_subject_id, near_equal_subjects
from verify.errors import ManifestError
from verify.evaluation.names import Labels, Names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from verify.evaluation.score_rows import Texts


class ListStyle(StrEnum):
    """How a trial list is written."""

    CSV = "csv"
    VOXCELEB = "voxceleb"
    LFW = "lfw"


@dataclass(frozen=True, slots=True)
class ListedTrials:
    """A trial list, read but not yet scored.

    Attributes:
        style: how it was written.
        sha256: of its bytes.
        subjects: subject ids in order of appearance.
        files: path as listed, of each file in order of appearance.
        owner: (F,) int32 place in `subjects` of each file's subject.
        mated: (T,) bool, in the order of the list.
        a: (T,) int32 place in `files` of each trial's first file.
        b: (T,) int32, of its second.
        folds: (T,) int32 fold of each trial; None where the list has no folds.
        groups: column -> label of each subject, ``""`` where there is none or several.
        warnings: what a person should look at.
    """

    style: ListStyle
    sha256: str
    subjects: tuple[str, ...] = field(repr=False)
    files: tuple[str, ...] = field(repr=False)
    owner: NDArray[np.int32] = field(repr=False)
    mated: NDArray[np.bool_] = field(repr=False)
    a: NDArray[np.int32] = field(repr=False)
    b: NDArray[np.int32] = field(repr=False)
    folds: NDArray[np.int32] | None = field(default=None, repr=False)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()


class Listing:
    """Trials as they are read, each line checked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.subjects, self.files = Names(), Names()
        self.owner: list[int] = []
        self.mated: list[bool] = []
        self.a: list[int] = []
        self.b: list[int] = []
        self.folds: list[int] = []
        self.labels: dict[str, Labels] = {}
        self.warnings: list[str] = []

    def label(self, column: str, texts: Texts, files: Sequence[int]) -> None:
        """Labels in a group column of the subjects of some files."""
        labels = self.labels.setdefault(column, Labels())
        numbers = [int(labels.names.numbers([v.strip()])[0]) if v.strip() else -1 for v in texts.values]
        owners = np.array([self.owner[file] for file in files], dtype=np.int32)
        labels.add(owners, np.array(numbers, dtype=np.int32)[texts.codes])

    def file(self, file: str, subject: str, where: object) -> int:
        """The place of a file, which has one subject in the whole list."""
        if not file:
            msg = f"{where}: a path is empty"
            raise ManifestError(msg)
        if not subject:
            msg = (
                f"{where}: {file} has no folder that would say whose it is; "
                "name the subjects: a CSV with subject_a,path_a,subject_b,path_b"
            )
            raise ManifestError(msg)
        subjects = len(self.subjects)
        owner = int(self.subjects.numbers([subject])[0])
        if owner == subjects:
            check_subject_id(subject, where=str(where))
        place = int(self.files.numbers([file])[0])
        if place == len(self.owner):
            self.owner.append(owner)
        elif self.owner[place] != owner:
            before = self.subjects.all()[self.owner[place]]
            msg = f"{where}: {file} is of {subject!r} here and of {before!r} further up"
            raise ManifestError(msg)
        return place

    def add(self, mated: bool, a: int, b: int, *, where: object) -> None:  # noqa: FBT001  a cell, not a switch
        """One trial, whose label must fit its subjects."""
        if mated != (self.owner[a] == self.owner[b]):
            names = self.subjects.all()
            first, second = names[self.owner[a]], names[self.owner[b]]
            what = f"mated, but of {first!r} and {second!r}" if mated else f"non-mated, but both of {first!r}"
            msg = (
                f"{where}: the trial is called {what} (the first folder of a path is its subject, unless a CSV "
                "names subject_a and subject_b)"
            )
            raise ManifestError(msg)
        self.mated.append(mated)
        self.a.append(a)
        self.b.append(b)

    def finish(self, style: ListStyle, *, sha256: str) -> ListedTrials:
        """The whole list."""
        if not self.mated:
            msg = f"{self.path}: lists no trials"
            raise ManifestError(msg)
        subjects = self.subjects.all()
        for column, labels in self.labels.items():
            several = labels.ambiguous()
            if several.size:
                self.warnings.append(
                    f"{several.size} subjects have several labels in {column!r} ({subjects[several[0]]} is one): "
                    "they are in none of its groups"
                )
        return ListedTrials(
            style=style,
            sha256=sha256,
            subjects=subjects,
            files=self.files.all(),
            owner=np.array(self.owner, dtype=np.int32),
            mated=np.array(self.mated, dtype=np.bool_),
            a=np.array(self.a, dtype=np.int32),
            b=np.array(self.b, dtype=np.int32),
            folds=np.array(self.folds, dtype=np.int32) if style is ListStyle.LFW else None,
            groups={column: labels.of(len(subjects)) for column, labels in self.labels.items()},
            warnings=(*self.warnings, *near_equal_subjects(subjects)),
        )
