"""The connections of one open gallery: one writes, one reads, each behind a lock."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from verify.errors import GalleryError, UsageError
from verify.gallery.connection import (
    mapped_errors,
    open_for_reading,
    open_for_writing,
    read_transaction,
    write_transaction,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Session:
    """Gives threads their turns on the file. SQLite lets readers read while another writes.

    Args:
        path: the gallery's file.
        read_only: there is no writing connection.
        create: make the file if it is not there.
        busy_timeout_s: how long to wait for other processes.
    """

    def __init__(self, path: Path, *, read_only: bool, create: bool, busy_timeout_s: float) -> None:
        self.path = path
        self._busy_timeout_s = busy_timeout_s
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False
        self._writer = (
            None if read_only else open_for_writing(path, create=create, busy_timeout_s=busy_timeout_s)
        )
        try:
            self._reader = open_for_reading(path, busy_timeout_s=busy_timeout_s)
        except BaseException:
            if self._writer is not None:
                self._writer.close()
            raise

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the block the writing connection, outside any transaction."""
        self._check_usable()
        if self._writer is None:
            msg = f"{self.path} was opened read-only; open it without read_only to change it"
            raise UsageError(msg)
        with self._write_lock, mapped_errors(self.path):
            self._check_usable()
            yield self._writer

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give the block the writing connection inside one transaction, committed at its end."""
        with self.writing() as db, write_transaction(db):
            yield db

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the block the reading connection; it should be quick."""
        self._check_usable()
        with self._read_lock, mapped_errors(self.path):
            self._check_usable()
            yield self._reader

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Give the block a connection of its own that shows one unchanging state of the file."""
        self._check_usable()
        connection = open_for_reading(self.path, busy_timeout_s=self._busy_timeout_s)
        try:
            with mapped_errors(self.path), read_transaction(connection):
                yield connection
        finally:
            connection.close()

    def close(self, *, before: Callable[[], None]) -> None:
        """Call `before` and close the connections, when no other thread uses them; once only."""
        # SQLite forbids a forked child to close its parent's connections
        if self._closed or os.getpid() != self._process:
            return
        with self._write_lock, self._read_lock:
            if self._closed:
                return
            self._closed = True
            before()
            self._reader.close()
            if self._writer is not None:
                self._writer.close()  # the last writer to close empties the write-ahead log

    def _check_usable(self) -> None:
        if self._closed or os.getpid() != self._process:
            state = "closed" if self._closed else "the parent process's"
            msg = f"this gallery object is {state}; open {self.path} anew"
            raise GalleryError(msg)
