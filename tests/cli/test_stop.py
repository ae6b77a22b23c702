"""A platform that is stopped waits for calls, and tells those that take too long to come again."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import JSON, Answer, address, ask, compile_head, publish, push, serve

WITH_GRACE = """
from pushpoint.cli import handover
handover.GRACE, handover.LAST_SECONDS = {grace}, 1
from pushpoint.cli import main
main()
"""
WAITS = """
import time


def apply(input):
    time.sleep(input)
    print("was here", flush=True)
    return input
"""
CALLS = """
import json
import os
import time
import urllib.request


def apply(input):
    time.sleep(input)
    url = os.environ["ALGORITHMIA_API"] + "/v1/algo/ann/waits"
    with urllib.request.urlopen(urllib.request.Request(url, b"0", {"content-type": "application/json"})) as answer:
        return json.load(answer)["result"]
"""
STREAMS = """
import time


def apply(input):
    yield 1
    time.sleep(input)
"""
SERVED = {"ann/waits": WAITS, "ann/calls": CALLS, "ann/streams": STREAMS}
EVENTS = {"accept": "text/event-stream"}


class Callers:
    """Calls that are under way while the platform is stopped."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.answers: dict[str, Answer] = {}
        self.broken_off = b""
        self._threads: list[threading.Thread] = []

    def call(self, who: str, path: str, seconds: float, headers: dict[str, str]) -> None:
        def call() -> None:
            body = json.dumps(seconds).encode()
            try:
                self.answers[who] = ask(self.platform, "POST", f"/v1/algo/{path}", body, headers=JSON | headers)
            except IncompleteRead as error:
                self.broken_off = error.partial

        self._threads.append(threading.Thread(target=call))
        self._threads[-1].start()

    def stop(self) -> float:
        time.sleep(0.7)
        began = time.monotonic()
        self.platform.process.send_signal(signal.SIGTERM)
        assert self.platform.process.wait(30) == 0
        took = time.monotonic() - began
        for thread in self._threads:
            thread.join()
        stop_platform(self.platform)
        return took

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.platform.home / "platform.log").read_text().splitlines()]

    def errors(self) -> str:
        return (self.platform.home / "stderr.log").read_text()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    for name, code in SERVED.items():
        serve(platform, name, code)
    stop_platform(platform)
    return platform.home


def started(home: Path, grace: float) -> Callers:
    for left in (home / "platform.log", *(home / "builds").glob("*/output.log")):
        left.unlink()
    platform = start_platform(home, program=("-c", WITH_GRACE.format(grace=grace)))
    for name in SERVED:  # the shorter way now knows them
        assert ask(platform, "POST", f"/v1/algo/{name}", b"0", headers=JSON).status == 200
    return Callers(platform)


def test_calls_that_take_too_long_are_told_to_come_again(home: Path) -> None:
    callers = started(home, 1.5)
    callers.call("short", "ann/waits", 1.5, {})
    callers.call("direct", "ann/streams", 60, {})
    callers.call("ordinary", "ann/calls", 60, {"expect": "100-continue"})
    callers.call("raw", "ann/waits?output=raw", 60, {})
    callers.call("stream", "ann/streams", 60, EVENTS)
    callers.call("void", "ann/waits?output=void", 60, {})
    assert callers.stop() < 10
    answers = callers.answers
    assert answers["short"].json["result"] == 1.5
    for who in ("direct", "ordinary", "raw"):
        assert answers[who].status == 503, who
        assert answers[who].json["error"]["error_type"] == "Unavailable"
        assert answers[who].json["error"]["id"] == answers[who].headers["x-request-id"]
        assert answers[who].headers["retry-after"] == "5"
        assert answers[who].headers["x-pushpoint-algorithm"].startswith("ann/")
    assert b'event: error\ndata: {"error":{"message":"its worker was stopped' in callers.broken_off
    failed = {line["request_id"]: line["error_type"] for line in callers.log() if line["event"] == "a call failed"}
    assert set(failed.values()) == {"Unavailable"}
    assert len(failed) == 5, "the stream is among them"
    assert {answer.headers["x-request-id"] for who, answer in answers.items() if who != "short"} < set(failed)
    assert "the platform stops; calls that are under way are ended" in {line["event"] for line in callers.log()}
    assert "Traceback" not in callers.errors()


def test_what_is_under_way_is_waited_for_with_all_that_it_calls(home: Path) -> None:
    callers = started(home, 20)
    callers.call("void", "ann/waits?output=void", 2.5, {})
    callers.call("calls", "ann/calls", 1.5, {})
    assert 1.5 < callers.stop() < 10
    assert callers.answers["calls"].json["result"] == 0
    logs = [path.read_text() for path in (callers.platform.home / "builds").glob("*/output.log")]
    assert sum(text.count("was here") for text in logs) == 2 + 2
    assert "a call failed" not in {line["event"] for line in callers.log()}
    assert "Traceback" not in callers.errors()


def test_a_request_that_never_comes_to_its_end_is_told_too(home: Path) -> None:
    callers = started(home, 1)
    head = f"POST /v1/algo/ann/waits HTTP/1.1\r\nhost: x\r\nauthorization: {callers.platform.key}\r\n"
    with socket.create_connection(address(callers.platform), timeout=20) as half:
        half.sendall(f"{head}content-type: application/json\r\ncontent-length: 10\r\n\r\n1".encode())
        assert callers.stop() < 10
        answer = b"".join(iter(lambda: half.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5\r\n" in answer
    assert b'"error_type":"Unavailable"' in answer
    assert "Traceback" not in callers.errors()


@pytest.mark.parametrize("seconds", [60, 2])
def test_a_release_that_is_left_while_the_platform_stops_leaves_no_traceback(home: Path, seconds: float) -> None:
    callers = started(home, 1)
    callers.call("old", "ann/waits", seconds, {})
    time.sleep(0.5)
    push(callers.platform, "ann/waits", {"src/waits.py": WAITS + "\n"})
    assert compile_head(callers.platform, "ann/waits")["compilation"]["successful"]
    publish(callers.platform, "ann/waits")
    assert callers.stop() < 10
    assert callers.answers["old"].status == (503 if seconds == 60 else 200)
    assert "Traceback" not in callers.errors()
