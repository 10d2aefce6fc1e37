"""What the gallery reads and writes, as plain functions on an open connection.

Writers call these inside a write transaction; nothing here commits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from verify.errors import DuplicateSubjectError, GalleryError
from verify.gallery.entry import check_cap, check_model
from verify.gallery.subject import shown
from verify.gallery.vectors import first_broken_row, from_blobs, to_blob
from verify.types import Modality, TemplateRecord

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from verify.gallery.entry import Addition, Entry

_PAGE = 500
_KEPT_DELETIONS = 65_536  # an index further behind than this reads everything again
# CROSS JOIN: by subject first, so that a page of records reads a page of rows
_RECORD = """SELECT t.template_id, s.subject_id, m.modality, m.model_id, t.source, t.source_sha256,
        t.created_at, t.quality, t.idempotency_key
    FROM subject s CROSS JOIN template t USING (subject_pk) CROSS JOIN model m USING (model_pk)"""


@dataclass(frozen=True, slots=True)
class Stamp:
    """How far the file has come: its highest template id and deletion number ever given."""

    template: int = 0
    deletion: int = 0


@dataclass(frozen=True, slots=True)
class SubjectSummary:
    """One line of a list of subjects."""

    subject_id: str
    templates: int
    modalities: tuple[str, ...]
    model_ids: tuple[str, ...]
    newest: datetime


def read_stamp(db: sqlite3.Connection) -> Stamp:
    """Return how far the file has come."""
    numbers = dict(db.execute("SELECT name, seq FROM sqlite_sequence WHERE name IN ('template', 'deletion')"))
    return Stamp(numbers.get("template", 0), numbers.get("deletion", 0))


def add(db: sqlite3.Connection, addition: Addition, *, cap: int) -> tuple[TemplateRecord, ...]:
    """Insert an enrolment, or return what its idempotency key has brought before."""
    if addition.idempotency_key is not None:
        query = "SELECT fingerprint FROM enrolment WHERE idempotency_key = ?"
        seen = db.execute(query, (addition.idempotency_key,)).fetchone()
        if seen is not None:
            return _replayed(db, addition, fingerprint=seen[0])
    return _store(db, addition, cap=cap)


def restore(db: sqlite3.Connection, addition: Addition, *, cap: int) -> tuple[TemplateRecord, ...]:
    """Insert an enrolment of an export, whose key may be here with the subject's other models."""
    owner = db.execute(
        "SELECT subject_id FROM enrolment JOIN subject USING (subject_pk) WHERE idempotency_key = ?",
        (addition.idempotency_key,),
    ).fetchone()
    if owner is not None and owner[0] != addition.subject_id:
        msg = (
            f"idempotency key {shown(str(addition.idempotency_key))} of subject {shown(addition.subject_id)} "
            f"stands for an enrolment of {shown(owner[0])} in this gallery; nothing was imported"
        )
        raise DuplicateSubjectError(msg)
    return _store(db, addition, cap=cap)


def _store(db: sqlite3.Connection, addition: Addition, *, cap: int) -> tuple[TemplateRecord, ...]:
    name, key = addition.subject_id, addition.idempotency_key
    db.execute("INSERT OR IGNORE INTO subject (subject_id) VALUES (?)", (name,))
    (subject_pk,) = db.execute("SELECT subject_pk FROM subject WHERE subject_id = ?", (name,)).fetchone()
    if key is not None:
        db.execute(
            "INSERT OR IGNORE INTO enrolment VALUES (?, ?, ?)", (key, subject_pk, addition.fingerprint)
        )
    models = {}
    for model_id in sorted({entry.model_id for entry in addition.entries}):
        entries = [entry for entry in addition.entries if entry.model_id == model_id]
        models[model_id] = _model_pk(db, entries)
        query = "SELECT COUNT(*) FROM template WHERE subject_pk = ? AND model_pk = ?"
        (stored,) = db.execute(query, (subject_pk, models[model_id])).fetchone()
        check_cap(name, stored=stored, added=len(entries), model_id=model_id, cap=cap)
    for entry in addition.entries:
        _insert(db, entry, subject_pk=subject_pk, model_pk=models[entry.model_id], key=key)
    query = _RECORD + " WHERE s.subject_pk = ? ORDER BY t.template_id DESC LIMIT ?"
    written = db.execute(query, (subject_pk, len(addition.entries))).fetchall()
    return tuple(_record(row) for row in reversed(written))


