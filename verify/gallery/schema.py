"""The gallery's tables, and the steps that bring an older file up to date.

Why vectors have a table of fixed slots of their own: `PRAGMA secure_delete` zeroes a deleted cell,
but when SQLite rebalances a B-tree it moves cells between pages and leaves their old bytes in the
gap of the page they came from; a later delete does not see that copy. Rows of `vector` are
therefore only ever appended or overwritten in place at the same size, which moves nothing:
deleting a template zeroes its slot, and the slot is listed in `free_vector` for the next template
of that size.

Template ids and deletion numbers only grow (AUTOINCREMENT), and writers take turns, so the two
highest numbers tell every process whether, and from where, its memory index must catch up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.errors import GalleryError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

APPLICATION_ID = 0x56524659  # "VRFY"

# MIGRATIONS[n] leads from schema version n to n + 1. Published steps are never edited.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO state VALUES ('erasures_asked', 0), ('erasures_done', 0)",
        """CREATE TABLE model (
            model_pk INTEGER PRIMARY KEY,
            model_id TEXT NOT NULL UNIQUE,
            modality TEXT NOT NULL,
            dim INTEGER NOT NULL CHECK (dim > 0))""",
        """CREATE TABLE subject (
            subject_pk INTEGER PRIMARY KEY AUTOINCREMENT,
            subject_id TEXT NOT NULL UNIQUE)""",
        """CREATE TABLE enrolment (
            idempotency_key TEXT PRIMARY KEY,
            subject_pk INTEGER NOT NULL REFERENCES subject,
            fingerprint TEXT NOT NULL) WITHOUT ROWID""",
        "CREATE INDEX enrolment_subject ON enrolment (subject_pk)",
        """CREATE TABLE vector (
            vector_pk INTEGER PRIMARY KEY,
            data BLOB NOT NULL CHECK (typeof(data) = 'blob'))""",
        "CREATE TABLE free_vector (vector_pk INTEGER PRIMARY KEY REFERENCES vector, size INTEGER NOT NULL)",
        "CREATE INDEX free_vector_size ON free_vector (size)",
        """CREATE TABLE template (
            template_id INTEGER PRIMARY KEY AUTOINCREMENT,
            subject_pk INTEGER NOT NULL REFERENCES subject,
            model_pk INTEGER NOT NULL REFERENCES model,
            vector_pk INTEGER NOT NULL UNIQUE REFERENCES vector,
            source TEXT NOT NULL,
            source_sha256 TEXT NOT NULL,
            quality TEXT NOT NULL,
            created_at TEXT NOT NULL,
            idempotency_key TEXT REFERENCES enrolment)""",
        "CREATE INDEX template_subject ON template (subject_pk, model_pk)",
        "CREATE INDEX template_model ON template (model_pk, subject_pk)",
        "CREATE INDEX template_key ON template (idempotency_key) WHERE idempotency_key IS NOT NULL",
        "CREATE TABLE deletion (seq INTEGER PRIMARY KEY AUTOINCREMENT, template_id INTEGER NOT NULL)",
    ),
)


def schema_version() -> int:
    """Return the version that this release writes."""
    return len(MIGRATIONS)


def read_version(connection: sqlite3.Connection, *, path: Path) -> int:
    """Return the schema version of an open file; 0 for an empty one.

    All is read from one state of the file: another process may be making it a gallery right now.

    Raises:
        GalleryError: not a gallery, or of a future version.
    """
    if connection.in_transaction:
        return _version(connection, path=path)
    connection.execute("BEGIN")
    try:
        return _version(connection, path=path)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection, *, path: Path) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if application == 0 and version == 0 and tables == 0:
            return 0
        msg = f"{path} is an SQLite database, but not a gallery of verify; name another file with --gallery"
        raise GalleryError(msg)
    if version > schema_version():
        msg = (
            f"{path} has gallery schema {version} and this release of verify reads up to {schema_version()}; "
            "upgrade verify, or import an export made with the newer release"
        )
        raise GalleryError(msg)
    return int(version)


def migrate(connection: sqlite3.Connection, *, path: Path) -> None:
    """Bring the file to the current schema; to be called inside a write transaction."""
    version = read_version(connection, path=path)
    for step in MIGRATIONS[version:]:
        for statement in step:
            connection.execute(statement)
    # neither pragma takes parameters; both values are integers of this module
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
    connection.execute(f"PRAGMA user_version = {schema_version():d}")
