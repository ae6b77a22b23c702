"""Accounts and keys, in the old platform's shapes and in ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NotRequired, TypedDict, cast
from uuid import NAMESPACE_URL, uuid5

from pushpoint.errors import InvalidRequest
from pushpoint.records import (
    ANY_ALGORITHM,
    EVERYDAY,
    Account,
    Key,
    Member,
)
from pushpoint.wire.asked import AskedKey, Password
from pushpoint.wire.legacy import moment


@dataclass(frozen=True, slots=True, kw_only=True)
class UserView:
    """A user, as our client reads the old shape."""

    username: str
    email: str
    fullname: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationView:
    """An organization, as our client reads the old shape."""

    org_name: str
    org_label: str
    org_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """A member of an organization."""

    username: str
    role: Literal["owner", "member"]
    is_owner: bool
    user_link: str
    resource_type: Literal["organization_member"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretView:
    """A secret, as our client reads the old shape."""

    id: str
    secret_key: str
    description: str
    modified: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPassword:
    """Ask for a password for git."""

    password: Password


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """Ask for a key."""

    label: str
    scopes: frozenset[str]
    patterns: tuple[str, ...]


class Permissions(TypedDict):
    """What a key is good for, in the old platform's words."""

    allow_data: bool
    allow_data_write: bool
    allow_algo: bool
    allow_web_algo: bool
    allow_algo_management: bool
    algo_acl: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """A key, as our client reads it; with itself when it was just made."""

    id: str
    key_label: str
    api_key_mask: str
    owner_name: str
    scopes: list[str]
    created_at: str
    last_used_at: str | None = None
    api_key: str | None = None
    permissions: Permissions


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """Whose key this is, and which organizations that account is in."""

    name: str
    scopes: list[str]
    organizations: list[str] = field(default_factory=list)


class UserObject(TypedDict):
    """A user."""

    id: str
    username: str
    email: str
    fullname: str
    company_name: NotRequired[str]
    company_role: NotRequired[str]
    self_link: str
    resource_type: Literal["user"]


def user_object(account: Account) -> UserObject:
    """Show a user (platform API, section 2.10).

    Returns:
        Its shape on the wire.
    """
    found = {"id": account.id, "username": account.name, "email": "", "fullname": ""} | dict(account.details)
    return cast("UserObject", found | {"self_link": f"/v1/users/{account.name}", "resource_type": "user"})


class OrganizationType(TypedDict):
    """A type of organizations."""

    id: str
    name: str


ORGANIZATION_TYPES: list[OrganizationType] = [
    {"id": str(uuid5(NAMESPACE_URL, f"pushpoint:organization-type:{name}")), "name": name}
    for name in ("basic", "legacy", "pro")
]
"""The old platform's types; its clients look up an id by name before they create an organization."""


class OrganizationObject(TypedDict):
    """An organization."""

    id: str
    org_name: str
    org_label: str
    org_contact_name: str
    org_email: str
    org_url: str
    type_id: str
    created_at: str
    self_link: str
    resource_type: Literal["organization"]


class MemberObject(TypedDict):
    """Who is in an organization."""

    username: str
    role: Literal["owner", "member"]
    is_owner: bool
    user_link: str
    resource_type: Literal["organization_member"]


def organization_object(account: Account) -> OrganizationObject:
    """Show an organization (platform API, section 2.10).

    Returns:
        Its shape on the wire.
    """
    found = {
        "id": account.id,
        "org_name": account.name,
        "org_label": account.name,
        "org_contact_name": "",
        "org_email": "",
        "org_url": "",
        "type_id": ORGANIZATION_TYPES[0]["id"],
        "created_at": moment(account.created),
    }
    links = {"self_link": f"/v1/organizations/{account.name}", "resource_type": "organization"}
    return cast("OrganizationObject", found | dict(account.details) | links)


def member_object(member: Member) -> MemberObject:
    """Show a member of an organization (the old platform's description, OrganizationMember).

    Returns:
        Its shape on the wire; the generated client insists on all but `is_owner`.
    """
    return {
        "username": member.name,
        "role": "owner" if member.is_owner else "member",
        "is_owner": member.is_owner,
        "user_link": f"/v1/users/{member.name}",
        "resource_type": "organization_member",
    }


def new_key(asked: AskedKey) -> NewKey:
    """Read what a key is to be good for: our `scopes`, or the old platform's `permissions` (section 2.10).

    Returns:
        What is asked for; without either, a key for everything but accounts.

    Raises:
        InvalidRequest: It asks for what is not offered.
    """
    scopes, patterns, old = asked.get("scopes"), asked.get("patterns"), asked.get("permissions") or {}
    if old.get("allow_web_algo") or old.get("referer_host"):
        raise InvalidRequest("keys for web pages are not offered; leave `allow_web_algo` and `referer_host` out")
    if scopes is None and asked.get("key_type") == "PlatformAdminKey":
        scopes = ["admin"]
    elif scopes is None and old:
        scopes = [scope for scope, names in _PERMISSIONS.items() if any(old.get(name) for name in names)]
    wanted = EVERYDAY if scopes is None else frozenset(scopes)
    named = old.get("algo_acl") if patterns is None else patterns
    if named is not None and not named and not wanted <= {"read", "data", "admin"}:
        raise InvalidRequest(
            "this names no algorithms, and is to do something with them; name some, or algo://* for all"
        )
    return NewKey(label=asked.get("key_label") or "", scopes=wanted, patterns=tuple(named or [ANY_ALGORITHM]))


_PERMISSIONS = {
    "call": ("allow_algo",),
    "read": ("allow_data", "allow_data_write"),
    "data": ("allow_data_write",),
    "manage": ("allow_algo_management",),
}


class KeyObject(TypedDict):
    """A key; with itself when it was just made, and with the time of its last use when it was used."""

    id: str
    username: str
    owner_name: str
    key_label: str
    key_type: Literal["PlatformAdminKey", "ManagementKey", "AlgorithmKey"]
    api_key_mask: str
    created_at: str
    scopes: list[str]
    permissions: Permissions
    last_used_at: NotRequired[str]
    api_key: NotRequired[str]


def key_object(key: Key, *, used: datetime | None = None) -> KeyObject:
    """Show a key, without itself (platform API, section 2.10).

    Args:
        key: What to show.
        used: When it was last used, if that is newer than what the key says.

    Returns:
        Its shape on the wire, with ours beside it: `id`, `scopes`, `last_used_at`.
    """
    last = used or key.last_used
    kind: Literal["PlatformAdminKey", "ManagementKey", "AlgorithmKey"] = (
        "PlatformAdminKey" if "admin" in key.scopes else "ManagementKey" if "manage" in key.scopes else "AlgorithmKey"
    )
    found: KeyObject = {
        "id": key.id,
        "username": key.owner,
        "owner_name": key.owner,
        "key_label": key.label,
        "key_type": kind,
        "api_key_mask": key.mask,
        "created_at": moment(key.created),
        "scopes": sorted(key.scopes),
        "permissions": {
            "allow_data": "read" in key.scopes,
            "allow_data_write": "data" in key.scopes,
            "allow_algo": "call" in key.scopes,
            "allow_web_algo": False,
            "allow_algo_management": "manage" in key.scopes,
            "algo_acl": list(key.patterns),
        },
    }
    if last:
        found["last_used_at"] = moment(last)
    return found
