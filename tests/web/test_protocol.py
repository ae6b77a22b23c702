"""Requests that are taken directly and those that are not, byte by byte, on one connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

import pytest
import uvicorn
import uvloop

from pushpoint.web import protocol
from pushpoint.web.protocol import HEAD_PATIENCE, LONGEST_HEAD, PATIENCE, Protocol, Write, note_second


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
        await asyncio.sleep(self.pause)
        if scope["path"] == "/at-once":
            await protocol.answer(scope, send, 200, {}, body)
            return
        headers = [(b"content-length", b"%d" % len(body)), (b"x-sent", b",".join(name for name, _ in scope["headers"]))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def direct(self, url: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes, write: Write) -> bool:
        def answer() -> None:
            self.answered += 1
            sent = ",".join(name.decode() for name, _ in headers)
            write(200, {"x-url": url.decode(), "x-sent": sent}, b"direct " + body * self.times)

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
        unforeseen: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unforeseen.append(context))
        async with served(application or Application()) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await talk(reader, writer, server)
            finally:
                writer.close()
        assert not unforeseen

    uvloop.run(both())


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
        request(b"1").replace(b"/v1/algo", b"http://x/v1/algo"),
    ],
)
def test_the_rest_goes_the_way_of_all_others(sent: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(sent)
        if b"100-continue" in sent:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        assert (await answer(reader))[1].startswith("asgi ")
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
        assert await reached(lambda: not server.server_state.connections)

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


@pytest.mark.parametrize("body", [b"", b"no "], ids=["direct", "asgi"])
@pytest.mark.parametrize("path", [b"/v1/algo/a/b", b"/at-once"])
@pytest.mark.parametrize("are_together", [False, True], ids=["one by one", "together"])
def test_answers_that_nobody_reads_do_not_pile_up(*, body: bytes, path: bytes, are_together: bool) -> None:
    application = Application()
    application.pause, application.times = 0.0, 1 << 19

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        requests, biggest = 40, 0
        for number in range(requests):
            writer.write(request(b"%b%04d" % (body, number), path=path))
            await asyncio.sleep(0 if are_together else 0.02)
            if server.server_state.connections:
                biggest = max(biggest, connection(server).transport.get_write_buffer_size())
        for _ in range(20):
            await asyncio.sleep(0.01)
            biggest = max(biggest, connection(server).transport.get_write_buffer_size())
        assert biggest < 3 * len(body + b"0000") << 19
        for number in range(requests):
            assert (await answer(reader))[1].endswith(f"{number:04d}")

    run(talk, application)


def test_an_answer_that_is_not_read_at_all_ends_its_connection_and_a_slow_reader_has_time() -> None:
    application = Application()
    application.pause, application.times = 0.0, 1 << 24

    async def settled(size: Callable[[], int]) -> None:
        before = -1
        while before != (before := size()):
            await asyncio.sleep(0.2)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        def size() -> int:
            return sum(
                cast("Protocol", one).transport.get_write_buffer_size() for one in server.server_state.connections
            )

        with socket.create_connection(writer.get_extra_info("peername")) as slow:
            slow.sendall(request(b"1"))
            assert await reached(lambda: size() > 0)
            await settled(size)
            for _ in range(3):
                for _ in range(PATIENCE - 1):
                    note_second(server.server_state.connections)
                assert slow.recv(1 << 18, socket.MSG_WAITALL)
                await asyncio.sleep(0.2)
                note_second(server.server_state.connections)
            await settled(size)
            for _ in range(PATIENCE + 1):
                note_second(server.server_state.connections)
            assert await reached(lambda: not size())

    run(talk, application)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", b""),
        (b"POST /v1/algo/a/b HT", b"HTTP/1.1 408"),
        (b"\r\n", b""),
        (request(b"1") + b"GET", b"HTTP/1.1 200"),
    ],
)
def test_a_head_that_does_not_come_to_its_end_ends_its_connection(sent: bytes, said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(sent)
        await asyncio.sleep(0.1)
        for _ in range(HEAD_PATIENCE - 1):
            note_second(server.server_state.connections)
        writer.write(sent[:0] or b"\r" * (sent == b"\r\n"))  # more of the like is no progress
        await asyncio.sleep(0.05)
        assert not reader.at_eof()
        note_second(server.server_state.connections)
        assert (await asyncio.wait_for(reader.read(), 2)).startswith(said)

    run(talk)


def test_a_body_that_does_not_go_on_ends_its_connection() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(request(b"1234")[:-3])
        for part in (b"2", b"3"):
            await asyncio.sleep(0.05)
            for _ in range(PATIENCE - 1):
                note_second(server.server_state.connections)
            writer.write(part)
        await asyncio.sleep(0.05)
        for _ in range(PATIENCE):
            note_second(server.server_state.connections)
        assert (await asyncio.wait_for(reader.read(), 2)).startswith(b"HTTP/1.1 408")

    run(talk)


def test_who_waits_for_an_answer_is_not_hurried() -> None:
    application = Application()
    application.pause = 0.3

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        for body in (b"1", b"no"):
            writer.write(request(body) * 2)
            await asyncio.sleep(0.1)
            for _ in range(2 * PATIENCE):
                note_second(server.server_state.connections)
            assert (await answer(reader))[1].endswith(body.decode())
            assert (await answer(reader))[1].endswith(body.decode())
            for _ in range(2 * PATIENCE):  # between two requests it is uvicorn's affair
                note_second(server.server_state.connections)

    run(talk, application)


CHUNKED = request(b"1\r\n1\r\n", b"transfer-encoding: chunked")


@pytest.mark.parametrize(
    "begin",
    [
        b"GET / HTTP/1.1\r\nx: ",
        b"GET / HTTP/1.1\r\n",
        b"GET /",
        b"\r\n",
        CHUNKED + b"0\r\nx: ",
        CHUNKED + b"0\r\n",
        CHUNKED + b"1;x=",
        CHUNKED.replace(b"/v1/algo", b"/other") + b"0\r\nx: ",
    ],
)
def test_a_head_without_an_end_is_refused(begin: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        more = b"\r\n" if begin == b"\r\n" else b"a" if begin[-2:] != b"\r\n" else b"a: b\r\n"
        writer.write(begin)
        for size in [LONGEST_HEAD // 4] * 4 + [50]:
            await asyncio.sleep(0.02)
            if not reader.at_eof():
                writer.write(more * (size // len(more)))
        assert b"HTTP/1.1 431" in await asyncio.wait_for(reader.read(), 2)
        assert await reached(lambda: not server.server_state.connections)

    run(talk)


def test_a_long_head_and_a_long_body_are_none_without_an_end() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        long = request(b"", b"x: " + b"a" * (LONGEST_HEAD - 80))
        assert len(long) < LONGEST_HEAD
        for sent in (long, request(b"a" * 4 * LONGEST_HEAD), long * 3):
            writer.write(sent)
            for _ in range(1 + 2 * (sent == long * 3)):
                assert (await answer(reader))[0]

    run(talk)


@pytest.mark.parametrize(
    "sent",
    [
        request(b"12", b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAMAAABk"),
        request(b"2\r\n12\r\n0\r\n\r\n", b"transfer-encoding: chunked", b"upgrade: x", b"connection: upgrade"),
        request(b"12", b"connection: upgrade", b"upgrade: websocket", path=b"/v1/other"),
    ],
)
@pytest.mark.parametrize("cut", [0, 1, -12, -1])
def test_who_offers_another_protocol_gets_an_answer_by_this_one_and_its_body_is_no_request(
    sent: bytes, cut: int
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(sent[:cut])
        await asyncio.sleep(0.05)
        writer.write(sent[cut:] + request(b"smuggled"))
        headers, said = await answer(reader)
        assert said in {"direct 12", "asgi 12"}
        assert headers["connection"] == "close"
        assert "upgrade" not in headers["x-sent"]
        assert not await asyncio.wait_for(reader.read(), 5)

    run(talk)


@pytest.mark.parametrize("sent", [b"CONNECT x:80 HTTP/1.1\r\n\r\n", b"CONNECT /v1/algo/a/b HTTP/1.1\r\n\r\nGET /"])
def test_nobody_gets_a_tunnel(sent: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(sent)
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400")

    run(talk)


@pytest.mark.parametrize("body", [b"1", b"no"])
def test_what_stands_after_a_body_is_no_header(body: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        text = b"%x\r\n%b\r\n0\r\nauthorization: Simple x\r\n\r\n" % (len(body), body)
        writer.write(request(text, b"transfer-encoding: chunked"))
        headers, said = await answer(reader)
        assert said.endswith(body.decode())
        assert headers["x-sent"] == "host,transfer-encoding"
        writer.write(request(b"after"))
        assert (await answer(reader))[0]["x-sent"] == "host,content-length"

    run(talk)


@pytest.mark.parametrize("bodies", [[b"1"], [b"no"], [b"1", b"no", b"2"], [b"no", b"1"]])
@pytest.mark.parametrize("path", [b"/v1/algo/a/b", b"/at-once"])
@pytest.mark.parametrize("junk", [b"GARBAGE\r\n\r\n", b"POST / HT", None])
def test_what_was_asked_before_junk_or_the_end_is_answered_and_then_it_is_closed(
    bodies: list[bytes], path: bytes, junk: bytes | None
) -> None:
    application = Application()
    application.pause = 0.2

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(b"".join(request(body, path=path) for body in bodies) + (junk or b""))
        if junk != b"GARBAGE\r\n\r\n":
            writer.write_eof()
        headers: dict[str, str] = {}
        for body in bodies:
            headers, said = await answer(reader)
            assert said.endswith(body.decode())
        assert headers.get("connection") == "close"
        assert not await asyncio.wait_for(reader.read(), 5)

    run(talk, application)


@pytest.mark.parametrize("sent", [b"", b"POST", request(b"123")[:-1], request(b"no", path=b"/")[:-1]])
def test_a_client_that_ends_in_the_middle_gets_no_answer(sent: bytes) -> None:
    application = Application()
    application.pause = 0.2

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(sent)
        writer.write_eof()
        assert not await asyncio.wait_for(reader.read(), 5)
        await asyncio.sleep(0.3)
        assert not server.server_state.connections

    run(talk, application)


def test_a_body_that_is_none_is_refused_unless_another_answer_is_due_first() -> None:
    application = Application()
    application.pause = 0.2
    junk = request(b"zz\r\n", b"transfer-encoding: chunked")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(request(b"1") + junk)
        assert not await asyncio.wait_for(reader.read(), 5)
        await asyncio.sleep(0.3)
        assert application.answered == 1

    run(talk, application)


def test_a_path_that_is_none_is_refused_although_the_body_is_still_to_come() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: uvicorn.Server) -> None:
        writer.write(request(b"12", path="/v1/algo/ü".encode())[:-1])
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400")

    run(talk)


async def reached(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False
