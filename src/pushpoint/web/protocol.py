"""HTTP by uvicorn, and beside ASGI's two messages a way to write a short answer at once.

uvicorn hands the head of an answer to the kernel, and then its body: two system calls and two wake-ups of the client.
For calls, that is a sixth of what the platform does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import cast

from litestar.types import HTTPScope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from pushpoint.web import raw

_AT_ONCE, _BREAK_OFF = "pushpoint.at_once", "pushpoint.break_off"
_STATUS = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n" for one in HTTPStatus}
_LAST = "content-length: {}\r\nconnection: close\r\n"

Write = Callable[[int, Mapping[str, str], bytes], None]


class Protocol(HttpToolsProtocol):
    """A connection."""

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
        extensions = {_AT_ONCE: partial(_write, cycle), _BREAK_OFF: partial(_break_off, cycle)}
        cycle.scope["extensions"] = extensions  # type: ignore[typeddict-item]
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]


async def answer(scope: HTTPScope, send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Send a whole answer, at once where the server can."""
    write = cast("Write | None", (scope.get("extensions") or {}).get(_AT_ONCE))
    if write and all(map(str.isprintable, headers.values())):
        write(status, headers, body)
    else:
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


def _write(cycle: RequestResponseCycle, status: int, headers: Mapping[str, str], body: bytes) -> None:
    if cycle.response_started:
        raise RuntimeError("this request is answered already")
    cycle.response_started = True
    if not cycle.disconnected:
        head = [_STATUS[status], *(f"{name}: {value}\r\n" for name, value in headers.items())]
        head.append(f"content-length: {len(body)}\r\n" if cycle.keep_alive else _LAST.format(len(body)))
        ours = b"".join(b"%b: %b\r\n" % pair for pair in cycle.default_headers)
        cycle.transport.write(b"".join(("".join(head).encode("latin-1", "replace"), ours, b"\r\n", body)))
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
