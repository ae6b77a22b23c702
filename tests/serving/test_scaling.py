"""Releases that nobody calls have no workers, and the next call waits for one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.serving.test_metrics import value
from tests.web.support import JSON, TEXT, Answer, ask, serve

CODE = """
import os
import time

time.sleep(0.5)


def apply(input):
    return os.getpid()
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(tmp_path_factory.mktemp("home"), "--idle-after", "1", "--max-replicas", "2")
    serve(running, "ann/idle", CODE)
    yield running
    stop_platform(running)


def replicas(platform: Platform) -> float:
    return value(platform, "replicas", algorithm="ann/idle", version="0.1.0")


def scale(platform: Platform, **scaling: Any) -> Answer:
    body = json.dumps({"settings": {"scaling": scaling}}).encode()
    return ask(platform, "PUT", "/v1/algorithms/ann/idle", body, headers=JSON)


def until(platform: Platform, number: float) -> None:
    deadline = time.monotonic() + 15
    while replicas(platform) != number:
        assert time.monotonic() < deadline, f"there were never {number} workers"
        time.sleep(0.05)


def call(platform: Platform) -> Any:
    answer = ask(platform, "POST", "/v1/algo/ann/idle", b"x", headers=TEXT)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)["result"]


def test_an_idle_release_ends_and_its_next_calls_are_held(platform: Platform) -> None:
    until(platform, 0)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(call(platform))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1, "one worker was started for all of them"
    until(platform, 0)
    assert call(platform)


def test_calls_never_meet_a_pool_that_ends(platform: Platform) -> None:
    """The looks are once a second, a call every 0.35 to 2 seconds: some come just as the workers end."""
    assert scale(platform, idle_seconds=1).status == 200
    for pause in (0.9, 1.0, 1.1, 1.5, 1.9, 2.0):
        time.sleep(pause)
        assert call(platform)


def test_some_workers_stay_when_their_owner_wants_that(platform: Platform) -> None:
    until(platform, 0)
    assert scale(platform, min_replicas=3).status == 200, "more than the platform allows is as much as it allows"
    until(platform, 2)
    time.sleep(2.5)
    assert replicas(platform) == 2
    assert scale(platform, min_replicas=0).status == 200
    until(platform, 0)


@pytest.mark.parametrize(
    "wrong", [{"min_replicas": -1}, {"max_replicas": 0}, {"max_replicas": 101}, {"idle_seconds": 0}]
)
def test_bounds_that_make_no_sense_are_refused(platform: Platform, wrong: dict[str, Any]) -> None:
    assert scale(platform, **wrong).status == 400
