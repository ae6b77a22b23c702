"""Which network addresses are those of the public internet: the only ones that a user's text may make us speak to."""

from __future__ import annotations

import ipaddress

_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # among them a cloud's metadata service; Python took it for global until 3.11.9
        "192.88.99.0/24",
        "168.63.129.16/32",  # Azure's host agent
        "2001::/23",  # Teredo and other ways to write an IPv4 address
        "2002::/16",  # 6to4
    )
]
_IPV6 = ipaddress.ip_network("2000::/3")
"""All that is assigned; mapped and translated IPv4 addresses lie outside."""


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
