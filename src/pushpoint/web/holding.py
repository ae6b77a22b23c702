"""One request at a time for each upload. A later one makes an earlier one give way, whose client may long be gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

from litestar.types import HTTPDisconnectEvent, Receive, ReceiveMessage


class Hold:
    """A request's hold on an upload."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.gives_way = False
        self._task = asyncio.current_task()
        self._waits = False

    def give_way(self) -> None:
        """Ask the request to end: its body is taken to be over as if its client had gone."""
        self.gives_way = True
        if self._waits and self._task:
            self._task.cancel()

    def receiving(self, receive: Receive) -> Receive:
        """Wrap a request's `receive`.

        Returns:
            One that gives way.
        """

        async def received() -> ReceiveMessage:
            if not self.gives_way:
                self._waits = True
                try:
                    return await receive()
                except asyncio.CancelledError:
                    if not self.gives_way or not self._task:
                        raise
                    self._task.uncancel()
                finally:
                    self._waits = False
            return cast("HTTPDisconnectEvent", {"type": "http.disconnect"})

        return received


class Holds:
    """Who holds which upload; for one event loop."""

    def __init__(self) -> None:
        self._held: dict[str, Hold] = {}

    @contextlib.asynccontextmanager
    async def alone(self, *ids: str) -> AsyncIterator[Hold]:
        """Hold uploads, after those have given way who did.

        Yields:
            The hold, to wrap `receive` with.
        """
        mine = Hold()
        taken: list[str] = []
        try:
            for id in sorted(set(ids)):  # in one order, so that no two wait for each other
                while other := self._held.get(id):
                    other.give_way()
                    await other.over.wait()
                self._held[id] = mine
                taken.append(id)
            yield mine
        finally:
            for id in taken:
                del self._held[id]
            mine.over.set()
