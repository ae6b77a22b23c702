"""The two ways of a call give the same answer; one that waits for "100 Continue" takes the longer way."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import JSON, TEXT, Answer, address, ask, issue_key, serve

ECHO = """
def apply(input):
    print("printed")
    if input == "raise":
        raise ValueError("boom")
    if input == "half":
        return {"a": "\\ud800"}
    if input == "much":
        return "x" * (16 << 20)
    if input == "slow":
        import time
        time.sleep(1)
    return input
"""
SIDE_BY_SIDE = """
import asyncio

async def apply(input):
    await asyncio.sleep(input)
    return input
"""
LONGER = {"expect": "100-continue"}
BINARY = {"content-type": "application/octet-stream"}


@dataclass(frozen=True)
class Both:
    """Makes each request twice."""

    platform: Platform
    other: str

    def __call__(self, body: bytes, kind: dict[str, str], path: str, *, key: str) -> tuple[Answer, Answer]:
        if key == "other":
            key = self.other
        found = []
        for headers in (kind, kind | LONGER):
            ask(self.platform, "POST", "/v1/algo/ann/echo", b"1", headers=JSON, key=key)  # the key is known now
            found.append(ask(self.platform, "POST", f"/v1/algo/{path}", body, headers=headers, key=key))
        return found[0], found[1]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    serve(platform, "ann/echo", ECHO, algorithm_callability="public")
    yield Both(platform, issue_key(platform, "bea"))
    stop_platform(platform)


@pytest.mark.parametrize("key", ["", "other"])
@pytest.mark.parametrize(
    ("body", "kind", "path"),
    [
        (b'{"a": 1}', JSON, "ann/echo"),
        (b'{"a": 1}', JSON | {"content-type": "Application/JSON; charset=utf-8"}, "ann/echo/0.1.0"),
        ("é".encode(), TEXT, "ann/echo/0.1.*"),
        (b"\x00\xff", BINARY, "ann/echo/latest"),
        (b'"x"', JSON | {"accept": "*/*"}, "ann/echo?output=raw"),
        (b"x", TEXT, "ann/echo?output=raw&timeout=10"),
        (b"x", BINARY, "ann/echo?output=raw"),
        (b"x", TEXT, "ann/echo?stdout=true"),
        (b'"raise"', JSON, "ann/echo?stdout=True"),
        (b'"raise"', JSON, "ann/echo?output=raw"),
        (b'"half"', JSON, "ann/echo"),
        (b'"much"', JSON, "ann/echo"),
        (b"{", JSON, "ann/echo"),
        (b"slow", TEXT, "ann/echo?timeout=0.3"),
        (b"slow", TEXT, "ann/echo?timeout=0.3&output=raw"),
        (b"1", JSON, "ann/echo?timeout=x"),
        (b"1", JSON, "ann/echo/9.9.9"),
        (b"1", JSON, "ann/missing"),
        (b"1", JSON, "ann/%65cho"),
        (b"1", JSON, "ann/echo?timeout=0"),
        (b"1", JSON, "ann/echo?output=nonsense"),
        (b"1", JSON, "ann/echo?output=default"),
        (b"1", {"content-type": "text/html"}, "ann/echo"),
        (b"1", {"content-type": "text/plain; charset=latin-1"}, "ann/echo"),
        (b"1", TEXT | {"content-encoding": "gzip"}, "ann/echo"),
        (b"1", TEXT | {"content-encoding": "identity"}, "ann/echo"),
        (b"1", JSON | {"authorization": "Simple no"}, "ann/echo"),
    ],
)
def test_both_ways_give_the_same_answer(both: Both, body: bytes, kind: dict[str, str], path: str, key: str) -> None:
    first, second = both(body, kind, path, key=key)
    assert (first.status, first.reason) == (second.status, second.reason)
    assert _headers(first).keys() == _headers(second).keys()
    assert _headers(first) == _headers(second)
    assert _body(first) == _body(second)


def _headers(answer: Answer) -> dict[str, str]:
    changing = {"date": "", "x-request-id": "", "content-length": ""}
    return {name: changing.get(name, value) for name, value in answer.headers.items()}


def _body(answer: Answer) -> bytes:
    without = re.sub(rb'"duration":[0-9.e+-]+', b"", answer.body)
    return re.sub(rb'"id":"[0-9a-f-]+"', b"", without)


def test_a_failure_is_reported_and_counted_whichever_way_it_came(both: Both) -> None:
    def count() -> float:
        admin = (both.platform.home / "admin-key").read_text().strip()
        text = ask(both.platform, "GET", "/metrics", key=admin).body.decode()
        return sum(
            float(line.split()[1]) for line in text.splitlines() if line.startswith("pushpoint_call_errors_total")
        )

    before = count()
    both(b'"raise"', JSON, "ann/echo", key="")
    assert count() == before + 2
    ids = [ask(both.platform, "POST", "/v1/algo/ann/echo", b'"raise"', headers=JSON).headers["x-request-id"]]
    log = (both.platform.home / "platform.log").read_text()
    assert ids[0] in log
    assert log.count('"a call failed"') >= 3


def test_callers_that_go_away_leave_their_places(both: Both, tmp_path: Path) -> None:
    serve(both.platform, "ann/side", SIDE_BY_SIDE)
    assert ask(both.platform, "POST", "/v1/algo/ann/side", b"0", headers=JSON).status == 200
    sent = (
        f"POST /v1/algo/ann/side HTTP/1.1\r\nauthorization: {both.platform.key}\r\ncontent-type: application/json\r\n"
    )
    callers = [socket.create_connection(address(both.platform)) for _ in range(80)]
    for caller in callers:
        caller.sendall(f"{sent}content-length: 1\r\n\r\n2".encode())
    time.sleep(0.5)
    for caller in callers:
        caller.close()
    assert ask(both.platform, "POST", "/v1/algo/ann/side", b"0", headers=JSON).status == 429
    time.sleep(2.5)
    assert ask(both.platform, "POST", "/v1/algo/ann/side", b"0", headers=JSON).status == 200
