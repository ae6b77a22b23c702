"""Progress where the library runs: a terminal gets what commands show, a notebook its cell's output, others nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal

from pushpoint.library.results import escaped
from pushpoint.report import SMALL, Report, printable, spoken

_PAUSE = 0.2
"""Seconds between two looks of a bar: each is a message to the browser."""


def here() -> Report:
    """Make a report for where this program runs.

    Returns:
        A report; one that says nothing where nobody looks.
    """
    ipython = sys.modules.get("IPython")  # not imported here: where it is not loaded, this is no notebook
    if ipython is not None and hasattr(ipython.get_ipython(), "kernel"):
        return NotebookReport(Console(force_jupyter=False, no_color=True, highlight=False))
    return spoken() if sys.stderr.isatty() else ScriptReport()


class ScriptReport(Report):
    """A report where nobody looks, but for warnings: they are on standard error."""

    def __init__(self) -> None:
        super().__init__(Console(stderr=True, quiet=True))

    def warn(self, text: str) -> None:
        """Print a warning."""
        print(f"pushpoint: warning: {printable(text)}", file=sys.stderr)


class NotebookReport(Report):
    """A report in a notebook: lines as the cell's output, and bars that every front end draws without a widget.

    Source:
        Rich draws its bars with ipywidgets in a notebook, which not every notebook has, and whose state does not
        survive in the file. An updated display is a message of the Jupyter protocol itself.
    """

    @contextmanager
    def progress(self, what: str, size: int) -> Iterator[Callable[[int], None]]:
        """Show how many of `size` bytes are done; small ones need no bar.

        Yields:
            A function to be told how many more bytes are done.
        """
        if size < SMALL:
            yield lambda _more: None
            return
        from IPython.display import display  # type: ignore[import-not-found]

        began = last = time.monotonic()
        done = 0
        handle = display(_bar(what, 0, size), raw=True, display_id=True)

        def advance(more: int) -> None:
            nonlocal done, last
            done += more
            if time.monotonic() - last > _PAUSE:
                last = time.monotonic()
                handle.update(_bar(what, done, size), raw=True)

        try:
            yield advance
        finally:
            seconds = time.monotonic() - began
            text = f"{what}: {decimal(done)} in {seconds:.1f} s" + ("" if done >= size else ", then it stopped")
            handle.update({"text/plain": text}, raw=True)


def _bar(what: str, done: int, size: int) -> dict[str, str]:
    text = f"{what}: {decimal(done)} of {decimal(size)}"
    return {"text/plain": text, "text/html": f'<progress value="{done}" max="{size}"></progress> {escaped(text)}'}
