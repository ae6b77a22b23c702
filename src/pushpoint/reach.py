"""Which hosts a program may reach: the entries of allow-lists, and what follows from several of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pushpoint.errors import InvalidName

PUBLIC = "public"
"""The entry for whatever is on the public internet, at the ports of the web."""
MOST = 50
"""Entries of one list."""
WEB = (443, 80)
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_ENTRY = re.compile(
    rf"(?P<below>\*\.)?(?P<host>{_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{{1,5}}))?",
    re.IGNORECASE | re.ASCII,
)
PATTERN = r"^(\*\.)?([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"
"""What is a little more than `place` takes, for schemas."""


@dataclass(frozen=True, slots=True)
class Place:
    """A host and a port, or all hosts below a name at a port.

    Attributes:
        host: In lower case; an IPv6 address has no brackets.
        port: TCP.
        below: Whether the hosts below it are meant, and not the host itself.
    """

    host: str
    port: int = WEB[0]
    below: bool = False

    def covers(self, other: Place) -> bool:
        """Say whether another one lies within this one.

        Returns:
            True if it does.

        Example:
            >>> [place("*.example.com").covers(place(one)) for one in ("a.example.com", "example.com")]
            [True, False]
        """
        if self.port != other.port:
            return False
        same = self.host == other.host and self.below == other.below
        return same or (self.below and other.host.endswith(f".{self.host}"))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return ("*." if self.below else "") + host + ("" if self.port == WEB[0] else f":{self.port}")


def place(text: str) -> Place:
    """Read an entry, or the host and port that a client asks for.

    Returns:
        The place.

    Raises:
        InvalidName: It is none.

    Example:
        >>> place("API.example.com"), str(place("*.example.com:8443"))
        (Place(host='api.example.com', port=443, below=False), '*.example.com:8443')
    """
    found = _ENTRY.fullmatch(text) if len(text) <= 260 else None
    port = int(found["port"] or WEB[0]) if found else 0
    if not found or not 0 < port < 1 << 16:
        rule = f"write HOST, HOST:PORT, *.HOST or `{PUBLIC}`, such as api.example.com; without a port it is {WEB[0]}"
        raise InvalidName("host", text, rule=rule)
    return Place(found["host"].strip("[]").lower(), port, bool(found["below"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a list allows; an empty one is false.

    Attributes:
        places: One by one.
        public: Whether whatever is on the public internet is allowed too, at the ports of the web.
    """

    places: tuple[Place, ...] = ()
    public: bool = False

    @classmethod
    def read(cls, entries: Iterable[str]) -> Reach:
        """Read a list.

        Returns:
            What it allows.
        """
        found = list(entries)
        return cls(places=tuple(place(one) for one in found if one != PUBLIC), public=PUBLIC in found)

    def __bool__(self) -> bool:
        return self.public or bool(self.places)

    def covers(self, asked: Place) -> bool:
        """Say whether a place may be reached, as far as names go.

        Returns:
            True if it may.
        """
        return (self.public and asked.port in WEB) or any(one.covers(asked) for one in self.places)

    def names(self, asked: Place) -> bool:
        """Say whether this very host is in the list, and not just one that it lies below.

        Returns:
            True if it is.
        """
        return asked in self.places and not asked.below

    def within(self, bound: Reach) -> Reach:
        """Leave out what another list does not allow.

        Returns:
            What both allow.
        """
        return Reach(places=tuple(filter(bound.covers, self.places)), public=self.public and bound.public)

    @property
    def entries(self) -> list[str]:
        """What `read` makes such a list of."""
        return [*([PUBLIC] if self.public else []), *map(str, self.places)]

    def __str__(self) -> str:
        return ", ".join(self.entries) or "nothing"
