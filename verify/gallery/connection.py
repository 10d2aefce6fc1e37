"""Opening the gallery's file, transactions, and the one map from SQLite's errors to verify's.

Nothing here or elsewhere may open the gallery's file but SQLite itself: POSIX drops all locks that
a process has on a file as soon as it closes any handle of it, and another process would then take
the write-ahead log away under a gallery in use (sqlite.org, How To Corrupt, 2.2).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from verify.errors import GalleryError, StorageError, UsageError
from verify.gallery import schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PRAGMAS = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA temp_store = MEMORY",  # no subject data in temporary files
    "PRAGMA mmap_size = 0",  # a failing disk must raise, not kill the process
)
_WRITING_PRAGMAS = ("PRAGMA synchronous = FULL", "PRAGMA secure_delete = ON")
_UNSEEN = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM}
_RETRY_S = 0.02
_SHARED_MEMORY_BYTES = 1 << 16


@contextmanager
def mapped_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into `GalleryError` and `StorageError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error
    except OSError as error:
        msg = f"{path}: {error.strerror or error}; nothing that was acknowledged is lost"
        raise StorageError(msg) from error


@contextmanager
def write_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock for the block: commit at its end, roll back if anything goes wrong."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some disk errors
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


@contextmanager
def read_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Show the block one unchanging state of the file."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def open_for_writing(path: Path, *, create: bool, busy_timeout_s: float) -> sqlite3.Connection:
    """Open the gallery at `path`, migrating it, or creating it (mode 0600), if need be.

    Raises:
        GalleryError: the file is something else, corrupt, of a future version, or, without
            `create`, not there.
        StorageError: the place cannot be written, or stays locked.
    """
    with mapped_errors(path):
        if create:
            _create(path)
        _check_there(path)
        connection = _connect(path, "mode=rw", busy_timeout_s=busy_timeout_s)
        try:
            schema.read_version(connection, path=path)
            _enter_wal(connection, path=path, deadline=time.monotonic() + busy_timeout_s)
            for pragma in _WRITING_PRAGMAS:
                connection.execute(pragma)
            if schema.read_version(connection, path=path) < schema.schema_version():
                with write_transaction(connection):
                    schema.migrate(connection, path=path)
        except BaseException:
            connection.close()
            raise
        return connection


def open_for_reading(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """Open an existing gallery without ever writing to it, also on a read-only disk.

    Raises:
        GalleryError: there is none, it is something else, corrupt, or of another version.
        StorageError: the disk is read-only and the file was not closed cleanly.
    """
    with mapped_errors(path):
        _check_there(path)
        connection = _connect_reading(path, busy_timeout_s=busy_timeout_s)
        try:
            _check_current(connection, path=path)
        except BaseException:
            connection.close()
            raise
        return connection


def _check_there(path: Path) -> None:
    if path.is_dir():
        msg = f"{path} is a folder; name the gallery's file, for example {path / 'gallery.db'}"
        raise UsageError(msg)
    if not path.exists():
        msg = f"there is no gallery at {path}; enrol a subject first, or name the file with --gallery"
        raise GalleryError(msg)


def _check_current(connection: sqlite3.Connection, *, path: Path) -> None:
    version = schema.read_version(connection, path=path)
    if version < schema.schema_version():
        msg = f"{path} has gallery schema {version}; open it once where it can be written, to update it"
        raise GalleryError(msg)


def _connect(path: Path, query: str, *, busy_timeout_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,  # transactions are opened by hand, above
        check_same_thread=False,  # every connection stands behind a lock
    )
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_reading(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    connection = _connect(path, "mode=ro", busy_timeout_s=busy_timeout_s)
    try:
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        connection.close()
        # A WAL database needs its shared-memory file beside it. Where that cannot be made nobody
        # can write the gallery through this disk either, so the file may be read as it stands,
        # provided that nothing is left in the write-ahead log.
        if _primary(error) not in _UNSEEN | {sqlite3.SQLITE_FULL} or _has_room(path.parent):
            raise
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size > 0:
            msg = (
                f"{path} was not closed cleanly and its disk is read-only or full; open it once where it can be "
                "written"
            )
            raise StorageError(msg) from error
        return _connect(path, "mode=ro&immutable=1", busy_timeout_s=busy_timeout_s)
    return connection


def _has_room(folder: Path) -> bool:
    """Whether the shared-memory file of a WAL database (32 KiB) could be made there."""
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > _SHARED_MEMORY_BYTES


def _create(path: Path) -> None:
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return  # another process was quicker
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a new or renamed file's name durable, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot sync folders
            os.fsync(handle)
    finally:
        os.close(handle)


def _enter_wal(connection: sqlite3.Connection, *, path: Path, deadline: float) -> None:
    # The switch does not wait by itself when two processes create the same gallery at once.
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
    if mode != "wal":
        msg = f"{path} is on a file system without shared memory (a network share?); move it to a local disk"
        raise StorageError(msg)


def _primary(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & 0xFF


def _translate(error: sqlite3.Error, path: Path) -> GalleryError | StorageError:
    kept = "nothing that was acknowledged is lost"
    broken = "run 'verify gallery check'; if it is broken, import your last export into a new gallery"
    match _primary(error):
        case sqlite3.SQLITE_FULL:
            return StorageError(f"{path}: the disk is full; free some space and try again, {kept}")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StorageError(
                f"{path}: the file or its disk is read-only; make it writable and try again, {kept}"
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StorageError(f"{path}: another process has been writing for too long; try again, {kept}")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_IOERR:
            return StorageError(
                f"{path}: the disk cannot be used ({error}); check it and its permissions, {kept}"
            )
        case sqlite3.SQLITE_NOTADB:
            return GalleryError(f"{path} is not a gallery: it is no SQLite database; name another file")
        case sqlite3.SQLITE_CORRUPT:
            return GalleryError(f"{path} is corrupt ({error}); {broken}")
        case _:
            return GalleryError(f"{path} cannot be used ({error}); {broken}")
