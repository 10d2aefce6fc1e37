"""Taking an export into a gallery: everything is checked first, then written in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import IO, TYPE_CHECKING

from verify.errors import DuplicateSubjectError, GalleryError, ModelMismatchError, UsageError
from verify.gallery import exchange, rows
from verify.gallery.connection import mapped_errors
from verify.gallery.entry import Addition, check_model
from verify.gallery.subject import shown
from verify.gallery.vectors import to_blob
from verify.types import Modality

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from verify.gallery.entry import Entry
    from verify.gallery.sqlite import SqliteGallery


_WRITTEN = {"added", "replaced"}


class OnConflict(StrEnum):
    """What happens to a subject that has other templates of the same model in the gallery."""

    ERROR = "error"
    SKIP = "skip"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import did, in subjects and models (a subject with two models counts twice).

    Attributes:
        added: written.
        unchanged: in the gallery already, with the very same templates.
        skipped: left as they were in the gallery (`OnConflict.SKIP`).
        replaced: written in place of others (`OnConflict.REPLACE`).
        templates: templates written.
    """

    added: int = 0
    unchanged: int = 0
    skipped: int = 0
    replaced: int = 0
    templates: int = 0


def import_gallery(
    gallery: SqliteGallery,
    source: Path,
    *,
    on_conflict: OnConflict = OnConflict.ERROR,
    allow_other_models: bool = False,
) -> ImportSummary:
    """Import an export; importing it twice changes nothing the second time.

    Args:
        gallery: open for writing.
        source: what `export_gallery` wrote.
        on_conflict: for a subject whose templates of a model differ from the file's.
        allow_other_models: take templates of a model that this gallery has none of, though it has
            some of the same modality. Templates of two models are never compared.

    Raises:
        GalleryError: the file is no export, or altered; a line is malformed. Nothing is written.
        ModelMismatchError: see `allow_other_models`. Nothing is written.
        DuplicateSubjectError: a conflict, or an idempotency key used for another enrolment.
            Nothing is written.
        EnrolmentRefusedError: a subject would pass the cap. Nothing is written.
        StorageError: the disk is full or read-only; nothing is written. Or a replaced subject's
            bytes are left in the write-ahead log (see `SqliteGallery.delete`).
    """
    if source.is_dir() or not source.exists():
        msg = f"{source} is {'a folder' if source.is_dir() else 'not there'}; name a file of 'verify gallery export'"
        raise UsageError(msg)
    if source.samefile(gallery.path):  # and opening it would drop its locks, see connection.py
        msg = f"{source} is the gallery itself; name a file of 'verify gallery export'"
        raise UsageError(msg)
    with mapped_errors(source), source.open("rb") as file:
        header = exchange.read_header(file, name=str(source))
        start = file.tell()
        for _ in _by_subject(file, header, name=str(source)):
            pass  # a first reading that only checks
        file.seek(start)
        with gallery.write() as db:
            _check_models(db, header, allow_other_models=allow_other_models)
            tally = dict.fromkeys(("added", "unchanged", "skipped", "replaced", "templates"), 0)
            # this second reading checks again: a file that changed in between rolls everything back
            for subject_id, lines in _by_subject(file, header, name=str(source)):
                outcomes = {
                    model_id: _settle(db, subject_id, of_model, on_conflict=on_conflict)
                    for model_id, of_model in _by_model(lines).items()
                }
                chosen = [line for line in lines if outcomes[line.entry.model_id] in _WRITTEN]
                _write(db, subject_id, chosen, cap=gallery.max_templates)
                for outcome in outcomes.values():
                    tally[outcome] += 1
                tally["templates"] += len(chosen)
    gallery.forget_deleted()
    gallery.finish_erasure()
    return ImportSummary(**tally)


def _by_subject(
    file: IO[bytes], header: exchange.Header, *, name: str
) -> Iterator[tuple[str, list[exchange.Line]]]:
    seen: set[str] = set()
    lines = exchange.read_lines(file, header, name=name)
    for subject_id, of_subject in groupby(lines, key=lambda line: line.subject_id):
        if subject_id in seen:
            msg = f"{name}: the lines of subject {shown(subject_id)} do not stand together; export it again"
            raise GalleryError(msg)
        seen.add(subject_id)
        yield subject_id, list(of_subject)
    if len(seen) != header.subjects:
        msg = f"{name} holds {len(seen)} subjects and its header says {header.subjects}; export it again"
        raise GalleryError(msg)


def _by_model(lines: list[exchange.Line]) -> dict[str, list[exchange.Line]]:
    found: dict[str, list[exchange.Line]] = {}
    for line in lines:
        found.setdefault(line.entry.model_id, []).append(line)
    return found


def _settle(
    db: sqlite3.Connection, subject_id: str, lines: list[exchange.Line], *, on_conflict: OnConflict
) -> str:
    """Decide what becomes of one subject's templates of one model; erase what is replaced."""
    model_id = lines[0].entry.model_id
    stored = db.execute(
        """SELECT t.source_sha256, v.data FROM subject s CROSS JOIN template t USING (subject_pk)
        JOIN vector v USING (vector_pk) JOIN model m USING (model_pk)
        WHERE s.subject_id = ? AND m.model_id = ?""",
        (subject_id, model_id),
    ).fetchall()
    if not stored:
        return "added"
    if sorted(stored) == sorted((line.entry.source_sha256, to_blob(line.entry.vector)) for line in lines):
        return "unchanged"
    if on_conflict is OnConflict.SKIP:
        return "skipped"
    if on_conflict is OnConflict.ERROR:
        msg = (
            f"subject {shown(subject_id)} has other templates of model {model_id[:12]} in the gallery; "
            "nothing was imported: choose --on-conflict skip or replace"
        )
        raise DuplicateSubjectError(msg)
    (pk,) = db.execute("SELECT subject_pk FROM subject WHERE subject_id = ?", (subject_id,)).fetchone()
    rows.erase(db, subject_pk=pk, model_id=model_id)
    return "replaced"


def _write(db: sqlite3.Connection, subject_id: str, lines: list[exchange.Line], *, cap: int) -> None:
    enrolments: dict[str | None, list[Entry]] = {}
    for line in lines:
        enrolments.setdefault(line.idempotency_key, []).append(line.entry)
    for key, entries in enrolments.items():
        rows.restore(db, Addition(subject_id, tuple(entries), key), cap=cap)


def _check_models(db: sqlite3.Connection, header: exchange.Header, *, allow_other_models: bool) -> None:
    query = """SELECT model_id, modality, dim FROM model m
        WHERE EXISTS (SELECT 1 FROM template t WHERE t.model_pk = m.model_pk)"""
    stored = {model_id: (Modality(modality), int(dim)) for model_id, modality, dim in db.execute(query)}
    for model in header.models:
        check_model(model.model_id, modality=model.modality, dim=model.dim, stored=stored.get(model.model_id))
        others = [m for m, (modality, _) in stored.items() if modality is model.modality]
        if model.model_id not in stored and others and not allow_other_models:
            msg = (
                f"the file holds {model.modality.value} templates of model {model.model_id[:12]}, the gallery has "
                f"{others[0][:12]}: they can never be compared. Nothing was imported; enrol the samples again with "
                "the gallery's model, or import all the same with --allow-other-models"
            )
            raise ModelMismatchError(msg)
