"""What a program may use at most: one that reads what strangers wrote, and a worker, which is what strangers wrote."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a program and of each program it starts; none where nothing is given.

    Attributes:
        file: Bytes that no file it writes may exceed.
        memory: Bytes of address space; on Linux alone.
        seconds: Processor time, after which it is ended.
    """

    file: int | None = None
    memory: int | None = None
    seconds: int | None = None

    def command(self, argv: Sequence[str]) -> list[str]:
        """Wrap a command so that it runs within the bounds.

        Returns:
            The command as it is where there are none, else one that a shell sets them for; `argv` is no part of its
            text.
        """
        # ulimit counts files in blocks of 512 bytes and memory in kibibytes
        wanted = {
            "-f": self.file and self.file // 512,
            "-v": self.memory and self.memory // 1024 if sys.platform == "linux" else None,
            "-t": self.seconds,
        }
        set_first = [f"ulimit {option} {value}" for option, value in wanted.items() if value is not None]
        return ["sh", "-c", " && ".join([*set_first, 'exec "$0" "$@"']), *argv] if set_first else list(argv)


MEMORY_SHARE = 0.8
"""Of the machine's memory, for one worker and for all of them together; the rest is the platform's and the kernel's."""
WORDS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def machine_memory() -> int:
    """Read how much memory there is.

    Returns:
        Bytes of the machine; a container's own limit may be lower, and holds as well.
    """
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available_memory() -> int:
    """Read how much memory could be had now without taking it from anybody.

    Returns:
        Bytes; the machine's where the system does not tell.
    """
    with contextlib.suppress(OSError), open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return machine_memory()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """What one worker may use, with all processes that it starts.

    The defaults hinder no model that the machine can serve; they stop what would take the machine away from others.

    Attributes:
        memory: Bytes. By default 80 % of the machine's: a model that needs most of the machine is what many have the
            machine for, and of the rest the platform lives.
        cpus: Processors' time, such as 1.5; none for as much as there is. By default none, since a processor that
            nobody else wants is better used: the kernel gives each worker an equal share when they compete.
        processes: Processes and threads. By default 256, or 16 for each processor where that is more, since numerical
            libraries start a thread or two for each.
        open_files: Of each process. 1024 is what Linux gives a program that does not ask.
        scratch: Bytes of files in its folder, besides the copy of its model. 10 GiB by default: room for what libraries
            unpack and for the files of a call, while a disk holds a few of them.
    """

    memory: int = field(default_factory=lambda: int(machine_memory() * MEMORY_SHARE))
    cpus: float | None = None
    processes: int = field(default_factory=lambda: max(256, 16 * (os.cpu_count() or 1)))
    open_files: int = 1024
    scratch: int = 10 << 30

    def lowered(self, wanted: Mapping[str, object]) -> WorkerLimits:
        """Lower some limits.

        Args:
            wanted: By the names of the attributes. What is not a number above 0 changes nothing, nor does what would be
                more than there is.

        Returns:
            The limits, none above what it was.

        Example:
            >>> limits = WorkerLimits(memory=4096, cpus=None)
            >>> lower = limits.lowered({"memory": 1024, "cpus": 0.5, "processes": 1 << 40})
            >>> lower.memory, lower.cpus, lower.processes == limits.processes
            (1024, 0.5, True)
        """
        found: dict[str, Any] = {}
        for one in fields(self):
            now, value = getattr(self, one.name), wanted.get(one.name)
            if isinstance(value, int | float) and value > 0 and (now is None or value < now):
                found[one.name] = float(value) if one.name == "cpus" else max(int(value), 1)
        return replace(self, **found)


def in_words(size: int) -> str:
    """Write a number of bytes as people do.

    Returns:
        Such as `2 GiB`.

    Example:
        >>> in_words(2 << 30), in_words(1536 << 20), in_words(3 << 29), in_words(7)
        ('2 GiB', '1.5 GiB', '1.5 GiB', '7 bytes')
    """
    for word, unit in WORDS:
        if size >= unit:
            return f"{size / unit:.3g} {word}"
    return f"{size} bytes"
