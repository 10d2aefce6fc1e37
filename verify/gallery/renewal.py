"""One subject's references brought from old models to a new one, in one transaction.

An old template goes only in the very transaction in which a template of the new model, made of the
same sample, stands; and a new one comes only while an old one of that sample is still there. So a
kill loses nothing, two runs side by side write nothing twice, and a subject who was deleted in the
meantime is not brought back.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from verify.errors import UsageError
from verify.gallery import rows
from verify.gallery.entry import checked_addition
from verify.gallery.subject import check_subject_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from verify.gallery.sqlite import SqliteGallery
    from verify.types import Template, TemplateRecord


@dataclass(frozen=True, slots=True)
class Renewed:
    """What one renewal did.

    Attributes:
        written: records of the templates of the new model.
        retired: number of old templates that are gone, without a byte left in the database.
    """

    written: tuple[TemplateRecord, ...] = ()
    retired: int = 0


@dataclass(frozen=True, slots=True)
class _Held:
    """One stored template of the subject."""

    template_id: int
    model_id: str
    source_sha256: str


def renew(
    gallery: SqliteGallery,
    subject_id: str,
    fresh: Sequence[tuple[Template, TemplateRecord]],
    *,
    old: Collection[str],
    new: str,
    keep_old: bool = False,
    retire_all: bool = False,
) -> Renewed:
    """Store templates of a new model beside or in place of those of `old` models.

    The caller has the write-ahead log emptied when it has done with all subjects
    (`SqliteGallery.finish_erasure`); until then the gallery remembers that this is owed.

    Args:
        gallery: open for writing.
        subject_id: the subject.
        fresh: templates of the model `new` with their provenance; what has an idempotency key keeps it.
        old: model_ids that are being replaced.
        new: model_id that replaces them.
        keep_old: leave old templates in place.
        retire_all: remove even old templates without a successor, if the subject has any template
            of the new model.

    Raises:
        UsageError: `new` is among `old`, or a template is of another model than `new`.
        DataError: a vector that is no template.
        ModelMismatchError: the new model's stored templates have another size or modality.
        StorageError: the disk is full, read-only or failing; nothing has changed.
    """
    name = check_subject_id(subject_id)
    strangers = {template.model_id for template, _ in fresh} - {new}
    if new in old or strangers:
        msg = f"templates of model {new[:12]} were to replace those of others, and one of them is of the other kind"
        raise UsageError(msg)
    with gallery.write() as db:
        row = db.execute("SELECT subject_pk FROM subject WHERE subject_id = ?", (name,)).fetchone()
        if row is None:
            return Renewed()  # deleted while its samples were embedded: it stays deleted
        held = _held(db, subject_pk=row[0])
        there = {one.source_sha256 for one in held if one.model_id == new}
        replaced = [one for one in held if one.model_id in old]
        wanted = {one.source_sha256 for one in replaced} - there
        by_sample = {pair[1].source_sha256: pair for pair in fresh}
        chosen = [pair for sha256, pair in by_sample.items() if sha256 in wanted]
        covered = there | {record.source_sha256 for _, record in chosen}
        leaving = [
            one.template_id
            for one in replaced
            if not keep_old and covered and (retire_all or one.source_sha256 in covered)
        ]
        # first out, then in: an idempotency key whose templates all change is then written anew for the new model
        retired = rows.erase(db, subject_pk=row[0], only=leaving) if leaving else 0
        cap = max(gallery.max_templates, len(there) + len(chosen))
        return Renewed(_written(db, name, chosen, cap=cap), retired)


def _held(db: sqlite3.Connection, *, subject_pk: int) -> list[_Held]:
    query = """SELECT t.template_id, m.model_id, t.source_sha256 FROM template t JOIN model m USING (model_pk)
        WHERE t.subject_pk = ? ORDER BY t.template_id"""
    return [_Held(*row) for row in db.execute(query, (subject_pk,))]


def _written(
    db: sqlite3.Connection, subject_id: str, chosen: Sequence[tuple[Template, TemplateRecord]], *, cap: int
) -> tuple[TemplateRecord, ...]:
    written: list[TemplateRecord] = []
    by_key = sorted(chosen, key=lambda pair: pair[1].idempotency_key or "")
    for key, pairs in groupby(by_key, key=lambda pair: pair[1].idempotency_key):
        templates, records = zip(*pairs, strict=True)
        addition = checked_addition(subject_id, templates, records=records, idempotency_key=key)
        written += rows.restore(db, addition, cap=cap)
    return tuple(written)
