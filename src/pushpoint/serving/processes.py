"""Which processes are whose: the kernel is asked, so that calls and engine need keep no books."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

OUTPUT = "output.log"
"""The file that `pools` has a build's workers print to."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(proc: Path = Path("/proc")) -> dict[str, int]:
    """Say how much memory the workers of each build have.

    A worker is a child of ours whose output goes to its build's log; what the worker, or its sandbox, has started is
    counted with it. Pages that several of them share are counted for each.

    Args:
        proc: Where the kernel tells of processes.

    Returns:
        Bytes by the build's id; nothing where the kernel does not tell.
    """
    found: Counter[str] = Counter()
    for child in _children(proc, str(os.getpid())):
        with suppress(OSError):  # it is gone, or not ours to look at
            log = Path(os.readlink(proc / child / "fd" / "1"))
            if log.name == OUTPUT:
                found[log.parent.name] += sum(_size(proc, one) for one in _family(proc, child))
    return dict(found)


def _family(proc: Path, process: str) -> Iterator[str]:
    yield process
    for child in _children(proc, process):
        yield from _family(proc, child)


def _children(proc: Path, process: str) -> Iterator[str]:
    with suppress(OSError):
        for thread in (proc / process / "task").iterdir():
            with suppress(OSError):
                yield from (thread / "children").read_text().split()


def _size(proc: Path, process: str) -> int:
    with suppress(OSError, IndexError, ValueError):
        return int((proc / process / "statm").read_text().split()[1]) * _PAGE
    return 0
