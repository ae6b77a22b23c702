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
from collections.abc import Callable, Coroutine, Mapping
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
    """

    media_type: str
    item: Callable[[Item], bytes]
    last: Callable[[str, bytes], bytes]


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
    loop, stream = asyncio.get_running_loop(), Stream()
    started = loop.time()
    called = loop.create_task(call(stream))
    left = loop.create_task(_until_gone(receive))
    left.add_done_callback(lambda _: _settle(stream, Answer("void", b"", loop.time() - started)))
    failure: Failure | None = None
    begun = False

    async def begin(lineage: Mapping[str, str]) -> None:
        nonlocal begun
        if not begun:
            begun = True
            kind = {"content-type": form.media_type}
            await raw.begin(send, 200, {**kind, **_HEADERS, **lineage, **headers})

    async def write(text: bytes, *, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": text, "more_body": more})

    try:
        async with asyncio.timeout(None) as limit:

            def over(_: object) -> None:
                stream.end()
                limit.reschedule(loop.time() + PATIENCE)

            called.add_done_callback(over)
            try:
                while items := await stream.take():
                    if failure := next(filter(None, (_wrong(item, largest) for item in items)), None):
                        _settle(stream, failure)
                        break
                    await begin(stream.lineage)
                    await write(b"".join(map(form.item, items)))
                outcome, target = await called
                outcome = failure or outcome
            finally:
                called.remove_done_callback(over)
            if left.done():
                raise raw.Gone
            await begin(target.lineage)
            if isinstance(outcome, Answer) and outcome.content_type != "void":
                await write(form.item(Item(outcome.content_type, outcome.data)))
            has_failed = isinstance(outcome, Failure)
            end = wire.encode(_end(shown(target, outcome), target.lineage))
            await write(form.last("error" if has_failed else "done", end), more=has_failed)
        if has_failed:
            protocol.break_off(scope)
    except TimeoutError:
        protocol.break_off(scope)
    finally:
        left.cancel()
        called.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
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
        Form("text/event-stream", _event, lambda name, text: b"event: %b\ndata: %b\n\n" % (name.encode(), text)),
        Form("application/x-ndjson", _line, lambda name, text: text + b"\n"),
    )
}
