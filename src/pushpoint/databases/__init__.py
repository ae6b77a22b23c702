"""Where the platform's knowledge is kept: open a database from its URL, read from it, write to it.

SQLite in WAL mode: many readers beside one writer. A writing transaction takes the write lock at its beginning
(`BEGIN IMMEDIATE`), so what it read still holds when it writes.
"""

from __future__ import annotations

import mmap
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from struct import Struct
from weakref import WeakKeyDictionary

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from pushpoint.errors import Conflict

Database = Engine
_STATE = Struct("=Q")


class Change(IntEnum):
    """How much of what is kept in memory a write makes untrue; each includes those before it."""

    NOTHING = 0
    WORK = 1
    """What is written down to be done: builds and rollouts."""
    CALLED = 2
    """What answers calls."""
    ACTORS = 3
    """Who may do what."""


_changes: WeakKeyDictionary[Database, mmap.mmap] = WeakKeyDictionary()


def open_database(path: Path) -> Database:
    """Open the SQLite database at `path`, making or migrating it to the present schema.

    Returns:
        The database; dispose of it when done.
    """
    database = create_engine(URL.create("sqlite", database=str(path)), pool_size=20, max_overflow=40)

    @event.listens_for(database, "connect")
    def _connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - for the type checker
        connection.isolation_level = None  # we begin transactions ourselves
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "busy_timeout = 30000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(database, "begin")
    def _begin(connection: Connection) -> None:
        read = connection.get_execution_options().get("read", False)
        connection.exec_driver_sql("BEGIN" if read else "BEGIN IMMEDIATE")

    config = Config()
    config.set_main_option("script_location", "pushpoint:databases/migrations")
    config.set_main_option("path_separator", "os")
    with database.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    _changes[database] = _shared(path.with_name(f"{path.name}-changes"))
    return database


def _shared(path: Path) -> mmap.mmap:
    # some bytes that every process with this database sees: for a while there are two platforms, at a handover
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        size = _STATE.size * Change.ACTORS
        os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


@contextmanager
def reading(database: Database) -> Iterator[Connection]:
    """Read one consistent picture.

    Yields:
        A connection; what it writes is undone.
    """
    with database.connect() as connection:
        yield connection.execution_options(read=True)


@contextmanager
def writing(database: Database, *, change: Change = Change.ACTORS) -> Iterator[Connection]:
    """Write all or nothing; committed, and on disk, when the block ends without an error.

    Args:
        database: Where to write.
        change: What has to be looked up again afterwards; by default all.

    Yields:
        A connection that holds the write lock.

    Raises:
        Conflict: What is written belongs to something that was deleted since it was read.
        IntegrityError: It is in the way of what is there.
    """
    try:
        with database.begin() as connection:
            yield connection
    except IntegrityError as error:
        if "FOREIGN KEY" not in str(error.orig):
            raise
        raise Conflict("what this belongs to was deleted meanwhile; look at it again") from error
    state = secrets.randbits(64)  # no two writers' are the same
    for kind in range(change):
        _STATE.pack_into(_changes[database], kind * _STATE.size, state)


def changes(database: Database, kind: Change) -> int:
    """Tell apart the states of a database, whichever process writes it.

    What was read is still so while the number is what it was before the reading. Nothing is asked of the database.

    Args:
        database: Which.
        kind: What was read; not `NOTHING`.

    Returns:
        A number that every write of that change, or of a larger one, replaces.
    """
    found: int = _STATE.unpack_from(_changes[database], (kind - 1) * _STATE.size)[0]
    return found
