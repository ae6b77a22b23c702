"""The way out of sandboxes: what it lets through, what it refuses, and that nothing it is sent holds it up."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pushpoint import egress
from pushpoint.egress import Egress, Proxy
from pushpoint.environments import index_places, make_environment
from pushpoint.errors import InvalidName
from pushpoint.hosts import look_up
from pushpoint.reach import Place, Reach, place
from pushpoint.runtime.relay import Relay
from pushpoint.sandbox import find_sandbox

BIG = os.urandom(1 << 20)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what it heard."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = BIG if self.path == "/big" else f"{self.command} {self.path} {self.headers}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        heard = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(heard)))
        self.end_headers()
        self.wfile.write(heard)

    def do_CONNECT(self) -> None:  # the operator's own proxy
        self.server.connects.append((self.path, self.headers["Proxy-Authorization"]))  # type: ignore[attr-defined]
        self.send_response(407 if "denied" in self.path else 200)
        self.end_headers()
        if "denied" not in self.path:
            self.wfile.write(self.rfile.read(5))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.connects = []  # type: ignore[attr-defined]
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


class Way:
    """An egress, what it looks up, and what it tells."""

    def __init__(self, folder: Path, *, listed: Reach, proxies: dict[str, str] | None = None) -> None:
        self.addresses: dict[str, list[str]] = {"localhost": ["127.0.0.1"]}
        self.asked: list[str] = []
        self.told: list[tuple[str, Place, str]] = []
        self.egress = Egress(
            folder,
            listed=listed,
            proxies=proxies or {},
            lookup=self.look_up,
            tell=lambda *told: self.told.append(told),
        )

    def look_up(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.addresses.get(host, [host] if host[0].isdigit() or ":" in host else [])

    def proxy(self, *reach: str) -> Proxy:
        return self.egress.proxy(Reach.read(reach), who="ann/x", advice="allow it")


@contextlib.contextmanager
def way(folder: Path, *listed: str, proxies: dict[str, str] | None = None) -> Iterator[Way]:
    found = Way(folder, listed=Reach.read(listed), proxies=proxies)
    yield found
    found.egress.close()
    assert list(folder.glob("egress-*")) == []
    assert found.egress.open_connections == 0


def say(proxy: Proxy, text: bytes) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    try:
        connection.connect(str(proxy.path))
        connection.sendall(text)
    except OSError:
        connection.close()
        raise
    return connection


def ask(proxy: Proxy, text: bytes) -> bytes:
    """Send something and read until the end."""
    with say(proxy, text) as connection:
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # it was answered before it was read
            while data := connection.recv(1 << 16):
                answer += data
        return answer


def tunnel(proxy: Proxy, target: str) -> bytes:
    return ask(proxy, f"CONNECT {target} HTTP/1.1\r\n\r\n".encode()).partition(b"\r\n")[0]


def fetch(proxy: Proxy, url: str, data: bytes | None = None) -> bytes:
    """As programs inside do: through the relay, with the standard library."""
    with Relay(str(proxy.path)) as relay:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": relay.url, "https": relay.url}))
        try:
            with opener.open(url, data, timeout=20) as answer:
                return bytes(answer.read())
        finally:
            relay.shutdown()


NO_HOSTS = """
*|*.|a b|https://example.com|example.com/x|example.com:|example.com:0|a.com:65536|*.*.com|a*.com|exämple.com
user@example.com|.example.com|example..com|-a.com|
"""


@pytest.mark.parametrize("text", [*NO_HOSTS.strip().replace("\n", "|").split("|"), "a" * 64])
def test_what_names_no_host_is_refused(text: str) -> None:
    with pytest.raises(InvalidName, match=r"write HOST, HOST:PORT, \*\.HOST"):
        place(text)


def test_a_list_within_another_one() -> None:
    bound = Reach.read(["api.example.com", "*.example.org", "db.example:5432", "[2001:db8::1]:80"])
    more = "api.example.com:80 x.api.example.com a.b.example.org *.b.example.org example.org *.org db.example public"
    asked = Reach.read(["API.example.com", *more.split(), "db.example:5432", "[2001:DB8::1]:80"])
    left = "api.example.com, a.b.example.org, *.b.example.org, db.example:5432, [2001:db8::1]:80"
    assert str(asked.within(bound)) == left
    everything = asked.within(Reach(public=True))
    assert everything.public
    assert "db.example:5432" not in str(everything), "only what is of the web"
    assert not Reach.read([])
    assert str(Reach()) == "nothing"


def test_hosts_of_package_indexes() -> None:
    def found(**variables: str) -> list[str]:
        return [str(one) for one in index_places(variables)]

    pypi, plain, tls = ["pypi.org", "files.pythonhosted.org"], "http", "https"
    assert found() == pypi
    assert found(UV_INDEX="own=http://10.0.0.9:3141/x https://b.example/y") == ["10.0.0.9:3141", "b.example", *pypi]
    assert found(UV_DEFAULT_INDEX=f"{tls}://pypi.org/simple") == pypi
    extra = {"UV_EXTRA_INDEX_URL": f"{tls}://u:p@c.example:444/s", "UV_FIND_LINKS": "/wheels,http://d.example/"}
    others = ["[::1]:8080", "c.example:444", "d.example:80"]
    assert found(UV_INDEX_URL=f"{plain}://[::1]:8080/simple", **extra) == others


def test_what_is_listed_is_reached(tmp_path: Path, server: http.server.HTTPServer) -> None:
    port = server.server_address[1]
    with way(tmp_path, f"localhost:{port}") as out, out.proxy(f"localhost:{port}") as proxy:
        told = fetch(proxy, f"http://localhost:{port}/path?q=1").decode()
        assert told.startswith("GET /path?q=1 ")
        assert f"Host: localhost:{port}\n" in told
        assert "Connection: close" in told
        assert fetch(proxy, f"http://localhost:{port}/big") == BIG
        assert fetch(proxy, f"http://localhost:{port}/", BIG) == BIG
        with say(proxy, f"CONNECT localhost:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) as connection:
            assert connection.recv(100) == b"HTTP/1.1 200 Connected\r\n\r\n"
            inside = http.client.HTTPConnection("localhost")
            inside.sock = connection
            for _ in range(3):
                inside.request("GET", "/big")
                assert inside.getresponse().read() == BIG
        assert out.egress.counts["connected"] == 4


def test_what_is_not_listed_is_refused_with_advice(tmp_path: Path, server: http.server.HTTPServer) -> None:
    port = server.server_address[1]
    with way(tmp_path, f"localhost:{port}") as out, out.proxy("api.example.com", "*.example.org") as proxy:
        for target in (f"localhost:{port}", "api.example.com:80", "example.org:443", "other.example:443"):
            said = tunnel(proxy, target).decode()
            assert said == f"HTTP/1.1 403 Forbidden: {target} is not among the hosts that ann/x may reach; allow it"
        with pytest.raises(urllib.error.HTTPError, match=f"localhost:{port} is not among") as caught:
            fetch(proxy, f"http://localhost:{port}/")
        caught.value.close()
        with pytest.raises(OSError, match=r"403 Forbidden: evil\.example:443 is not among.*allow it"):
            fetch(proxy, "https://evil.example/")
        assert out.asked == [], "what may not be reached is not even looked up"
        assert out.egress.counts["refused"] == 6
        assert [(who, str(one)) for who, one, _ in out.told][:2] == [
            ("ann/x", f"localhost:{port}"),
            ("ann/x", "api.example.com:80"),
        ]
        assert len(out.told) == 5, "each host is told of once"


PRIVATE = [
    *(["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["8.8.8.8", "10.0.0.1"], ["::1"], ["::ffff:8.8.8.8"]),
    *(["fd00::1"], []),
]


@pytest.mark.parametrize("addresses", PRIVATE)
def test_a_name_of_something_private_is_refused(tmp_path: Path, addresses: list[str]) -> None:
    with way(tmp_path, "public", "*.example.com") as out:
        out.addresses["api.example.com"] = addresses
        for reach in ("public", "api.example.com", "*.example.com"):
            with out.proxy(reach) as proxy:
                said = tunnel(proxy, "api.example.com:443")
                assert b"403 Forbidden: api.example.com has no address on the public internet" in said


@pytest.mark.parametrize(
    "target", ["127.0.0.1:80", "127.1:80", "169.254.169.254:80", "[::1]:443", "2130706433:80", "0:80", "0x7f.1:80"]
)
def test_public_is_neither_loopback_nor_a_private_network(tmp_path: Path, target: str) -> None:
    with way(tmp_path, "public") as out, out.proxy("public") as proxy:
        out.egress.lookup = look_up
        assert b" 403 " in tunnel(proxy, target)
        assert b" 403 " in ask(proxy, f"GET http://{target}/latest HTTP/1.1\r\nHost: example.com\r\n\r\n".encode())


def test_a_deep_folder_is_no_hindrance(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 25)
    deep.mkdir()
    with way(deep, "public") as out, out.proxy("public") as proxy, Relay(str(proxy.path)) as relay:
        with socket.create_connection(relay.server_address[:2], timeout=10) as asking:  # type: ignore[arg-type]
            asking.sendall(b"CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n")
            assert b" 403 " in asking.recv(1000)
        relay.shutdown()


def test_what_was_checked_is_what_is_connected_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, int]] = []

    async def connect(host: str, port: int, **_: Any) -> Any:
        tried.append((host, port))
        raise ConnectionRefusedError

    monkeypatch.setattr("asyncio.open_connection", connect)
    with way(tmp_path, "public") as out, out.proxy("public") as proxy:
        out.addresses["api.example.com"] = ["8.8.8.8", "2606:4700::1111"]
        assert b"502 Bad Gateway: api.example.com:443 does not answer" in tunnel(proxy, "api.example.com:443")
        assert tried == [("8.8.8.8", 443), ("2606:4700::1111", 443)]
        assert out.asked == ["api.example.com"]
        assert b" 403 " in tunnel(proxy, "api.example.com:22")


@pytest.mark.parametrize(
    "text",
    [
        *(b"GET / HTTP/1.1", b"CONNECT example.com HTTP/1.1", b"CONNECT a@b:443 HTTP/1.1", b"\x16\x03\x01", b""),
        *(b"GET ftp://a/ HTTP/1.1", b"GET http://user@[::1/ HTTP/1.1", b"CONNECT a:443\nX: y HTTP/1.1"),
        *(b"CONNECT *.example.com:443 HTTP/1.1", b"GET http://*.example.com/ HTTP/1.1"),
        *(b"GET http://a:x/ HTTP/1.1", b"GET http:// HTTP/1.1"),
    ],
)
def test_what_is_no_request_is_told_so(tmp_path: Path, text: bytes) -> None:
    with way(tmp_path, "public") as out, out.proxy("public") as proxy:
        assert ask(proxy, text + b"\r\n\r\n").startswith(b"HTTP/1.1 400 Bad Request: this is no request for a proxy")
        assert out.egress.counts["malformed"] == 1
        assert out.asked == []


def test_connections_are_bounded_in_number_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "CONNECTIONS", 3)
    monkeypatch.setattr(egress, "HEAD_SECONDS", 0.5)
    with way(tmp_path, "public") as out, out.proxy("public") as proxy, out.proxy("public") as other:
        silent = [say(proxy, b"CONN") for _ in range(3)]
        assert b"503 Service Unavailable: too many connections" in tunnel(proxy, "x.example:443")
        assert b" 403 " in tunnel(other, "x.example:443"), "another sandbox has connections of its own"
        for one in silent:
            assert one.recv(10) == b"", "it was given up"
            one.close()
        assert b" 403 " in tunnel(proxy, "x.example:443")
        with say(proxy, b"") as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(b"GET http://x.example/ HTTP/1.1\r\nX: " + b"y" * (1 << 20))
            assert connection.recv(10) == b""
        out.egress.most = 0
        assert b" 503 " in tunnel(other, "x.example:443")
        counts = out.egress.counts
        assert (counts["busy"], counts["malformed"], counts["refused"]) == (2, 4, 2)


def test_a_tunnel_that_nobody_uses_and_a_half_open_one_end(
    tmp_path: Path, server: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "IDLE_SECONDS", 0.5)
    port = server.server_address[1]
    with way(tmp_path, f"localhost:{port}") as out, out.proxy(f"localhost:{port}") as proxy:
        head = f"CONNECT localhost:{port} HTTP/1.1\r\n\r\n".encode()
        began = time.monotonic()
        assert ask(proxy, head) == b"HTTP/1.1 200 Connected\r\n\r\n"
        assert 0.4 < time.monotonic() - began < 5
        monkeypatch.setattr(egress, "IDLE_SECONDS", 60.0)
        monkeypatch.setattr(egress, "HALF_SECONDS", 0.5)
        with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections, and says nothing
            quiet = f"localhost:{mute.getsockname()[1]}"
            with (
                out.egress.proxy(Reach.read([quiet]), who="x", advice="", listed=Reach.read([quiet])) as another,
                say(another, f"CONNECT {quiet} HTTP/1.1\r\n\r\n".encode()) as connection,
            ):
                assert b"200" in connection.recv(100)
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(100) == b""


def test_an_answer_is_whole_where_the_client_was_done_first(tmp_path: Path, server: http.server.HTTPServer) -> None:
    port = server.server_address[1]
    with way(tmp_path, f"localhost:{port}") as out, out.proxy(f"localhost:{port}") as proxy:
        for _ in range(5):
            with say(proxy, f"GET http://localhost:{port}/big HTTP/1.1\r\n\r\n".encode()) as connection:
                connection.shutdown(socket.SHUT_WR)
                time.sleep(0.05)
                answer = b""
                while data := connection.recv(1 << 16):
                    answer += data
                assert answer.endswith(BIG)


def test_a_proxy_ends_with_its_sandbox(tmp_path: Path, server: http.server.HTTPServer) -> None:
    port = server.server_address[1]
    with way(tmp_path, f"localhost:{port}") as out:
        proxy = out.proxy(f"localhost:{port}")
        with say(proxy, f"CONNECT localhost:{port} HTTP/1.1\r\n\r\n".encode()) as connection:
            assert b"200" in connection.recv(100)
            proxy.close()
            assert connection.recv(100) == b""
        with pytest.raises(FileNotFoundError):
            say(proxy, b"")
        proxy.close()


def test_the_operators_own_proxy_is_used_and_told_names_of_listed_hosts_alone(
    tmp_path: Path, server: http.server.HTTPServer
) -> None:
    own = f"http://me:s%20cret@127.0.0.1:{server.server_address[1]}"
    listed = ("inner.example", "denied.example", "near.example:1")
    with way(tmp_path, "public", *listed, proxies={"https": own, "no": "near.example"}) as out:
        out.addresses["outer.example"] = ["8.8.8.8"]
        out.addresses["near.example"] = ["127.0.0.1"]
        with out.proxy("public", *listed) as proxy:
            for target in ("inner.example:443", "outer.example:443"):
                with say(proxy, f"CONNECT {target} HTTP/1.1\r\n\r\n".encode()) as connection:
                    assert b"200" in connection.recv(100)
                    connection.sendall(b"hello")
                    assert connection.recv(10) == b"hello"
            assert b"502 Bad Gateway: the platform's own proxy answers 407" in tunnel(proxy, "denied.example:443")
            assert b" 403 " in tunnel(proxy, "absent.example:443")
            assert b"502" in tunnel(proxy, "near.example:1")
        told = server.connects  # type: ignore[attr-defined]
        assert [target for target, _ in told] == ["inner.example:443", "8.8.8.8:443", "denied.example:443"]
        assert {credential for _, credential in told} == {"Basic bWU6cyBjcmV0"}
        assert out.asked == ["outer.example", "absent.example", "near.example"]


BACKEND = """
import json, os, pathlib, socket, sys, urllib.request, zipfile

