"""Workers come while calls wait, and go when nobody needs them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from pushpoint.engines import supervisor
from pushpoint.engines.local import LocalPool
from pushpoint.runtime.messages import Call
from pushpoint.scaling import Scaling
from tests.engines.conftest import Platform
from tests.engines.test_many_at_once import begin, results


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)


def replicas(pool: LocalPool, number: int) -> Callable[[], bool]:
    return lambda: pool.live_replicas == number


def test_calls_that_wait_for_long_get_more_workers_and_those_end_again(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "TICK_SECONDS", 0.2)
    monkeypatch.setattr(supervisor, "MEMORY_SECONDS", 1.0)
    pool = platform.start("hangs", scaling=Scaling(max_replicas=3))
    assert pool.live_replicas == 1
    started = time.monotonic()
    assert results(begin(platform, pool, *[1.0] * 9)) == [1.0] * 9
    assert time.monotonic() - started < 7, "not one after the other"
    assert pool.live_replicas == 3, "and no more than it may have"
    until(replicas(pool, 1))
    assert platform.answer(pool, 0) == 0


def test_quick_calls_need_one_worker(platform: Platform) -> None:
    pool = platform.start("echo", scaling=Scaling(max_replicas=3))
    until_then = time.monotonic() + 2 * supervisor.PATIENCE_SECONDS
    while time.monotonic() < until_then:
        assert results(begin(platform, pool, *range(100))) == list(range(100))
    assert pool.live_replicas == 1


def test_spare_workers_are_ready_before_calls_wait(platform: Platform) -> None:
    pool = platform.start("hangs", scaling=Scaling(max_replicas=3, spare_replicas=1))
    assert pool.live_replicas == 2
    slow = begin(platform, pool, 4.0, 4.0)
    until(replicas(pool, 3))
    assert pool.waiting == 0
    assert results(slow) == [4.0, 4.0]


def test_a_machine_that_is_full_gets_no_more_workers(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "available_memory", lambda: 0)
    pool = platform.start("hangs", scaling=Scaling(max_replicas=3))
    assert results(begin(platform, pool, 0.6, 0.6, 0.6)) == [0.6] * 3
    assert pool.live_replicas == 1


def test_a_call_has_its_timeout_while_every_worker_is_being_replaced(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_SECONDS", 8.0)
    pool = platform.start("dies_in_apply", scaling=Scaling(max_replicas=3))
    platform.answer(pool)
    assert platform.failure(pool, "exit").error_type == "SystemExit"
    started = time.monotonic()
    for _ in range(2):
        assert "no replica was free within 1 s" in platform.failure(pool, timeout=1.0).message
    assert time.monotonic() - started < 4


def test_a_caller_that_cannot_take_its_outcome_harms_no_other(platform: Platform) -> None:
    pool = platform.start("hangs")
    caught: list[object] = []

    async def spoil() -> None:
        def refuse(outcome: object) -> None:
            raise RuntimeError(str(outcome))

        asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context["exception"]))
        pool.submit(Call("json", b"0.2", "the-callers"), 5, refuse)
        pool.submit(Call("json", b"30", "the-callers"), 0.5, refuse)

    platform.run(spoil())
    started = time.monotonic()
    assert platform.failure(pool, 30, timeout=1.5).error_type == "TimeoutError"
    assert platform.answer(pool, 0) == 0, "the worker that hung was replaced"
    assert time.monotonic() - started < 6
    assert [type(one) for one in caught] == [RuntimeError, RuntimeError]
    assert pool.in_flight == 0


def test_other_bounds_hold_from_now_on(platform: Platform) -> None:
    pool = platform.start("echo", scaling=Scaling(max_replicas=1))
    pool.scale(Scaling(min_replicas=2, max_replicas=2))
    until(replicas(pool, 2))
    pool.scale(Scaling(min_replicas=1, max_replicas=1))
    until(replicas(pool, 1))
    assert platform.answer(pool, 1) == 1