def by_key(db: sqlite3.Connection, key: str) -> tuple[TemplateRecord, ...]:
    """Return the records written under an idempotency key, in order."""
    query = """ WHERE s.subject_pk = (SELECT subject_pk FROM enrolment WHERE idempotency_key = :key)
        AND t.idempotency_key = :key ORDER BY t.template_id"""
    return tuple(_record(row) for row in db.execute(_RECORD + query, {"key": key}))


def records_page(db: sqlite3.Connection, after: tuple[str, int], *, only: str | None) -> list[TemplateRecord]:
    """Return the next records by subject, then template, behind `after`."""
    condition = (
        "s.subject_id = :only AND t.template_id > :id"
        if only is not None
        else ("s.subject_id >= :name AND (s.subject_id > :name OR t.template_id > :id)")
    )
    query = f"{_RECORD} WHERE {condition} ORDER BY s.subject_id, t.template_id LIMIT {_PAGE:d}"
    values = {"only": only, "name": after[0], "id": after[1]}
    return [_record(row) for row in db.execute(query, values)]


def summaries(db: sqlite3.Connection, *, after: str, limit: int) -> tuple[SubjectSummary, ...]:
    """Return the next `limit` subjects behind the id `after`, in order."""
    rows = db.execute(
        """SELECT p.subject_id, COUNT(*), json_group_array(DISTINCT m.modality),
            json_group_array(DISTINCT m.model_id), MAX(t.created_at)
        FROM (SELECT * FROM subject WHERE subject_id > ? ORDER BY subject_id LIMIT ?) p
            JOIN template t USING (subject_pk) JOIN model m USING (model_pk)
        GROUP BY p.subject_id ORDER BY p.subject_id""",
        (after, limit),
    )
    return tuple(
        SubjectSummary(
            name, count, tuple(sorted(json.loads(ways))), tuple(sorted(json.loads(models))), _time(newest)
        )
        for name, count, ways, models, newest in rows
    )


def vectors_of(db: sqlite3.Connection, subject_id: str, *, model_id: str, dim: int) -> NDArray[np.float32]:
    """Return the (T, D) vectors of one subject and model, in order of enrolment."""
    rows = db.execute(
        """SELECT t.template_id, v.data FROM template t JOIN vector v USING (vector_pk)
        JOIN subject s USING (subject_pk) JOIN model m USING (model_pk)
        WHERE s.subject_id = ? AND m.model_id = ? ORDER BY t.template_id""",
        (subject_id, model_id),
    ).fetchall()
    return sound_vectors([row[0] for row in rows], [row[1] for row in rows], dim=dim)


def new_vectors(
    db: sqlite3.Connection, *, model_pk: int, dim: int, after: int
) -> Iterator[tuple[list[int], list[int], NDArray[np.float32]]]:
    """Yield template ids, subject keys and (N, D) vectors of templates behind `after`, in batches."""
    # NOT INDEXED and CROSS JOIN keep to the order of template ids: a few new rows cost a few reads,
    # and many are streamed, not sorted
    cursor = db.execute(
        """SELECT t.template_id, t.subject_pk, v.data FROM template t NOT INDEXED
        CROSS JOIN vector v USING (vector_pk)
        WHERE t.model_pk = ? AND t.template_id > ? ORDER BY t.template_id""",
        (model_pk, after),
    )
    while batch := cursor.fetchmany(_PAGE):
        ids = [row[0] for row in batch]
        yield ids, [row[1] for row in batch], sound_vectors(ids, [row[2] for row in batch], dim=dim)


def sound_vectors(ids: Sequence[int], blobs: list[bytes], *, dim: int) -> NDArray[np.float32]:
    """Return (N, D) vectors from their stored bytes.

    Raises:
        GalleryError: one of them is no template any more.
    """
    try:
        vectors = from_blobs(blobs, dim=dim)
        broken = first_broken_row(vectors)
    except ValueError as error:
        broken = int(error.args[0]), f"is not {dim} numbers long"
    if broken is not None:
        msg = (
            f"template {ids[broken[0]]} {broken[1]}: the gallery is damaged; run 'verify gallery check', "
            "then delete and enrol its subject again, or import your last export into a new gallery"
        )
        raise GalleryError(msg)
    return vectors


