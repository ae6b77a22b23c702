"""What is over is taken away: what calls kept while they lasted, temporary files, uploads that nobody went on with."""

from __future__ import annotations

import threading

import structlog

from pushpoint.databases import Database
from pushpoint.registry import data, uploads
from pushpoint.serving.tokens import Tokens
from pushpoint.stores.local import LocalStore

EVERY = 60.0
"""Seconds between two looks; nobody can reach what is over in the meantime."""

log = structlog.get_logger()


class Sweeper:
    """Looks at once, since a start ends all calls, and then again and again."""

    def __init__(self, database: Database, store: LocalStore, tokens: Tokens) -> None:
        self._database, self._store, self._tokens = database, store, tokens
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                data.sweep(self._database, sessions=self._tokens.sessions())
                uploads.sweep(self._database, self._store.uploads)
            except Exception:  # what is left now is swept the next time
                log.exception("the sweeper failed")
            if self._stop.wait(EVERY):
                return
