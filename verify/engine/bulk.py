"""Bulk enrolment: a folder tree or a CSV, one transaction a subject, resumable.

Resuming needs no state of its own: every sample's hash is in the gallery, so a second run leaves
alone what the first one wrote and captures only the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.capture import guess_modality
from verify.data.manifest import read_manifest
from verify.engine.enrolment import source_sha256
from verify.errors import DataError, UsageError
from verify.types import Enrolment, Modality, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from verify.engine.fusion import FusedVerifier
    from verify.engine.verifier import Verifier


@dataclass(frozen=True, slots=True)
class BulkItem:
    """One subject and the files to enrol."""

    subject_id: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of one subject's files.

    Attributes:
        enrolment: what was written, left out and found; None if the subject was refused whole.
        skipped: files that are templates of this subject already (an earlier run wrote them).
        error: why the subject was refused whole; empty if it was not.
    """

    item: BulkItem
    enrolment: Enrolment | None
    skipped: int = 0
    error: str = ""

    @property
    def failed(self) -> list[tuple[str, Reason | None, str]]:
        """(file, reason, message) of everything that was not enrolled."""
        if self.enrolment is None:
            return [(str(path), None, self.error) for path in self.item.paths]
        failures = [(c.source, c.failure, c.message) for c in self.enrolment.failures]
        return failures + [(f.source, f.reason, f.message) for f in self.enrolment.left_out]


def read_bulk(source: Path) -> list[BulkItem]:
    """Subjects and files of a folder tree (one folder a subject) or a CSV (``subject,path``).

    Raises:
        ManifestError: the source is neither, or a line of it is malformed. A file that is missing is
            a failed sample later on, not a malformed line.
    """
    by_subject: dict[str, list[Path]] = {}
    for entry in read_manifest(source, must_exist=False).entries:
        by_subject.setdefault(entry.subject_id, []).append(entry.path)
    return [BulkItem(subject, tuple(paths)) for subject, paths in by_subject.items()]


def by_kind(items: Sequence[BulkItem]) -> dict[str, list[BulkItem]]:
    """The items parted by what their files are: ``face``, ``voice`` or both, each with its files."""
    kinds: dict[str, list[BulkItem]] = {}
    for item in items:
        for modality in Modality:
            paths = tuple(path for path in item.paths if guess_modality(path) is modality)
            if paths:
                kinds.setdefault(modality.value, []).append(BulkItem(item.subject_id, paths))
    return kinds


def enroll_many(
    verifier: Verifier | FusedVerifier,
    items: Sequence[BulkItem],
    *,
    allow_inconsistent: bool = False,
    refuse_lookalikes: bool = False,
    workers: int | None = None,
) -> Iterator[BulkResult]:
    """Enrol subjects one after the other; yield each result once it is safely stored.

    One subject's bad files or bad id do not end the run. Storage and model errors do, because
    every further subject would fail the same way.

    Raises:
        EnvironmentProblemError: the disk is full, the model is another one than the gallery's.
    """
    for item in items:
        try:
            stored = verifier.stored_samples(item.subject_id)
            fresh = [path for path in item.paths if not stored or source_sha256(path) not in stored]
            skipped = len(item.paths) - len(fresh)
            enrolment = (
                verifier.enroll(
                    item.subject_id,
                    fresh,
                    allow_inconsistent=allow_inconsistent,
                    refuse_lookalikes=refuse_lookalikes,
                    workers=workers,
                )
                if fresh
                else None
            )
        except (DataError, UsageError) as error:
            yield BulkResult(item, None, error=str(error))
            continue
        if enrolment is None:
            enrolment = Enrolment(item.subject_id, verifier.model.modality, verifier.model.model_id)
        yield BulkResult(item, enrolment, skipped=skipped)
