"""Whether a gallery is sound, looked at from every side."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.errors import GalleryError, StorageError, VerifyError
from verify.gallery import rows
from verify.gallery.schema import schema_version
from verify.gallery.sqlite import SqliteGallery
from verify.gallery.subject import shown
from verify.gallery.vectors import exact_cosines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

# what must hold, as queries that list what breaks it
_ORPHANS = {
    "template without a vector": """SELECT template_id FROM template
        WHERE vector_pk NOT IN (SELECT vector_pk FROM vector)""",
    "vector left without a template": """SELECT vector_pk FROM vector WHERE vector_pk NOT IN
        (SELECT vector_pk FROM template UNION ALL SELECT vector_pk FROM free_vector)""",
    "deleted vector that is not blank": """SELECT vector_pk FROM vector JOIN free_vector USING (vector_pk)
        WHERE data != zeroblob(size)""",
    "vector both free and in use": "SELECT vector_pk FROM free_vector JOIN template USING (vector_pk)",
    "subject without templates": """SELECT subject_id FROM subject
        WHERE subject_pk NOT IN (SELECT subject_pk FROM template)""",
    "idempotency key without templates": """SELECT idempotency_key FROM enrolment e WHERE NOT EXISTS
        (SELECT 1 FROM template t WHERE t.idempotency_key = e.idempotency_key)""",
    "template under another subject than its idempotency key": """SELECT template_id FROM template t
        JOIN enrolment e USING (idempotency_key) WHERE t.subject_pk != e.subject_pk""",
    "template id beyond those given out": """SELECT template_id FROM template WHERE template_id >
        (SELECT coalesce(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'template')""",
}
_SHOWN = 3
_PROBES = 64


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check saw.

    Attributes:
        problems: what is broken; the gallery must not be trusted until it is mended.
        warnings: what is not as it should be, though no reference is wrong.
    """

    path: Path
    schema: int
    subjects: int
    templates: int
    models: dict[str, int]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return not self.problems


def check_path(path: Path) -> CheckReport:
    """Open an existing gallery and check it; read-only where the disk is.

    Raises:
        GalleryError: there is none, or it cannot even be opened.
    """
    try:
        gallery = SqliteGallery(path, create=False)
    except StorageError:
        gallery = SqliteGallery(path, read_only=True)
    with gallery:
        return check_gallery(gallery)


def check_gallery(gallery: SqliteGallery) -> CheckReport:
    """Check the file's structure, every reference, every vector, and that searching finds them."""
    problems: list[str] = []
    subjects = templates = 0
    models: dict[str, tuple[int, int, int]] = {}
    with gallery.snapshot() as db:
        with _noted(problems, "structure"):
            found = [str(row[0]) for row in db.execute(f"PRAGMA integrity_check({10 * _SHOWN:d})")]
            problems += [f"structure: {line}" for line in found if line != "ok"]
        with _noted(problems, "links between tables"):
            broken = db.execute("PRAGMA foreign_key_check").fetchall()
            problems += [f"{row[0]} {row[1]} refers to a missing {row[2]}" for row in broken[:_SHOWN]]
        for what, query in _ORPHANS.items():
            with _noted(problems, what):
                found = [str(row[0]) for row in db.execute(query)]
                if found:
                    problems.append(f"{len(found)} x {what}: {', '.join(found[:_SHOWN])}")
        with _noted(problems, "counts"):
            (subjects,) = db.execute("SELECT COUNT(*) FROM subject").fetchone()
            (templates,) = db.execute("SELECT COUNT(*) FROM template").fetchone()
            query = """SELECT model_id, model_pk, dim, (SELECT COUNT(*) FROM template t
                WHERE t.model_pk = m.model_pk) FROM model m ORDER BY model_id"""
            models = {row[0]: row[1:] for row in db.execute(query)}
        for model_id, (model_pk, dim, count) in models.items():
            with _noted(problems, f"model {model_id[:12]}"):
                _check_model(db, gallery, model_id, model_pk=model_pk, dim=dim, count=count)
    counts = {model_id: count for model_id, (_, _, count) in models.items()}
    return CheckReport(
        gallery.path, schema_version(), subjects, templates, counts, tuple(problems), _warnings(gallery)
    )


def _check_model(
    db: sqlite3.Connection, gallery: SqliteGallery, model_id: str, *, model_pk: int, dim: int, count: int
) -> None:
    """Read every vector of a model, and search for a sample of them."""
    total = 0
    step = max(1, count // _PROBES)
    for ids, owners, vectors in rows.new_vectors(db, model_pk=model_pk, dim=dim, after=0):
        for at in range(-total % step, len(ids), step):
            _check_found(db, gallery, model_id, owner=owners[at], vector=vectors[at])
        total += len(ids)
    if total != count:
        msg = f"{count} templates are listed and {total} can be read"
        raise GalleryError(msg)


def _check_found(
    db: sqlite3.Connection, gallery: SqliteGallery, model_id: str, *, owner: int, vector: NDArray[np.float32]
) -> None:
    """Hold a search to its word: a template that asks finds its subject, or a better one."""
    row = db.execute("SELECT subject_id FROM subject WHERE subject_pk = ?", (owner,)).fetchone()
    if row is None:
        msg = f"templates of a subject (number {owner}) who is not there"
        raise GalleryError(msg)
    name = str(row[0])
    own = float(exact_cosines(vector[None, :], vector)[0])
    best = gallery.search(vector, model_id=model_id, top_k=1)
    if best and (-best[0].score, best[0].subject_id) <= (-own, name):
        return
    if name in gallery.subjects(model_id=model_id):  # else deleted since the snapshot was taken
        msg = f"a search for a template of subject {shown(name)} misses it: the memory index is out of step"
        raise GalleryError(msg)


def _warnings(gallery: SqliteGallery) -> tuple[str, ...]:
    found = []
    try:
        gallery.finish_erasure()
        owed = gallery.is_erasure_owed()
    except (VerifyError, KeyError):
        owed = True
    if owed:
        found.append(
            f"bytes of deleted templates may still be in {gallery.path.name}-wal: check again when no other "
            "process uses the gallery and its disk is writable"
        )
    mode = stat.S_IMODE(gallery.path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        found.append(f"other users may open the file (mode {mode:04o}): run chmod 600 on it")
    return tuple(found)


@contextmanager
def _noted(problems: list[str], what: str) -> Iterator[None]:
    """Go on with the next check when one cannot even be made."""
    try:
        yield
    except (sqlite3.Error, VerifyError) as error:
        problems.append(f"{what}: {error}")
