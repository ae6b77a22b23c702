"""A network of our own in which every address of the world is this machine: who connects to which is seen.

Run by test_55 in name spaces of its own (`unshare --net --mount`): there are a resolver that lies as it is told, a
server at all addresses, and a platform. What the platform was asked for, and where it went, is printed as JSON.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import fcntl
import ipaddress
import itertools
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pushpoint.egress import Egress
from pushpoint.packets import FLUSH, packet
from pushpoint.reach import Reach
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import JSON, Answer, ask, create

PUBLIC = {"93.184.216.34", "2606:2800:220:1::1"}
"""The addresses that the platform may speak to: those that the resolver gives as public."""
PRIVATE = [
    *("127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.254", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "240.0.0.1"),
    *(
        "::1",
        "fd00:ec2::254",
        "fc00::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
    ),
    *("2002:7f00:1::", "2001::1", "fec0::1", "::127.0.0.1", "::ffff:0:7f00:1"),
]
ASKERS = ("ann/one", "ann/two", "ann/three", "ann/four")
"""Algorithms that are built from addresses at the same time."""
PORTS = (22, 25, 80, 443, 2375, 3000, 5432, 6379, 8080, 8443, 9418)


def make_network() -> None:
    """Switch loopback on, and make every address local to it.

    Source:
        rtnetlink(7); `ip route add local default dev lo` says the same.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 1 | 64))  # SIOCSIFFLAGS: up, running
    for family in (socket.AF_INET, socket.AF_INET6):
        route = struct.pack("BBBBBBBBI", family, 0, 0, 0, 255, 3, 254, 2, 0)  # all of it, in the local table, local
        body = route + struct.pack("HHI", 8, 4, 1)  # by the first interface, loopback
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
            kernel.send(struct.pack("IHHII", 16 + len(body), 24, 1 | 4 | 0x400, 1, 0) + body)
            (error,) = struct.unpack("i", kernel.recv(4096)[16:20])
            assert error == 0, os.strerror(-error)


Page = Callable[[str], tuple[int, dict[str, str], bytes]]
"""What is answered to a path: status, headers and body."""


class Resolver:
    """Answers for every name what it is told to, one answer after the other; the last one stays."""

    def __init__(self, folder: Path) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: Counter[tuple[str, int]] = Counter()
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        (folder / "nsswitch.conf").write_text("hosts: files dns\n")
        for name in ("resolv.conf", "nsswitch.conf"):
            subprocess.run(["mount", "--bind", str(folder / name), f"/etc/{name}"], check=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            query, sender = self._socket.recvfrom(4096)
            labels, at = [], 12
            while length := query[at]:
                labels.append(query[at + 1 : at + 1 + length].decode("latin-1").lower())
                at += 1 + length
            name, (kind,) = ".".join(labels), struct.unpack(">H", query[at + 1 : at + 3])
            told = self.answers.get(name)
            found = told[min(self.asked[name, kind], len(told) - 1)] if told else []
            self.asked[name, kind] += 1
            version = {1: 4, 28: 6}.get(kind)
            packed = [one.packed for one in map(ipaddress.ip_address, found) if one.version == version]
            answer = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(one)) + one for one in packed)
            flags = 0x8180 if told else 0x8183
            head = query[:2] + struct.pack(">HHHHH", flags, 1, len(packed), 0, 0)
            self._socket.sendto(head + query[12 : at + 5] + answer, sender)


class World:
    """A server at every address; it notes to which somebody connected, and answers HTTP by the path's first word."""

    def __init__(self, folder: Path) -> None:
        self.connections: Counter[str] = Counter()
        self.pages: dict[str, Page] = {}
        self.served: Counter[str] = Counter()
        self.authority = folder / "authority.pem"
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.authority, _certify(self.authority))
        for port in PORTS:
            listening = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=100)
            threading.Thread(target=self._accept, args=(listening, port), daemon=True).start()

    def _accept(self, listening: socket.socket, port: int) -> None:
        while True:
            connection, _ = listening.accept()
            place = ipaddress.IPv6Address(connection.getsockname()[0])
            self.connections[f"{place.ipv4_mapped or place} {port}"] += 1
            threading.Thread(target=self._answer, args=(connection, port), daemon=True).start()

    def _answer(self, connection: socket.socket, port: int) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            if port in {443, 8443}:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                while True:
                    request = b""
                    while b"\r\n\r\n" not in request:
                        if not (piece := connection.recv(1 << 16)):
                            return
                        request += piece
                    path = request.split(b" ")[1].decode("latin-1")
                    page = self.pages.get(path.split("/")[1])
                    status, headers, body = page(path) if page else (404, {}, b"")
                    self.served[path[1:2] if page else "none"] += 1
                    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
                    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
                    connection.sendall("\r\n".join(lines).encode() + body)


