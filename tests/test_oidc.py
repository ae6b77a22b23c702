"""Issuers and their keys: what is asked, how often, where, and what is believed of the answer. Real HTTP, real TLS."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from pushpoint import oidc
from pushpoint.errors import InvalidRequest, Unavailable
from pushpoint.oidc import Issuers, Rejected, Run
from tests.issuer import DISCOVERY, EC, KEY_SET, RSA, Issuer, issuing, public

HERE = "https://models.example"


@dataclass
class Clock:
    now: float

    def __call__(self) -> float:
        return self.now


@dataclass
class Stand:
    """One issuer, and one who asks it; the clock is in our hands."""

    issuer: Issuer
    clock: Clock
    issuers: Issuers

    def identify(self, *, kid: str = "rsa", key: Any = None, **changes: Any) -> Run:
        claims = self.issuer.github(HERE, **changes)
        for name in ("iat", "nbf", "exp"):
            claims[name] += int(self.clock.now - time.time())
        return self.issuers.identify(
            self.issuer.sign(claims, kid=kid, key=key), is_trusted=lambda name: name == self.issuer.url, audience=HERE
        )


@pytest.fixture
def stand() -> Iterator[Stand]:
    with issuing() as issuer:
        clock = Clock(time.time())
        yield Stand(issuer, clock, Issuers(private=[issuer.url], clock=clock))


def test_a_run_is_what_the_token_says(stand: Stand) -> None:
    run = stand.identify(environment=None)
    assert str(run) == "acme/reviews at refs/heads/main, workflow deploy.yml"
    assert (run.repository_id, run.number, run.environment) == ("4711", "1234567890", "")


def test_keys_are_asked_for_once_an_hour(stand: Stand) -> None:
    for _ in range(5):
        stand.identify()
        stand.identify(kid="ec")
    assert stand.issuer.asked == [DISCOVERY, KEY_SET]
    stand.clock.now += 3601
    stand.identify()
    assert stand.issuer.asked == [DISCOVERY, KEY_SET] * 2


def test_a_key_that_is_new_is_found_and_one_that_is_gone_is_over_within_the_hour(stand: Stand) -> None:
    stand.identify()
    new = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    stand.issuer.key_set[:] = [public("new", new, "RS256")]
    with pytest.raises(Rejected, match="no such key"):
        stand.identify(kid="new", key=new)  # asked a moment ago
    stand.clock.now += 31
    stand.identify(kid="new", key=new)
    with pytest.raises(Rejected, match="no such key"):
        stand.identify(kid="rsa")


def test_tokens_with_made_up_keys_make_few_questions(stand: Stand) -> None:
    for number in range(200):
        with pytest.raises(Rejected, match="no such key"):
            stand.identify(kid=f"made-up-{number}")
    assert len(stand.issuer.asked) == 2
    stand.identify()


def test_an_issuer_that_nobody_trusts_is_not_asked(stand: Stand) -> None:
    token = stand.issuer.sign(stand.issuer.github(HERE))
    with pytest.raises(Rejected, match="no publisher names it"):
        stand.issuers.identify(token, is_trusted=lambda _: False, audience=HERE)
    assert stand.issuer.asked == []


def document(value: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"content-type": "application/json"}, value if isinstance(value, bytes) else json.dumps(value).encode()


ODD: dict[str, Callable[[Issuer], dict[str, tuple[int, dict[str, str], bytes]]]] = {
    "no discovery": lambda _: {DISCOVERY: (404, {}, b"")},
    "an error": lambda _: {DISCOVERY: (500, {}, b"{}")},
    "another status": lambda one: {DISCOVERY: (204, {}, b"")},
    "another issuer's document": lambda one: {
        DISCOVERY: document({"issuer": "https://x", "jwks_uri": f"{one.url}/keys"})
    },
    "the issuer with a slash": lambda one: {
        DISCOVERY: document({"issuer": f"{one.url}/", "jwks_uri": f"{one.url}/keys"})
    },
    "no issuer": lambda one: {DISCOVERY: document({"jwks_uri": f"{one.url}/keys"})},
    "keys of another host": lambda one: {
        DISCOVERY: document({"issuer": one.url, "jwks_uri": one.url.replace("127.0.0.1", "localhost") + "/keys"})
    },
    "keys at another port": lambda one: {DISCOVERY: document({"issuer": one.url, "jwks_uri": f"{one.url}1/keys"})},
    "keys of another scheme": lambda one: {
        DISCOVERY: document({"issuer": one.url, "jwks_uri": one.url.replace("http:", "https:") + "/keys"})
    },
    "keys in a file": lambda one: {DISCOVERY: document({"issuer": one.url, "jwks_uri": "file:///etc/passwd"})},
    "keys behind a name": lambda one: {
        DISCOVERY: document({"issuer": one.url, "jwks_uri": one.url.replace("//", "//u:p@") + "/keys"})
    },
    "no address of keys": lambda one: {DISCOVERY: document({"issuer": one.url})},
    "an address that is a list": lambda one: {DISCOVERY: document({"issuer": one.url, "jwks_uri": [one.url]})},
    "a detour to the document": lambda one: {DISCOVERY: (302, {"location": f"{one.url}/elsewhere"}, b"")},
    "a detour to the keys": lambda one: {KEY_SET: (307, {"location": f"{one.url}/elsewhere"}, b"")},
    "a document that is too large": lambda one: {DISCOVERY: document(b'{"a":"' + b"x" * 300_000 + b'"}')},
    "keys that are too large": lambda one: {KEY_SET: document(b'{"a":"' + b"x" * 300_000 + b'"}')},
    "no JSON": lambda _: {DISCOVERY: document(b"<html>")},
    "a list": lambda _: {DISCOVERY: document(b"[]")},
    "depth": lambda _: {DISCOVERY: document(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")},
    "a name twice": lambda one: {
        DISCOVERY: document(f'{{"issuer": "https://x", "issuer": "{one.url}", "jwks_uri": "{one.url}/keys"}}'.encode())
    },
    "no keys": lambda _: {KEY_SET: document({})},
    "keys that are no list": lambda _: {KEY_SET: document({"keys": "rsa"})},
    "too many keys": lambda _: {KEY_SET: document({"keys": [public("rsa", RSA, "RS256")] * 101})},
}


@pytest.mark.parametrize("what", ODD)
def test_an_issuer_that_is_odd_is_not_believed_and_rests_for_a_while(stand: Stand, what: str) -> None:
    stand.issuer.documents = ODD[what](stand.issuer)
    for _ in range(3):
        with pytest.raises(Unavailable, match="try again in a minute") as caught:
            stand.identify()
        assert caught.value.retry_after == 30
    assert len(stand.issuer.asked) <= 2, "it is not asked again at once"
    assert "/elsewhere" not in stand.issuer.asked
    stand.issuer.documents = {}
    stand.clock.now += 31
    stand.identify()


def weak() -> dict[str, Any]:
    return public("rsa", rsa.generate_private_key(public_exponent=65537, key_size=1024), "RS256")


KEYS: dict[str, Callable[[], list[Any]]] = {
    "two of one name": lambda: [public("rsa", RSA, "RS256"), public("rsa", EC, "ES256")],
    "two of one name, the other way round": lambda: [public("rsa", EC, "ES256"), public("rsa", RSA, "RS256")],
    "one of the name that is no key": lambda: [{"kid": "rsa", "kty": "RSA"}, public("rsa", RSA, "RS256")],
    "for encryption": lambda: [public("rsa", RSA, "RS256") | {"use": "enc"}],
    "for another signature": lambda: [public("rsa", RSA, "RS256") | {"alg": "RS512"}],
    "shared": lambda: [{"kid": "rsa", "kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}],
    "private": lambda: [public("rsa", RSA, "RS256") | {"d": "AQAB"}],
    "weak": lambda: [weak()],
    "without a name": lambda: [{k: v for k, v in public("rsa", RSA, "RS256").items() if k != "kid"}],
    "of another curve": lambda: [public("rsa", ec.generate_private_key(ec.SECP384R1()), "ES384")],
    "broken": lambda: [public("rsa", RSA, "RS256") | {"n": "!"}],
    "broken in kind": lambda: [public("rsa", RSA, "RS256") | {"kty": ["RSA"]}],
    "no object": lambda: ["rsa", 1, None],
    "none": list,
}


@pytest.mark.parametrize("what", KEYS)
def test_a_key_that_is_odd_signs_nothing(stand: Stand, what: str) -> None:
    stand.issuer.key_set[:] = [*KEYS[what](), public("ec", EC, "ES256")]
    with pytest.raises(Rejected, match="no such key"):
        stand.identify()
    assert stand.identify(kid="ec").repository == "acme/reviews", "the good key beside it does"


@contextmanager
def dripping() -> Iterator[str]:
    """A server that sends a byte now and then, for ever."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            while not over.wait(0.05):
                try:
                    self.wfile.write(b" ")
                except OSError:
                    return

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def ask(issuers: Issuers, issuer: str) -> Run:
    with issuing() as other:
        token = other.sign(other.github(HERE, iss=issuer))
    return issuers.identify(token, is_trusted=lambda _: True, audience=HERE)


