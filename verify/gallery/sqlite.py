"""The default gallery: one SQLite file that threads and processes share."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from verify.errors import GalleryError, StorageError, UnknownSubjectError, UsageError
from verify.gallery import erasure, rows
from verify.gallery.entry import DEFAULT_MAX_TEMPLATES, check_top_k, checked_addition
from verify.gallery.live import LiveIndex
from verify.gallery.session import Session
from verify.gallery.subject import check_subject_id, shown
from verify.gallery.vectors import checked_vector
from verify.types import Candidate

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    from verify.types import Modality, Template, TemplateRecord


class SqliteGallery:
    """References in an SQLite file, searched exactly in memory. Implements `protocols.Gallery`.

    Safe across threads and processes. There is one connection that writes and one that reads,
    each behind a lock: searches never wait for a disk. A write is on disk (WAL,
    ``synchronous=FULL``) when its method returns. Open it anew in a forked child.

    Args:
        path: the file; created with mode 0600 unless `read_only`.
        max_templates: cap of templates for a subject and model.
        read_only: never write; works on read-only disks.
        create: make the file, and its folder, if it is not there.
        busy_timeout_s: how long to wait for other processes' writes.

    Raises:
        GalleryError: the file is no gallery, corrupt, of a future version, or not there though
            `read_only` or not `create`.
        StorageError: the disk cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_templates: int = DEFAULT_MAX_TEMPLATES,
        read_only: bool = False,
        create: bool = True,
        busy_timeout_s: float = 10.0,
    ) -> None:
        if max_templates < 1:
            msg = f"max_templates is {max_templates}; a subject needs at least 1"
            raise UsageError(msg)
        self.path = Path(path).expanduser()
        self.read_only = read_only
        self.max_templates = max_templates
        self._live: dict[str, LiveIndex] = {}
        self._counts: dict[str, tuple[rows.Stamp, int]] = {}
        self._session = Session(self.path, read_only=read_only, create=create, busy_timeout_s=busy_timeout_s)
        with suppress(StorageError):  # owed by a process that was killed, or could not; is_erasure_owed tells
            self.finish_erasure()

    def __repr__(self) -> str:
        return f"SqliteGallery({str(self.path)!r}, read_only={self.read_only})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- writing ---------------------------------------------------------------------------------

    def add(
        self,
        subject_id: str,
        templates: Sequence[Template],
        *,
        records: Sequence[TemplateRecord],
        idempotency_key: str | None = None,
    ) -> tuple[TemplateRecord, ...]:
        """Store templates with their provenance in one transaction; return what is stored.

        Args:
            subject_id: see `check_subject_id`; stored in NFC.
            templates: one or more; models may be mixed.
            records: one for each template; their template_id and idempotency_key are not read.
            idempotency_key: the same key with the same subject, samples (by hash) and models
                returns the first call's records and writes nothing, also after a crash and when
                two processes race.

        Raises:
            UsageError: a bad subject id or key, or not one record for each template.
            DataError: a vector that is no template.
            DuplicateSubjectError: the key was used for other content.
            EnrolmentRefusedError: the subject would pass its cap.
            ModelMismatchError: the model's stored templates have another size or modality.
            StorageError: the disk is full, read-only or failing; nothing was stored.
        """
        addition = checked_addition(subject_id, templates, records=records, idempotency_key=idempotency_key)
        with self.write() as db:
            return rows.add(db, addition, cap=self.max_templates)

    def delete(self, subject_id: str) -> int:
        """Remove a subject and every byte of its templates; return the number of templates.

        When it returns, the templates' bytes are in neither the database nor its write-ahead log
        nor this object's memory; other processes drop theirs at their next search.

        Raises:
            UnknownSubjectError: there is no such subject.
            StorageError: nothing was deleted; or, saying so, the subject is deleted but bytes are
                left in the write-ahead log, because another process kept reading. They go with
                the next delete, `finish_erasure` or opening.
        """
        name = check_subject_id(subject_id)
        with self.write() as db:
            row = db.execute("SELECT subject_pk FROM subject WHERE subject_id = ?", (name,)).fetchone()
            if row is None:
                raise self._unknown(name)
            count = rows.erase(db, subject_pk=row[0])
        self.forget_deleted()
        try:
            self.finish_erasure()
        except StorageError as error:
            msg = f"subject {shown(name)} is deleted and can no longer match, but {error}"
            raise StorageError(msg) from error
        return count

    def finish_erasure(self) -> None:
        """Empty the write-ahead log if deleted templates may still be in it.

        Raises:
            StorageError: it could not be emptied; the message says why and what to do.
        """
        if self.read_only:
            return
        with self._session.writing() as db:
            done = erasure.finish(db)
        if not done:
            msg = (
                f"bytes of deleted templates are still in {self.path.name}-wal, because another process is "
                "reading; run 'verify gallery check' when it has finished"
            )
            raise StorageError(msg)

    def is_erasure_owed(self) -> bool:
        """Return whether deleted templates' bytes may still be in the write-ahead log."""
        with self._session.reading() as db:
            return erasure.is_owed(db)

    def forget_deleted(self) -> None:
        """Bring the memory indexes in step now instead of at the next search."""
        with self._session.reading() as db:
            for live in self._live.values():
                live.catch_up(db)

    # -- reading ---------------------------------------------------------------------------------

    def search(self, vector: NDArray[np.float32], *, model_id: str, top_k: int) -> tuple[Candidate, ...]:
        """Return the best `top_k` subjects by highest cosine over their templates, best first.

        Exact, and in step with every enrolment and deletion committed before the call, by any
        process. Equal scores are ordered by subject id. Empty if the model has no templates.

        Args:
            vector: (D,) float32 of unit L2 norm.
            model_id: the model that made it; only its templates are compared.
            top_k: at least 1.

        Raises:
            DataError: the vector is no template of this model.
            GalleryError: a stored template is damaged.
            UsageError: `top_k` below 1.
        """
        check_top_k(top_k)
        checked_vector(vector, what="probe")
        while True:
            live = self.live_index(model_id)
            if live is None:
                return ()
            stamp = live.stamp
            hits = live.top(checked_vector(vector, dim=live.dim, what="probe"), top_k)
            with self._session.reading() as db:
                names = _names(db, [subject_pk for subject_pk, _ in hits])
                unchanged = rows.read_stamp(db) == stamp
            if len(names) == len(hits):
                break
            # else a subject was deleted while the matrix was searched: search without it
            if unchanged:
                msg = (
                    f"{self.path} has templates without a subject: it is damaged, run 'verify gallery check'"
                )
                raise GalleryError(msg)
        found = sorted(((names[pk], score) for pk, score in hits), key=lambda hit: (-hit[1], hit[0]))
        return tuple(Candidate(name, score) for name, score in found[:top_k])

    def live_index(self, model_id: str) -> LiveIndex | None:
        """Return a model's memory index, in step with the file; None if the model is unknown."""
        with self._session.reading() as db:
            live = self._live.get(model_id)
            if live is None:
                row = db.execute("SELECT model_pk, dim FROM model WHERE model_id = ?", (model_id,)).fetchone()
                if row is None:
                    return None
                live = self._live[model_id] = LiveIndex(model_pk=row[0], dim=row[1])
            live.catch_up(db)
            return live

    def replay(self, idempotency_key: str) -> tuple[TemplateRecord, ...]:
        """Return the records written under this key; empty if the key is new."""
        with self._session.reading() as db:
            return rows.by_key(db, idempotency_key)

    def templates(self, subject_id: str, *, model_id: str) -> NDArray[np.float32]:
        """Return the subject's templates of this model, (T, D) float32; T is 0 if there are none."""
        name = check_subject_id(subject_id)
        with self._session.reading() as db:
            row = db.execute("SELECT dim FROM model WHERE model_id = ?", (model_id,)).fetchone()
            return rows.vectors_of(db, name, model_id=model_id, dim=row[0] if row else 0)

    def records(self, subject_id: str | None = None) -> Iterator[TemplateRecord]:
        """Yield provenance of one subject's templates, or of all, by subject then template.

        Reads in pages, so that a long list neither fills memory nor holds the file open.
        """
        only = None if subject_id is None else check_subject_id(subject_id)
        return self._records(only)

    def require(self, subject_id: str) -> tuple[TemplateRecord, ...]:
        """Return provenance of the templates of a subject who must be here.

        Raises:
            UnknownSubjectError: there is no such subject.
        """
        found = tuple(self.records(subject_id))
        if not found:
            raise self._unknown(subject_id)
        return found

    def subjects(self, *, model_id: str | None = None) -> tuple[str, ...]:
        """Return subject ids in order of their code points, of all models or of one."""
        with self._session.reading() as db:
            found = db.execute(
                """SELECT subject_id FROM subject s WHERE :model IS NULL OR EXISTS (SELECT 1 FROM template t
                JOIN model m USING (model_pk) WHERE t.subject_pk = s.subject_pk AND m.model_id = :model)
                ORDER BY subject_id""",
                {"model": model_id},
            )
            return tuple(row[0] for row in found)

    def summaries(self, *, after: str = "", limit: int = 100) -> tuple[rows.SubjectSummary, ...]:
        """Return the next `limit` subjects behind the id `after`, with counts, models and times."""
        with self._session.reading() as db:
            return rows.summaries(db, after=after, limit=limit)

    def count(self, *, model_id: str) -> int:
        """Return the number of subjects with at least one template of this model."""
        with self._session.reading() as db:
            stamp = rows.read_stamp(db)
            known = self._counts.get(model_id)
            if known is None or known[0] != stamp:
                query = """SELECT COUNT(DISTINCT subject_pk) FROM template
                    WHERE model_pk = (SELECT model_pk FROM model WHERE model_id = ?)"""
                known = self._counts[model_id] = (stamp, int(db.execute(query, (model_id,)).fetchone()[0]))
            return known[1]

    def model_ids(self, *, modality: Modality) -> tuple[str, ...]:
        """Return the models whose templates of this modality are stored, in order."""
        with self._session.reading() as db:
            query = """SELECT model_id FROM model m WHERE modality = ? AND EXISTS
                (SELECT 1 FROM template t WHERE t.model_pk = m.model_pk) ORDER BY model_id"""
            return tuple(row[0] for row in db.execute(query, (modality.value,)))

    # -- connections -----------------------------------------------------------------------------

    def write(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give a block the writing connection inside one transaction, committed at its end."""
        return self._session.write()

    def snapshot(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give a block a connection of its own that shows one unchanging state of the file."""
        return self._session.snapshot()

    def close(self) -> None:
        """Release connections, and zero and release the memory indexes. May be called twice."""
        self._session.close(before=self._clear)

    def _clear(self) -> None:
        for live in self._live.values():
            live.clear()

    def _unknown(self, subject_id: str) -> UnknownSubjectError:
        return UnknownSubjectError(
            f"subject {shown(subject_id)} is not in {self.path}; 'verify gallery list' shows who is"
        )

    def _records(self, only: str | None) -> Iterator[TemplateRecord]:
        last = ("", 0)
        while True:
            with self._session.reading() as db:
                page = rows.records_page(db, last, only=only)
            if not page:
                return
            yield from page
            last = (page[-1].subject_id, page[-1].template_id)


def _names(db: sqlite3.Connection, subject_pks: list[int]) -> dict[int, str]:
    names: dict[int, str] = {}
    # one lookup by key each: there are as many as candidates asked for, save for mass ties
    query = "SELECT subject_pk, subject_id FROM subject WHERE subject_pk = ?"
    for subject_pk in subject_pks:
        names.update(db.execute(query, (subject_pk,)))
    return names
