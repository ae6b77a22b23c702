"""The items of one call on their way from a worker to its caller, as many as the window holds; on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from pushpoint.runtime.frames import ProtocolError
from pushpoint.runtime.messages import WINDOW, Item, Outcome


class Stream:
    """The items of one call; whoever makes the call takes them meanwhile.

    Attributes:
        outcome: How the call ended; whoever sets it ends the call.
        lineage: Where the items come from, as headers; known when the first one is there.
    """

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.lineage: Mapping[str, str] = {}
        self._items: list[Item] = []
        self._taken, self._left = 0, WINDOW
        self._allow: Callable[[int], None] = lambda size: None
        self._is_over = False
        self._changed = asyncio.Event()

    def begin(self, allow: Callable[[int], None]) -> None:
        """Let a worker fill the window.

        Args:
            allow: Told how many bytes more it may send.
        """
        self._allow, self._left = allow, WINDOW

    def put(self, item: Item) -> None:
        """Take in what the worker sent.

        Raises:
            ProtocolError: It may not send it.
        """
        if self._left <= 0:
            raise ProtocolError("this is more of a stream than was asked for")
        self._left -= item.cost
        if not self.outcome.done():
            self._items.append(item)
            self._changed.set()

    def end(self) -> None:
        """Have `take` return nothing, after the items that are there: the call is over."""
        self._is_over = True
        self._changed.set()

    async def take(self) -> list[Item]:
        """Wait for items; the caller has read those that were taken before.

        Returns:
            All that are there; none at the end.
        """
        if self._taken >= WINDOW // 2:
            self._left += self._taken
            self._allow(self._taken)
            self._taken = 0
        while not self._items and not self._is_over:
            self._changed.clear()
            await self._changed.wait()
        items, self._items = self._items, []
        self._taken += sum(item.cost for item in items)
        return items
