"""What the workers of an algorithm may reach: what its owner asks for, as far as the operator allows it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.request import getproxies_environment

import structlog

from pushpoint.egress import Egress
from pushpoint.errors import Refused
from pushpoint.reach import PUBLIC, Place, Reach

log = structlog.get_logger()


def open_egress(folder: Path, bound: Reach) -> Egress:
    """Open the platform's way out for workers and builds; the platform's own log tells of hosts that it refuses.

    Args:
        folder: Where its sockets are made.
        bound: What the operator allows.

    Returns:
        It, to be closed.
    """

    def tell(who: str, asked: Place, reason: str) -> None:
        log.warning("a host was refused", to=who, host=asked.host, port=asked.port, reason=reason)

    return Egress(folder, listed=bound, proxies=getproxies_environment(), tell=tell)


def asked(settings: Mapping[str, object]) -> Reach:
    """Read what an algorithm's settings ask for.

    Args:
        settings: `network.allow` decides; without it the old platform's `network_access`, whose `full` asks for the
            public internet.

    Returns:
        What is asked for; nothing by default.

    Example:
        >>> str(asked({"network": {"allow": ["api.example.com"]}})), str(asked({"network_access": "full"}))
        ('api.example.com', 'public')
    """
    network = settings.get("network")
    allow = network.get("allow") if isinstance(network, Mapping) else None
    if isinstance(allow, list):
        return Reach.read(map(str, allow))
    return Reach(public=settings.get("network_access") == "full")


def check(settings: Mapping[str, object], bound: Reach) -> None:
    """Check settings before they are kept.

    An old client's `network_access` is kept whatever the operator allows, since such clients send it without meaning
    much by it; what follows from it stands in the log of each build.

    Raises:
        Refused: They ask for more than the operator allows.
    """
    if "network" not in settings:
        return
    wanted = asked(settings)
    outside = [one for one in map(str, wanted.places) if one not in set(map(str, wanted.within(bound).places))]
    outside += [PUBLIC] if wanted.public and not bound.public else []
    if outside:
        raise Refused(
            f"algorithms on this platform may not reach {', '.join(outside)}; leave that out, or ask its operator to "
            f"allow it: pushpoint serve --egress {outside[0]}"
        )


def told(settings: Mapping[str, object], bound: Reach) -> str:
    """Say what workers may reach, for people to read.

    Returns:
        A list, and what of it is left out and why.
    """
    wanted = asked(settings)
    found = wanted.within(bound)
    if found == wanted:
        return str(found)
    return f"{found}; the settings ask for {wanted}, of which the operator allows no more (pushpoint serve --egress)"
