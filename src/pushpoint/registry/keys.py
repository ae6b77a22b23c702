"""API keys: issue, list, revoke, authenticate. Only their SHA-256 is kept; 148 random bits need no slower hash.

A key is for all of an account's things until it is revoked, or for the algorithms that its patterns name, or, if CI got
it for its identity, for one algorithm and a quarter of an hour.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, insert, or_, select, update

from pushpoint.databases import Change, Database, reading, writing
from pushpoint.databases.tables import accounts, algorithms, keys
from pushpoint.errors import InvalidRequest, NotFound
from pushpoint.names import KEY_PREFIX, KEY_RANDOM, AlgorithmName
from pushpoint.records import ANY_ALGORITHM, EVERYDAY, IMPLIED, SCOPES, Account, Actor, Key, Limit, Publisher
from pushpoint.registry import organizations
from pushpoint.registry.accounts import account_of
from pushpoint.registry.history import record

EXCHANGED_LIFE = timedelta(minutes=15)
"""How long a key lives that CI got for its identity."""
_ALPHABET = string.ascii_letters + string.digits
_PATTERN = re.compile(r"algo://(\*|[A-Za-z][A-Za-z0-9_]{0,29}/(\*|[A-Za-z][A-Za-z0-9_]{0,29}(/\*)?))")
MOST = 200
"""Keys of one account."""
_MOST_PATTERNS, _LONGEST_LABEL = 100, 100


def issue(
    database: Database,
    account: Account,
    *,
    label: str,
    scopes: Set[str] = EVERYDAY,
    patterns: Sequence[str] = (ANY_ALGORITHM,),
    actor: str = "",
) -> tuple[str, Key]:
    """Make a key for an account.

    Args:
        database: Where to write.
        account: Whose key.
        label: What it is for.
        scopes: Some of `SCOPES`.
        patterns: Which algorithms it is good for.
        actor: Who makes it, for the history.

    Returns:
        The key, 28 characters, which cannot be had again, and what it is.

    Raises:
        InvalidRequest: There is no such scope or pattern, or the label is too long.

    Source:
        The `algo` CLI refuses keys of another length.
    """
    check_scopes(scopes)
    wrong = next((one for one in patterns if not _PATTERN.fullmatch(one)), None)
    if wrong is not None or not 1 <= len(patterns) <= _MOST_PATTERNS:
        raise InvalidRequest(
            f"{wrong!r} names no algorithms; use algo://*, algo://OWNER/* or algo://OWNER/NAME, 1 to {_MOST_PATTERNS}"
        )
    if len(label) > _LONGEST_LABEL:
        raise InvalidRequest(f"the label is too long; use at most {_LONGEST_LABEL} characters")
    with writing(database) as connection:
        key, row = _insert(
            connection,
            account_id=account.id,
            label=label,
            scopes=scopes,
            patterns=list(patterns),
            created=datetime.now(UTC),
        )
        record(connection, actor or account.name, "key.issue", account.name, row["id"])
        return key, _key(connection.execute(_select().where(keys.c.id == row["id"])).mappings().one())


def check_scopes(scopes: Set[str]) -> None:
    """Insist on scopes that one key may have.

    Raises:
        InvalidRequest: There is no such scope, or `admin` is not alone.
    """
    if unknown := scopes - SCOPES:
        raise InvalidRequest(f"no key has the scope {min(unknown)!r}; use some of {', '.join(sorted(SCOPES))}")
    if "admin" in scopes and scopes != {"admin"}:
        raise InvalidRequest("an admin key is good for nothing else; make two keys")


def issue_limited(connection: Connection, account_id: str, publisher: Publisher, limit: Limit, *, now: datetime) -> str:
    """Make a key that is good for what `limit` says until `EXCHANGED_LIFE` is over, inside the caller's transaction.

    Returns:
        The key.
    """
    key, _ = _insert(
        connection,
        account_id=account_id,
        label="exchanged",
        scopes=EVERYDAY,
        patterns=[ANY_ALGORITHM],
        created=now,
        expires=now + EXCHANGED_LIFE,
        algorithm_id=limit.algorithm_id,
        collection=limit.collection,
        publisher_id=publisher.id,
        run=limit.run,
    )
    return key


def revoke_of_publisher(connection: Connection, publisher_id: str) -> None:
    """End the keys that a publisher's runs hold, inside the caller's transaction."""
    theirs = (keys.c.publisher_id == publisher_id) & keys.c.revoked.is_(None)
    connection.execute(update(keys).where(theirs).values(revoked=datetime.now(UTC)))


def of_account(database: Database, account: Account) -> list[Key]:
    """List the keys of an account that are valid and were not made for a run of CI.

    Returns:
        The keys, oldest first.
    """
    valid = keys.c.revoked.is_(None) & keys.c.publisher_id.is_(None)
    with reading(database) as connection:
        rows = connection.execute(
            _select().where(keys.c.account_id == account.id, valid).order_by(keys.c.created)
        ).mappings()
        return [_key(row) for row in rows]


def revoke(database: Database, account: Account, key_id: str, *, actor: Actor) -> None:
    """End a key of an account, at once. An admin key ends an admin key.

    Raises:
        NotFound: The account has no such valid key.
    """
    which = (keys.c.account_id == account.id) & (keys.c.id == key_id) & keys.c.revoked.is_(None)
    if "admin" not in actor.scopes:
        which &= keys.c.scopes != "admin"
    with writing(database) as connection:
        if connection.execute(update(keys).where(which).values(revoked=datetime.now(UTC))).rowcount != 1:
            raise NotFound(f"{account.name} has no such key; list them: pushpoint keys list")
        record(connection, actor.account.name, "key.revoke", account.name, key_id)


def note_used(database: Database, used: Mapping[str, datetime]) -> None:
    """Write down when keys were last used.

    Args:
        database: Where to write.
        used: Key id to time.
    """
    with writing(database, change=Change.NOTHING) as connection:
        for key_id, when in used.items():
            connection.execute(update(keys).where(keys.c.id == key_id).values(last_used=when))


def authenticate(database: Database, key: str, *, now: datetime | None = None) -> Actor | None:
    """Say whose key this is.

    Args:
        database: Where to look.
        key: As it was sent.
        now: The time, if it is not that of the clock.

    Returns:
        Who acts with it, or none if it is unknown, revoked or over.
    """
    return _actor(database, keys.c.hash == _hash(key), now or datetime.now(UTC))


def holder(database: Database, key_id: str) -> Actor | None:
    """Say who acts with a key that was shown before, as things are now.

    Returns:
        The actor, or none if the key is revoked or over.
    """
    return _actor(database, keys.c.id == key_id, datetime.now(UTC))


def _actor(database: Database, which: ColumnElement[bool], now: datetime) -> Actor | None:
    is_valid = keys.c.revoked.is_(None) & or_(keys.c.expires.is_(None), keys.c.expires > now)
    with reading(database) as connection:
        row = (
            connection.execute(
                select(
                    accounts,
                    keys.c.id.label("key_id"),
                    keys.c.scopes,
                    keys.c.patterns,
                    keys.c.algorithm_id,
                    keys.c.collection,
                    keys.c.run,
                    algorithms.c.name.label("algorithm"),
                )
                .join(keys, keys.c.account_id == accounts.c.id)
                .outerjoin(algorithms, algorithms.c.id == keys.c.algorithm_id)
                .where(which, is_valid)
            )
            .mappings()
            .first()
        )
        if row is None:
            return None
        joined = organizations.joined(connection, row["id"])
        found = account_of(row)
        limit = None
        if row["algorithm_id"] is not None:
            limit = Limit(
                algorithm_id=row["algorithm_id"],
                algorithm=AlgorithmName(found.name, row["algorithm"]),
                collection=row["collection"],
                run=row["run"],
            )
        return Actor(
            account=found,
            scopes=_scopes(row["scopes"]),
            organizations=frozenset() if limit else joined,
            limit=limit,
            patterns=tuple(row["patterns"]),
            key_id=row["key_id"],
        )


def _insert(connection: Connection, *, scopes: Set[str], **values: object) -> tuple[str, dict[str, str]]:
    key = KEY_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(KEY_RANDOM))
    row = {
        "id": str(uuid4()),
        "hash": _hash(key),
        "scopes": " ".join(sorted(scopes)),
        "mask": f"{key[:5]}...{key[-2:]}",
    }
    connection.execute(insert(keys).values(**row, **values))
    return key, row


def _select() -> Select[tuple[object, ...]]:
    return select(keys, accounts.c.name.label("owner")).join(accounts, accounts.c.id == keys.c.account_id)


def _scopes(text: str) -> frozenset[str]:
    found = text.split()
    return frozenset(found + [IMPLIED[scope] for scope in found if scope in IMPLIED])


def _key(row: RowMapping) -> Key:
    return Key(
        id=row["id"],
        owner=row["owner"],
        label=row["label"],
        mask=row["mask"],
        scopes=_scopes(row["scopes"]),
        patterns=tuple(row["patterns"]),
        created=row["created"],
        expires=row["expires"],
        last_used=row["last_used"],
    )


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
