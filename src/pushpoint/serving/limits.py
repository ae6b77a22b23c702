"""How much of the platform one account may have at once, and how large an input and an answer may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pushpoint.errors import Overloaded
from pushpoint.records import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of calls; the defaults are the old platform's (platform API, section 1.1).

    Attributes:
        calls: Of one account at once.
        children: That one call's algorithms make at once.
        queue: Of one release that no worker has yet.
        input: Bytes of an input.
        output: Bytes of a result.
    """

    calls: int = 80
    children: int = 24
    queue: int = 200
    input: int = 10 << 20
    output: int = 15 << 20
    _now: Counter[str] = field(default_factory=Counter)

    @property
    def are_unused(self) -> bool:
        """Whether no call is under way."""
        return not self._now

    @contextmanager
    def slot(self, actor: Actor) -> Iterator[None]:
        """Count a call for as long as it lasts, as `take` does.

        Yields:
            Nothing; the call may be made.
        """
        slot = self.take(actor)
        try:
            yield
        finally:
            self.leave(slot)

    def take(self, actor: Actor) -> str:
        """Count a call that begins; on the loop.

        Returns:
            What to `leave` when the call is over.

        Raises:
            Overloaded: The account, or the call that this one is a child of, has too many at once.
        """
        whose, most = self._of(actor)
        if self._now[whose] >= most:
            what = "this call's algorithms make" if actor.session else f"{actor.account.name} makes"
            raise Overloaded(f"{what} {most} calls at once, which is the most; wait for one to end", retry_after=1)
        self._now[whose] += 1
        return whose

    def leave(self, slot: str) -> None:
        """Count a call that is over."""
        self._now[slot] -= 1
        if not self._now[slot]:
            del self._now[slot]

    def _of(self, actor: Actor) -> tuple[str, int]:
        return (actor.session, self.children) if actor.session else (actor.account.name, self.calls)
