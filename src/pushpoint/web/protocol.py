"""HTTP by uvicorn, with two ways around ASGI for those who are in a hurry.

An answer may be written at once: uvicorn hands its head to the kernel, and then its body, which is two system calls and
two wake-ups of the client. And a call that has arrived as a whole may be taken without a task of its own (`direct`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sys
import termios
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any, cast

import httptools
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from pushpoint.errors import Unavailable
from pushpoint.serving.pools import RETRY
from pushpoint.web import raw
from pushpoint.web.errors import unfit

_AT_ONCE, _BREAK_OFF, _HAS_ENDED = "pushpoint.at_once", "pushpoint.break_off", "pushpoint.has_ended"
_BETWEEN, _HEAD, _BODY = range(3)  # where in the requests the next byte belongs
_STATUS = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n" for one in HTTPStatus}
_LAST = "content-length: {}\r\nconnection: close\r\n"

Write = Callable[[int, Mapping[str, str], bytes], None]
"""Takes status, headers and body of a whole answer."""
Direct = Callable[[bytes, Sequence[tuple[bytes, bytes]], bytes, Write], bool]
"""Takes a request's path with its query, its headers, its body, and who writes the answer, now or later; says whether
there will be one. Else the request goes the way of all others."""
DIRECT = b"/v1/algo/"
"""What the paths begin with that may be taken directly, of requests with POST."""
LONGEST_HEAD = 1 << 16
"""Bytes of a request's path and headers, or of what else is not its body, that are read before it is refused."""
HEAD_PATIENCE = 10
"""Seconds that a request's path and headers may take from their first byte on; those of the first, from before that."""
PATIENCE = 60
"""Seconds without any byte of a body, or without any of an answer being read, after which a connection is closed."""


