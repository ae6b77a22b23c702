"""What the clients of other languages send, byte for byte, and whether they could read what they are answered."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.clients.recorded import REQUESTS, Exactly, Request
from tests.clients.table import CLIENTS, RUN, endpoint_of
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import Answer, address, ask, issue_key, serve

ECHO = """
def apply(input):
    print("seen")
    if input == "raise":
        raise ValueError("broken")
    return input
"""
ORDER = list(dict.fromkeys(request.client for request in REQUESTS))


@dataclass(frozen=True)
class Here:
    """A platform, and what the placeholders stand for on it."""

    platform: Platform
    names: dict[str, str]

    def fill(self, text: bytes) -> bytes:
        for name, value in self.names.items():
            text = text.replace(name.encode(), value.encode())
        return text


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    commit = serve(platform, "ann/echo", ECHO, algorithm_callability="public")
    builds = ask(platform, "GET", "/v1/algorithms/ann/echo/builds").json["results"]
    types = ask(platform, "GET", "/v1/organization/types").json
    names = {
        "$KEY": platform.key,
        "$ADMIN": (platform.home / "admin-key").read_text().strip(),
        "$BOB": issue_key(platform, "bob"),
        "$BUILD": builds[0]["build_id"],
        "$COMMIT": commit,
        "$TYPE": types[0]["id"],
    }
    yield Here(platform, names)
    stop_platform(platform)


def send(here: Here, request: Request) -> Answer:
    """Write the request as it is recorded, on a connection of its own."""
    body = here.fill(request.body)
    lines = [f"{request.method} {request.target} HTTP/1.1", f"Host: {here.platform.url.partition('://')[2]}"]
    lines += request.headers
    if request.chunked:
        lines.append("Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:7], body[7:])) + b"0\r\n\r\n"
    elif body or request.method in {"POST", "PUT", "PATCH"}:
        lines.append(f"Content-Length: {len(body)}")
    head = here.fill("\r\n".join([*lines, "", ""]).encode())
    with socket.create_connection(address(here.platform), timeout=60) as connection:
        connection.sendall(head + body)
        answer = http.client.HTTPResponse(connection, method=request.method)
        answer.begin()
        got = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, got, answer.read(), answer.reason)


def misfit(shape: object, value: object, place: str = "$") -> str:
    """Say where a value is not what a client reads from it; nothing where it is."""
    match shape:
        case re.Pattern():
            fits = isinstance(value, str) and bool(shape.fullmatch(value))
        case type() | tuple():
            fits = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
        case dict():
            if not isinstance(value, dict):
                return f"{place} is {value!r}"
            if missing := set(shape) - set(value):
                return f"{place} lacks {missing}"
            if isinstance(shape, Exactly) and set(value) - set(shape):
                return f"{place} has {set(value) - set(shape)} besides"
            return next(
                filter(None, (misfit(part, value[name], f"{place}.{name}") for name, part in shape.items())), ""
            )
        case list():
            if not isinstance(value, list) or (len(value) < len(shape) if shape else value):
                return f"{place} is {value!r}"
            return next(filter(None, (misfit(part, value[i], f"{place}[{i}]") for i, part in enumerate(shape))), "")
        case _:
            fits = value == shape
    return "" if fits else f"{place} is {value!r}, not {shape!r}"


def wrong(request: Request, answer: Answer) -> str:
    """Say what the client could not make of the answer; nothing where it is served."""
    if answer.status != request.status:
        return f"status {answer.status}, not {request.status}: {answer.body.decode(errors='replace')[:300]}"
    if request.exactly is not None and answer.body != request.exactly:
        return f"body {answer.body[:300]!r}, not {request.exactly[:300]!r}"
    for name, pattern in request.answer.items():
        if not re.fullmatch(pattern, answer.headers.get(name, "")):
            return f"header {name}: {answer.headers.get(name)}, not {pattern}"
    if "content-type" not in answer.headers and answer.body:
        return "no content-type"
    return "" if request.shape is None else misfit(request.shape, answer.json)


@pytest.mark.parametrize("client", ORDER)
def test_a_client_can_read_what_it_is_answered(here: Here, client: str) -> None:
    """In their order, since later ones look for what earlier ones made."""
    mine = [request for request in REQUESTS if request.client == client]
    found = [f"{one.method} {one.target}: {why}" for one in mine if (why := wrong(one, send(here, one)))]
    assert not found, "\n".join(found)


SLASHES = ["/v1/algorithms/ann/echo", "/v1/algorithms/ann/echo/builds", "/v1/scms", "/v1/data/ann", "/v1/users/ann"]


@pytest.mark.parametrize("target", SLASHES)
def test_a_slash_at_the_end_makes_no_difference(here: Here, target: str) -> None:
    answers = [ask(here.platform, "GET", target + slash) for slash in ("", "/")]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body


def test_every_client_without_a_package_is_recorded() -> None:
    assert set(ORDER) == set(CLIENTS) - set(RUN)
    for request in REQUESTS:
        assert endpoint_of(request.method, request.target), request


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        ({"a": str}, {}),
        ({"a": str}, {"a": 5}),
        ({"a": int}, {"a": True}),
        (Exactly(a=str), {"a": "x", "b": 1}),
        ([{"a": 1}], []),
        ([], [1]),
        (re.compile("x"), "xy"),
        (None, 0),
    ],
)
def test_the_comparison_bites(shape: object, value: object) -> None:
    assert misfit(shape, value)
