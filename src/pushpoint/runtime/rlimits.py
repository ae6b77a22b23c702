"""Bounds that a worker sets itself before it reads a line of the algorithm. The kernel keeps them for each process."""

from __future__ import annotations

import sys
from typing import Dict


def lower(bounds: Dict[str, int]) -> None:
    """Lower what this process and those it starts may have; only the host's root could raise it again.

    Args:
        bounds: By their names in getrlimit(2), without RLIMIT_. What this system does not know is left out.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, value in bounds.items():
        number = getattr(resource, "RLIMIT_" + name, None)
        if number is None or (name == "DATA" and sys.platform != "linux"):  # elsewhere it counts other things
            continue
        _, most = resource.getrlimit(number)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(number, (value, value))
