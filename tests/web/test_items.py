"""Streams as callers see them: server-sent events and lines of JSON, over real connections."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import pushpoint
from pushpoint.engines.streams import Stream
from pushpoint.errors import CallFailed, NotFound
from pushpoint.runtime import messages
from pushpoint.runtime.messages import WINDOW, Item
from pushpoint.web import items
from tests.conftest import Platform, start_platform, stop_platform
from tests.serving.test_metrics import samples
from tests.web.support import JSON, Answer, address, ask, issue_key, serve

EVENTS, LINES = "text/event-stream", "application/x-ndjson"

COUNTS = """
import json, os, time, urllib.request

CLOSED = []

def apply(input):
    if input == "closed":
        return CLOSED
    if input == "plain":
        return {"a": 1}
    return count(**input)

def count(items=(), count=0, size=1000, pause=0.0, fail="", child=""):
    print("printed")
    number = 0
    try:
        yield from items
        for number in range(count):
            yield "x" * size
            time.sleep(pause)
        if child:
            with urllib.request.urlopen(os.environ["PUSHPOINT_URL"] + child) as answer:
                yield json.load(answer)["name"]
        if fail == "die":
            os.kill(os.getpid(), 9)
        if fail == "bytes":
            yield b"x" * (16 << 20)
        if fail:
            raise ValueError(fail)
    except GeneratorExit:
        CLOSED.append(number)
        raise
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    serve(platform, "ann/counts", COUNTS, algorithm_callability="public")
    yield platform
    stop_platform(platform)


def call(platform: Platform, input: Any, accept: str = EVENTS, query: str = "", **more: Any) -> Answer:
    headers = {**JSON, "accept": accept}
    return ask(platform, "POST", f"/v1/algo/ann/counts{query}", json.dumps(input).encode(), headers=headers, **more)


@contextlib.contextmanager
def reading(
    platform: Platform, input: Any, accept: str = EVENTS, query: str = ""
) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(*address(platform), timeout=30)
    with contextlib.closing(connection):
        headers = {**JSON, "accept": accept, "authorization": platform.key}
        connection.request("POST", f"/v1/algo/ann/counts{query}", json.dumps(input).encode(), headers)
        yield connection.getresponse()


def broken_off(response: http.client.HTTPResponse) -> str:
    with pytest.raises(http.client.IncompleteRead) as caught:
        response.read()
    return caught.value.partial.decode()


def test_events_hold_text_as_text_and_json_as_json_and_the_last_one_where_it_comes_from(platform: Platform) -> None:
    answer = call(platform, {"items": ["one", "two\nlines", {"three": "\n"}, 4, None, "", "[DONE]"]})
    assert answer.status == 200
    assert answer.headers["content-type"] == EVENTS
    assert answer.headers["x-pushpoint-version"] == "0.1.0"
    events, _, last = answer.body.decode().partition("event: ")
    assert events == (
        "data: one\n\ndata: two\ndata: lines\n\n"
        'data: {"three":"\\n"}\n\ndata: 4\n\ndata: null\n\ndata: \n\ndata: [DONE]\n\n'
    )
    name, data, *_ = last.splitlines()
    end = json.loads(data.removeprefix("data: "))
    assert name == "done"
    assert end["lineage"]["version"] == "0.1.0"
    assert set(end["metadata"]) == {"duration"}


def test_lines_hold_each_item_with_its_type(platform: Platform) -> None:
    answer = call(
        platform, {"items": ["\u00e9\r\n", {"a": [1]}], "child": "/v1/algorithms/ann/counts"}, LINES, "?stdout=true"
    )
    lines = [json.loads(line) for line in answer.body.splitlines()]
    end = lines.pop()
    assert lines[:2] == [{"item": "\u00e9\r\n", "content_type": "text"}, {"item": {"a": [1]}, "content_type": "json"}]
    assert [line["item"] for line in lines[2:]] == ["counts"], "it still acts for its caller"
    assert end["metadata"]["stdout"] == "printed\n"
    assert "stdout" not in call(platform, {}, LINES, "?stdout=true", key=issue_key(platform, "bob")).json["metadata"]


def test_our_own_clients_take_them(platform: Platform) -> None:
    with pushpoint.Client(platform.url, platform.key) as client:
        algorithm = client.algorithm("ann/counts")
        assert list(algorithm.stream({"items": ["a", {"b": 1}]})) == ["a", {"b": 1}]
        with pytest.raises(CallFailed, match="broken"):
            list(algorithm.stream({"count": 1, "fail": "broken"}))
        with pytest.raises(NotFound):
            next(client.algorithm("ann/missing").stream(1))


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "application/json, text/event-stream"])
def test_others_get_the_ordinary_envelope_with_a_list(platform: Platform, accept: str) -> None:
    answer = call(platform, {"items": ["a", 1]}, accept)
    assert answer.json["result"] == ["a", 1]
    assert answer.json["metadata"]["content_type"] == "json"


