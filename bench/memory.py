"""What processes hold in memory, as Linux tells it."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path


def tree(pid: int) -> list[int]:
    """List a process and all that came of it and still have it above them.

    Returns:
        Their numbers, the first one first.
    """
    children = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # the second field is a name in parentheses, which may hold anything
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            children[int(parent)].append(int(entry.name))
    found = [pid]
    for one in found:
        found += children[one]
    return found


def resident(pids: Iterable[int]) -> int:
    """Say how many bytes processes have in memory, what they share counted in each (RSS).

    Returns:
        The sum, in bytes.
    """
    return sum(_kilobytes(pid, "status", "VmRSS") for pid in pids) << 10


def proportional(pids: Iterable[int]) -> int:
    """Say how many bytes processes have in memory, what they share counted once (PSS).

    Returns:
        The sum, in bytes; of processes that may not be looked at, what `resident` says.
    """
    return sum(_kilobytes(pid, "smaps_rollup", "Pss") or _kilobytes(pid, "status", "VmRSS") for pid in pids) << 10


def _kilobytes(pid: int, file: str, name: str) -> int:
    with contextlib.suppress(OSError):
        if found := re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE):
            return int(found[1])
    return 0
