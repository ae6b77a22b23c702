"""API keys: issue and authenticate. Only their SHA-256 is kept; 148 random bits need no slower hash.

A key is for all of an account's things until it is revoked, or, if CI got it for its identity, for one algorithm and a
quarter of an hour.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Set
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import Connection, insert, or_, select, update

from pushpoint.databases import Database, reading, writing
from pushpoint.databases.tables import accounts, algorithms, keys
from pushpoint.names import AlgorithmName
from pushpoint.records import SCOPES, Account, Actor, Limit, Publisher
from pushpoint.registry.accounts import account_of

PREFIX = "sim"
EXCHANGED_LIFE = timedelta(minutes=15)
"""How long a key lives that CI got for its identity."""
_ALPHABET = string.ascii_letters + string.digits


def issue(database: Database, account: Account, *, label: str, scopes: Set[str] = SCOPES) -> str:
    """Make a key for an account.

    Returns:
        The key, 28 characters; it cannot be had again.

    Source:
        The `algo` CLI refuses keys of another length.
    """
    with writing(database) as connection:
        return _insert(connection, account_id=account.id, label=label, scopes=scopes, created=datetime.now(UTC))


def issue_limited(connection: Connection, account_id: str, publisher: Publisher, limit: Limit, *, now: datetime) -> str:
    """Make a key that is good for what `limit` says until `EXCHANGED_LIFE` is over, inside the caller's transaction.

    Returns:
        The key.
    """
    return _insert(
        connection,
        account_id=account_id,
        label="exchanged",
        scopes=SCOPES,
        created=now,
        expires=now + EXCHANGED_LIFE,
        algorithm_id=limit.algorithm_id,
        collection=limit.collection,
        publisher_id=publisher.id,
        run=limit.run,
    )


def revoke_of_publisher(connection: Connection, publisher_id: str) -> None:
    """End the keys that a publisher's runs hold, inside the caller's transaction."""
    theirs = (keys.c.publisher_id == publisher_id) & keys.c.revoked.is_(None)
    connection.execute(update(keys).where(theirs).values(revoked=datetime.now(UTC)))


def authenticate(database: Database, key: str, *, now: datetime | None = None) -> Actor | None:
    """Say whose key this is.

    Args:
        database: Where to look.
        key: As it was sent.
        now: The time, if it is not that of the clock.

    Returns:
        Who acts with it, or none if it is unknown, revoked or over.
    """
    is_valid = keys.c.revoked.is_(None) & or_(keys.c.expires.is_(None), keys.c.expires > (now or datetime.now(UTC)))
    with reading(database) as connection:
        row = (
            connection.execute(
                select(
                    accounts,
                    keys.c.scopes,
                    keys.c.algorithm_id,
                    keys.c.collection,
                    keys.c.run,
                    algorithms.c.name.label("algorithm"),
                )
                .join(keys, keys.c.account_id == accounts.c.id)
                .outerjoin(algorithms, algorithms.c.id == keys.c.algorithm_id)
                .where(keys.c.hash == _hash(key), is_valid)
            )
            .mappings()
            .first()
        )
    if row is None:
        return None
    limit = None
    if row["algorithm_id"] is not None:
        limit = Limit(
            algorithm_id=row["algorithm_id"],
            algorithm=AlgorithmName(row["name"], row["algorithm"]),
            collection=row["collection"],
            run=row["run"],
        )
    return Actor(account=account_of(row), scopes=frozenset(row["scopes"].split()), limit=limit)


def _insert(connection: Connection, *, scopes: Set[str], **values: object) -> str:
    key = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(25))
    row = {"id": str(uuid4()), "hash": _hash(key), "scopes": " ".join(sorted(scopes))} | values
    connection.execute(insert(keys).values(**row))
    return key


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
