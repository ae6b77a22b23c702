"""Which machines the platform may speak to because a user says so: those on the public internet, and those listed.

A user's address must not become a way into the platform's own network (SSRF). A name is looked up once, every address
it has must be public, and the program that connects is told those addresses, so that a second look-up which answers
otherwise changes nothing. Hosts that the operator lists (`pushpoint serve --git-host`) are not checked.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Set

from pushpoint.addresses import is_public
from pushpoint.errors import ConfigError, Refused
from pushpoint.names import RepositoryUrl

Lookup = Callable[[str, int], list[str]]
"""Host and port to addresses, as text."""

_HOST = re.compile(r"([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?", re.ASCII)


def check_listed(text: str) -> str:
    """Check an entry of the operator's list, `HOST` or `HOST:PORT`.

    Returns:
        The entry in lower case, without an IPv6 address's brackets.

    Raises:
        ConfigError: It is neither.
    """
    found = _HOST.fullmatch(text)
    if not found:
        raise ConfigError(f"{text!r} is no git host; write --git-host HOST or --git-host HOST:PORT")
    return found.group(1).strip("[]").lower() + (found.group(2) or "")


def is_listed(url: RepositoryUrl, listed: Set[str]) -> bool:
    """Say whether the operator listed a host.

    Returns:
        True if it is, with this port or with all.
    """
    return bool({url.host, f"{url.host}:{url.port}"} & listed)


def look_up(host: str, port: int) -> list[str]:
    """Ask the system's resolver.

    Returns:
        Addresses; none where the name has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def pin(url: RepositoryUrl, listed: Set[str], lookup: Lookup = look_up) -> str | None:
    """Decide whether a host may be spoken to, and at which addresses.

    Args:
        url: The repository.
        listed: What the operator allows, as `check_listed` writes it.
        lookup: The resolver; asked once.

    Returns:
        A value for git's `http.curloptResolve`, `HOST:PORT:ADDRESS,...`; none where the operator allows the host.

    Raises:
        Refused: The host may not be spoken to. A host that is not public and one that is not there look the same.
    """
    if is_listed(url, listed):
        return None
    advice = f"ask the platform's operator to list it: pushpoint serve --git-host {url.host}"
    if url.scheme != "https":
        raise Refused(f"{url.host} would be spoken to without TLS; write https://, or {advice}")
    found = lookup(url.host, url.port)
    if not found or not all(map(is_public, found)):
        raise Refused(f"{url.host} has no address on the public internet; {advice}")
    shown = ",".join(f"[{address}]" if ":" in address else address for address in found)
    return f"{url.host}:{url.port}:{shown}"
