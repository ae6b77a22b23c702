"""Accounts: who owns algorithms and collections."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import RowMapping, insert, select
from sqlalchemy.exc import IntegrityError

from pushpoint.databases import Database, reading, writing
from pushpoint.databases.tables import accounts
from pushpoint.errors import AlreadyExists, NotFound
from pushpoint.names import check_name
from pushpoint.records import Account


def create(database: Database, name: str) -> Account:
    """Make an account.

    Returns:
        The account.

    Raises:
        AlreadyExists: The name is taken.
    """
    account = Account(id=str(uuid4()), name=check_name("account", name), created=datetime.now(UTC))
    try:
        with writing(database) as connection:
            connection.execute(insert(accounts).values(id=account.id, name=account.name, created=account.created))
    except IntegrityError as error:
        raise AlreadyExists(f"the account {name} exists; choose another name") from error
    return account


def find(database: Database, name: str) -> Account:
    """Look up an account by name.

    Returns:
        The account.

    Raises:
        NotFound: There is none of that name.
    """
    with reading(database) as connection:
        row = connection.execute(select(accounts).where(accounts.c.name == name)).mappings().first()
    if row is None:
        raise NotFound(f"there is no account {name}; check the owner's name")
    return account_of(row)


def oldest(database: Database) -> Account | None:
    """Look up the first account of the platform.

    Returns:
        The account, or none on a new platform.
    """
    with reading(database) as connection:
        row = connection.execute(select(accounts).order_by(accounts.c.created)).mappings().first()
    return account_of(row) if row else None


def account_of(row: RowMapping) -> Account:
    """Read an account from a row of its table.

    Returns:
        The account.
    """
    return Account(id=row["id"], name=row["name"], created=row["created"])
