"""`/v1/algo`: the one asynchronous path from a caller to a worker and back (platform API, section 1).

The body is never parsed here. A failing algorithm answers 200 with an `error`: clients lose the message of anything
else.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import lru_cache, partial
from typing import cast
from uuid import UUID

import structlog
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from pushpoint import wire
from pushpoint.engines.streams import Stream
from pushpoint.errors import InvalidRequest
from pushpoint.names import Reference, decode_path, reference
from pushpoint.records import Actor
from pushpoint.runtime.messages import Call, Outcome
from pushpoint.serving import Services
from pushpoint.serving import calls as serving
from pushpoint.serving.lookups import Target
from pushpoint.web import guards, items, outcomes, protocol, raw

DEFAULT_TIMEOUT, LONGEST_TIMEOUT = 300.0, 3000.0

log = structlog.get_logger()

_TYPES = {
    "application/json": "json",
    "text/plain": "text",
    "application/text": "text",
    "application/octet-stream": "binary",
}
SILENCE = 30.0
"""Seconds without a byte, after which the rest of an input is not waited for."""
OUTPUTS = ("default", "raw", "void")
"""The result with what is told of it, the bare result, and none."""
_CHARSET = re.compile(r"""\bcharset\s*=\s*"?([^\s";]+)""")
_UTF_8 = {"utf-8", "utf8", "us-ascii", "ascii"}
_TRACE = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""A `traceparent`: https://www.w3.org/TR/trace-context/. Another one is not passed on."""
PREFIX = "/v1/algo"
_USUAL = 100  # characters of a path whose meaning is remembered
usual_reference = lru_cache(10_000)(reference)
_VERSION_4 = 0x4000 << 64 | 0x8000 << 48  # of a UUID (RFC 9562, section 5.4)
_RANDOM_BITS = ~(0xF000 << 64 | 0xC000 << 48)
_UUID = 36  # characters; a name has at most 30


def application(services: Services) -> ASGIApp:
    """Make the application for `/v1/algo`.

    Returns:
        An ASGI application.
    """
    running: set[asyncio.Task[object]] = set()

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope = cast("HTTPScope", scope)
        request_id = new_request_id()
        actor = guards.identify(services, raw.header(scope, b"authorization"), ["call"], deploys=True)
        if scope["method"] != "POST":
            await raw.refuse(send, 405, "call algorithms with POST", allow="POST")
            return
        asked = _asked(services, actor, decode_path(scope["raw_path"]).removeprefix(PREFIX).strip("/"))
        options = raw.query(scope) if scope["query_string"] else {}
        kind = content_type(raw.header(scope, b"content-type") or "", raw.header(scope, b"content-encoding") or "")
        if kind is None:
            why = f"415 unsupported content type; use {', '.join(_TYPES)}, in UTF-8 and not compressed"
            await raw.refuse(send, 415, why, **{"accept-encoding": "identity"})
            return
        timeout, output = timeout_of(options), output_of(options)
        with ExitStack() as held:
            held.enter_context(services.limits.slot(actor))  # before the input is read, which takes memory
            largest = services.limits.input
            try:
                body = await _body(receive, largest)
            except TimeoutError:
                why = f"no more of the input came for {SILENCE:g} seconds; send it again"
                await raw.refuse(send, 408, why, connection="close")
                return
            if body is None:
                await raw.refuse(send, 413, f"the input is over {largest} bytes; put it in a data:// file")
                return
            request = read(kind, body, options, raw.header(scope, b"traceparent") or "")

            async def answered(stream: Stream | None = None) -> tuple[Outcome, Target]:
                began = time.perf_counter()
                outcome, target = await serving.call(
                    services, actor, asked, request, timeout=timeout, request_id=request_id, stream=stream
                )
                seconds = time.perf_counter() - began
                outcome = outcomes.noted(
                    services, actor, target, request, outcome, seconds=seconds, request_id=request_id
                )
                return outcome, target

            if output == "void":
                target = services.lookups.target(actor, asked)  # what cannot be called is refused now
                place = held.pop_all()
                task = asyncio.create_task(answered())
                running.add(task)
                task.add_done_callback(lambda _: place.close())
                task.add_done_callback(_over)
                task.add_done_callback(running.discard)
                # "void", not true: the Java client's suite compares it
                headers = {**outcomes.JSON, **target.lineage, "x-request-id": request_id}
                await raw.answer(send, 200, headers, wire.encode({"async": "void", "request_id": request_id}))
            elif form := items.form(raw.header(scope, b"accept") or ""):
                await items.answer(
                    scope,
                    receive,
                    send,
                    answered,
                    form=form,
                    headers={"x-request-id": request_id},
                    largest=services.limits.output,
                    shown=partial(outcomes.shown, actor),
                )
            else:
                outcome, target = await answered()
                response = outcomes.response(actor, target, outcome, request_id=request_id, is_raw=output == "raw")
                await protocol.answer(scope, send, *response)

    return raw.guarded(call)


