"""The items of a stream as they are written to a caller that asks for one by `Accept`: two forms, one way to end.

`text/event-stream`: an event for each item, then one that is named `done` or `error`. JSON stands in it as JSON, text
as text, so an algorithm may yield just what the readers of another API expect.
`application/x-ndjson`: a line `{"item", "content_type"}` for each item, then one with `metadata`, and `error` if it
failed.

A stream that failed has no clean end either: the connection breaks off after the error, for those who read no names.

Source:
    https://html.spec.whatwg.org/multipage/server-sent-events.html; the names of the last event are Replicate's, and
    the readers of OpenAI's streams take the data of `error` for what it is.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from litestar.types import HTTPScope, Receive, Send

from pushpoint import wire
from pushpoint.engines.streams import Stream
from pushpoint.runtime.messages import Answer, Failure, Item, Outcome
from pushpoint.serving.lookups import Target
from pushpoint.web import protocol, raw

ERROR_EVENT = b"event: error\ndata: "
"""What the last event of a stream that failed begins with."""
PATIENCE = 10.0
"""Seconds that a caller may take to read what is left when its call is over."""
KEEP_ALIVE = 15.0
"""Seconds without an item, after which readers of events get a comment: proxies take a silent connection for dead."""
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""Proxies are to pass on each item at once; the second is for nginx."""
_LINE = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Form:
    """How a stream is written.

    Attributes:
        media_type: What a caller accepts that wants it.
        item: Writes an item.
        last: Writes the end, from `done` or `error` and JSON.
        comment: What readers skip; empty where there is no such thing.
    """

    media_type: str
    item: Callable[[Item], bytes]
    last: Callable[[str, bytes], bytes]
    comment: bytes = b""


def form(accept: str) -> Form | None:
    """Find the form that a caller wants most.

    Returns:
        It; none for the ordinary envelope.
    """
    for part in accept.split(","):
        media_type = part.partition(";")[0].strip().lower()
        if media_type in {"application/json", "*/*"}:
            return None
        if found := _FORMS.get(media_type):
            return found
    return None


async def answer(
    scope: HTTPScope,
    receive: Receive,
    send: Send,
    call: Callable[[Stream], Coroutine[Any, Any, tuple[Outcome, Target]]],
    *,
    form: Form,
    headers: Mapping[str, str],
    largest: int,
    shown: Callable[[Target, Outcome], Outcome],
) -> None:
    """Make a call and write its items as they come, no faster than they are read.

    Args:
        scope: The request.
        receive: Says when the caller goes away; then the call ends.
        send: Waits while the caller does not read.
        call: Makes the call.
        form: How to write.
        headers: Those beside the lineage.
        largest: Bytes that an item may have.
        shown: Leaves out of the outcome what is not for this caller.
    """
    loop, stream, writer = asyncio.get_running_loop(), Stream(), _Writer(send, form, headers)
    started, limit = loop.time(), asyncio.timeout(None)
    called = loop.create_task(call(stream))
    left = loop.create_task(_until_gone(scope, receive))
    left.add_done_callback(lambda _: _settle(stream, Answer("void", b"", loop.time() - started)))
    beats = loop.create_task(writer.keep_alive(stream))

    def over(_: object) -> None:
        stream.end()
        limit.reschedule(loop.time() + PATIENCE)

    called.add_done_callback(over)
    try:
        async with limit:
            failure: Failure | None = None
            while not failure and (items := await stream.take()):
                if failure := next(filter(None, (_wrong(item, largest) for item in items)), None):
                    _settle(stream, failure)
                else:
                    await writer.write(items, stream.lineage)
            outcome, target = await called
            if left.done():
                protocol.break_off(scope)
                raise raw.Gone
            beats.cancel()
            outcome = failure or outcome
            if isinstance(outcome, Answer) and outcome.content_type != "void":
                await writer.write([Item(outcome.content_type, outcome.data)], target.lineage)
            await writer.end(shown(target, outcome), target.lineage)
        if isinstance(outcome, Failure):
            protocol.break_off(scope)
    except TimeoutError:
        protocol.break_off(scope)
    finally:
        called.remove_done_callback(over)
        for task in (left, called, beats):
            task.cancel()