def test_what_is_no_generator_is_a_stream_of_one(platform: Platform) -> None:
    assert call(platform, "plain").body.startswith(b'data: {"a":1}\n\nevent: done\n')


@pytest.mark.parametrize(
    ("fail", "error_type", "words"),
    [("broken", "AlgorithmError", "broken"), ("die", "SystemError", "SIGKILL"), ("bytes", "TooLargeError", "over")],
)
@pytest.mark.parametrize("accept", [EVENTS, LINES])
def test_an_error_after_items_is_said_and_the_end_is_not_clean(
    platform: Platform, fail: str, error_type: str, words: str, accept: str
) -> None:
    with reading(platform, {"items": ["a"], "fail": fail}, accept) as response:
        assert response.status == 200
        text = broken_off(response)
    *_, last = text.strip().splitlines()
    error = json.loads(last.removeprefix("data: "))["error"]
    assert error["error_type"] == error_type
    assert words in error["message"]
    assert text.startswith("data: a" if accept == EVENTS else '{"item":"a"')
    assert (accept == LINES) or "\n\nevent: error\n" in text


def test_what_cannot_be_called_has_a_status(platform: Platform) -> None:
    headers = {**JSON, "accept": EVENTS}
    assert ask(platform, "POST", "/v1/algo/ann/missing", b"1", headers=headers).status == 404
    assert call(platform, {}, key="wrong").status == 401


def test_items_come_when_they_are_made(platform: Platform) -> None:
    with reading(platform, {"count": 10**6, "pause": 0.05, "size": 2}) as response:
        assert [response.readline() for _ in range(4)] == [b"data: xx\n", b"\n"] * 2


def test_a_reader_that_shuts_down_its_side_has_left(platform: Platform) -> None:
    before = len(call(platform, "closed", "").json["result"])
    with reading(platform, {"count": 10**6, "pause": 0.05, "size": 2}) as response:
        response.readline()
        with socket.socket(fileno=os.dup(response.fileno())) as side:
            side.shutdown(socket.SHUT_WR)
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    assert len(call(platform, "closed", "").json["result"]) == before + 1


def test_a_slow_reader_holds_the_algorithm_and_one_that_leaves_closes_it(platform: Platform) -> None:
    before = len(call(platform, "closed", "").json["result"])
    with reading(platform, {"count": 10**6, "size": 1000}) as response:
        response.readline()
        time.sleep(0.5)
    closed: list[int] = call(platform, "closed", "").json["result"]
    assert len(closed) == before + 1
    in_sockets = 16 << 20
    assert closed[-1] * 1000 < WINDOW + in_sockets


def test_a_stream_has_the_calls_timeout_and_is_counted(platform: Platform) -> None:
    with reading(platform, {"count": 10**6, "pause": 0.01}, query="?timeout=0.5") as response:
        assert '"error_type":"TimeoutError"' in broken_off(response)
    counted = samples(platform)
    release = (("algorithm", "ann/counts"), ("version", "0.1.0"))
    assert counted["pushpoint_call_errors_total", (release[0], ("error_type", "TimeoutError"), release[1])] == 1
    assert counted["pushpoint_calls_in_flight", release] == 0


@pytest.mark.parametrize(("accept", "comments"), [(EVENTS, True), (LINES, False)])
def test_a_silent_stream_of_events_is_kept_alive_by_comments(
    monkeypatch: pytest.MonkeyPatch, accept: str, comments: bool
) -> None:
    monkeypatch.setattr(items, "KEEP_ALIVE", 0.05)
    sent: list[Any] = []

    async def send(message: object) -> None:
        sent.append(message)

    async def call(stream: Stream) -> tuple[messages.Answer, Any]:
        await asyncio.sleep(0.2)
        assert not sent, "nothing is said before it is known who answers"
        stream.lineage = {"x-pushpoint-algorithm": "ann/slow"}
        await asyncio.sleep(0.3)
        stream.begin(lambda _: None)
        stream.put(Item("json", b"1"))
        return messages.Answer("void", b"", 0.5), SimpleNamespace(lineage=stream.lineage)

    async def main() -> None:
        form = items.form(accept)
        assert form
        await items.answer(
            {"extensions": {}},  # type: ignore[typeddict-item]
            asyncio.Event().wait,  # type: ignore[arg-type]
            send,
            call,
            form=form,
            headers={},
            largest=100,
            shown=lambda _, outcome: outcome,
        )

    asyncio.run(main())
    bodies = [message["body"] for message in sent if message["type"] == "http.response.body"]
    assert (b":\n\n" in bodies) == comments
    assert len([one for one in bodies if one != b":\n\n"]) == 2, "the item and the end"
    assert dict(sent[0]["headers"])[b"x-pushpoint-algorithm"] == b"ann/slow"
