"""Who is asking: keys, tokens of running calls, passwords. What was found is remembered until something changes.

A key that was revoked ends at once where this process revoked it, and within `AGE` where another one did. So do the
tokens of the calls that were made with it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from pushpoint.databases import Change, Database, changes
from pushpoint.errors import NotFound, Refused
from pushpoint.records import EVERYDAY, Actor
from pushpoint.registry import accounts, keys, organizations
from pushpoint.serving import tokens
from pushpoint.serving.repeating import Repeating

AGE = 0.5
"""Seconds for which a key that was found is not looked up again."""
NOTED = 10.0
"""Seconds between two times at which the last use of keys is written down."""
GUESSES, GUESSING = 5, 60.0
"""Wrong passwords of one user, and the seconds within which no more are looked at."""
_MOST = 10_000  # remembered keys, twice where calls run, and users with wrong passwords
_NOBODY: tuple[None, int, float] = None, 0, 0.0


class Identities:
    """Finds actors; may be used from any thread."""

    def __init__(self, database: Database, running: tokens.Tokens) -> None:
        self._database, self._running = database, running
        self._found: dict[object, tuple[Actor, int, float]] = {}
        self._used: dict[str, datetime] = {}
        self._guesses: dict[str, list[float]] = {}
        self._counting = threading.Lock()
        self._guessing = threading.BoundedSemaphore(2)  # so that guessing takes one core at most
        self._noting = Repeating("last use of keys", NOTED, self._note)

    def of_key(self, key: str) -> Actor | None:
        """Say who acts with a key, or with the token of a call that is running.

        Returns:
            The actor, or none if it is unknown, revoked or over.
        """
        if key.startswith(tokens.PREFIX):
            return self._of_token(key)
        actor = self._remembered(_hashed(key), lambda: keys.authenticate(self._database, key))
        if actor:
            self._used[actor.key_id] = datetime.now(UTC)
        return actor

    def remembered(self, key: str) -> Actor | None:
        """Say who acts with a key, if that is in memory; nothing is asked of the database.

        Returns:
            The actor, or none; tokens of calls are not remembered.
        """
        actor, then, until = self._found.get(_hashed(key), _NOBODY)
        if actor is None or then != changes(self._database, Change.ACTORS) or time.monotonic() > until:
            return None
        self._used[actor.key_id] = datetime.now(UTC)
        return actor

    def _of_token(self, token: str) -> Actor | None:
        then = self._running.find(token)
        if then is None:
            return None
        # as things are now: a key that was revoked, or a member who has left, acts through no running call either
        now = self._remembered((then.account.id, then.key_id), lambda: self._as_of_now(then))
        if now is None:
            return None
        return replace(now, scopes=now.scopes & then.scopes, through=then.through, session=then.session)

    def _as_of_now(self, then: Actor) -> Actor | None:
        if then.key_id:
            return keys.holder(self._database, then.key_id)
        try:
            account = accounts.find(self._database, then.account.id)  # not by name, which may be somebody else's now
        except NotFound:
            return None
        return replace(then, account=account, organizations=organizations.of_account(self._database, account))

    def _remembered(self, which: object, look: Callable[[], Actor | None]) -> Actor | None:
        now, state = time.monotonic(), changes(self._database, Change.ACTORS)
        actor, then, until = self._found.get(which, _NOBODY)
        if actor is None or then != state or now > until:
            actor = look()
            if actor is None:
                self._found.pop(which, None)
                return None
            if len(self._found) >= _MOST:
                self._found.clear()
            self._found[which] = (actor, state, now + AGE)
        return actor

    def of_password(self, name: str, password: str) -> Actor | None:
        """Say which user has this password. Takes some 50 ms; never on the loop.

        Returns:
            The actor, or none if there is no such user, or it is another password.

        Raises:
            Refused: Too many passwords of this user were wrong.
        """
        now = time.monotonic()
        with self._counting:  # counted before it is looked at, so that many at once are no way around
            recent = [then for then in self._guesses.pop(name, ()) if now - then < GUESSING]
            is_free = len(recent) < GUESSES
            self._guesses[name] = [*recent, now] if is_free else recent
            while len(self._guesses) > _MOST:
                self._guesses.pop(next(iter(self._guesses)))
        if not is_free:
            raise Refused(f"too many wrong passwords; wait {GUESSING:g} s, or use a key of {name}'s")
        with self._guessing:
            account = accounts.with_password(self._database, name, password)
        if account is None:
            return None
        with self._counting:
            self._guesses.pop(name, None)
        return Actor(account=account, scopes=EVERYDAY, organizations=organizations.of_account(self._database, account))

    def last_used(self, key: str) -> datetime | None:
        """Say when a key was last used, if that is not written down yet.

        Returns:
            The time, or none.
        """
        return self._used.get(key)

    def close(self) -> None:
        """Write down what is not written yet."""
        self._noting.close()

    def _note(self) -> None:
        used, self._used = self._used, {}
        if used:
            keys.note_used(self._database, used)


def _hashed(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
