"""What a person sees while something long happens: steps with times, lines, progress bars. All of it on stderr.

Standard output belongs to results, so that `--json` can be piped. `quiet()` gives a report that says nothing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.text import Text

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b[]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # titles, links, device strings
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f]"  # right to left
    r"|[\ud800-\udfff]"  # no characters at all; no terminal takes them
)


_COMMAND = re.compile(r"(?m)^\s*::|##\[")
"""What GitHub's runner takes for a command in a log, whoever wrote it."""


def printable(text: str) -> str:
    r"""Take out what would move the cursor, colour the terminal, turn the text around or command GitHub's runner.

    Returns:
        Text that is safe to print, whoever wrote it.

    Example:
        >>> printable("a\x1b[31mred\x07")
        'ared'
    """
    text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _COMMAND.sub(lambda found: "\u200b".join(found.group()), text) if os.environ.get("GITHUB_ACTIONS") else text


class Report:
    """Says what happens, in the order it happens.

    Attributes:
        seconds: What each step took.
        parts: What parts of steps took, by their own names.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.seconds: dict[str, float] = {}
        self.parts: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say that a step begins, and how it ended after how long.

        Yields:
            Nothing; the block is the step.
        """
        self._console.print(Text.assemble((name, "bold cyan")))
        began = time.monotonic()
        try:
            yield
        except BaseException as error:
            word = "was interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self._console.print(Text.assemble(("  ✗ ", "red"), f"{name} {word}"), highlight=False)
            raise
        finally:
            self.seconds[name] = round(time.monotonic() - began, 3)
        self._console.print(Text.assemble(("  ✓ ", "green"), (f"{self.seconds[name]:.1f} s", "dim")))

    def line(self, text: str, *, style: str = "dim") -> None:
        """Say something about the step that is under way."""
        for part in printable(text).rstrip("\n").split("\n"):
            self._console.print(Text("  " + part, style=style), highlight=False, soft_wrap=True)

    @contextmanager
    def progress(self, what: str, size: int) -> Iterator[Callable[[int], None]]:
        """Show how many of `size` bytes are done; small ones need no bar.

        Yields:
            A function to be told how many more bytes are done.
        """
        if not self._console.is_terminal or size < 8 << 20:
            yield lambda _more: None
            return
        columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(escape(what), total=size)
            yield lambda more: bars.advance(task, more)


def tables() -> Console:
    """Make a console for tables on standard output; where no person looks, their lines are not broken.

    Returns:
        A console.
    """
    found = Console()
    return found if found.is_terminal else Console(width=400)


def spoken() -> Report:
    """Make a report for a person.

    Returns:
        A report on stderr.
    """
    return Report(Console(stderr=True))


def quiet() -> Report:
    """Make a report that says nothing.

    Returns:
        A report that only keeps the times.
    """
    return Report(Console(stderr=True, quiet=True))