class Exchange(RequestResponseCycle):
    """A request that was taken directly, in the place of one of uvicorn's cycles; it has what is looked at of one."""

    more_body = disconnected = response_started = response_complete = False
    message_event = asyncio.Event()  # nobody waits for the rest of a request that is there as a whole

    def __init__(self, connection: Protocol) -> None:
        self.transport = connection.transport
        self.default_headers = connection.server_state.default_headers
        self.on_response = connection.on_response_complete
        parser = connection.parser
        self.keep_alive = parser.get_http_version() != "1.0" and parser.should_keep_alive()

    def write(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Write the answer."""
        _write(self, status, headers, body)


class Protocol(HttpToolsProtocol):
    """A connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._direct: Direct | None = getattr(self.app, "direct", None)
        self._head: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] | None = None  # of the body of a request that may be taken directly
        self._running: RequestResponseCycle | None = None  # what is being answered, or was last; `cycle` is the newest
        self._at = _BETWEEN
        self._is_over = False  # nothing more is taken in
        self._unplaced = 0  # bytes that have come since there was a whole head, or a part of a body
        self._waited = 0  # seconds for what is to come, since the same
        self._unsent, self._stuck = 0, 0  # bytes of answers, and seconds since they were less than before

    def data_received(self, data: bytes) -> None:
        """Read, but no endless head: what parses it copies what it has with each part that comes."""
        self._unset_keepalive_if_required()
        while data and not self._is_over:
            room = LONGEST_HEAD - self._unplaced
            part, data = data[:room], data[room:]
            self._unplaced += len(part)
            self._feed(part)
            if self._unplaced >= LONGEST_HEAD:
                self._end(431, f"the head of a request may have {LONGEST_HEAD} bytes; shorten its path and headers")

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
            if self._parts is not None:
                self._decline()  # a request of which a part is still to come is not taken directly
        except httptools.HttpParserUpgrade as upgrade:
            self._feed(self._without_upgrade() + data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.logger.warning("what came is not HTTP")
            self._end(400, "this is not HTTP/1.1; see what the client sends, and what stands between it and here")

    def _without_upgrade(self) -> bytes:
        # the parser skips the body of such a request, and takes it for the next one; so it gets the request once more,
        # and the connection is not kept: whoever is in between may think that something else is spoken now
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % pair for pair in self.headers if pair[0] not in {b"connection", b"upgrade"}]
        return b"\r\n".join([*lines, b"connection: close", b"", b""])

    def _end(self, status: int = 0, why: str = "") -> None:
        """Take in no more, and close: after what is under way is answered, else after saying what was wrong."""
        running, at = self._running, self._at
        self._is_over, self._parts, self._at = True, None, _BETWEEN
        if running and not running.response_complete:
            running.message_event.set()  # who waits for more is to look whether this is the end
            if at is not _BODY:
                self.cycle.keep_alive = False
                return
            running.disconnected = True  # it, or one that waits for it, will never be whole
            if running is not self.cycle or running.response_started:
                status = 0
        if status and not self.transport.is_closing():
            refusal = unfit(status, why)
            self.transport.write(_bytes(status, *refusal, self.server_state.default_headers, is_last=True))
        self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer all the same: a client may say by this that it has asked all it wanted.

        Returns:
            Whether there is something to be answered.
        """
        self._end()
        return not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let nobody write any more, whatever came after the request that is being answered."""
        if self._running and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._at = _HEAD
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin a request, unless it may be taken directly.

        Raises:
            HttpParserError: The client wants a tunnel.
        """
        self._at, self._unplaced, self._waited = _BODY, 0, 0
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise httptools.HttpParserError
            return
        self._head, self.headers = self.headers, []  # what stands after the body is no header, and nobody looks at it
        self._unset_keepalive_if_required()  # an answer to the one before in the same packet has set it
        if self._direct and self.url.startswith(DIRECT) and self._is_plain():
            self._parts = []
        else:
            super().on_headers_complete()

    def _is_plain(self) -> bool:
        is_free = self.cycle is None or self.cycle.response_complete
        is_usual = not (self.expect_100_continue or self.limit_concurrency)
        is_read = not self.flow.write_paused  # who does not read its answers is waited for, which takes a task
        return is_free and is_usual and is_read and self.parser.get_method() == b"POST"

    def on_body(self, body: bytes) -> None:
        """Take in a part of a body."""
        self._unplaced = self._waited = 0
        if self._parts is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """Take the request directly, or let it go the way of all others."""
        self._at, self._unplaced = _BETWEEN, 0
        if self.parser.should_upgrade():
            return
        if self._parts is not None:
            exchange, body = Exchange(self), b"".join(self._parts)
            if self._direct and self._direct(self.url, self._head, body, exchange.write):
                self.cycle = self._running = exchange
                self._parts = None
                return
            self._decline()
        super().on_message_complete()

    def _decline(self) -> None:
        parts, self._parts = self._parts or [], None
        super().on_headers_complete()
        for part in parts:
            super().on_body(part)

    def resume_writing(self) -> None:
        """Go on; there is room for more."""
        self._stuck = 0
        super().resume_writing()

    def note_second(self) -> None:
        """Close, if it has been waited long enough for a request to come, or for an answer to be read."""
        unsent = _unsent(self.transport)
        self._stuck = self._stuck + 1 if unsent and unsent >= self._unsent else 0
        self._unsent = unsent
        if self._stuck >= PATIENCE:
            self.transport.abort()
        is_new = self.scope is None
        is_awaited = is_new or self._at is not _BETWEEN or self._unplaced
        is_ours = self._is_over or self.flow.read_paused or self.transport.is_closing()
        if self._at is _BODY:
            is_ours = is_ours or self.cycle.waiting_for_100_continue
        self._waited = self._waited + 1 if is_awaited and not is_ours else 0
        patience = PATIENCE if self._at is _BODY else HEAD_PATIENCE
        if self._waited >= patience:
            self._end(0 if is_new else 408, f"nothing more of the request came in {patience} seconds; send it again")

    @property
    def has_read_all(self) -> bool:
        """Whether there is no request of which a part is still to come."""
        return self._at is _BETWEEN

    @property
    def is_between_requests(self) -> bool:
        """Whether all that was asked is answered, and the answers are with the kernel."""
        is_answered = not self.pipeline and (self.cycle is None or self.cycle.response_complete)
        return is_answered and self.has_read_all and not self.transport.get_write_buffer_size()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: object) -> None:
        self._running = cycle
        extensions: dict[str, Callable[..., object]] = {
            _AT_ONCE: partial(_try_write, cycle),
            _BREAK_OFF: partial(_break_off, cycle),
            _HAS_ENDED: lambda: self._is_over,
        }
        cycle.scope["extensions"] = extensions  # type: ignore[typeddict-item]
        super()._start_asgi_task(cycle, _ending(cycle, cast("ASGIApp", app)))  # type: ignore[arg-type]


def note_second(connections: Iterable[object]) -> None:
    """Close connections that nothing moves on; to be called each second."""
    for connection in list(connections):
        if isinstance(connection, Protocol):
            connection.note_second()


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


def has_ended(scope: HTTPScope) -> bool:
    """Say whether the client sends no more, and may have gone; `receive` then gives a further message.

    Returns:
        That.
    """
    ended = cast("Callable[[], bool] | None", (scope.get("extensions") or {}).get(_HAS_ENDED))
    return ended is not None and ended()


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


def _write(cycle: RequestResponseCycle, status: int, headers: Mapping[str, str], body: bytes) -> None:
    if cycle.response_started:
        raise RuntimeError("this request is answered already")
    cycle.response_started = True
    if cycle.disconnected or cycle.transport.is_closing():
        cycle.disconnected = True
        return
    cycle.transport.write(_bytes(status, headers, body, cycle.default_headers, is_last=not cycle.keep_alive))
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


def _unsent(transport: asyncio.Transport) -> int:
    size = transport.get_write_buffer_size()
    if size:  # the kernel takes more only when much of what it has is acknowledged; a slow reader is seen there
        with contextlib.suppress(OSError, ValueError):
            held = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
            size += int.from_bytes(held, sys.byteorder)
    return size


def _bytes(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    default_headers: Sequence[tuple[bytes, bytes]],
    *,
    is_last: bool,
) -> bytes:
    head = [_STATUS[status]]
    for name, value in headers.items():
        head.append(f"{name}: {value if value.isprintable() else raw.one_line(value)}\r\n")
    head.append(_LAST.format(len(body)) if is_last else f"content-length: {len(body)}\r\n")
    return b"".join(("".join(head).encode("latin-1", "replace"), _ours(*default_headers), body))


@lru_cache(4)  # the date is among them, so they are others each second
def _ours(*headers: tuple[bytes, bytes]) -> bytes:
    return b"".join(b"%b: %b\r\n" % pair for pair in headers) + b"\r\n"
