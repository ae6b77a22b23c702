"""`/v1/algo`: the one asynchronous path from a caller to a worker and back (platform API, section 1).

The body is never parsed here. A failing algorithm answers 200 with an `error`: clients lose the message of anything
else.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import cast
from uuid import UUID, uuid4

import structlog
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from pushpoint import wire
from pushpoint.engines.streams import Stream
from pushpoint.errors import InvalidRequest
from pushpoint.names import Reference, decode_path, reference
from pushpoint.records import Actor, FailedCall
from pushpoint.registry.reports import INPUT
from pushpoint.runtime.messages import Answer, Call, Failure, Outcome
from pushpoint.serving import Services
from pushpoint.serving import calls as serving
from pushpoint.serving.lookups import Target
from pushpoint.web import guards, items, protocol, raw

DEFAULT_TIMEOUT, LONGEST_TIMEOUT = 300.0, 3000.0

log = structlog.get_logger()

_TYPES = {
    "application/json": "json",
    "text/plain": "text",
    "application/text": "text",
    "application/octet-stream": "binary",
}
_RAW_TYPES = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "binary": "application/octet-stream",
    "void": "application/json",
}
_TRACE = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""A `traceparent`: https://www.w3.org/TR/trace-context/. Another one is not passed on."""
_PREFIX = "/v1/algo"
_USUAL = 100  # characters of a path whose meaning is remembered
_reference = lru_cache(10_000)(reference)
_UUID = 36  # characters; a name has at most 30
_JSON = {"content-type": "application/json"}


def application(services: Services) -> ASGIApp:
    """Make the application for `/v1/algo`.

    Returns:
        An ASGI application.
    """
    running: set[asyncio.Task[object]] = set()

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope = cast("HTTPScope", scope)
        request_id = f"req-{uuid4()}"
        actor = guards.identify(services, raw.header(scope, b"authorization"), ["call"], deploys=True)
        if scope["method"] != "POST":
            await raw.refuse(send, 405, "call algorithms with POST", allow="POST")
            return
        asked = _asked(services, actor, decode_path(scope["raw_path"]).removeprefix(_PREFIX).strip("/"))
        options = raw.query(scope) if scope["query_string"] else {}
        kind = (raw.header(scope, b"content-type") or "").partition(";")[0].strip().lower()
        if kind not in _TYPES:
            await raw.refuse(send, 415, f"415 unsupported content type; use {', '.join(_TYPES)}")
            return
        timeout = _timeout(options.get("timeout"))
        largest = services.limits.input
        body = await _body(receive, largest)
        if body is None:
            await raw.refuse(send, 413, f"the input is over {largest} bytes; put it in a data:// file")
            return
        trace = raw.header(scope, b"traceparent") or ""
        request = Call(
            _TYPES[kind],
            body,
            stdout=options.get("stdout", "").lower() == "true",
            trace=trace if _TRACE.fullmatch(trace) else "",
        )

        async def answered(stream: Stream | None = None) -> tuple[Outcome, Target]:
            began = time.perf_counter()
            outcome, target = await serving.call(
                services, actor, asked, request, timeout=timeout, request_id=request_id, stream=stream
            )
            if isinstance(outcome, Answer) and outcome.content_type == "json" and not wire.is_json(outcome.data):
                why = "the result holds text that JSON cannot: half a surrogate pair, or something odder"
                outcome = Failure("AlgorithmError", why, "", outcome.duration, outcome.stdout)
            if isinstance(outcome, Answer) and len(outcome.data) > services.limits.output:
                why = f"the result is over {services.limits.output} bytes; write it to a data:// file"
                outcome = Failure("TooLargeError", why, "", outcome.duration, outcome.stdout)
            seconds = time.perf_counter() - began
            services.metrics.answered(target, outcome, seconds)
            if isinstance(outcome, Failure):
                services.call_log.failed(target, outcome, seconds, request_id)
                services.reports.add(_failed(actor, target, request, outcome, request_id))
            return outcome, target

        if options.get("output") == "void":
            target = services.lookups.target(actor, asked)  # what cannot be called is refused now, and what is too much
            with ExitStack() as held:
                held.enter_context(services.limits.slot(actor))
                place = held.pop_all()
            task = asyncio.create_task(answered())
            running.add(task)
            task.add_done_callback(lambda _: place.close())
            task.add_done_callback(_over)
            task.add_done_callback(running.discard)
            # "void", not true: the Java client's suite compares it
            headers = {**_JSON, **target.lineage, "x-request-id": request_id}
            await raw.answer(send, 200, headers, wire.encode({"async": "void", "request_id": request_id}))
            return
        with services.limits.slot(actor):
            if form := items.form(raw.header(scope, b"accept") or ""):
                await items.answer(
                    scope,
                    receive,
                    send,
                    answered,
                    form=form,
                    headers={"x-request-id": request_id},
                    largest=services.limits.output,
                    shown=partial(_for, actor),
                )
                return
            outcome, target = await answered()
        headers = {**target.lineage, "x-request-id": request_id}
        outcome = _for(actor, target, outcome)
        if options.get("output") == "raw":
            await protocol.answer(scope, send, *_raw(outcome, headers))
        else:
            await protocol.answer(scope, send, 200, _JSON | headers, _envelope(outcome))

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
        return _reference(path) if len(path) <= _USUAL else reference(path)
    return Reference(services.lookups.name(actor, identifier), selector or None)


