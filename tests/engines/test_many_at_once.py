"""Workers that take many calls at a time: ahead of their turn, in batches, side by side."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import Future
from typing import Any

import pytest

from pushpoint.engines.local import LocalPool
from pushpoint.errors import Unavailable
from pushpoint.runtime.messages import Answer, Call, Failure, Outcome
from tests.engines.conftest import Platform


def begin(
    platform: Platform, pool: LocalPool, *inputs: Any, timeout: float = 20.0, **more: Any
) -> list[Future[Outcome]]:
    """Make calls that are all under way before the first of them can be answered."""

    async def together() -> list[asyncio.Task[Outcome]]:
        calls = [Call("json", json.dumps(one).encode(), "the-callers", **more) for one in inputs]
        return [asyncio.create_task(pool.call(call, timeout)) for call in calls]

    tasks = platform.run(together())
    return [asyncio.run_coroutine_threadsafe(_of(task), platform.loop) for task in tasks]


async def _of(task: asyncio.Task[Outcome]) -> Outcome:
    return await task


def results(outcomes: list[Future[Outcome]]) -> list[Any]:
    found = [outcome.result(30) for outcome in outcomes]
    return [json.loads(one.data) if isinstance(one, Answer) else one for one in found]


def test_what_waits_is_a_batch_no_larger_than_it_may_be(platform: Platform) -> None:
    pool = platform.start("batches")
    slow = begin(platform, pool, "slow")
    time.sleep(0.1)
    rest = results(begin(platform, pool, *range(40)))
    assert results(slow) == [["slow", 1]]
    assert [one for one, _ in rest] == list(range(40)), "each has its own answer"
    assert max(size for _, size in rest) == 16


def test_a_lone_call_is_not_delayed(platform: Platform) -> None:
    pool = platform.start("batches")
    results(begin(platform, pool, *range(16)))
    time.sleep(0.1)
    took = []
    for _ in range(20):
        started = time.perf_counter()
        assert platform.answer(pool, 1) == [1, 1]
        took.append(time.perf_counter() - started)
    assert sorted(took)[3] < 0.002, "less than a batch may wait"


def test_one_bad_input_fails_alone(platform: Platform) -> None:
    pool = platform.start("batches")
    for bad, word in (("raise", "this one cannot be"), ("in place", "in its place"), ("short", "0 outputs for 1")):
        slow = begin(platform, pool, "slow")
        time.sleep(0.1)
        found = results(begin(platform, pool, 1, 2, bad, 3, 4, 5))
        results(slow)
        assert [one[0] for number, one in enumerate(found) if number != 2] == [1, 2, 3, 4, 5]
        assert isinstance(found[2], Failure)
        assert word in found[2].message


def test_an_input_that_is_not_json_fails_alone(platform: Platform) -> None:
    pool = platform.start("batches")
    slow = begin(platform, pool, "slow")
    good = begin(platform, pool, 1, 2)
    failure = platform.failure(pool, content_type="json", data=b"{")
    assert failure.error_type == "ParsingError"
    assert [one[0] for one in results(slow + good)] == ["slow", 1, 2]


def test_an_input_that_ends_the_worker_ends_alone(platform: Platform) -> None:
    pool = platform.start("batches")
    slow = begin(platform, pool, "slow")
    time.sleep(0.1)
    found = results(begin(platform, pool, 1, 2, "die", 3))
    results(slow)
    assert [found[0], found[1], found[3]] == [[1, 1], [2, 1], [3, 1]]
    assert isinstance(found[2], Failure)
    assert "SIGKILL" in found[2].message
    assert platform.answer(pool, 7) == [7, 1]


def test_what_a_batch_prints_is_not_in_a_callers_answer_but_its_own_is(platform: Platform) -> None:
    pool = platform.start("batches")
    (own,) = begin(platform, pool, "print", stdout=True)
    outcome = own.result(20)
    assert isinstance(outcome, Answer)
    assert outcome.stdout == "printed in a batch of 1\n"


def test_calls_after_the_one_that_ended_its_worker_are_made_by_the_next_one(platform: Platform) -> None:
    pool = platform.start("dies_in_apply")
    for _ in range(60):
        assert platform.answer(pool, "live") is not None  # it is quick, so calls go to it ahead of their turn
    found = results(begin(platform, pool, "live", "live", "kill", "live", "live"))
    assert [isinstance(one, Failure) for one in found] == [False, False, True, False, False]


def test_one_caller_without_patience_takes_nothing_from_the_others(platform: Platform) -> None:
    pool = platform.start("batches")
    slow = begin(platform, pool, "slow")
    time.sleep(0.05)
    hasty = begin(platform, pool, "slow", timeout=0.001)
    others = begin(platform, pool, 1, 2)
    (late,) = results(hasty)
    assert isinstance(late, Failure)
    assert late.error_type == "TimeoutError"
    assert [one[0] for one in results(slow + others)] == ["slow", 1, 2]


def test_an_asynchronous_algorithm_has_many_calls_at_once_and_no_more_than_it_wants(platform: Platform) -> None:
    pool = platform.start("waits")
    found = results(begin(platform, pool, *range(9), "raise", *range(40)))
    failed = found.pop(9)
    assert isinstance(failed, Failure)
    assert "not this one" in failed.message
    assert max(found) == 20


def test_who_does_not_wait_is_told_once(platform: Platform) -> None:
    def told(pool: LocalPool, input: object, timeout: float) -> Outcome:
        found: Future[Outcome] = Future()
        call = Call("json", json.dumps(input).encode())
        platform.loop.call_soon_threadsafe(pool.submit, call, timeout, found.set_result)
        return found.result(20)

    pool = platform.start("echo")
    answers = [told(pool, number, 10.0) for number in range(3)]
    assert [one.data for one in answers if isinstance(one, Answer)] == [b"0", b"1", b"2"]
    dying, hanging = platform.start("dies_in_apply"), platform.start("hangs")
    died, late = told(dying, "kill", 10.0), told(hanging, 5, 0.3)
    assert isinstance(died, Failure)
    assert isinstance(late, Failure)
    assert (died.error_type, late.error_type) == ("SystemError", "TimeoutError")
    for each in (pool, dying, hanging):
        assert each.in_flight == 0
        each.close()
    with pytest.raises(Unavailable):
        pool.submit(Call("json", b"1"), 1.0, lambda outcome: None)
