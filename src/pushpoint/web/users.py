"""Users and their keys. A user sees and changes themselves; everything else takes an admin key.

Source:
    Platform API, section 2.10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from litestar import delete, get, post, put

from pushpoint import wire
from pushpoint.errors import AlreadyExists, InvalidRequest, NotFound, Refused
from pushpoint.names import check_name
from pushpoint.records import Account, Actor
from pushpoint.registry import accounts, algorithms, keys
from pushpoint.serving import Services
from pushpoint.web.paging import paged

WHOLE = {"scope": "manage or admin", "whole": True}
"""Of routes that are about a whole account, and not for keys that are for some algorithms alone."""
_DETAILS = ("email", "fullname", "company_name", "company_role")


@post("/v1/users", opt={"scope": "admin"}, sync_to_thread=True, status_code=200)
def create(services: Services, actor: Actor, body: Annotated[bytes, wire.NewUser]) -> wire.UserObject:
    """Create a user; with `password` they can use git without a key. A `passwordHash` is not kept."""
    asked = wire.asked(body, wire.NewUser)
    name, password = asked["username"], asked.get("password")
    if password:
        accounts.check_password(password)
    account = accounts.create(services.database, name, details=details(asked, _DETAILS), actor=actor.account.name)
    if password:
        accounts.set_password(services.database, account, password, actor=actor.account.name)
    return wire.user_object(account)


@get("/v1/users", opt={"scope": "admin"}, sync_to_thread=True)
def list_users(
    services: Services, actor: Actor, limit: int = 50, marker: str | None = None
) -> wire.PageObject[wire.UserObject]:
    """List the users."""

    def find(limit: int, offset: int) -> list[Account]:
        return accounts.every(services.database, is_organization=False, limit=limit, offset=offset)

    return paged("/v1/users", limit, marker, find, wire.user_object)


@get("/v1/users/{username:str}", opt={"scope": "view or admin"}, sync_to_thread=True)
def show(services: Services, actor: Actor, username: str) -> wire.UserObject:
    """Show a user."""
    return wire.user_object(user(services, actor, username))


@put("/v1/users/{username:str}", opt=WHOLE, sync_to_thread=True)
def change(services: Services, actor: Actor, username: str, body: Annotated[bytes, wire.ChangeUser]) -> wire.UserObject:
    """Change what a user says of themselves."""
    account = user(services, actor, username)
    asked = wire.asked(body, wire.ChangeUser)
    if asked.get("username") not in {None, account.name}:
        raise InvalidRequest("a user's name stays; leave `username` out, or repeat it")  # code 3007 of old
    accounts.change(services.database, account, details(asked, _DETAILS), actor=actor.account.name)
    return wire.user_object(accounts.find(services.database, account.name))


@put("/v1/users/{username:str}/password", opt=WHOLE, sync_to_thread=True, status_code=204)
def set_password(services: Services, actor: Actor, username: str, body: Annotated[bytes, wire.NewPassword]) -> None:
    """Give a user a password for git, with `{"password": ...}`."""
    account = user(services, actor, username)
    accounts.set_password(
        services.database, account, wire.decode(body, wire.NewPassword).password, actor=actor.account.name
    )


@delete("/v1/users/{username:str}", opt={"scope": "admin"}, sync_to_thread=True, status_code=204)
def remove(services: Services, actor: Actor, username: str) -> None:
    """Delete a user who owns nothing any more; their keys end."""
    accounts.remove(services.database, user(services, actor, username), actor=actor.account.name)


@get("/v1/users/{username:str}/algorithms", opt={"scope": "call or view"}, sync_to_thread=True)
def list_algorithms(
    services: Services, actor: Actor, username: str, limit: int = 50, marker: str | None = None
) -> wire.PageObject[wire.AlgorithmObject]:
    """List the algorithms of a user or an organization that the key may see."""

    def find(limit: int, offset: int) -> list[Any]:
        return algorithms.of_owner(services.database, actor, check_name("user", username), limit=limit, offset=offset)

    return paged(f"/v1/users/{username}/algorithms", limit, marker, find, wire.algorithm_object)


@get("/v1/users/{username:str}/keys", opt=WHOLE, sync_to_thread=True)
def list_keys(services: Services, actor: Actor, username: str) -> wire.PageObject[wire.KeyObject]:
    """List a user's keys: what they are good for, and when each was last used; never the keys themselves."""
    return keys_of(services, user(services, actor, username))


@post("/v1/users/{username:str}/keys", opt=WHOLE, sync_to_thread=True, status_code=200)
def issue_key(services: Services, actor: Actor, username: str, body: Annotated[bytes, wire.AskedKey]) -> wire.KeyObject:
    """Make a key for a user; it is shown this once."""
    return issued(services, actor, user(services, actor, username), body)


@delete("/v1/users/{username:str}/keys/{key_id:str}", opt=WHOLE, sync_to_thread=True, status_code=204)
def revoke_key(services: Services, actor: Actor, username: str, key_id: str) -> None:
    """End a key, at once."""
    keys.revoke(services.database, user(services, actor, username), key_id, actor=actor)


def user(services: Services, actor: Actor, username: str) -> Account:
    """Find the user that a path names, by name or by id.

    Returns:
        The user.

    Raises:
        NotFound: There is none whom the actor may see.
    """
    if "admin" not in actor.scopes and username not in {actor.account.name, actor.account.id}:
        raise NotFound(f"there is no user {username}; check the name")
    return accounts.find(services.database, username, is_organization=False)


def details(asked: Mapping[str, object], names: tuple[str, ...]) -> dict[str, object]:
    """Pick what an account says of itself out of a request.

    Returns:
        The texts that are there.
    """
    return {name: asked[name] for name in names if asked.get(name) is not None}


def keys_of(services: Services, account: Account) -> wire.PageObject[wire.KeyObject]:
    """Show the keys of an account.

    Returns:
        One page, which has them all.
    """
    last_used = services.identities.last_used
    found = [wire.key_object(key, used=last_used(key.id)) for key in keys.of_account(services.database, account)]
    return wire.page(found, marker=None, link=None)


def issued(services: Services, actor: Actor, account: Account, body: bytes) -> wire.KeyObject:
    """Make a key that can do no more than the one that asks for it.

    Returns:
        The key, with itself.

    Raises:
        Refused: It could do more.
    """
    asked = wire.new_key(wire.asked(body, wire.AskedKey))
    keys.check_scopes(asked.scopes)
    if "admin" not in actor.scopes:
        if not asked.scopes <= actor.scopes:
            raise Refused("a key cannot make one that may do more than itself; use one that may, or an admin key")
        if len(keys.of_account(services.database, account)) >= keys.MOST:
            raise AlreadyExists(f"{account.name} has {keys.MOST} keys; revoke some first")
    key, made = keys.issue(
        services.database,
        account,
        label=asked.label,
        scopes=asked.scopes,
        patterns=asked.patterns,
        actor=actor.account.name,
    )
    shown = wire.key_object(made)
    shown["api_key"] = key
    return shown