def _failed(actor: Actor, target: Target, request: Call, failure: Failure, request_id: str) -> FailedCall:
    return FailedCall(
        algorithm_id=target.algorithm.id,
        algorithm=target.algorithm.name,
        created=datetime.now(UTC),
        request_id=request_id,
        caller=actor.account.name,
        version=target.version or target.build.commit,
        input=request.data[: 4 * INPUT].decode("utf-8", "replace")[:INPUT],
        message=failure.message,
        error_type=failure.error_type,
    )


def _over(task: asyncio.Task[object]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.warning("a void call was not made", reason=str(error))


async def _body(receive: Receive, largest: int) -> bytes | None:
    parts, size = [], 0
    async for part in raw.chunks(receive):
        size += len(part)
        if size > largest:
            return None
        parts.append(part)
    return b"".join(parts)


def _timeout(text: str | None) -> float:
    if text is None:
        return DEFAULT_TIMEOUT
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise InvalidRequest(f"timeout is {text[:40]!r}; use seconds, at most {LONGEST_TIMEOUT:g}")
    return seconds


def _for(actor: Actor, target: Target, outcome: Outcome) -> Outcome:
    """Leave out what only those who may read the source may see.

    Returns:
        The outcome as the caller may see it.
    """
    if target.algorithm.name.owner in actor.owners:
        return outcome
    if isinstance(outcome, Failure):
        return replace(outcome, stdout=None, stacktrace="")
    return replace(outcome, stdout=None)


def _envelope(outcome: Outcome) -> bytes:
    metadata: dict[str, object] = {"duration": round(outcome.duration, 9)}
    if outcome.stdout is not None:
        metadata["stdout"] = outcome.stdout
    if isinstance(outcome, Failure):
        # the Java client crashes where there is no `stacktrace`, and the Python client reads the second spelling
        trace = {"stacktrace": outcome.stacktrace, "stack_trace": outcome.stacktrace}
        error = {"message": outcome.message, "error_type": outcome.error_type} | trace
        return wire.encode({"error": error, "metadata": metadata})
    metadata = {"content_type": outcome.content_type} | metadata
    return b'{"result":' + _result(outcome) + b',"metadata":' + wire.encode(metadata) + b"}"


def _result(answer: Answer) -> bytes:
    match answer.content_type:
        case "json":
            return answer.data
        case "text":
            return wire.encode(answer.data.decode("utf-8", "replace"))
        case "binary":
            return b'"' + base64.b64encode(answer.data) + b'"'
    return b"null"


def _raw(outcome: Outcome, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    if isinstance(outcome, Failure):
        status = 504 if outcome.error_type == "TimeoutError" else 400
        error = {"message": outcome.message, "error_type": outcome.error_type}
        return status, _JSON | headers, wire.encode({"error": error})
    return 200, {"content-type": _RAW_TYPES[outcome.content_type]} | headers, outcome.data
