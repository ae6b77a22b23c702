"""Writing down what calls leave behind, beside the calls: nobody waits for it, and a flood of it is cut off."""

from __future__ import annotations

import queue
from collections import Counter

import structlog

from pushpoint.databases import Database
from pushpoint.records import FailedCall, Insight
from pushpoint.registry import reports
from pushpoint.serving.repeating import Repeating

PAUSE = 0.5
"""Seconds between two times at which something is written down."""
MOST, OF_ONE = 10_000, 200
"""Things that wait to be written down, in all and of one algorithm; more are dropped, and that is logged."""

log = structlog.get_logger()


class Reports:
    """Takes reports of calls; may be used from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: queue.Queue[FailedCall | Insight] = queue.Queue(MOST)
        self._of_each: Counter[str] = Counter()
        self._dropped = 0
        self._writing = Repeating("reports of calls", PAUSE, self._write)

    def add(self, one: FailedCall | Insight) -> None:
        """Have something written down soon; one algorithm's flood takes no place of another's."""
        if self._of_each[one.algorithm_id] >= OF_ONE:
            self._dropped += 1
            return
        try:
            self._waiting.put_nowait(one)
            self._of_each[one.algorithm_id] += 1
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write down what still waits."""
        self._writing.close()

    def _write(self) -> None:
        found = [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]
        self._of_each.clear()
        if self._dropped:
            log.warning("too many reports of calls at once; some were dropped", dropped=self._dropped)
            self._dropped = 0
        if found:
            reports.keep(self._database, found)
