"""Organizations: accounts that several users act for. To anybody else they look absent.

Source:
    Platform API, section 2.10. The Python client wants empty answers from `edit_org` and `invite_to_org`.
"""

from __future__ import annotations

from typing import Annotated

from litestar import Response, delete, get, post, put

from pushpoint import wire
from pushpoint.errors import NotFound, Refused
from pushpoint.records import Account, Actor
from pushpoint.registry import accounts, keys, organizations
from pushpoint.serving import Services
from pushpoint.web.guards import KNOWN
from pushpoint.web.paging import paged
from pushpoint.web.users import WHOLE, details, issued, keys_of

ROOT = "/v1/organizations/{organization:str}"
_DETAILS = ("org_label", "org_contact_name", "org_email", "org_url", "type_id")


@get("/v1/organization/types", opt={"scope": KNOWN}, sync_to_thread=False)
def types() -> list[wire.OrganizationType]:
    """List the types of organizations; here they make no difference."""
    return wire.ORGANIZATION_TYPES


@post("/v1/organizations", opt={"scope": "admin"}, sync_to_thread=True, status_code=200)
def create(services: Services, actor: Actor, body: Annotated[bytes, wire.NewOrganization]) -> wire.OrganizationObject:
    """Create an organization; the admin key's account is its first owner."""
    asked = wire.asked(body, wire.NewOrganization)
    account = accounts.create(
        services.database,
        asked["org_name"],
        is_organization=True,
        details=details(asked, _DETAILS),
        owner=actor.account,
        actor=actor.account.name,
    )
    return wire.organization_object(account)


@get("/v1/organizations", opt={"scope": "view or admin"}, sync_to_thread=True)
def list_organizations(
    services: Services, actor: Actor, limit: int = 50, marker: str | None = None
) -> wire.PageObject[wire.OrganizationObject]:
    """List the organizations that the key's account is in; with an admin key, all."""

    def find(limit: int, offset: int) -> list[Account]:
        if "admin" in actor.scopes:
            return accounts.every(services.database, is_organization=True, limit=limit, offset=offset)
        names = sorted(actor.organizations)[offset : offset + limit]
        return [accounts.find(services.database, name) for name in names]

    return paged("/v1/organizations", limit, marker, find, wire.organization_object)


@get(ROOT, opt={"scope": "view or admin"}, sync_to_thread=True)
def show(services: Services, actor: Actor, organization: str) -> wire.OrganizationObject:
    """Show an organization."""
    return wire.organization_object(_seen(services, actor, organization))


@put(ROOT, opt=WHOLE, sync_to_thread=True, status_code=204)
def change(
    services: Services, actor: Actor, organization: str, body: Annotated[bytes, wire.ChangeOrganization]
) -> None:
    """Change what an organization says of itself."""
    account = _owned(services, actor, organization)
    asked = wire.asked(body, wire.ChangeOrganization)
    accounts.change(services.database, account, details(asked, _DETAILS), actor=actor.account.name)


@delete(ROOT, opt=WHOLE, sync_to_thread=True, status_code=204)
def remove(services: Services, actor: Actor, organization: str) -> None:
    """Delete an organization that owns nothing any more."""
    accounts.remove(services.database, _owned(services, actor, organization), actor=actor.account.name)


@get(f"{ROOT}/members", opt={"scope": "view or admin"}, sync_to_thread=True)
def list_members(services: Services, actor: Actor, organization: str) -> wire.PageObject[wire.MemberObject]:
    """List the members, and who of them are owners."""
    account = _seen(services, actor, organization)
    found = [wire.member_object(member) for member in organizations.every_member(services.database, account)]
    return wire.page(found, marker=None, link=None)


@put(f"{ROOT}/members/{{username:str}}", opt={**WHOLE, "answers": {200: None}}, sync_to_thread=True)
def add_member(
    services: Services, actor: Actor, organization: str, username: str, body: Annotated[bytes, wire.NewMember]
) -> Response[bytes]:
    """Make a user a member, with `{"is_owner": true}` an owner; an empty 200, whether or not they were one."""
    account = _owned(services, actor, organization)
    member = accounts.find(services.database, username, is_organization=False)
    is_owner = wire.asked(body, wire.NewMember).get("is_owner") is True
    organizations.add(services.database, account, member, is_owner=is_owner, actor=actor.account.name)
    # the Scala client takes 201, and the Python client any body, for a failure
    return Response(b"", status_code=200, media_type="application/json")


@delete(f"{ROOT}/members/{{username:str}}", opt=WHOLE, sync_to_thread=True, status_code=204)
def remove_member(services: Services, actor: Actor, organization: str, username: str) -> None:
    """Take a user out of an organization; its last owner stays."""
    account = _owned(services, actor, organization)
    member = accounts.find(services.database, username, is_organization=False)
    organizations.remove(services.database, account, member, actor=actor.account.name)


@get(f"{ROOT}/keys", opt=WHOLE, sync_to_thread=True)
def list_keys(services: Services, actor: Actor, organization: str) -> wire.PageObject[wire.KeyObject]:
    """List the keys that belong to the organization itself."""
    return keys_of(services, _owned(services, actor, organization))


@post(f"{ROOT}/keys", opt=WHOLE, sync_to_thread=True, status_code=200)
def issue_key(
    services: Services, actor: Actor, organization: str, body: Annotated[bytes, wire.AskedKey]
) -> wire.KeyObject:
    """Make a key that belongs to the organization itself; it is shown this once."""
    return issued(services, actor, _owned(services, actor, organization), body)


@delete(f"{ROOT}/keys/{{key_id:str}}", opt=WHOLE, sync_to_thread=True, status_code=204)
def revoke_key(services: Services, actor: Actor, organization: str, key_id: str) -> None:
    """End a key of the organization, at once."""
    keys.revoke(services.database, _owned(services, actor, organization), key_id, actor=actor)


def _seen(services: Services, actor: Actor, name: str) -> Account:
    if "admin" not in actor.scopes and name not in actor.owners:
        raise NotFound(f"there is no organization {name}; check the name")
    return accounts.find(services.database, name, is_organization=True)


def _owned(services: Services, actor: Actor, name: str) -> Account:
    account = _seen(services, actor, name)
    if "admin" not in actor.scopes and not organizations.is_owner(services.database, account, actor.account):
        raise Refused(f"only owners of {name} may do this; ask one, or use an admin key")
    return account
