from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pushpoint.runtime.forward import Forwarder

BIG = bytes(range(256)) * 20_000


class Platform(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers with what it heard."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Some of the tests send what cannot be read."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/early":  # refused before the body is heard
            self.close_connection = True
            self.answer(413, "Far Too Large", b"no")
            return
        chunks = 0
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                chunks += 1
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"only this")
            self.close_connection = True
        elif self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b"one", b"two", BIG):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/until-close":
            self.send_response_only(200)
            self.end_headers()
            self.wfile.write(BIG)
            self.close_connection = True
        elif self.path == "/none":
            self.send_response(204)
            self.end_headers()
        elif self.path == "/echo":
            self.answer(200, "OK", body)
        else:
            heard = {
                "method": self.command,
                "path": self.path,
                "headers": [list(item) for item in self.headers.items()],
                "size": len(body),
                "chunked": chunks > 0,
            }
            self.answer(299, "Quite Fine", json.dumps(heard).encode())

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET

    def answer(self, status: int, reason: str, body: bytes) -> None:
        self.send_response_only(status, reason)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Error-Message", "kept")
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serving(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def forwarder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forwarder]:
    path = str(tmp_path_factory.mktemp("platform") / "api.sock")
    with serving(Platform(path, Handler)):
        forwarder = Forwarder(path, "right")
        yield forwarder
        forwarder.server.shutdown()
        forwarder.server.server_close()


class Caller:
    def __init__(self, forwarder: Forwarder) -> None:
        address = urlsplit(forwarder.url)
        assert address.port
        self.prefix = address.path
        self.port = address.port
        self.connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=5)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def ask(self, method: str, path: str, **options: Any) -> tuple[http.client.HTTPResponse, bytes]:
        self.connection.request(method, self.prefix + path, **options)
        response = self.connection.getresponse()
        return response, response.read()

    def raw(self, text: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(text.replace(b"PREFIX", self.prefix.encode()))
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
            return answer


def test_the_credential_is_that_of_the_call_being_served_whatever_the_algorithm_says(forwarder: Forwarder) -> None:
    with Caller(forwarder) as caller:
        for token in ("right", "another"):
            forwarder.token = token
            _, body = caller.ask("GET", "/v1/x//y%2Fz?q=%20", headers={"Authorization": "Simple stolen"})
            heard = json.loads(body)
            assert [value for name, value in heard["headers"] if name.lower() == "authorization"] == [f"Simple {token}"]
            assert heard["path"] == "/v1/x//y%2Fz?q=%20"


def test_status_reason_and_headers_come_back_and_hop_by_hop_headers_do_not_go_on(forwarder: Forwarder) -> None:
    with Caller(forwarder) as caller:
        headers = {"Connection": "keep-alive, X-Mine", "X-Mine": "1", "X-Yours": "2", "TE": "trailers"}
        response, body = caller.ask("PATCH", "/", headers=headers)
        assert (response.status, response.reason) == (299, "Quite Fine")
        assert response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert response.headers["X-Error-Message"] == "kept"
        names = {name.lower() for name, _ in json.loads(body)["headers"]}
        assert "x-yours" in names
        assert not names & {"x-mine", "te", "connection"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_each_method_is_forwarded_over_one_kept_connection(forwarder: Forwarder, method: str) -> None:
    with Caller(forwarder) as caller:
        for size in (0, 10, len(BIG)):
            _, body = caller.ask(method, "/", body=BIG[:size])
            assert json.loads(body)["method"] == method
            assert json.loads(body)["size"] == size


def test_bodies_stream_whole_both_ways_with_and_without_a_length(forwarder: Forwarder) -> None:
    with Caller(forwarder) as caller:
        assert caller.ask("POST", "/echo", body=BIG)[1] == BIG
        assert caller.ask("PUT", "/echo", body=iter([b"a", b"b", BIG]), encode_chunked=True)[1] == b"ab" + BIG
        assert caller.ask("PUT", "/echo", body=iter([]), encode_chunked=True)[1] == b""
        assert json.loads(caller.ask("PUT", "/", body=iter([b"a"]), encode_chunked=True)[1])["chunked"]
        assert caller.ask("GET", "/chunked")[1] == b"onetwo" + BIG
        response, body = caller.ask("GET", "/none")
        assert (response.status, body) == (204, b"")
        response, body = caller.ask("HEAD", "/echo")
        assert (response.status, body) == (200, b"")
        assert caller.ask("GET", "/until-close")[1] == BIG
        assert caller.ask("GET", "/echo", body=b"still here")[1] == b"still here"


def test_expect_100_continue_is_answered(forwarder: Forwarder) -> None:
    with Caller(forwarder) as caller:
        answer = caller.raw(
            b"PUT PREFIX/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
            b"Content-Length: 3\r\n\r\nabc"
        )
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nabc")


def test_an_answer_before_the_end_of_the_upload_is_heard(forwarder: Forwarder) -> None:
    with Caller(forwarder) as caller:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            caller.connection.request("PUT", caller.prefix + "/early", body=b"x" * 100)
        response = caller.connection.getresponse()
        assert (response.status, response.reason, response.read()) == (413, "Far Too Large", b"no")


def test_an_answer_that_is_cut_short_is_cut_short(forwarder: Forwarder) -> None:
    with Caller(forwarder) as caller, pytest.raises(http.client.IncompleteRead):
        caller.ask("GET", "/cut")


def test_nobody_gets_through_without_the_address(forwarder: Forwarder) -> None:
    with Caller(forwarder) as caller:
        nearly = caller.prefix[:-1] + ("y" if caller.prefix.endswith("x") else "x")
        caller.prefix = ""
        for path in ("/v1/x", "/", "x" * 40, nearly + "/v1", nearly[:-1]):
            response, body = caller.ask("GET", path)
            assert response.status == 404
            assert "PUSHPOINT_URL" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    "request_text",
    [
        b"POST PREFIX/echo HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST PREFIX/echo HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST PREFIX/echo HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
        b"POST PREFIX/echo HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST PREFIX/echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"POST PREFIX/echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX\r\n0\r\n\r\n",
    ],
)
def test_a_request_of_unclear_length_is_refused(forwarder: Forwarder, request_text: bytes) -> None:
    with Caller(forwarder) as caller:
        assert caller.raw(request_text).startswith(b"HTTP/1.1 400 ")


def test_a_platform_that_is_not_there_is_a_502(tmp_path: Path) -> None:
    forwarder = Forwarder(str(tmp_path / "none.sock"), "right")
    with Caller(forwarder) as caller:
        response, body = caller.ask("POST", "/v1/x", body=b"abc")
        assert response.status == 502
        assert "cannot be reached" in json.loads(body)["error"]["message"]
    forwarder.server.shutdown()
    forwarder.server.server_close()
