"""The last step of a delete: no template bytes in the write-ahead log.

A delete zeroes its vectors in the database, but the log still holds the pages as they were when
the template was enrolled. Emptying it needs a moment without readers in other processes. Until
that has happened the gallery keeps count of what is owed, so that it is done by whoever opens the
file next, also after a crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.gallery.connection import write_transaction

if TYPE_CHECKING:
    import sqlite3


def is_owed(db: sqlite3.Connection) -> bool:
    """Return whether deleted templates' bytes may still be in the write-ahead log."""
    state = dict(db.execute("SELECT name, value FROM state"))
    return bool(state["erasures_asked"] > state["erasures_done"])


def finish(db: sqlite3.Connection) -> bool:
    """Move the log into the database and truncate it; return whether that could be done.

    Waits up to the connection's busy timeout for readers in other processes.
    """
    (asked,) = db.execute("SELECT value FROM state WHERE name = 'erasures_asked'").fetchone()
    if not is_owed(db):
        return True
    (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        return False
    with write_transaction(db):
        # what was asked for after the number above was read is not covered by this checkpoint
        db.execute("UPDATE state SET value = MAX(value, ?) WHERE name = 'erasures_done'", (asked,))
    return True
