"""Users, organizations, keys and secrets, through a client: what the people who run a platform do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from pushpoint import wire
from pushpoint.names import AlgorithmName

if TYPE_CHECKING:
    from pushpoint.client.api import Client


class Accounts:
    """The routes of accounts. Most want an admin key."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def users(self) -> Iterator[wire.UserView]:
        """List the users.

        Yields:
            Each of them.
        """
        yield from self._client._pages("/v1/users", wire.UserView)

    def add_user(self, name: str, *, email: str = "", fullname: str = "") -> wire.UserView:
        """Make a user.

        Returns:
            The user.
        """
        body = {"username": name, "email": email, "fullname": fullname}
        return self._client._ask("POST", "/v1/users", json=body, kind=wire.UserView)

    def remove_user(self, name: str) -> None:
        """Delete a user who owns nothing any more."""
        self._client._do("DELETE", f"/v1/users/{_part(name)}")

    def set_password(self, name: str, password: str) -> None:
        """Give a user a password for git."""
        self._client._do("PUT", f"/v1/users/{_part(name)}/password", json=wire.NewPassword(password=password))

    def organizations(self) -> Iterator[wire.OrganizationView]:
        """List the organizations that the key may see.

        Yields:
            Each of them.
        """
        yield from self._client._pages("/v1/organizations", wire.OrganizationView)

    def add_organization(self, name: str, *, label: str = "") -> wire.OrganizationView:
        """Make an organization; the key's account is its first owner.

        Returns:
            The organization.
        """
        body = {"org_name": name, "org_label": label or name}
        return self._client._ask("POST", "/v1/organizations", json=body, kind=wire.OrganizationView)

    def remove_organization(self, name: str) -> None:
        """Delete an organization that owns nothing any more."""
        self._client._do("DELETE", f"/v1/organizations/{_part(name)}")

    def members(self, organization: str) -> list[wire.MemberView]:
        """List the members of an organization.

        Returns:
            The members.
        """
        kind = wire.Page[wire.MemberView]
        found: list[wire.MemberView] = self._client._ask(
            "GET", f"/v1/organizations/{_part(organization)}/members", kind=kind
        ).results
        return found

    def add_member(self, organization: str, user: str, *, is_owner: bool) -> None:
        """Make a user a member; idempotent."""
        path = f"/v1/organizations/{_part(organization)}/members/{_part(user)}"
        self._client._do("PUT", path, json={"is_owner": is_owner})

    def remove_member(self, organization: str, user: str) -> None:
        """Take a user out of an organization."""
        self._client._do("DELETE", f"/v1/organizations/{_part(organization)}/members/{_part(user)}")

    def keys(self, owner: str, *, is_organization: bool = False) -> list[wire.KeyView]:
        """List the keys of a user or an organization.

        Returns:
            The keys, without themselves.
        """
        kind = wire.Page[wire.KeyView]
        found: list[wire.KeyView] = self._client._ask("GET", _keys(owner, is_organization), kind=kind).results
        return found

    def add_key(
        self,
        owner: str,
        *,
        label: str,
        scopes: Sequence[str] = (),
        patterns: Sequence[str] = (),
        is_organization: bool = False,
    ) -> wire.KeyView:
        """Make a key.

        Args:
            owner: Whose.
            label: What it is for.
            scopes: What it may do; none for everything but accounts.
            patterns: Which algorithms it is good for; none for all.
            is_organization: Whether `owner` is one.

        Returns:
            The key, with itself, this once.
        """
        body: dict[str, object] = {"key_label": label}
        body |= {"scopes": list(scopes)} if scopes else {}
        body |= {"patterns": list(patterns)} if patterns else {}
        return self._client._ask("POST", _keys(owner, is_organization), json=body, kind=wire.KeyView)

    def revoke_key(self, owner: str, key_id: str, *, is_organization: bool = False) -> None:
        """End a key, at once."""
        self._client._do("DELETE", f"{_keys(owner, is_organization)}/{_part(key_id)}")

    def secrets(self, name: AlgorithmName) -> list[wire.SecretView]:
        """List the secrets of an algorithm.

        Returns:
            The secrets, without their values.
        """
        kind = wire.Page[wire.SecretView]
        found: list[wire.SecretView] = self._client._ask("GET", f"/v1/algorithms/{name}/secrets", kind=kind).results
        return found

    def set_secret(self, name: AlgorithmName, variable: str, value: str, *, description: str = "") -> wire.SecretView:
        """Give an algorithm a secret, or the one that it has another value.

        Returns:
            The secret, without its value.
        """
        path = f"/v1/algorithms/{name}/secrets"
        there = next((one for one in self.secrets(name) if one.secret_key == variable), None)
        body = {"secret_key": variable, "secret_value": value}
        body |= {"description": description} if description else {}
        method, where = ("PUT", f"{path}/{there.id}") if there else ("POST", path)
        return self._client._ask(method, where, json=body, kind=wire.SecretView)

    def remove_secret(self, name: AlgorithmName, secret_id: str) -> None:
        """Delete a secret."""
        self._client._do("DELETE", f"/v1/algorithms/{name}/secrets/{_part(secret_id)}")


def _keys(owner: str, is_organization: bool) -> str:
    return f"/v1/{'organizations' if is_organization else 'users'}/{_part(owner)}/keys"


def _part(name: str) -> str:
    return quote(name, safe="")
