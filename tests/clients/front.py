"""A front that clients are pointed at: it passes every byte on as it is, and remembers what was asked and answered.

It is an HTTP proxy too. To `CONNECT HOST:443` it answers as that host, over TLS, with a certificate of a CA that it
makes: so a client which insists on `https://api.` speaks to it without a change of its own.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httptools
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import Platform

API, GIT = "api.pushpoint.example", "git.pushpoint.example"
"""The names of the certificate: clients put `git.` where `api.` was."""


@dataclass
class Exchange:
    """A request, and the status of its answer (0 as long as there is none)."""

    method: str
    target: str
    secure: bool
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)


class _Requests:
    """Hears what the client sends; a new message is a new exchange."""

    def __init__(self, secure: bool, seen: list[Exchange]) -> None:
        self.secure, self.seen, self.target = secure, seen, b""
        self.headers: dict[str, str] = {}
        self.parser = httptools.HttpRequestParser(self)
        self.answers: httptools.HttpResponseParser | None = None

    def on_message_begin(self) -> None:
        self.target, self.headers = b"", {}

    def on_url(self, piece: bytes) -> None:
        self.target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        method = self.parser.get_method().decode()
        exchange = Exchange(method, self.target.decode("latin-1"), self.secure, headers=self.headers)
        self.seen.append(exchange)
        self.answers = httptools.HttpResponseParser(_Answers(self, exchange))


class _Answers:
    """Hears the answer to one request: its status is all that is wanted, so where its body ends does not matter."""

    def __init__(self, requests: _Requests, exchange: Exchange) -> None:
        self.requests, self.exchange = requests, exchange

    def on_headers_complete(self) -> None:
        assert self.requests.answers
        self.exchange.status = self.requests.answers.get_status_code()


class _Connection(socketserver.BaseRequestHandler):
    server: Front

    def handle(self) -> None:
        client: socket.socket = self.request
        secure = client.recv(8, socket.MSG_PEEK) == b"CONNECT "
        if secure:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            try:
                client = self.server.context.wrap_socket(client, server_side=True)
            except (OSError, ssl.SSLError) as error:
                self.server.refusals.append(str(error))
                return
        with contextlib.suppress(OSError), client, socket.create_connection(self.server.upstream) as platform:
            heard = _Requests(secure, self.server.seen)
            answering = threading.Thread(target=self._answer, args=(platform, client, heard), daemon=True)
            answering.start()
            with contextlib.suppress(OSError):
                while piece := client.recv(1 << 16):
                    with contextlib.suppress(httptools.HttpParserError):
                        heard.parser.feed_data(piece)
                    platform.sendall(piece)
            with contextlib.suppress(OSError):
                platform.shutdown(socket.SHUT_WR)
            answering.join()

    @staticmethod
    def _answer(platform: socket.socket, client: socket.socket, heard: _Requests) -> None:
        with contextlib.suppress(OSError):
            while piece := platform.recv(1 << 16):
                if heard.answers:
                    with contextlib.suppress(httptools.HttpParserError):
                        heard.answers.feed_data(piece)
                client.sendall(piece)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


class Front(socketserver.ThreadingTCPServer):
    """The front of one platform."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, platform: Platform, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.platform = platform
        parts = urlsplit(platform.url)
        self.upstream = (parts.hostname or "", parts.port or 0)
        self.seen: list[Exchange] = []
        self.refusals: list[str] = []
        self.authority = folder / "ca.pem"
        self.context = _certified(folder)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def opened(platform: Platform, folder: Path) -> Iterator[Front]:
    """Put a front before a platform until the block ends."""
    with Front(platform, folder) as front:
        thread = threading.Thread(target=front.serve_forever, daemon=True)
        thread.start()
        yield front
        front.shutdown()
        thread.join()


def _certified(folder: Path) -> ssl.SSLContext:
    """Make a CA, and a certificate of it for `API` and `GIT`."""
    now = datetime.now(UTC)

    def certificate(
        name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, is_ca: bool
    ) -> x509.Certificate:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        usage = x509.KeyUsage(
            digital_signature=not is_ca,
            key_cert_sign=is_ca,
            crl_sign=is_ca,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        if not is_ca:
            names = x509.SubjectAlternativeName([x509.DNSName(API), x509.DNSName(GIT)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(signer, hashes.SHA256())

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = certificate("test authority", ca_key, "test authority", ca_key, True)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))
    chain = folder / "chain.pem"
    chain.touch(mode=0o600)
    chain.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate(API, key, "test authority", ca_key, False).public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context