class _Writer:
    def __init__(self, send: Send, form: Form, headers: Mapping[str, str]) -> None:
        self._send, self._form, self._headers = send, form, headers
        self._has_begun, self._last = False, 0.0

    async def keep_alive(self, stream: Stream) -> None:
        """Write a comment whenever nothing was written for long, from when it is known what gives the items."""
        loop = asyncio.get_running_loop()
        while self._form.comment:
            await asyncio.sleep(self._last + KEEP_ALIVE - loop.time() if self._has_begun else KEEP_ALIVE)
            if stream.lineage and loop.time() - self._last >= KEEP_ALIVE:
                await self._write(self._form.comment, stream.lineage)

    async def write(self, items: Sequence[Item], lineage: Mapping[str, str]) -> None:
        await self._write(b"".join(map(self._form.item, items)), lineage)

    async def end(self, outcome: Outcome, lineage: Mapping[str, str]) -> None:
        has_failed = isinstance(outcome, Failure)
        end = wire.encode(_end(outcome, lineage))
        await self._write(self._form.last("error" if has_failed else "done", end), lineage, more=has_failed)

    async def _write(self, text: bytes, lineage: Mapping[str, str], *, more: bool = True) -> None:
        if not self._has_begun:
            self._has_begun = True
            kind = {"content-type": self._form.media_type}
            await raw.begin(self._send, 200, {**kind, **_HEADERS, **lineage, **self._headers})
        self._last = asyncio.get_running_loop().time()
        await self._send({"type": "http.response.body", "body": text, "more_body": more})


async def _until_gone(scope: HTTPScope, receive: Receive) -> None:
    # who has closed and who has only asked all that it wanted look alike; no items are made for nobody
    while not protocol.has_ended(scope) and (await receive())["type"] != "http.disconnect":
        pass


def _settle(stream: Stream, outcome: Outcome) -> None:
    if not stream.outcome.done():
        stream.outcome.set_result(outcome)


def _wrong(item: Item, largest: int) -> Failure | None:
    if len(item.data) > largest:
        return Failure("TooLargeError", f"an item is over {largest} bytes; make it several")
    if item.content_type == "json" and not wire.is_json(item.data):
        return Failure(
            "AlgorithmError", "an item holds text that JSON cannot: half a surrogate pair, or something odder"
        )
    return None


def _end(outcome: Outcome, lineage: Mapping[str, str]) -> dict[str, object]:
    metadata: dict[str, object] = {"duration": round(outcome.duration, 9)}
    if outcome.stdout is not None:
        metadata["stdout"] = outcome.stdout
    made = {name.removeprefix("x-pushpoint-"): value for name, value in lineage.items()}
    end: dict[str, object] = {"metadata": metadata, "lineage": made}
    if isinstance(outcome, Failure):  # first, as everywhere
        error = {"message": outcome.message, "error_type": outcome.error_type, "stacktrace": outcome.stacktrace}
        end = {"error": error} | end
    return end


def _event(item: Item) -> bytes:
    match item.content_type:
        case "text":
            text = item.data.decode("utf-8", "replace").encode()
        case "binary":
            text = base64.b64encode(item.data)
        case _:
            text = item.data
    return b"".join(b"data: " + line + b"\n" for line in _LINE.split(text)) + b"\n"


def _line(item: Item) -> bytes:
    match item.content_type:
        case "text":
            value = wire.encode(item.data.decode("utf-8", "replace"))
        case "binary":
            value = b'"' + base64.b64encode(item.data) + b'"'
        case _:
            value = _LINE.sub(b" ", item.data)  # between its parts, where a worker is odd: strings hold none
    return b'{"item":' + value + b',"content_type":"' + item.content_type.encode() + b'"}\n'


_FORMS = {
    one.media_type: one
    for one in (
        Form(
            "text/event-stream", _event, lambda name, text: b"event: %b\ndata: %b\n\n" % (name.encode(), text), b":\n\n"
        ),
        Form("application/x-ndjson", _line, lambda name, text: text + b"\n"),
    )
}
