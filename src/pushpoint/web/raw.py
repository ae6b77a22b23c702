"""What the raw ASGI applications share: headers in, one-piece answers out, errors as everywhere."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from urllib.parse import parse_qsl

import structlog
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from pushpoint.errors import Error, Unavailable
from pushpoint.web.errors import CHALLENGE, bug, envelope, unfit

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

log = structlog.get_logger()


class Gone(Exception):
    """The client went away in the middle."""


def header(scope: HTTPScope, name: bytes) -> str | None:
    """Look up a request header; the last one of that name counts.

    Returns:
        Its value, or none.
    """
    found = None
    for key, value in scope["headers"]:
        if key == name:
            found = value.decode("latin-1")
    return found


def query(scope: HTTPScope) -> dict[str, str]:
    """Read the query string; the last of each name counts.

    Returns:
        Names and values.
    """
    return options(scope["query_string"])


def options(query_string: bytes) -> dict[str, str]:
    """Read a query string; the last of each name counts.

    Returns:
        Names and values.
    """
    return dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True))


async def chunks(receive: Receive) -> AsyncIterator[bytes]:
    """Read the body as it comes.

    Yields:
        Pieces of it.

    Raises:
        Gone: The client went away before the end.
    """
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Gone
        if body := message["body"]:
            yield body
        if not message["more_body"]:
            return


async def begin(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """Send the status and the headers; a line break in a value, which may be a user's text, breaks no header."""
    pairs = [(name.encode("latin-1"), one_line(value).encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})


def one_line(value: str) -> str:
    """Make the value of a header of a text, which may be a user's.

    Returns:
        It, with spaces for what a header cannot hold.
    """
    return _CONTROLS.sub(" ", value)


async def answer(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Send a whole answer."""
    await begin(send, status, {**headers, "content-length": str(len(body))})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def bare(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """Send an answer without a body, whose headers may speak of one: for HEAD, 204, 304 and the like."""
    await begin(send, status, headers)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def refuse(send: Send, status: int, message: str, **headers: str) -> None:
    """Send a status that no error of ours has, with a message."""
    told, body = unfit(status, message)
    await answer(send, status, {**told, **headers}, body)


def guarded(application: ASGIApp, challenge: str = CHALLENGE) -> ASGIApp:
    """Answer the errors of a raw application as the management routes do.

    Args:
        application: It.
        challenge: How its clients may say who they are.

    Returns:
        The application; a client that went away is no error.
    """

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: object) -> None:
            nonlocal started
            started = True
            await send(message)  # type: ignore[arg-type]

        try:
            await application(scope, receive, watched)
        except Gone:
            return
        except Exception as error:
            if started:  # too late for an answer: break it off, so that nobody takes it for whole
                raise
            status, headers, body = wrong(error)
            if status == 401:
                headers["www-authenticate"] = challenge
            await answer(send, status, headers, body)

    return outer


def wrong(error: Exception) -> tuple[int, dict[str, str], bytes]:
    """Write what went wrong as an answer.

    Returns:
        Status, headers and JSON body.
    """
    if isinstance(error, OSError):
        log.error("the disk failed", exc_info=error)
        why = f"the platform cannot use its disk ({error.strerror})"
        error = Unavailable(f"{why}; tell its operator, then send it again")
    return envelope(error) if isinstance(error, Error) else bug(error)