def attempt(host, port):
    try:
        socket.create_connection((host, port), timeout=3).close()
        return "connected"
    except OSError as error:
        return type(error).__name__

def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()
    except OSError as error:
        return str(error)

def tell():
    told = {url: fetch(url) for url in URLS}
    told |= {place: attempt(*place.rsplit(":", 1)) for place in PLACES}
    told["environment"] = [f"{name}={value}" for name, value in os.environ.items() if "proxy" in name.lower()]
    return json.dumps(told)

def build_wheel(directory, *_):
    name = "thief-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("thief.json", tell())
        about = "thief-1.0.dist-info"
        metadata = "Metadata-Version: 2.1\\nName: thief\\nVersion: 1.0\\nRequires-Dist: leaf\\n"
        wheel.writestr(about + "/METADATA", metadata)
        wheel.writestr(about + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(about + "/RECORD", "")
    return name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "thief"
version = "1.0"
dependencies = ["leaf"]
"""


class Index(http.server.SimpleHTTPRequestHandler):
    """A package index of the operator's, at an address that is not public: a list of files for each package."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def publish(folder: Path) -> None:
    """Lay down an index with a package in it."""
    (folder / "simple" / "leaf").mkdir(parents=True)
    with zipfile.ZipFile(folder / "simple" / "leaf" / "leaf-1.0-py3-none-any.whl", "w") as wheel:
        about = "leaf-1.0.dist-info"
        wheel.writestr("leaf.py", "version = '1.0'")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: leaf\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


def test_what_is_built_reaches_packages_and_nothing_private(
    tmp_path: Path, server: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = find_sandbox()
    if sandbox.program is None:
        pytest.skip(sandbox.reason)
    for name in [name for name in os.environ if name.startswith("UV_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    port = server.server_address[1]
    urls = [f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/x", "http://169.254.169.254/latest/meta-data/"]
    urls += ["http://inner.example/", "https://inner.example/", f"http://localhost:{port}/", "http://[::1]/"]
    places = [f"127.0.0.1:{port}", f"127.0.0.2:{port}", "169.254.169.254:80", "10.0.0.1:80", f"localhost:{port}"]
    code = tmp_path / "code"
    (code / "thief").mkdir(parents=True)
    (code / "thief" / "backend.py").write_text(f"URLS = {urls}\nPLACES = {places}\n{BACKEND}")
    (code / "thief" / "pyproject.toml").write_text(PROJECT)
    (code / "requirements.txt").write_text("./thief\n")
    (tmp_path / "run").mkdir()
    publish(tmp_path / "index")
    serving = partial(Index, directory=str(tmp_path / "index"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serving) as index, way(tmp_path / "run") as out:
        threading.Thread(target=index.serve_forever, daemon=True).start()
        out.addresses["inner.example"] = ["127.0.0.1"]
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{index.server_address[1]}/simple")
        said: list[str] = []
        with out.egress.for_build("the build of ann/x", said.append) as proxy:
            made = make_environment(
                code / "requirements.txt",
                root=tmp_path / "environments",
                contained=sandbox.around_uv(code, proxy.path),
                say=print,
            )
        index.shutdown()
    assert "leaf==1.0" in made.lock, "what it depends on came from the operator's index"
    told = json.loads(next(made.path.glob("lib/python*/site-packages/thief.json")).read_text())
    assert "127.0.0.1:3128" in str(told.pop("environment"))
    assert set(told) == {*urls, *places}
    for url in urls:
        assert "403" in told[url], (url, told[url])
    assert [told[one] for one in places if told[one] == "connected"] == []
    assert "ask the platform's operator" in told[urls[0]]
    assert "inner.example has no address on the public internet; for more ask the platform's operator" in str(said)
    assert {str(asked.host) for _, asked, _ in out.told} >= {"127.0.0.1", "169.254.169.254", "inner.example"}
