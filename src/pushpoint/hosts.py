"""Which machines the platform may speak to because a user says so: those on the public internet, and those listed.

A user's address must not become a way into the platform's own network (SSRF). A name is looked up once, every address
it has must be public, and the program that connects is told those addresses, so that a second look-up which answers
otherwise changes nothing. Hosts that the operator lists (`pushpoint serve --git-host`) are not checked.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Set

from pushpoint.errors import ConfigError, Refused
from pushpoint.names import RepositoryUrl

Lookup = Callable[[str, int], list[str]]
"""Host and port to addresses, as text."""

_HOST = re.compile(r"([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?", re.ASCII)
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # among them a cloud's metadata service
        "192.88.99.0/24",
        "168.63.129.16/32",  # Azure's host agent
        "2001::/23",  # Teredo and other ways to write an IPv4 address
        "2002::/16",  # 6to4
    )
]
_IPV6 = ipaddress.ip_network("2000::/3")
"""All that is assigned; mapped and translated IPv4 addresses lie outside."""


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


def is_public(address: str) -> bool:
    """Say whether an address is one of the public internet.

    Returns:
        True if it is; false for private, local, shared, multicast, metadata, mapped and translated ones.

    Source:
        IANA special-purpose address registries; RFC 6890.

    Example:
        >>> is_public("169.254.169.254"), is_public("::ffff:8.8.8.8"), is_public("8.8.8.8")
        (False, False, True)
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if found.version == 6 and found not in _IPV6:
        return False
    return found.is_global and not found.is_multicast and not any(found in network for network in _NOT_PUBLIC)


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
