"""What a program may use at most, kept by the kernel: for programs that read what strangers wrote."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass


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