def erase(
    db: sqlite3.Connection, *, subject_pk: int, model_id: str | None = None, only: Sequence[int] | None = None
) -> int:
    """Zero and remove a subject's templates, of one model or of all, or `only` those of these ids.

    The subject goes with its last template. The caller then has the write-ahead log emptied
    (`erasure.finish`).
    """
    rows = db.execute(
        """SELECT t.template_id, t.vector_pk, length(v.data) FROM template t JOIN vector v USING (vector_pk)
        JOIN model m USING (model_pk)
        WHERE t.subject_pk = :pk AND m.model_id = coalesce(:model, m.model_id)
        AND (:only IS NULL OR t.template_id IN (SELECT value FROM json_each(:only)))""",
        {"pk": subject_pk, "model": model_id, "only": None if only is None else json.dumps(list(only))},
    ).fetchall()
    # same size, so SQLite overwrites the cell where it lies (see schema.py)
    db.executemany("UPDATE vector SET data = zeroblob(?) WHERE vector_pk = ?", [(r[2], r[1]) for r in rows])
    db.executemany("DELETE FROM template WHERE template_id = ?", [(r[0],) for r in rows])
    db.executemany("INSERT INTO free_vector VALUES (?, ?)", [(r[1], r[2]) for r in rows])
    db.executemany("INSERT INTO deletion (template_id) VALUES (?)", [(r[0],) for r in rows])
    db.execute(
        """DELETE FROM enrolment WHERE subject_pk = ? AND NOT EXISTS
        (SELECT 1 FROM template t WHERE t.idempotency_key = enrolment.idempotency_key)""",
        (subject_pk,),
    )
    db.execute(
        """DELETE FROM subject WHERE subject_pk = :pk AND NOT EXISTS
        (SELECT 1 FROM template WHERE subject_pk = :pk)""",
        {"pk": subject_pk},
    )
    db.execute("DELETE FROM deletion WHERE seq <= (SELECT MAX(seq) FROM deletion) - ?", (_KEPT_DELETIONS,))
    db.execute("UPDATE state SET value = value + 1 WHERE name = 'erasures_asked'")
    return len(rows)


def _replayed(db: sqlite3.Connection, addition: Addition, *, fingerprint: str) -> tuple[TemplateRecord, ...]:
    key = str(addition.idempotency_key)
    if fingerprint != addition.fingerprint:
        msg = (
            f"idempotency key {shown(key)} was used before for another subject, other samples or another "
            f"model than this enrolment of {shown(addition.subject_id)}; use a new key for each enrolment"
        )
        raise DuplicateSubjectError(msg)
    return by_key(db, key)


def _model_pk(db: sqlite3.Connection, entries: list[Entry]) -> int:
    first = entries[0]
    query = "SELECT model_pk, modality, dim FROM model WHERE model_id = ?"
    row = db.execute(query, (first.model_id,)).fetchone()
    known = (Modality(row[1]), int(row[2])) if row else (first.modality, len(first.vector))
    for entry in entries:
        check_model(entry.model_id, modality=entry.modality, dim=len(entry.vector), stored=known)
    if row:
        return int(row[0])
    insert = "INSERT INTO model (model_id, modality, dim) VALUES (?, ?, ?)"
    return int(db.execute(insert, (first.model_id, first.modality.value, len(first.vector))).lastrowid or 0)


def _insert(db: sqlite3.Connection, entry: Entry, *, subject_pk: int, model_pk: int, key: str | None) -> None:
    data = to_blob(entry.vector)
    free = db.execute("SELECT vector_pk FROM free_vector WHERE size = ? LIMIT 1", (len(data),)).fetchone()
    if free is None:
        vector_pk = db.execute("INSERT INTO vector (data) VALUES (?)", (data,)).lastrowid
    else:
        vector_pk = free[0]
        db.execute("DELETE FROM free_vector WHERE vector_pk = ?", free)
        db.execute("UPDATE vector SET data = ? WHERE vector_pk = ?", (data, vector_pk))
    quality = json.dumps(dict(entry.quality), ensure_ascii=False, allow_nan=False)
    values = (subject_pk, model_pk, vector_pk, entry.source, entry.source_sha256, quality)
    db.execute(
        """INSERT INTO template (subject_pk, model_pk, vector_pk, source, source_sha256, quality, created_at,
        idempotency_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        (*values, entry.created_at.isoformat(), key),
    )


def _record(row: tuple[int, str, str, str, str, str, str, str, str | None]) -> TemplateRecord:
    template_id, subject_id, modality, model_id, source, sha256, created_at, quality, key = row
    return TemplateRecord(
        template_id=template_id,
        subject_id=subject_id,
        modality=Modality(modality),
        model_id=model_id,
        source=source,
        source_sha256=sha256,
        created_at=_time(created_at),
        quality=_quality(quality, template_id),
        idempotency_key=key,
    )


def _quality(text: str, template_id: int) -> dict[str, float]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        msg = f"template {template_id} has damaged quality measures ({error}); run 'verify gallery check'"
        raise GalleryError(msg) from error


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except (ValueError, TypeError) as error:
        msg = f"a template's time {text!r} is damaged ({error}); run 'verify gallery check'"
        raise GalleryError(msg) from error