def test_an_issuer_that_drips_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "_DEADLINE", 0.5)
    with dripping() as url:
        issuers = Issuers(private=[url])
        began = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            ask(issuers, url)
        assert str(caught.value.__cause__) == "no answer in 0.5 s"
        assert time.monotonic() - began < 5


def test_slow_issuers_hold_up_no_more_than_a_few_of_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "_DEADLINE", 2.0)
    with dripping() as url:
        issuers = Issuers(private=[f"{url}/{number}" for number in range(8)])
        failures: list[str] = []

        def one(number: int) -> None:
            try:
                ask(issuers, f"{url}/{number}")
            except Unavailable as error:
                failures.append(str(error))

        threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len([text for text in failures if "asking other issuers" in text]) >= 4
    assert len(failures) == 8


# -- addresses ----------------------------------------------------------------------------------------------

WALLED = [
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *(
        "192.0.0.8",
        "168.63.129.16",
        "192.88.99.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
    ),
    *("fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    *("64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::", "2001:0:7f00:1::", "100::1", "2001:db8::1"),
    *("fec0::1", "::7f00:1", "::ffff:0:7f00:1", "64:ff9b:1::1"),
]


@pytest.mark.parametrize("address", WALLED)
def test_an_issuer_at_an_address_of_ours_is_not_connected_to(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    asked: list[str] = []

    def lookup(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        return [(0, 0, 0, "", ("93.184.215.14", port)), (0, 0, 0, "", (address, port))]

    def connect(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(oidc, "_download", connect)
    with pytest.raises(Unavailable) as caught:
        ask(Issuers(), "https://issuer.example")
    assert "not on the public internet" in str(caught.value.__cause__)
    assert asked == ["issuer.example"], "it is looked up once, so a second answer changes nothing"


@pytest.mark.parametrize(
    "spelling", ["127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "127.1", "0", "localhost", "017700000001"]
)
def test_no_spelling_of_loopback_reaches_it(spelling: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.settimeout(0.05)
        with pytest.raises((Unavailable, InvalidRequest)):
            ask(Issuers(), f"https://{spelling}:{canary.getsockname()[1]}")
        with pytest.raises(TimeoutError):
            canary.accept()


def test_public_addresses_are_public() -> None:
    for address in ("93.184.215.14", "140.82.121.4", "2606:4700::6810:84e5", "::ffff:140.82.121.4"):
        assert oidc._is_public(ipaddress.ip_address(address)), address


@contextmanager
def over_tls(folder: Path, name: str) -> Iterator[tuple[int, Path]]:
    """A real issuer behind TLS, with a certificate for `name` of an authority of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority, private = folder / f"{name}.pem", folder / f"{name}.key"
    authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    made = Issuer("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = made.answer(self.path, {}, "")
            assert self.headers["host"] == f"localhost:{server.server_port}"
            self.send_response(status)
            for field, value in (headers | {"content-length": str(len(body))}).items():
                self.send_header(field, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    made.url = f"https://localhost:{server.server_port}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, private)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port, authority
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_over_tls_the_certificate_is_that_of_the_name_not_of_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, is_good in (("localhost", True), ("another.example", False)):
        with over_tls(tmp_path, name) as (port, authority):
            url = f"https://localhost:{port}"
            monkeypatch.setenv("SSL_CERT_FILE", str(authority))
            issuers = Issuers(private=[url])
            if is_good:
                assert ask(issuers, url).issuer == url
            else:
                with pytest.raises(Unavailable) as caught:
                    ask(issuers, url)
                assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value.__cause__)
            monkeypatch.delenv("SSL_CERT_FILE")
            with pytest.raises(Unavailable):
                ask(Issuers(private=[url]), url)
            with pytest.raises(Unavailable) as caught:
                ask(Issuers(), url)
            assert "not on the public internet" in str(caught.value.__cause__), "the operator has not named it"


@pytest.mark.parametrize(
    "issuer", ["http://issuer.example", "http://127.0.0.1:1", "http://10.0.0.1", "http://localhost"]
)
def test_without_tls_an_issuer_is_loopback_and_named(issuer: str) -> None:
    with pytest.raises(InvalidRequest, match="--private-issuer"):
        Issuers().check(issuer)
    named = Issuers(private=[issuer])
    if "127.0.0.1" in issuer or "localhost" in issuer:
        assert named.check(issuer) == issuer
    else:
        with pytest.raises(InvalidRequest, match="on loopback"):
            named.check(issuer)
