"""Algorithms that generate: item by item to a caller that takes a stream, one list to any other."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pushpoint.engines import worker
from pushpoint.engines.local import LocalPool
from pushpoint.engines.streams import Stream
from pushpoint.runtime.messages import WINDOW, Answer, Call, Failure, Item, Outcome
from pushpoint.sandbox import Sandbox
from tests.engines.conftest import Platform, eventually
from tests.engines.test_many_at_once import begin, results


@pytest.fixture
def sandbox(bubblewrap: Sandbox) -> Sandbox:
    return bubblewrap  # that frames pass through the walls, and without any, others show


@asynccontextmanager
async def streaming(pool: LocalPool, input: Any, timeout: float = 20.0, **more: Any) -> AsyncIterator[Stream]:
    stream = Stream()
    call = Call("json", json.dumps(input).encode(), "the-callers", stream=True, **more)
    task = asyncio.create_task(pool.call(call, timeout, stream))
    task.add_done_callback(lambda _: stream.end())
    try:
        yield stream
    finally:
        stream.outcome.cancel()
        await asyncio.wait([task])


async def read(pool: LocalPool, input: Any, **more: Any) -> tuple[list[Item], Outcome]:
    async with streaming(pool, input, **more) as stream:
        items = []
        while some := await stream.take():
            items += some
        return items, await stream.outcome


def said(items: list[Item]) -> list[Any]:
    return [json.loads(item.data) if item.content_type == "json" else item.data for item in items]


def test_items_come_as_they_are_and_an_answer_after_them(platform: Platform) -> None:
    pool = platform.start("streams")
    items, end = platform.run(read(pool, {"item": "mixed"}, stdout=True))
    assert [item.content_type for item in items] == ["binary", "text", "json"]
    assert said(items) == [b"\x00", b"text", {"number": 2}]
    assert isinstance(end, Answer)
    assert (end.content_type, end.data, end.stdout) == ("void", b"", "begun\n")
    items, end = platform.run(read(pool, "not a generator"))
    assert items == []
    assert isinstance(end, Answer)
    assert (end.content_type, end.data) == ("json", b'{"one":1}')


def test_a_caller_that_takes_no_stream_gets_a_list(platform: Platform) -> None:
    pool = platform.start("streams")
    assert platform.answer(pool, {"item": "mixed"}) == ["AA==", "text", {"number": 2}]
    assert platform.answer(pool, {"count": 0}) == []
    assert platform.answer(platform.start("streams_async"), {"count": 2}) == [1, 1]


@pytest.mark.parametrize(
    ("item", "kind", "words"),
    [
        ("raise", "AlgorithmError", "no more than 2"),
        ("odd", "AlgorithmError", "JSON cannot hold"),
        ("die", "SystemExit", "exit code 9"),
    ],
)
def test_a_stream_that_fails_says_so_after_its_items(platform: Platform, item: str, kind: str, words: str) -> None:
    pool = platform.start("streams")
    items, end = platform.run(read(pool, {"fail": 2, "item": item}))
    assert said(items) == [0, 1]
    assert isinstance(end, Failure)
    assert end.error_type == kind
    assert words in end.message
    assert platform.answer(pool, {"count": 1}) == [0], "the next call has a worker"


@pytest.mark.parametrize("name", ["streams", "streams_async"])
def test_what_is_under_way_is_bounded_by_the_window(platform: Platform, name: str) -> None:
    pool = platform.start(name)

    async def slowly() -> tuple[int, int]:
        async with streaming(pool, {"count": 10**9, "size": 1000, "pause": 0}) as stream:
            await asyncio.sleep(0.3)
            first = await stream.take()
            return len(first), sum(item.cost for item in first)

    count, size = platform.run(slowly())
    assert count > 100
    assert size < WINDOW + 2000


def test_a_worker_that_sends_more_than_the_window_is_ended(platform: Platform) -> None:
    async def unread() -> Outcome:
        async with streaming(pool, "flood") as stream:
            return await stream.outcome

    pool = platform.start("streams")
    end = platform.run(unread())
    assert isinstance(end, Failure)
    assert "more of a stream than was asked for" in end.message


def test_a_long_stream_arrives_whole_and_in_order(platform: Platform) -> None:
    items, _ = platform.run(read(platform.start("streams"), {"count": 5000}))
    assert said(items) == list(range(5000))


@pytest.mark.parametrize("stay", [False, True])
def test_a_caller_that_goes_away_closes_the_generator_and_not_the_worker(platform: Platform, stay: bool) -> None:
    pool = platform.start("streams")

    async def leave() -> None:
        async with streaming(pool, {"count": 10**9, "pause": 0.001, "stay": stay}) as stream:
            assert await stream.take()

    platform.run(leave())
    assert pool.in_flight == 0
    (closed,) = platform.answer(pool, "closed")
    assert closed < 1000


def test_a_stream_whose_time_is_over_is_closed_and_its_worker_stays(platform: Platform) -> None:
    pool = platform.start("streams")
    items, end = platform.run(read(pool, {"count": 10**9, "pause": 0.001}, timeout=0.7))
    assert items
    assert isinstance(end, Failure)
    assert (end.error_type, end.message) == ("TimeoutError", "the algorithm was not done within 0.7 s")
    assert len(platform.answer(pool, "closed")) == 1


def test_a_stream_that_falls_silent_is_ended_with_its_worker(platform: Platform) -> None:
    pool = platform.start("streams")
    _, end = platform.run(read(pool, {"count": 2, "pause": 60}, timeout=0.5))
    assert isinstance(end, Failure)
    assert platform.answer(pool, "closed") == [], "another worker"


def test_a_drain_waits_for_a_stream(platform: Platform) -> None:
    pool = platform.start("streams")
    reading: Future[tuple[list[Item], Outcome]] = asyncio.run_coroutine_threadsafe(
        read(pool, {"count": 50, "pause": 0.01}), platform.loop
    )
    eventually(lambda: pool.in_flight)
    pool.drain(20)
    items, end = reading.result(1)
    assert said(items) == list(range(50))
    assert isinstance(end, Answer)


def test_asynchronous_streams_run_side_by_side_and_one_that_is_left_is_cancelled(platform: Platform) -> None:
    pool = platform.start("streams_async")

    async def together() -> list[tuple[list[Item], Outcome]]:
        async with streaming(pool, {"count": 10**6, "pause": 60}) as left:
            await left.take()
            return await asyncio.gather(*(read(pool, {"count": 5}) for _ in range(10)))

    for items, end in platform.run(together()):
        assert said(items)[-1] > 5
        assert isinstance(end, Answer)
    assert platform.answer(pool, "closed") == [["CancelledError"]]


def test_a_plain_algorithm_answers_in_threads_if_it_asks_for_them(platform: Platform) -> None:
    pool = platform.start("threads")
    found = results(begin(platform, pool, *({"others": 4} for _ in range(8)), {"raise": "not this one"}))
    failed = found.pop()
    assert isinstance(failed, Failure)
    assert "not this one" in failed.message
    assert "worker.py" not in failed.stacktrace
    assert {most for most, _ in found} == {4}
    assert len({thread for _, thread in found}) == 4

    async def streams() -> list[tuple[list[Item], Outcome]]:
        return await asyncio.gather(*(read(pool, {"stream": 1500}) for _ in range(3)))

    assert [said(items) for items, _ in platform.run(streams())] == [list(range(1500))] * 3
    started = time.monotonic()
    platform.run(pool.stop(0))
    assert time.monotonic() - started < 2


def test_a_caller_that_has_left_does_not_keep_the_worker(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LEAST_BATCH_SECONDS", 0.5)
    pool = platform.start("streams")

    async def leave() -> None:
        async with streaming(pool, {"count": 2, "pause": 60}, timeout=3000.0) as left:
            await left.take()

    platform.run(leave())
    started = time.monotonic()
    assert platform.answer(pool, {"count": 1}) == [0]
    assert time.monotonic() - started < 10
