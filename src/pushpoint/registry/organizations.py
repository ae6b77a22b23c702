"""Who is in an organization. Members act for it; owners decide who is a member, too."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select, update

from pushpoint.databases import Database, reading, writing
from pushpoint.databases.tables import accounts, members
from pushpoint.errors import Conflict, NotFound
from pushpoint.records import Account, Member
from pushpoint.registry.history import record


def of_account(database: Database, account: Account) -> frozenset[str]:
    """List the organizations that an account is in.

    Returns:
        Their names.
    """
    with reading(database) as connection:
        return joined(connection, account.id)


def joined(connection: Connection, account_id: str) -> frozenset[str]:
    """List the organizations that an account is in, in the caller's picture of the database.

    Returns:
        Their names.
    """
    found = connection.execute(
        select(accounts.c.name)
        .join(members, members.c.organization_id == accounts.c.id)
        .where(members.c.account_id == account_id)
    ).scalars()
    return frozenset(found)


def every_member(database: Database, organization: Account) -> list[Member]:
    """List the members of an organization by name.

    Returns:
        The members.
    """
    with reading(database) as connection:
        rows = connection.execute(
            select(accounts.c.name, members.c.is_owner)
            .join(members, members.c.account_id == accounts.c.id)
            .where(members.c.organization_id == organization.id)
            .order_by(accounts.c.name)
        )
        return [Member(name=name, is_owner=is_owner) for name, is_owner in rows]


def is_owner(database: Database, organization: Account, account: Account) -> bool:
    """Say whether an account decides who is in an organization.

    Returns:
        True if it does.
    """
    which = (members.c.organization_id == organization.id) & (members.c.account_id == account.id)
    with reading(database) as connection:
        return bool(connection.execute(select(members.c.is_owner).where(which)).scalar())


def add(database: Database, organization: Account, account: Account, *, is_owner: bool, actor: str) -> bool:
    """Make a user a member, or a member an owner.

    Returns:
        False if they were a member already.
    """
    which = (members.c.organization_id == organization.id) & (members.c.account_id == account.id)
    with writing(database) as connection:
        was_owner = connection.execute(select(members.c.is_owner).where(which)).scalar()
        if was_owner is not None:
            if is_owner and not was_owner:
                connection.execute(update(members).where(which).values(is_owner=True))
                record(connection, actor, "member.owner", organization.name, account.name)
            return False
        values = {"organization_id": organization.id, "account_id": account.id, "is_owner": is_owner}
        connection.execute(insert(members).values(**values))
        record(connection, actor, "member.add", organization.name, account.name)
    return True


def remove(database: Database, organization: Account, account: Account, *, actor: str) -> None:
    """Take a user out of an organization.

    Raises:
        Conflict: They are its last owner.
        NotFound: They are no member.
    """
    which = (members.c.organization_id == organization.id) & (members.c.account_id == account.id)
    with writing(database) as connection:
        was_owner = connection.execute(select(members.c.is_owner).where(which)).scalar()
        if was_owner is None:
            raise NotFound(f"{account.name} is no member of {organization.name}; list its members")
        owners = select(func.count()).where(members.c.organization_id == organization.id, members.c.is_owner)
        if was_owner and connection.execute(owners).scalar() == 1:
            raise Conflict(f"{account.name} is the last owner of {organization.name}; make somebody else one first")
        connection.execute(delete(members).where(which))
        record(connection, actor, "member.remove", organization.name, account.name)