def _asked(services: Services, actor: Actor, path: str) -> Reference:
    """Read `OWNER/NAME[/VERSION]` or `ID[/VERSION]`.

    Returns:
        What is to be called.

    Raises:
        NotFound: There is no algorithm of that id that the actor may call.
    """
    first, _, selector = path.partition("/")
    try:
        identifier = UUID(first) if len(first) == _UUID else None
    except ValueError:
        identifier = None
    if identifier is None:
        return usual_reference(path) if len(path) <= _USUAL else reference(path)
    return Reference(services.lookups.name(actor, identifier), selector or None)


def _over(task: asyncio.Task[object]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.warning("a void call was not made", reason=str(error))


async def _body(receive: Receive, largest: int) -> bytes | None:
    parts, size, loop = [], 0, asyncio.get_running_loop()
    async with asyncio.timeout(SILENCE) as limit:
        async for part in raw.chunks(receive):
            limit.reschedule(loop.time() + SILENCE)
            size += len(part)
            if size > largest:
                return None
            parts.append(part)
    return b"".join(parts)


def new_request_id() -> str:
    """Make an id for a call: `req-` and a random UUID, for which Python's own module takes twice as long.

    Returns:
        The id.
    """
    digits = f"{int.from_bytes(os.urandom(16)) & _RANDOM_BITS | _VERSION_4:032x}"
    return f"req-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def content_type(header: str, encoding: str) -> str | None:
    """Read what kind of input a request has.

    Args:
        header: Its Content-Type.
        encoding: Its Content-Encoding.

    Returns:
        `json`, `text` or `binary`; none for what cannot be called with, such as text that is not in UTF-8.
    """
    name, _, parameters = header.lower().partition(";")
    kind = _TYPES.get(name.strip())
    if encoding and encoding.strip().lower() != "identity":
        return None
    if parameters and kind != "binary" and (charset := _CHARSET.search(parameters)) and charset[1] not in _UTF_8:
        return None
    return kind


def timeout_of(options: Mapping[str, str]) -> float:
    """Read how long the caller waits.

    Returns:
        Seconds.

    Raises:
        InvalidRequest: It is no such time.
    """
    text = options.get("timeout")
    if text is None:
        return DEFAULT_TIMEOUT
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise InvalidRequest(f"timeout is {text[:40]!r}; use seconds, more than 0 and at most {LONGEST_TIMEOUT:g}")
    return seconds


def output_of(options: Mapping[str, str]) -> str:
    """Read what the caller wants of the result.

    Returns:
        One of `OUTPUTS`.

    Raises:
        InvalidRequest: It is none of them.
    """
    output = options.get("output") or OUTPUTS[0]
    if output not in OUTPUTS:
        raise InvalidRequest(f"output is {output[:40]!r}; use {', '.join(OUTPUTS)}")
    return output


def read(kind: str, body: bytes, options: Mapping[str, str], trace: str) -> Call:
    """Make what an algorithm is called with; its token is still to come.

    Args:
        kind: What the body is.
        body: As it came.
        options: Of the request.
        trace: Its `traceparent`, whatever that is.

    Returns:
        The call.
    """
    return Call(
        kind,
        body,
        stdout=options.get("stdout", "").lower() == "true",
        trace=trace if _TRACE.fullmatch(trace) else "",
    )