def _certify(place: Path) -> Path:
    """Make a certificate for the good names; return where its key is."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    today = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("good.example"), x509.DNSName("*.good.example")])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    place.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = place.with_suffix(".key")
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return private


def hosts() -> list[str]:
    """Return ways to write addresses that are not public, and tricks around them."""
    found = [f"[{one}]" if ":" in one else one for one in PRIVATE]
    for one in ("127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.1.1"):
        number = int(ipaddress.IPv4Address(one))
        a, b, c, d = one.split(".")
        found += [
            str(number),
            hex(number),
            oct(number),
            f"0{oct(number)[2:]}",
            f"{a}.{int(b) << 16 | int(c) << 8 | int(d)}",
        ]
        found += [f"{a}.{b}.{int(c) << 8 | int(d)}", ".".join(hex(int(part)) for part in one.split("."))]
        found += [
            ".".join(f"0{int(part):o}" for part in one.split(".")),
            f"0x{number:08X}",
            f"{a}.{b}.{c}.{int(d) + 256}",
        ]
        found += [
            f"{one}.",
            f"{one}%00",
            f"{one}%00.good.example",
            f"{one}\uff0e",
            one.replace(".", "\u3002"),
            f"{one}%2f",
        ]
        found += [f"good.example@{one}", f"good.example:x@{one}", f"{one}#@good.example", f"{one}\\@good.example"]
        found += [f"{one}:443@good.example:80", f"{one}?@good.example", f"{one};good.example", f"good.example,{one}"]
        found += [
            f"[::ffff:{one}]",
            f"[::{one}]",
            f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]",
            f"[::FFFF:{one}%25lo]",
        ]
        found += [
            f"{number + (1 << 32)}",
            f"{one}:0443",
            f"{one}:+443",
            f"{one}:443:80",
            f" {one}",
            f"{one}\t",
            f"{one}\r\nHost: x",
        ]
    found += [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "localhost.localdomain",
        "ip6-localhost",
        "l\u00f3calhost",
        "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    ]
    found += [
        "127.1",
        "127.0.1",
        "0",
        "0.0",
        "0x0",
        "00",
        "127.0.0.1.1",
        "[::]",
        "[::1%lo]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:7f00:1]",
    ]
    found += [
        "[fe80::1%25lo]",
        "[fe80::1]",
        "[::1]:443",
        "[::1",
        "::1",
        "127\u30020\u30020\u30021",
        "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
        "",
        ".",
        "-",
        "..",
        "*",
    ]
    return found


def ask_for(platform: Platform, algorithm: str, url: str) -> list[Answer]:
    """Have the platform build from an address, wherever that is asked for."""
    path = f"/v1/algorithms/{algorithm}"
    body = json.dumps({"url": url, "branch": "main"}).encode()
    found = [ask(platform, "PUT", f"{path}/source", body, headers=JSON)]
    if found[0].status == 200:
        found.append(ask(platform, "GET", f"{path}/scm/status"))
        found += [ask(platform, "POST", f"{path}/compile") for _ in range(2)]
        found.append(ask(platform, "POST", f"{path}/source/reset"))
    return found


def identify(platform: Platform, algorithm: str, issuer: str) -> list[Answer]:
    """Have the platform ask an issuer for its keys."""
    body = json.dumps({"repository": "acme/x", "issuer": issuer}).encode()
    found = [ask(platform, "POST", f"/v1/algorithms/{algorithm}/publishers", body, headers=JSON)]
    parts = [{"alg": "RS256", "kid": "k", "typ": "JWT"}, {"iss": issuer}, "x"]
    token = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    wanted = json.dumps({"token": token, "algorithm": algorithm}).encode()
    found.append(ask(platform, "POST", "/v1/keys/exchange", wanted, key=None, headers=JSON))
    if found[0].status == 201:  # an algorithm has only so many
        found.append(ask(platform, "DELETE", f"/v1/algorithms/{algorithm}/publishers/{found[0].json['id']}"))
    return found


def detours() -> list[str]:
    """Return where a public server might send somebody."""
    found = [f"http://[{one}]/x" if ":" in one else f"http://{one}/x" for one in PRIVATE]
    found += [
        "https://127.0.0.1/x",
        "https://inner.good.example/x",
        "http://inner.good.example/x",
        "http://localhost/x",
    ]
    return [
        *found,
        "git://10.0.0.1/x",
        "ssh://127.0.0.1/x",
        "file:///etc/passwd",
        "//127.0.0.1/x",
        "ftp://127.0.0.1:25/x",
    ]


def try_all(platform: Platform, resolver: Resolver, world: World) -> Counter[str]:
    """Ask for everything, several things at once; return how often for what."""
    public, other = ["93.184.216.34"], [["127.0.0.1"], ["169.254.169.254"], ["10.0.0.1"], ["fd00:ec2::254"], ["::1"]]
    resolver.answers["good.example"], resolver.answers["inner.good.example"] = [public], [["127.0.0.1"]]
    questions: list[tuple[str, Callable[[Platform, str, str], list[Answer]], str]] = []

    schemes = itertools.cycle(["https://{}", "http://{}", "https://{}:8443", "http://{}:6379", "git://{}", "ssh://{}"])
    for host in hosts():
        for _ in range(2):
            questions.append(("spellings of git hosts", ask_for, f"{next(schemes).format(host)}/team/code.git"))
        questions.append(("spellings of issuers", identify, f"https://{host}"))

    for number, (private, position, mixed) in enumerate(
        (private, position, mixed) for private in other for position in range(6) for mixed in (False, True)
    ):
        name = f"r{number}.good.example"
        resolver.answers[name] = [public] * position + [public + private if mixed else private, public, private]
        questions.append(("names that change", ask_for, f"https://{name}/team/code.git"))
        name = f"i{number}.good.example"
        resolver.answers[name] = [public] * (position % 3) + [public + private if mixed else private, private]
        world.pages[f"i{number}"] = partial(_discovery, f"https://{name}/i{number}", None)
        questions.append(("names that change", identify, f"https://{name}/i{number}"))

    codes = itertools.cycle([301, 302, 303, 307, 308])
    for number, target in enumerate(detours()):
        for page, wanted in (("d", "redirections"), ("k", "keys"), ("a", "alternates"), ("b", "bundles")):
            world.pages[f"{page}{number}"] = _elsewhere(page, number, next(codes), target)
            if page in "dk":
                questions.append((f"{wanted} of issuers", identify, f"https://good.example/{page}{number}"))
            if page in "dab":
                questions.append((f"{wanted} of git hosts", ask_for, f"https://good.example/{page}{number}/code.git"))

    free: SimpleQueue[str] = SimpleQueue()  # each asker has an algorithm of its own, whose source stays what it set
    for algorithm in ASKERS:
        create(platform, algorithm)
        free.put(algorithm)

    def put(question: tuple[str, Callable[[Platform, str, str], list[Answer]], str]) -> str:
        what, act, url = question
        algorithm = free.get()
        answers = act(platform, algorithm, url)
        free.put(algorithm)
        assert all(answer.status < 500 or answer.status == 503 for answer in answers), (what, answers)
        return what

    with ThreadPoolExecutor(len(ASKERS)) as threads:
        return Counter(threads.map(put, questions))


def try_the_way_out(folder: Path, resolver: Resolver) -> Counter[str]:
    """Ask the proxy of a build for everything, as packages might; return how often for what, and with which outcome."""
    public, tried = ["93.184.216.34"], Counter[str]()
    ports = itertools.cycle(PORTS)
    targets = [(host, port) for host in [*hosts(), *PRIVATE] for port in (443, 80, next(ports))]
    for number, private in enumerate(["127.0.0.1", "169.254.169.254", "10.0.0.1", "fd00:ec2::254", "::1"] * 12):
        name = f"w{number}.good.example"
        asked = [public] * (number % 4)
        resolver.answers[name] = [*asked, [*public, private] if number % 2 else [private], [private]]
        targets += [(name, port) for port in (443, 80, 443, 80)]
    targets += [("good.example", 443), ("good.example", 80)] * 10
    egress = Egress(folder, listed=Reach.read(["*.good.example"]), proxies={})
    with egress.for_build("a build", lambda _: None) as proxy, ThreadPoolExecutor(8) as threads:

        def put(target: tuple[str, int]) -> None:
            host, port = target
            for text in (f"CONNECT {host}:{port} HTTP/1.1", f"GET http://{host}:{port}/x HTTP/1.1"):
                with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(ConnectionResetError):
                    connection.settimeout(20)
                    connection.connect(str(proxy.path))
                    connection.sendall(f"{text}\r\nHost: good.example\r\n\r\n".encode())
                    connection.recv(1 << 16)

        list(threads.map(put, targets))
    tried["ways out"] = 2 * len(targets)
    tried.update({f"ways out: {outcome}": count for outcome, count in egress.counts.items()})
    egress.close()
    return tried


def _elsewhere(page: str, number: int, code: int, target: str) -> Page:
    match page:
        case "d":
            return lambda _: (code, {"Location": target}, b"")
        case "k":
            return partial(_discovery, f"https://good.example/k{number}", target)
        case "a":
            return partial(_dumb, target)
    return partial(_bundles, target)


def _discovery(issuer: str, keys: str | None, path: str) -> tuple[int, dict[str, str], bytes]:
    found: dict[str, Any] = {"issuer": issuer, "jwks_uri": keys or f"{issuer}/keys", "keys": []}
    return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()


def _dumb(target: str, path: str) -> tuple[int, dict[str, str], bytes]:
    commit = "1" * 40
    files = {
        "info/refs": f"{commit}\trefs/heads/main\n",
        "HEAD": "ref: refs/heads/main\n",
        "objects/info/http-alternates": f"{target}\n",
    }
    files["objects/info/alternates"] = f"{target}\n"
    body = next((text for end, text in files.items() if path.partition("?")[0].endswith(end)), None)
    return (200 if body else 404), {"Content-Type": "text/plain"}, (body or "").encode()


def _bundles(target: str, path: str) -> tuple[int, dict[str, str], bytes]:
    """Offer a bundle, a promisor and packs, all elsewhere, to who speaks the protocol's second version."""
    tip = "1" * 40
    if "info/refs" in path:
        lines = (
            b"version 2\n",
            b"ls-refs=unborn\n",
            b"fetch=shallow packfile-uris\n",
            b"bundle-uri\n",
            b"object-format=sha1\n",
        )
        body = packet(b"# service=git-upload-pack\n") + FLUSH + b"".join(map(packet, lines)) + FLUSH
        return 200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, body
    said = (f"{tip} refs/heads/main\n", "packfile-uris\n", f"{tip} {target}\n", f"bundle.x.uri={target}")
    body = b"".join(packet(line.encode()) for line in said) + FLUSH
    return 200, {"Content-Type": "application/x-git-upload-pack-result"}, body


def main(folder: Path) -> None:
    make_network()
    resolver, world = Resolver(folder), World(folder)
    os.environ |= {"SSL_CERT_FILE": str(world.authority), "GIT_SSL_CAINFO": str(world.authority)}
    for place in (*PRIVATE, *PUBLIC):  # that there really is a server, which sees who comes
        socket.create_connection((place, 80), timeout=5).close()
    while world.connections.total() < len(PRIVATE) + len(PUBLIC):
        time.sleep(0.01)
    listening = len(world.connections)
    platform = start_platform(folder / "home")
    try:
        world.connections.clear()
        tried = try_all(platform, resolver, world)
    finally:
        stop_platform(platform)
    tried += try_the_way_out(folder, resolver)
    found = {"tried": tried, "listening": listening, "connections": world.connections, "served": world.served}
    print(json.dumps(found | {"bugs": (folder / "home" / "platform.log").read_text().count('"bug"')}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
