"""Requests that are taken directly and those that are not, byte by byte, on one connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

import pytest
import uvicorn

from pushpoint.web.protocol import Protocol, Write


class Application:
    """Answers who took the request, and its body; takes directly what does not say `no`."""

    def __init__(self) -> None:
        self.pause = 0.01
        self.times = 1  # that the body is repeated
        self.answered = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body, more = body + message["body"], message["more_body"]
        body = b"asgi " + body * self.times
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def direct(self, url: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes, write: Write) -> bool:
        def answer() -> None:
            self.answered += 1
            write(200, {"x-url": url.decode()}, b"direct " + body * self.times)

        if b"no" in body:
            return False
        asyncio.get_running_loop().call_later(self.pause, answer)
        return True


@contextlib.asynccontextmanager
async def served(application: Application) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    config = uvicorn.Config(
        application, port=0, lifespan="off", log_config=None, ws="none", http=Protocol, proxy_headers=False
    )
    server = uvicorn.Server(config)
    server.config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


def request(body: bytes, *headers: bytes, path: bytes = b"/v1/algo/a/b", version: bytes = b"1.1") -> bytes:
    lines = [b"POST %b HTTP/%b" % (path, version), b"host: x", *headers]
    if not any(one.startswith(b"transfer-encoding") for one in headers):
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join([*lines, b"", b""]) + body


async def answer(reader: asyncio.StreamReader) -> tuple[dict[str, str], str]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
    assert head[0] == "HTTP/1.1 200 OK"
    headers = {name: value for name, _, value in (line.partition(": ") for line in head[1:-2])}
    return headers, (await reader.readexactly(int(headers["content-length"]))).decode()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter, uvicorn.Server], Awaitable[None]]


def run(talk: Talk, application: Application | None = None) -> None:
    async def both() -> None:
        async with served(application or Application()) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await talk(reader, writer, server)
            finally:
                writer.close()

    asyncio.run(both())


def connection(server: uvicorn.Server) -> Protocol:
    (found,) = server.server_state.connections
    return cast("Protocol", found)


def test_a_request_that_is_there_as_a_whole_is_taken_directly_and_the_next_one_too() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        for body in (b"1", b"2", b""):
            writer.write(request(body, path=b"/v1/algo/a/b?timeout=3"))
            headers, said = await answer(reader)
            assert said == f"direct {body.decode()}"
            assert (headers["x-url"], "connection" in headers) == ("/v1/algo/a/b?timeout=3", False)

    run(talk)


@pytest.mark.parametrize(
    "sent",
    [
        request(b"no"),
        request(b"1", path=b"/v1/other"),
        request(b"1").replace(b"POST", b"PUT"),
        request(b"1", b"expect: 100-continue"),
        request(b"1", b"connection: upgrade", b"upgrade: h2c"),
        request(b"1").replace(b"/v1/algo", b"http://x/v1/algo"),
    ],
)
def test_the_rest_goes_the_way_of_all_others(sent: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(sent)
        if b"100-continue" in sent:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        assert (await answer(reader))[1].startswith("asgi ")
        if b"upgrade" not in sent:
            writer.write(request(b"after"))
            assert (await answer(reader))[1] == "direct after"

    run(talk)


def test_requests_that_come_together_are_answered_in_their_order() -> None:
    bodies = [b"1", b"no", b"2", b"3", b"no more"]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(b"".join(map(request, bodies)))
        said = [(await answer(reader))[1] for _ in bodies]
        assert [text.partition(" ")[2] for text in said] == [body.decode() for body in bodies]
        assert said[0] == "direct 1"

    run(talk)


def test_a_body_in_pieces_is_whole_whoever_takes_it() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        sent = request(b"abc")
        for cut in (10, len(sent) - 3, len(sent) - 1):
            writer.write(sent[:cut])
            await asyncio.sleep(0.05)
            assert not connection(server).has_read_all
            writer.write(sent[cut:])
            assert (await answer(reader))[1] in {"asgi abc", "direct abc"}
            assert connection(server).is_between_requests
        writer.write(request(b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"transfer-encoding: chunked"))
        assert (await answer(reader))[1] == "direct abc"
        writer.write(request(b"1\r\na\r\n", b"transfer-encoding: chunked"))
        await asyncio.sleep(0.05)
        writer.write(b"0\r\n\r\n")
        assert (await answer(reader))[1] == "asgi a"

    run(talk)


@pytest.mark.parametrize(
    "sent",
    [
        request(b"zz\r\n", b"transfer-encoding: chunked"),
        request(b"1", b"content-length: 7"),
        request(b"0\r\n\r\n", b"transfer-encoding: chunked", b"content-length: 5"),
        request(b"1").replace(b"host: x", b"host x"),
    ],
)
def test_a_request_that_lies_about_its_length_reaches_nobody(sent: bytes) -> None:
    application = Application()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(sent)
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400")
        await asyncio.sleep(2 * application.pause)
        assert not application.answered

    run(talk, application)


@pytest.mark.parametrize(
    "sent", [request(b"1", b"connection: close"), request(b"1", b"connection: keep-alive", version=b"1.0")]
)
def test_a_connection_that_is_not_to_be_kept_is_closed_after_the_answer(sent: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(sent)
        headers, said = await answer(reader)
        assert (headers["connection"], said) == ("close", "direct 1")
        assert not await asyncio.wait_for(reader.read(), 5)

    run(talk)


def test_it_is_known_when_a_connection_is_between_two_requests() -> None:
    application = Application()
    application.pause = 0.2

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        assert await reached(lambda: bool(server.server_state.connections))
        assert connection(server).is_between_requests
        writer.write(request(b"1"))
        assert await reached(lambda: connection(server).cycle is not None)
        assert connection(server).has_read_all
        assert not connection(server).is_between_requests
        await answer(reader)
        assert connection(server).is_between_requests

    run(talk, application)


def test_a_caller_that_has_gone_gets_no_answer_and_harms_nobody() -> None:
    application = Application()
    application.pause = 0.2

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(request(b"1"))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        assert await reached(lambda: application.answered == 1)
        assert not server.server_state.connections

    run(talk, application)


def test_a_server_that_stops_answers_first() -> None:
    application = Application()
    application.pause = 0.2

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(request(b"1"))
        await asyncio.sleep(0.05)
        connection(server).shutdown()
        headers, said = await answer(reader)
        assert (headers["connection"], said) == ("close", "direct 1")

    run(talk, application)


def test_answers_that_nobody_reads_do_not_pile_up() -> None:
    application = Application()
    application.pause, application.times = 0.0, 1 << 20

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        requests, biggest = 40, 0
        for number in range(requests):
            writer.write(request(b"%04d" % number))
            await asyncio.sleep(0.02)
            biggest = max(biggest, connection(server).transport.get_write_buffer_size())
        assert biggest < 3 * 4 << 20
        for number in range(requests):
            assert (await answer(reader))[1].endswith(f"{number:04d}")

    run(talk, application)


async def reached(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False
