"""Credentials of running calls: an algorithm acts as its caller, for as long as the call lasts and no longer."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

from pushpoint.names import AlgorithmName
from pushpoint.records import Actor, Algorithm

PREFIX = "call-"
_SCOPES = frozenset({"call", "read", "data"})


class Tokens:
    """Who acts with which token. Only in memory: a restart ends all calls, and so all tokens."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Actor, AlgorithmName, str]] = {}

    def issue(self, actor: Actor, through: Algorithm, *, session: str = "") -> str:
        """Make a token with which `through` acts for `actor`; it can never manage anything.

        Args:
            actor: The caller.
            through: The algorithm.
            session: Id of the call, if it is a root call.

        Returns:
            The token.
        """
        token = PREFIX + secrets.token_urlsafe(24)
        self._known[token] = (actor, through.name, actor.session or session or str(uuid4()))
        return token

    def revoke(self, token: str) -> None:
        """End a token."""
        self._known.pop(token, None)

    def find(self, token: str) -> Actor | None:
        """Say who acted when a token was made; whether they still may is to be asked of their key.

        Returns:
            The actor, or none if the token is unknown or over.
        """
        known = self._known.get(token)
        if known is None:
            return None
        actor, through, session = known
        return replace(actor, scopes=actor.scopes & _SCOPES, through=through, session=session)

    def sessions(self) -> set[tuple[str, str]]:
        """List the root calls that are not over, or some of whose child calls are not.

        Returns:
            The caller's account and the session, by their ids.
        """
        return {(actor.account.id, session) for actor, _, session in list(self._known.values())}

    @contextmanager
    def during(self, actor: Actor, through: Algorithm, *, session: str = "") -> Iterator[str]:
        """Issue a token for the length of a block, as `issue` does.

        Yields:
            The token.
        """
        token = self.issue(actor, through, session=session)
        try:
            yield token
        finally:
            self.revoke(token)
