"""Writing a gallery to one file, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from verify.errors import UsageError
from verify.gallery import exchange, rows
from verify.gallery.connection import mapped_errors, sync_folder
from verify.gallery.entry import Entry
from verify.types import Modality

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from datetime import datetime

    from verify.gallery.sqlite import SqliteGallery


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What was written."""

    path: Path
    subjects: int
    templates: int
    model_ids: tuple[str, ...]
    sha256: str


def export_gallery(gallery: SqliteGallery, target: Path, *, now: datetime) -> ExportSummary:
    """Write all references of `gallery` to `target`, as they are at one moment.

    The file holds biometric templates: its mode is 0600, and it appears under its name only when
    it is complete and on disk. Enrolments go on meanwhile; a delete that happens meanwhile cannot
    finish its last step (see `SqliteGallery.delete`).

    Args:
        gallery: open for writing or read-only.
        target: must not exist.
        now: with time zone; written to the header.

    Raises:
        UsageError: `target` exists already.
        GalleryError: a stored template is damaged.
        StorageError: the disk is full or read-only.
    """
    if target.exists() or target.is_symlink():
        msg = f"{target} exists already; name a new file, an export never overwrites"
        raise UsageError(msg)
    with mapped_errors(target):
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                summary = _write(gallery, file, target=target, now=now)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).rename(target)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise
        sync_folder(target.absolute().parent)
    return summary


def _write(gallery: SqliteGallery, file: IO[bytes], *, target: Path, now: datetime) -> ExportSummary:
    digest = hashlib.sha256()
    with gallery.snapshot() as db:
        header = _header(db, now=now)
        for line in _lines(db, header):
            digest.update(line)
            file.write(line)
    file.write(exchange.end_line(digest.hexdigest()))
    models = tuple(model.model_id for model in header.models)
    return ExportSummary(target, header.subjects, header.templates, models, digest.hexdigest())


def _header(db: sqlite3.Connection, *, now: datetime) -> exchange.Header:
    found = db.execute(
        "SELECT model_id, modality, dim FROM model m WHERE EXISTS (SELECT 1 FROM template t "
        "WHERE t.model_pk = m.model_pk) ORDER BY model_id"
    )
    models = tuple(exchange.Model(model_id, Modality(modality), dim) for model_id, modality, dim in found)
    (subjects,) = db.execute("SELECT COUNT(DISTINCT subject_pk) FROM template").fetchone()
    (templates,) = db.execute("SELECT COUNT(*) FROM template").fetchone()
    return exchange.Header(now, models, subjects, templates)


def _lines(db: sqlite3.Connection, header: exchange.Header) -> Iterator[bytes]:
    yield exchange.header_line(header)
    dims = {model.model_id: model.dim for model in header.models}
    last = ("", 0)
    while page := rows.records_page(db, last, only=None):
        for record in page:
            query = "SELECT data FROM vector JOIN template USING (vector_pk) WHERE template_id = ?"
            (data,) = db.execute(query, (record.template_id,)).fetchone()
            vector = rows.sound_vectors([record.template_id], [data], dim=dims[record.model_id])[0]
            entry = Entry(
                vector=vector,
                model_id=record.model_id,
                modality=record.modality,
                source=record.source,
                source_sha256=record.source_sha256,
                created_at=record.created_at,
                quality=record.quality,
            )
            yield exchange.template_line(exchange.Line(record.subject_id, entry, record.idempotency_key))
        last = (page[-1].subject_id, page[-1].template_id)
