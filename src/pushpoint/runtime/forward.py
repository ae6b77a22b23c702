"""Let the algorithm call the platform: HTTP on the worker's loopback, forwarded to the platform's Unix socket.

Whoever the algorithm says it is, it calls as the one whose call is being served: `Authorization` is replaced. The
address holds a secret, since without a network namespace of its own anybody on the machine may connect to loopback.
"""

from __future__ import annotations

import hmac
import http.client
import json
import secrets
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Iterator, Optional

CHUNK = 1 << 16
LINE_LIMIT = 1 << 12
HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Forwarder:
    """The listener and the credential it adds.

    Attributes:
        token: Credential of the call being served; the worker changes it with each call.
        trace: Its caller's `traceparent`, for what the algorithm asks of the platform without one of its own.
        server: The listener itself.
        url: What the algorithm's client is told to be the platform.
    """

    def __init__(self, api_socket: str, token: str) -> None:
        self.token, self.trace = token, ""
        secret = secrets.token_urlsafe(24)

        class Handler(_Handler):
            forwarder = self
            prefix = "/" + secret

        Handler.api_socket = api_socket
        self.server = _Server(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:{}/{}".format(self.server.server_address[1], secret)
        threading.Thread(target=self.server.serve_forever, name="forward", daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer would ask a name server for our name

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


class _Broken(Exception):
    """The request cannot be read to its end."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    forwarder: Forwarder
    prefix: str
    api_socket: str

    def do_GET(self) -> None:  # the name is http.server's
        if not hmac.compare_digest(self.path[: len(self.prefix)].encode(), self.prefix.encode()):
            return self._refuse(404, "this is not the platform's address; use the one in PUSHPOINT_URL")
        try:
            body = self._body()
        except _Broken as error:
            return self._refuse(400, str(error))
        platform = _Unix(self.api_socket)
        try:
            try:
                self._ask(platform, body)
                response = platform.getresponse()
            except _Broken as error:
                return self._refuse(400, str(error))
            except (OSError, http.client.HTTPException) as error:
                return self._refuse(502, "the platform cannot be reached ({}); try again".format(error))
            self._pass_on(response)
        finally:
            platform.close()

    do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """The algorithm's output is not ours to write to."""

    def _ask(self, platform: http.client.HTTPConnection, body: Optional[Iterator[bytes]]) -> None:
        path = self.path[len(self.prefix) :]
        platform.putrequest(
            self.command, path if path.startswith("/") else "/" + path, skip_host=True, skip_accept_encoding=True
        )
        named = {name.strip().lower() for name in self.headers.get("Connection", "").split(",")}
        for name, value in self.headers.items():
            if name.lower() not in HOP_BY_HOP | named | {"authorization"}:
                platform.putheader(name, value)
        if self.forwarder.token:
            platform.putheader("Authorization", "Simple " + self.forwarder.token)
        if self.forwarder.trace and "traceparent" not in self.headers:
            platform.putheader("traceparent", self.forwarder.trace)
        chunked = body is not None and "Content-Length" not in self.headers
        if chunked:
            platform.putheader("Transfer-Encoding", "chunked")
        platform.endheaders()
        try:
            for piece in body or ():
                platform.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                platform.send(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # it has answered before it has heard all: that answer is the answer

    def _body(self) -> Optional[Iterator[bytes]]:
        lengths, codings = self.headers.get_all("Content-Length", []), self.headers.get_all("Transfer-Encoding", [])
        if codings:
            if lengths or [coding.strip().lower() for coding in codings] != ["chunked"]:
                raise _Broken("the request has an unclear length")
            return self._chunks()
        if not lengths:
            return None
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            raise _Broken("the request has an unclear length")
        return self._sized(int(lengths[0]))

    def _sized(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self.rfile.read1(min(CHUNK, left))
            if not piece:
                raise _Broken("the request ended early")
            left -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            line = self.rfile.readline(LINE_LIMIT)
            digits = line.split(b";", 1)[0].strip()
            try:
                size = int(digits, 16) if digits.isalnum() else -1
            except ValueError:
                size = -1
            if size < 0 or not line.endswith(b"\n"):
                raise _Broken("the request has a broken chunk")
            if size == 0:
                break
            yield from self._sized(size)
            if self.rfile.readline(3) not in (b"\r\n", b"\n"):
                raise _Broken("the request has a broken chunk")
        while self.rfile.readline(LINE_LIMIT) not in (b"\r\n", b"\n", b""):
            pass  # trailers

    def _pass_on(self, response: http.client.HTTPResponse) -> None:
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        bare = self.command == "HEAD" or response.status in (204, 304)
        sized = response.getheader("Content-Length") is not None
        chunked = not bare and not sized and self.request_version == "HTTP/1.1"
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif not bare and not sized:
            self.close_connection = True
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if bare:
            return
        try:
            while True:
                piece = response.read1(CHUNK)
                if not piece:
                    break
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # cut short there, cut short here
            return
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        elif response.length:
            self.close_connection = True

    def _refuse(self, status: int, message: str) -> None:
        text = json.dumps({"error": {"message": message}}).encode()
        self.close_connection = True
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)
