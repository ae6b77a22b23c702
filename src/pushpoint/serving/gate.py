"""A gate before the work of the background: it is held while the platform is handed over to its successor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Lets work pass, until it is held; may be used from any thread."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._is_held = False
        self._at_work = 0

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Wait while the gate is held, then do the work of the block.

        Yields:
            Nothing; the work may be done.
        """
        with self._turn:
            self._turn.wait_for(lambda: not self._is_held)
            self._at_work += 1
        try:
            yield
        finally:
            with self._turn:
                self._at_work -= 1
                self._turn.notify_all()

    def hold(self) -> None:
        """Let nothing pass from now on, and wait until what has passed is done."""
        with self._turn:
            self._is_held = True
            self._turn.wait_for(lambda: not (self._is_held and self._at_work))

    def open(self) -> None:
        """Let everything pass again."""
        with self._turn:
            self._is_held = False
            self._turn.notify_all()
