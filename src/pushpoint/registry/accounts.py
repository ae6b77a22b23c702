"""Accounts: users and organizations, who own algorithms and collections, and share one namespace.

A password is for git alone, as on the old platform; what is kept of it is a scrypt hash.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import uuid4

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from pushpoint.databases import Database, reading, writing
from pushpoint.databases.tables import accounts, algorithms, collections, files, keys, members, uploads
from pushpoint.errors import AlreadyExists, InUse, InvalidRequest, NotFound
from pushpoint.names import check_name, is_key
from pushpoint.records import Account
from pushpoint.registry.history import record

SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 200
"""Characters."""
_SALT = 16


def create(
    database: Database,
    name: str,
    *,
    is_organization: bool = False,
    details: Mapping[str, object] | None = None,
    owner: Account | None = None,
    actor: str = "",
) -> Account:
    """Make an account.

    Args:
        database: Where to write.
        name: Of the platform's grammar; not taken.
        is_organization: Whether it is one.
        details: What it says of itself.
        owner: First owner of an organization, if it has one.
        actor: Who makes it, for the history.

    Returns:
        The account.

    Raises:
        AlreadyExists: The name is taken.
    """
    account = Account(
        id=str(uuid4()),
        name=check_name("account", name),
        created=datetime.now(UTC),
        is_organization=is_organization,
        details=dict(details or {}),
    )
    try:
        with writing(database) as connection:
            connection.execute(
                insert(accounts).values(
                    id=account.id,
                    name=account.name,
                    created=account.created,
                    is_organization=is_organization,
                    details=account.details,
                )
            )
            if owner:
                connection.execute(
                    insert(members).values(organization_id=account.id, account_id=owner.id, is_owner=True)
                )
            record(connection, actor, "account.create", name)
    except IntegrityError as error:
        raise AlreadyExists(f"the account {name} exists; choose another name") from error
    return account


def find(database: Database, name: str, *, is_organization: bool | None = None) -> Account:
    """Look up an account by name, or by id.

    Args:
        database: Where to look.
        name: Its name or its id, which has a dash where no name has one.
        is_organization: Which kind it must be; none for either.

    Returns:
        The account.

    Raises:
        NotFound: There is none of that name.
    """
    column = accounts.c.id if "-" in name else accounts.c.name
    with reading(database) as connection:
        row = connection.execute(select(accounts).where(column == name)).mappings().first()
    if row is None or is_organization not in {None, row["is_organization"]}:
        kind = {None: "account", True: "organization", False: "user"}[is_organization]
        raise NotFound(f"there is no {kind} {name}; check the name")
    return account_of(row)


def oldest(database: Database) -> Account | None:
    """Look up the first account of the platform.

    Returns:
        The account, or none on a new platform.
    """
    with reading(database) as connection:
        row = connection.execute(select(accounts).order_by(accounts.c.created)).mappings().first()
    return account_of(row) if row else None


def every(database: Database, *, is_organization: bool, limit: int, offset: int) -> list[Account]:
    """List users or organizations by name.

    Returns:
        At most `limit` accounts.
    """
    kind = accounts.c.is_organization.is_(is_organization)
    with reading(database) as connection:
        rows = connection.execute(
            select(accounts).where(kind).order_by(accounts.c.name).limit(limit).offset(offset)
        ).mappings()
        return [account_of(row) for row in rows]


def change(database: Database, account: Account, details: Mapping[str, object], *, actor: str) -> None:
    """Merge details into those of an account."""
    with writing(database) as connection:
        connection.execute(
            update(accounts).where(accounts.c.id == account.id).values(details={**account.details, **details})
        )
        record(connection, actor, "account.change", account.name)


def remove(database: Database, account: Account, *, actor: str) -> None:
    """Delete an account that owns nothing any more; its keys end, its memberships too.

    Raises:
        InUse: It owns algorithms or collections, or is the last owner of an organization.
    """
    with writing(database) as connection:
        owned = [
            f"{prefix}{account.name}/{name}"
            for prefix, table in (("algo://", algorithms), ("data://", collections))
            for name in connection.execute(
                select(table.c.name)
                .where(table.c.account_id == account.id, ~table.c.name.startswith("."))
                .order_by(table.c.name)
                .limit(10)
            ).scalars()
        ]
        owned += [f"organization {name}, of which it is the last owner" for name in _alone_in(connection, account)]
        if owned:
            raise InUse(f"the account {account.name}", owned)
        connection.execute(
            delete(members).where((members.c.account_id == account.id) | (members.c.organization_id == account.id))
        )
        hidden = select(collections.c.id).where(collections.c.account_id == account.id)  # what algorithms keep for it
        connection.execute(delete(files).where(files.c.collection_id.in_(hidden)))
        for table in (collections, uploads, keys):
            connection.execute(delete(table).where(table.c.account_id == account.id))
        connection.execute(delete(accounts).where(accounts.c.id == account.id))
        record(connection, actor, "account.delete", account.name)


def set_password(database: Database, account: Account, password: str, *, actor: str) -> None:
    """Give a user a password for git.

    Raises:
        InvalidRequest: It is too short, or too long.
    """
    check_password(password)
    salt = secrets.token_bytes(_SALT)
    kept = base64.b64encode(salt + _hash(password, salt)).decode()
    with writing(database) as connection:
        connection.execute(update(accounts).where(accounts.c.id == account.id).values(password=kept))
        record(connection, actor, "account.password", account.name)


def check_password(password: str) -> None:
    """Insist on a password that is long enough, and cannot be taken for a key.

    Raises:
        InvalidRequest: It is not.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD or is_key(password):
        raise InvalidRequest(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters, and does not look like a key; "
            "choose another"
        )


def with_password(database: Database, name: str, password: str) -> Account | None:
    """Say which user has this name and this password; an unknown name takes as long as a wrong password.

    Returns:
        The user, or none.
    """
    with reading(database) as connection:
        row = connection.execute(select(accounts).where(accounts.c.name == name)).mappings().first()
    kept = base64.b64decode(row["password"]) if row and row["password"] else bytes(_SALT)
    is_right = hmac.compare_digest(_hash(password[:LONGEST_PASSWORD], kept[:_SALT]), kept[_SALT:])
    return account_of(row) if row and is_right else None


def account_of(row: RowMapping) -> Account:
    """Read an account from a row of its table.

    Returns:
        The account.
    """
    return Account(
        id=row["id"],
        name=row["name"],
        created=row["created"],
        is_organization=row["is_organization"],
        details=row["details"],
    )


def _hash(password: str, salt: bytes) -> bytes:
    # RFC 7914's parameters for interactive log-ins: 16 MiB and some 50 ms a guess
    return Scrypt(salt=salt, length=32, n=1 << 14, r=8, p=1).derive(password.encode("utf-8", "surrogatepass"))


def _alone_in(connection: Connection, account: Account) -> list[str]:
    owners = members.alias()
    count = (
        select(func.count())
        .select_from(owners)
        .where(owners.c.organization_id == members.c.organization_id, owners.c.is_owner)
        .scalar_subquery()
    )
    return list(
        connection.execute(
            select(accounts.c.name)
            .join(members, members.c.organization_id == accounts.c.id)
            .where(members.c.account_id == account.id, members.c.is_owner, count == 1)
        ).scalars()
    )
