"""API keys: issue and authenticate. Only their SHA-256 is kept; 148 random bits need no slower hash."""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Set
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import insert, select

from pushpoint.databases import Database, reading, writing
from pushpoint.databases.tables import accounts, keys
from pushpoint.records import SCOPES, Account, Actor
from pushpoint.registry.accounts import account_of

PREFIX = "sim"
_ALPHABET = string.ascii_letters + string.digits


def issue(database: Database, account: Account, *, label: str, scopes: Set[str] = SCOPES) -> str:
    """Make a key for an account.

    Returns:
        The key, 28 characters; it cannot be had again.

    Source:
        The `algo` CLI refuses keys of another length.
    """
    key = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(25))
    with writing(database) as connection:
        connection.execute(
            insert(keys).values(
                id=str(uuid4()),
                account_id=account.id,
                hash=_hash(key),
                label=label,
                scopes=" ".join(sorted(scopes)),
                created=datetime.now(UTC),
            )
        )
    return key


def authenticate(database: Database, key: str) -> Actor | None:
    """Say whose key this is.

    Returns:
        Who acts with it, or none if it is unknown or revoked.
    """
    with reading(database) as connection:
        row = (
            connection.execute(
                select(accounts, keys.c.scopes)
                .join(keys, keys.c.account_id == accounts.c.id)
                .where(keys.c.hash == _hash(key), keys.c.revoked.is_(None))
            )
            .mappings()
            .first()
        )
    return Actor(account=account_of(row), scopes=frozenset(row["scopes"].split())) if row else None


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
