"""What the platform does beside its calls: in a thread of its own, again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger()


class Repeating:
    """Does something at once, then every so often, and a last time when it is closed. What fails is logged."""

    def __init__(self, name: str, seconds: float, work: Callable[[], None]) -> None:
        """Begin.

        Args:
            name: Of the thread, and in the log.
            seconds: Between the end of one time and the next.
            work: What to do.
        """
        self._name, self._seconds, self._work = name, seconds, work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Do it a last time, and end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        stopped = False
        while True:
            try:
                self._work()
            except Exception:  # calls go on, and so does this
                log.exception("work beside the calls failed", what=self._name)
            if stopped:
                return
            stopped = self._stop.wait(self._seconds)
