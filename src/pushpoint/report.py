"""What a person sees while something long happens: steps with times, lines, progress bars. All of it on stderr.

Standard output belongs to results, so that `--json` can be piped. `quiet()` gives a report that says nothing,
`for_github()` one that GitHub's log viewer folds and whose complaints stand beside the line that they are about.
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
SMALL = 8 << 20
"""Bytes below which something needs no progress bar."""


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
        self._open(name, "bold cyan")
        began = time.monotonic()
        try:
            yield
        except BaseException as error:
            word = "was interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self._close()
            self._console.print(Text.assemble(("  ✗ ", "red"), f"{name} {word}"), highlight=False)
            raise
        finally:
            self.seconds[name] = round(time.monotonic() - began, 3)
        self._close()
        self._console.print(Text.assemble(("  ✓ ", "green"), (f"{self._done(name)}{self.seconds[name]:.1f} s", "dim")))

    def line(self, text: str, *, style: str = "dim") -> None:
        """Say something about the step that is under way."""
        for part in printable(text).rstrip("\n").split("\n"):
            self._console.print(Text("  " + part, style=style), highlight=False, soft_wrap=True)

    def cell(self, number: int, source: str) -> None:
        """Say that a cell of the notebook begins."""
        self.line(f"[{number}] {source}", style="bold")

    def warn(self, text: str) -> None:
        """Say something that a person should know although all goes on."""
        self.line(f"warning: {text}", style="yellow")

    def _open(self, title: str, style: str) -> None:
        self._console.print(Text.assemble((title, style)))

    def _close(self) -> None:
        pass

    def _done(self, _name: str) -> str:
        return ""

    @contextmanager
    def progress(self, what: str, size: int) -> Iterator[Callable[[int], None]]:
        """Show how many of `size` bytes are done; small ones need no bar.

        Yields:
            A function to be told how many more bytes are done.
        """
        if not self._console.is_terminal or size < SMALL:
            yield lambda _more: None
            return
        columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(escape(what), total=size)
            yield lambda more: bars.advance(task, more)


class GitHubReport(Report):
    """A report for the log of a GitHub workflow: a folded group for each step and each cell.

    Source:
        GitHub's workflow commands. Groups do not nest, so a cell's ends that of its step.
    """

    _is_open = False

    def command(self, name: str, text: str = "", **properties: str | int | None) -> None:
        """Write a workflow command; what it says may be anybody's text."""
        shown = str if name == "add-mask" else printable  # a mask must be the very text
        pairs = ",".join(
            f"{key}={_escape(shown(str(value)), in_property=True)}"
            for key, value in properties.items()
            if value is not None
        )
        self._console.print(Text(f"::{name}{' ' if pairs else ''}{pairs}::{_escape(shown(text))}"), soft_wrap=True)

    def cell(self, number: int, source: str) -> None:
        """Begin a group for a cell."""
        self._open(f"cell {number}: {source}", "")

    def warn(self, text: str) -> None:
        """Write a warning that stands on the page of the run."""
        self.command("warning", text, title="Pushpoint")

    def _open(self, title: str, style: str) -> None:
        self._close()
        self.command("group", title[:200])
        self._is_open = True

    def _close(self) -> None:
        if self._is_open:
            self.command("endgroup")
        self._is_open = False

    def _done(self, name: str) -> str:
        return f"{printable(name)} "


def _escape(text: str, *, in_property: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if in_property else text


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


def for_github() -> GitHubReport:
    """Make a report for the log of a GitHub workflow.

    Returns:
        A report on stdout, so that the runner sees commands and text in one order.
    """
    return GitHubReport(Console(width=400, force_terminal=False, highlight=False))


def quiet() -> Report:
    """Make a report that says nothing.

    Returns:
        A report that only keeps the times.
    """
    return Report(Console(stderr=True, quiet=True))
