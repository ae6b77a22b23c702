"""The schema, its migrations, and what SQLite promises us."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from pushpoint.databases import Database, open_database, reading, writing
from pushpoint.databases.tables import accounts, keys, metadata
from pushpoint.errors import Conflict
from pushpoint.records import EVERYDAY, Account
from pushpoint.registry import keys as registry_keys


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = open_database(tmp_path / "platform.db")
    yield found
    found.dispose()


def row(name: str) -> dict[str, object]:
    return {"id": name, "name": name, "created": datetime.now(UTC)}


def test_the_migrations_arrive_at_the_tables(database: Database) -> None:
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        names = set(connection.execute(text("select name from sqlite_master where type = 'table'")).scalars())
    assert names == {table.name for table in metadata.sorted_tables} | {"alembic_version"}


def test_what_belongs_to_something_that_is_gone_is_a_conflict(
    database: Database,
) -> None:
    """An account may be deleted between the request's reading of it and its writing of a key."""
    gone = Account(id="gone", name="gone", created=datetime.now(UTC), is_organization=False, details={})
    with pytest.raises(Conflict, match="deleted meanwhile"):
        registry_keys.issue(database, gone, label="late")
    with pytest.raises(IntegrityError), writing(database) as connection:  # any other reason stays what it is
        connection.execute(insert(accounts), [row("ann"), row("ann")])


def test_keys_of_the_first_schema_are_as_good_as_before(tmp_path: Path) -> None:
    """The table of keys is made anew by a migration; what was in it stays, and stays unlimited."""
    path = tmp_path / "platform.db"
    config = Config()
    config.set_main_option("script_location", "pushpoint:databases/migrations")
    config.set_main_option("path_separator", "os")
    first = create_engine(f"sqlite:///{path}")
    with first.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    first.dispose()
    old = sqlite3.connect(path)
    with old:
        old.execute("insert into accounts values ('a', 'ann', '2026-01-01 00:00:00')")
        hashed = hashlib.sha256(b"sim-old").hexdigest()
        values = ("k", "a", hashed, "first key", "call data manage", "2026-01-01 00:00:00", None)
        old.execute("insert into keys values (?, ?, ?, ?, ?, ?, ?)", values)
    old.close()

    database = open_database(path)
    actor = registry_keys.authenticate(database, "sim-old")
    assert actor
    assert (actor.account.name, actor.scopes, actor.limit) == ("ann", EVERYDAY, None)
    with pytest.raises(IntegrityError), writing(database) as connection:
        connection.execute(
            insert(keys).values(id="l", account_id="a", hash=hashed, label="", scopes="", created=datetime.now(UTC))
        )
    database.dispose()


def test_indexes_are_compared_too(database: Database) -> None:
    """The partial indexes are what keeps a build and a deploy single; a migration must not lose their conditions."""
    with database.connect() as connection:
        rows = connection.execute(text("select name, sql from sqlite_master where type = 'index' and sql not null"))
        made = {str(name): str(sql) for name, sql in rows}
    assert "WHERE state != 'failed'" in made["builds_of_commit"]
    assert "WHERE state NOT IN ('failed', 'superseded')" in made["deployments_once"]
    assert all("UNIQUE" in made[name] for name in ("builds_of_commit", "deployments_once"))


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "platform.db"
    first = open_database(path)
    with writing(first) as connection:
        connection.execute(insert(accounts).values(**row("ann")))
    first.dispose()
    before = list(sqlite3.connect(path).iterdump())
    for _ in range(2):
        again = open_database(path)
        with reading(again) as connection:
            assert list(connection.execute(select(accounts.c.name)).scalars()) == ["ann"]
        again.dispose()
    connection_ = sqlite3.connect(path)
    assert list(connection_.iterdump()) == before
    connection_.close()


def test_what_every_connection_is_set_to(database: Database) -> None:
    with reading(database) as one, reading(database) as two:
        for connection in (one, two):
            for pragma, value in (
                ("journal_mode", "wal"),
                ("synchronous", 2),
                ("foreign_keys", 1),
                ("busy_timeout", 30000),
            ):
                assert connection.execute(text(f"pragma {pragma}")).scalar() == value


def test_a_block_that_fails_writes_nothing(database: Database) -> None:
    def fail() -> None:
        with writing(database) as connection:
            connection.execute(insert(accounts).values(**row("ann")))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        fail()
    with reading(database) as connection:
        assert connection.execute(select(accounts)).all() == []


def test_a_reader_keeps_nothing_it_writes(database: Database) -> None:
    with reading(database) as connection:
        connection.execute(insert(accounts).values(**row("ann")))
    with reading(database) as connection:
        assert connection.execute(select(accounts)).all() == []


def test_a_reader_sees_one_picture_while_a_writer_writes(database: Database) -> None:
    with reading(database) as before:
        assert before.execute(select(accounts)).all() == []
        with writing(database) as connection:
            connection.execute(insert(accounts).values(**row("ann")))
        assert before.execute(select(accounts)).all() == []
    with reading(database) as after:
        assert len(after.execute(select(accounts)).all()) == 1


def test_times_are_aware(database: Database) -> None:
    with writing(database) as connection:
        connection.execute(insert(accounts).values(**row("ann")))
        created = connection.execute(select(accounts.c.created)).scalar_one()
    assert created.tzinfo is UTC
    with pytest.raises(StatementError, match="a time without a zone"), writing(database) as connection:
        connection.execute(insert(accounts).values(id="b", name="b", created=datetime(2026, 1, 1)))


def test_what_was_written_outlives_a_kill(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = f"""
import os, signal
from datetime import UTC, datetime
from pathlib import Path
from sqlalchemy import insert
from pushpoint.databases import open_database, writing
from pushpoint.databases.tables import accounts
database = open_database(Path({str(tmp_path / "platform.db")!r}))
with writing(database) as connection:
    connection.execute(insert(accounts).values(id="kept", name="kept", created=datetime.now(UTC)))
with writing(database) as connection:
    connection.execute(insert(accounts).values(id="lost", name="lost", created=datetime.now(UTC)))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    database = open_database(tmp_path / "platform.db")
    with reading(database) as connection:
        assert list(connection.execute(select(accounts.c.name)).scalars()) == ["kept"]
    database.dispose()
