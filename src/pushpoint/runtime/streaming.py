"""Streams: what `apply` generates goes to the caller item by item, no faster than that one reads.

The platform opens a window of bytes for each stream (`messages.WINDOW`), and widens it by what the caller has taken.
Where the window is used up the generator is not asked for more; where nobody waits any more it is closed.

Source: the windows of HTTP/2 (RFC 9113, section 5.2), one for each stream of many on one connection.
"""

from __future__ import annotations

import base64
import threading
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, Iterator, List, Tuple

from pushpoint.runtime import frames, values
from pushpoint.runtime.messages import WINDOW, Item
from pushpoint.runtime.pipe import Refused

VOID = ("void", b"")
"""What the answer holds that comes after the last item."""

Send = Callable[[Item], None]


class Windows:
    """How much more of each stream the platform takes, by the ids of their calls.

    Attributes:
        on_close: Told the id of a stream that nobody waits for any more.
    """

    def __init__(self) -> None:
        self.on_close: Callable[[int], object] = lambda call_id: None
        self._left: Dict[int, int] = {}
        self._changed = threading.Condition()

    def open(self, call_id: int) -> None:
        """Begin a stream."""
        self._left[call_id] = WINDOW

    def widen(self, call_id: int, size: int) -> None:
        """Take that much more of a stream, in bytes."""
        with self._changed:
            if call_id in self._left:
                self._left[call_id] += size
            self._changed.notify_all()

    def close(self, *call_ids: int) -> None:
        """Take no more of some streams; of all, where none is named."""
        with self._changed:
            for call_id in call_ids or tuple(self._left):
                if self._left.pop(call_id, None) is not None:
                    self.on_close(call_id)
            self._changed.notify_all()

    def forget(self, call_id: int) -> None:
        """Keep nothing of a stream that is over."""
        self._left.pop(call_id, None)

    def is_open(self, call_id: int) -> bool:
        """Say whether somebody waits for a stream.

        Returns:
            True if so.
        """
        return call_id in self._left

    def is_full(self, call_id: int) -> bool:
        """Say whether a stream has to wait until the caller has read more.

        Returns:
            True if so; never where nobody waits for it.
        """
        return self._left.get(call_id, 1) <= 0

    def spend(self, call_id: int, item: Item) -> None:
        """Use some of a window for an item."""
        with self._changed:
            if call_id in self._left:
                self._left[call_id] -= item.cost

    def wait(self, call_id: int) -> None:
        """Wait, in a thread that does not read the socket itself, until a stream may go on."""
        with self._changed:
            self._changed.wait_for(lambda: not self.is_full(call_id))


def is_stream(result: Any) -> bool:
    """Say whether a result comes item by item: from a generator, or anything else that has a next one.

    Returns:
        True if so.
    """
    return hasattr(type(result), "__next__")


def is_async_stream(result: Any) -> bool:
    """Say whether a result is that of an asynchronous generator.

    Returns:
        True if so.
    """
    return hasattr(type(result), "__anext__")


def pump(results: Iterator[Any], call_id: int, windows: Windows, heed: Callable[[int], None], send: Send) -> None:
    """Send all that is generated, or as much as somebody waits for; then close the generator.

    Args:
        results: The generator.
        call_id: Its call.
        windows: Whether there may be more.
        heed: Takes in what the platform has said; waits for it where this stream has to.
        send: Sends an item.
    """
    try:
        for result in results:
            item = _item(result)
            heed(call_id)
            if windows.is_open(call_id):
                windows.spend(call_id, item)
                send(item)
            while windows.is_full(call_id):
                heed(call_id)
            if not windows.is_open(call_id):
                return
    finally:
        getattr(results, "close", bool)()


def collect(results: Iterator[Any]) -> "Tuple[str, bytes]":
    """Make one list of all that is generated, for a caller that takes no stream.

    Returns:
        Content type and body of the answer.
    """
    collected = _List()
    try:
        for result in results:
            collected.add(result)
    finally:
        getattr(results, "close", bool)()
    return collected.written()


async def pump_async(
    results: AsyncIterator[Any], call_id: int, windows: Windows, changed: Callable[[], Awaitable[Any]], send: Send
) -> None:
    """Do what `pump` does with an asynchronous generator, or a plain one, beside others.

    Args:
        results: The generator.
        call_id: Its call.
        windows: Whether there may be more.
        changed: Waits for what the platform says next.
        send: Sends an item.
    """
    results = _stepped(results)
    try:
        async for result in results:
            item = _item(result)
            if windows.is_open(call_id):
                windows.spend(call_id, item)
                send(item)
            while windows.is_full(call_id):
                await changed()
            if not windows.is_open(call_id):
                return
    finally:
        await _close(results)


async def collect_async(results: AsyncIterator[Any]) -> "Tuple[str, bytes]":
    """Do what `collect` does with an asynchronous generator, or a plain one, beside others.

    Returns:
        Content type and body of the answer.
    """
    collected, results = _List(), _stepped(results)
    try:
        async for result in results:
            collected.add(result)
    finally:
        await _close(results)
    return collected.written()


class _List:
    def __init__(self) -> None:
        self._parts: List[bytes] = []
        self._size = 2

    def add(self, result: Any) -> None:
        content_type, data = values.write(result)
        if content_type == "text":
            data = values.write(result, "json")[1]
        elif content_type == "binary":
            data = b'"' + base64.b64encode(data) + b'"'
        self._size += len(data) + 1
        if self._size > frames.DATA_LIMIT:
            text = "the items are larger than the {} bytes an answer may have; ask for a stream"
            raise Refused("TooLargeError", text.format(frames.DATA_LIMIT))
        self._parts.append(data)

    def written(self) -> "Tuple[str, bytes]":
        return "json", b"[" + b",".join(self._parts) + b"]"


def _item(result: Any) -> Item:
    item = Item(*values.write(result))
    if len(item.data) > frames.DATA_LIMIT:
        text = "an item is larger than the {} bytes it may have; make it several"
        raise Refused("TooLargeError", text.format(frames.DATA_LIMIT))
    return item


async def _close(results: Any) -> None:
    close = getattr(results, "aclose", None)
    if close is not None:
        await close()


def _stepped(results: Any) -> "AsyncIterator[Any]":
    return results if is_async_stream(results) else _steps(results)


async def _steps(results: "Iterator[Any]") -> "AsyncIterator[Any]":
    import asyncio  # it runs by now

    try:
        for result in results:
            yield result
            await asyncio.sleep(0)  # the others' turn
    finally:
        getattr(results, "close", bool)()
