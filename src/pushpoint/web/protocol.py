"""HTTP by uvicorn, with two ways around ASGI for those who are in a hurry.

An answer may be written at once: uvicorn hands its head to the kernel, and then its body, which is two system calls and
two wake-ups of the client. And a call that has arrived as a whole may be taken without a task of its own (`direct`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any, cast

from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from pushpoint.errors import Unavailable
from pushpoint.serving.pools import RETRY
from pushpoint.web import raw

_AT_ONCE, _BREAK_OFF = "pushpoint.at_once", "pushpoint.break_off"
_STATUS = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n" for one in HTTPStatus}
_LAST = "content-length: {}\r\nconnection: close\r\n"

Write = Callable[[int, Mapping[str, str], bytes], None]
"""Takes status, headers and body of a whole answer."""
Direct = Callable[[bytes, Sequence[tuple[bytes, bytes]], bytes, Write], bool]
"""Takes a request's path with its query, its headers, its body, and who writes the answer, now or later; says whether
there will be one. Else the request goes the way of all others."""
DIRECT = b"/v1/algo/"
"""What the paths begin with that may be taken directly, of requests with POST."""


class Exchange:
    """A request that was taken directly, in the place of one of uvicorn's cycles; it has what uvicorn looks at."""

    __slots__ = (
        "default_headers",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "on_response",
        "response_complete",
        "response_started",
        "scope",
        "transport",
    )

    def __init__(self, connection: Protocol) -> None:
        self.scope, self.transport = connection.scope, connection.transport
        self.default_headers = connection.server_state.default_headers
        self.on_response = connection.on_response_complete
        parser = connection.parser
        self.keep_alive: bool = parser.get_http_version() != "1.0" and parser.should_keep_alive()
        self.more_body = self.disconnected = self.response_started = self.response_complete = False
        self.message_event = _NOBODY

    def write(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Write the answer."""
        _write(self, status, headers, body)


class _Nobody:
    def set(self) -> None:
        """Nobody waits for the rest of a request that is there as a whole."""


_NOBODY = _Nobody()


class Protocol(HttpToolsProtocol):
    """A connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._direct: Direct | None = getattr(self.app, "direct", None)
        self._parts: list[bytes] | None = None  # of the body of a request that may be taken directly

    def data_received(self, data: bytes) -> None:
        """Read; a request of which a part is still to come is not taken directly."""
        super().data_received(data)
        if self._parts is not None:
            if self.transport.is_closing():  # what came was not HTTP
                self._parts = None
            else:
                self._decline()

    def on_headers_complete(self) -> None:
        """Begin a request, unless it may be taken directly."""
        self._unset_keepalive_if_required()  # an answer to the one before in the same packet has set it
        if self._direct and self.url.startswith(DIRECT) and self._is_plain():
            self._parts = []
        else:
            super().on_headers_complete()

    def _is_plain(self) -> bool:
        is_free = self.cycle is None or self.cycle.response_complete
        is_usual = not (self.expect_100_continue or self.limit_concurrency or self.parser.should_upgrade())
        is_read = not self.flow.write_paused  # who does not read its answers is waited for, which takes a task
        return is_free and is_usual and is_read and self.parser.get_method() == b"POST"

    def on_body(self, body: bytes) -> None:
        """Take in a part of a body."""
        if self._parts is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """Take the request directly, or let it go the way of all others."""
        if self._parts is not None:
            exchange = Exchange(self)
            if self._direct and self._direct(self.url, self.headers, b"".join(self._parts), exchange.write):
                self.cycle, self._parts = cast("RequestResponseCycle", exchange), None
                return
            self._decline()
        super().on_message_complete()

    def _decline(self) -> None:
        parts, self._parts = self._parts or [], None
        super().on_headers_complete()
        for part in parts:
            super().on_body(part)

    @property
    def has_read_all(self) -> bool:
        """Whether there is no request of which a part is still to come."""
        cycle = self.cycle
        return self.scope is (cycle.scope if cycle else None) and not (cycle and cycle.more_body)

    @property
    def is_between_requests(self) -> bool:
        """Whether all that was asked is answered, and the answers are with the kernel."""
        is_answered = not self.pipeline and (self.cycle is None or self.cycle.response_complete)
        return is_answered and self.has_read_all and not self.transport.get_write_buffer_size()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: object) -> None:
        extensions = {_AT_ONCE: partial(_try_write, cycle), _BREAK_OFF: partial(_break_off, cycle)}
        cycle.scope["extensions"] = extensions  # type: ignore[typeddict-item]
        super()._start_asgi_task(cycle, _ending(cycle, cast("ASGIApp", app)))  # type: ignore[arg-type]


async def answer(scope: HTTPScope, send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Send a whole answer, at once where the server can."""
    write = cast(
        "Callable[[int, Mapping[str, str], bytes], bool] | None", (scope.get("extensions") or {}).get(_AT_ONCE)
    )
    if not (write and write(status, headers, body)):
        await raw.answer(send, status, headers, body)


def break_off(scope: HTTPScope) -> None:
    """Close the connection after what was sent, so that nobody takes an answer for whole."""
    close = cast("Callable[[], None] | None", (scope.get("extensions") or {}).get(_BREAK_OFF))
    if close:
        close()


def without_writing(scope: HTTPScope) -> dict[str, object]:
    """Keep the other extensions, for those who want to see every message of an answer.

    Returns:
        The extensions.
    """
    return {name: value for name, value in (scope.get("extensions") or {}).items() if name != _AT_ONCE}


def _break_off(cycle: RequestResponseCycle) -> None:
    cycle.disconnected = True  # else uvicorn takes an answer without an end for a bug of ours
    cycle.transport.close()


def _ending(cycle: RequestResponseCycle, application: ASGIApp) -> ASGIApp:
    async def ending(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await application(scope, receive, send)
        except asyncio.CancelledError:  # by the server, which has waited for as long as it may
            if cycle.response_started:
                _break_off(cycle)
            else:
                why = "the platform is stopping, and this request took too long; send it again"
                _write(cycle, *raw.wrong(Unavailable(why, retry_after=RETRY)))

    return ending


def _try_write(cycle: RequestResponseCycle, status: int, headers: Mapping[str, str], body: bytes) -> bool:
    if cycle.flow.write_paused:  # the client has not read what came before
        return False
    _write(cycle, status, headers, body)
    return True


def _write(cycle: RequestResponseCycle | Exchange, status: int, headers: Mapping[str, str], body: bytes) -> None:
    if cycle.response_started:
        raise RuntimeError("this request is answered already")
    cycle.response_started = True
    if not cycle.disconnected:
        head = [_STATUS[status]]
        for name, value in headers.items():
            head.append(f"{name}: {value if value.isprintable() else raw.one_line(value)}\r\n")
        head.append(f"content-length: {len(body)}\r\n" if cycle.keep_alive else _LAST.format(len(body)))
        ours = _ours(*cycle.default_headers)
        cycle.transport.write(b"".join(("".join(head).encode("latin-1", "replace"), ours, body)))
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


@lru_cache(4)  # the date is among them, so they are others each second
def _ours(*headers: tuple[bytes, bytes]) -> bytes:
    return b"".join(b"%b: %b\r\n" % pair for pair in headers) + b"\r\n"
