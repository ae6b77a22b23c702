"""Calls at a constant rate, whatever becomes of them: `python -m bench.openloop`, a process of its own.

A call's time counts from when it was to be sent, so whatever holds calls up, this program included, is in it. Most
calls go over connections that are kept, some over new ones. It begins when it has read its order (JSON, one line) from
standard input, ends when that is closed, and prints what it saw.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

NEW = 10
"""Of so many calls one has a connection of its own, which it has closed."""
KEPT = 2.0
"""Seconds without a call after which a connection is let go: before the server may close it under a call."""
PATIENCE = 30.0
"""Seconds for the last answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be called.

    Attributes:
        port: Where the server listens, on this machine.
        head: Lines of each request up to its length, without what ends the last one.
        rate: Calls a second.
    """

    port: int
    head: str
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of one call.

    Attributes:
        sent: When it was to be sent, in seconds of `time.monotonic`.
        seconds: From then to the end of its answer.
        version: Of the release that answered.
        wrong: What was wrong, if anything was.
    """

    sent: float
    seconds: float
    version: str
    wrong: str


class _Connection(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._got = b""
        self.used = loop.time()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's says it is not, and is

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if (
            found
            and self._answer
            and len(body) >= int(head.lower().partition(b"content-length:")[2].split(maxsplit=1)[0])
        ):
            answer, self._answer, self._got = self._answer, None, b""
            answer.set_result(head + found + body)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionError(f"closed without an answer: {exc}"))

    async def ask(self, request: bytes) -> bytes:
        assert self._transport
        self._answer = self._loop.create_future()
        self._transport.write(request)
        answer = await self._answer
        self.used = self._loop.time()
        return answer

    def close(self) -> None:
        if self._transport:
            self._transport.close()


class _Load:
    def __init__(self, order: Order) -> None:
        self._order, self._loop = order, asyncio.get_running_loop()
        self._kept: deque[_Connection] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self.seen: list[Seen] = []

    async def run(self, is_over: asyncio.Event) -> None:
        began, number = time.monotonic(), 0
        while not is_over.is_set():
            due = began + number / self._order.rate
            if (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left)
            task = asyncio.create_task(self._call(number, due))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            number += 1
        if self._calls:
            await asyncio.wait(self._calls, timeout=PATIENCE)

    async def _call(self, number: int, due: float) -> None:
        wrong, version = "", ""
        is_new = number % NEW == 0
        last = "connection: close\r\n" if is_new else ""
        body = str(number)
        request = f"{self._order.head}\r\n{last}content-length: {len(body)}\r\n\r\n{body}".encode()
        try:
            connection = await self._connection(is_new=is_new)
            answer = (await connection.ask(request)).decode("latin-1")
            head, _, said = answer.partition("\r\n\r\n")
            version = head.partition("x-pushpoint-version: ")[2].partition("\r\n")[0]
            if not head.startswith("HTTP/1.1 200 "):
                wrong = f"{head.partition(chr(13))[0]} {said[:200]}"
            elif json.loads(said).get("result") != [number, version]:
                wrong = f"another answer: {said[:200]}"
            if is_new or "connection: close" in head.lower():
                connection.close()
            else:
                self._kept.append(connection)
        except (OSError, ValueError) as problem:
            wrong = f"{type(problem).__name__}: {problem}"
        self.seen.append(Seen(sent=due, seconds=time.monotonic() - due, version=version, wrong=wrong))

    async def _connection(self, *, is_new: bool) -> _Connection:
        while self._kept and not is_new:
            connection = self._kept.popleft()  # the one that waits longest, so that all are in use
            if connection.is_open and self._loop.time() - connection.used < KEPT:
                return connection
            connection.close()
        found = await self._loop.create_connection(lambda: _Connection(self._loop), "127.0.0.1", self._order.port)
        return found[1]


async def _main() -> None:
    order = Order(**json.loads(sys.stdin.readline()))
    is_over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, is_over.set)
    gc.freeze()
    gc.disable()
    load = _Load(order)
    await load.run(is_over)
    print(json.dumps([asdict(one) for one in load.seen]))


if __name__ == "__main__":
    uvloop.run(_main())
