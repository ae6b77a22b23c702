"""Promise 54: of 10,000 spellings of paths, none opens a file outside the places it may, by the kernel's word.

None is a bug to us either, and none gives another tenant's bytes.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import re
import sys
import sysconfig
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conftest import Platform, start_platform, stop_platform
from tests.promises.kernel import OPENS, Call, Trace, needed
from tests.promises.spellings import tails
from tests.web.support import address, ask, create, issue_key, push, send_bytes

SECRET = b"ann's bytes, which are nobody else's"
CANARY = b"a file that is no user's"
PLACES = [
    "/v1/data/{}",
    "/v1/data/ann/{}",
    "/v1/data/ann/kept/{}",
    "/v1/data/.my/{}",
    "/v1/data/data://ann/kept/{}",
    "/git/{}/info/refs?service=git-upload-pack",
    "/git/ann/{}/info/refs?service=git-upload-pack",
    "/git/ann/held.git/{}",
    "/git/ann/held/{}.git/info/refs?service=git-upload-pack",
    "/v1/algorithms/{}",
    "/v1/algorithms/ann/{}",
    "/v1/algorithms/ann/held/builds/{}",
    "/v1/algorithms/ann/held/builds/{}/logs",
    "/v1/algorithms/ann/held/versions/{}",
    "/v1/algo/{}",
    "/v1/algo/ann/held/{}",
    "/v1/users/{}",
    "/{}",
]
METHODS = {"/v1/data": ("GET", "HEAD", "PUT", "GET"), "/v1/algo/": ("POST",), "/git": ("GET",)}
NUMBER = 10_000


def spellings() -> list[tuple[str, str]]:
    """Make methods and paths, all different."""
    found: dict[tuple[str, str], None] = {}
    for number, (place, tail) in enumerate(zip(itertools.cycle(PLACES), tails(), strict=False)):
        methods = next((METHODS[start] for start in METHODS if place.startswith(start)), ("GET", "DELETE"))
        path = place.format(tail)
        # as bytes on the line: what HTTP itself cannot carry is written in percents, all else stays as it is
        raw = "".join(chr(byte) if 0x20 < byte < 0x7F else f"%{byte:02x}" for byte in path.encode())
        found[methods[number // len(PLACES) % len(methods)], raw] = None
        if len(found) == NUMBER:
            break
    return list(found)


def send(platform: Platform, requests: list[tuple[str, str]], key: str) -> list[tuple[int, bytes]]:
    """Send requests one after the other; return statuses and answers."""
    found = []
    connection = http.client.HTTPConnection(*address(platform), timeout=30)
    with contextlib.closing(connection):
        for method, path in requests:
            body = b"overwritten" if method in {"PUT", "POST"} else None
            connection.putrequest(method, path, skip_accept_encoding=True)
            connection.putheader("authorization", key)
            connection.putheader("content-type", "application/json")
            connection.putheader("content-length", str(len(body or b"")))
            connection.endheaders(body)
            answer = connection.getresponse()
            found.append((answer.status, answer.read() + repr(answer.getheaders()).encode()))
    return found


def allowed(platform: Platform, repository: Path) -> re.Pattern[str]:
    """Say where a platform may open files: its own, those of the one algorithm, and those of the programs it runs."""
    home = platform.home
    own = [home / "store", repository, *(home / "builds").iterdir(), home / "scratch"]
    files = [
        home,
        home / "platform.db",
        home / "platform.db-wal",
        home / "platform.db-shm",
        home / "platform.db-journal",
    ]
    files += [home / "platform.log", Path("/dev/null"), Path("/dev/urandom"), Path("/etc/ld.so.cache")]
    files += [Path("/etc/localtime"), Path("/usr/share/locale/locale.alias"), Path("/etc/locale.alias")]
    programs = [sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), str(Path(__file__).parents[2] / "src")]
    programs += ["/usr/lib", "/lib", "/lib64", "/usr/share/zoneinfo", "/usr/share/git-core", "/usr/lib/git-core"]
    below = "|".join(re.escape(str(path)) for path in [*own, *programs])
    exact = "|".join(re.escape(str(path)) for path in files)
    return re.compile(rf"(?:{below})(?:/.*)?|(?:{exact})|/proc/(?:self|\d+)/(?:maps|stat|status|task.*|fd|cgroup)")


def strays(calls: list[Call], places: re.Pattern[str]) -> list[Call]:
    return [
        call
        for call in calls
        if (call.name in OPENS or call.changes) and not all(places.fullmatch(path, 0) for path in call.paths)
    ]


def test_no_spelling_of_a_path_leads_elsewhere(tmp_path: Path) -> None:
    needed()
    trace = Trace(tmp_path / "trace")
    platform = start_platform(tmp_path / "home", under=trace.command())
    try:
        for place in (
            tmp_path,
            platform.home,
            platform.home / "store",
            platform.home / "repositories",
            Path("/var/tmp"),
        ):
            with contextlib.suppress(OSError):
                (place / "canary").write_bytes(CANARY)
        create(platform, "ann/held")
        commit = push(platform, "ann/held", {"README": "x", "src/held.py": "def apply(input):\n    return 1\n"})
        ask(platform, "POST", "/v1/algorithms/ann/held/compile")
        ask(platform, "POST", "/v1/data/ann", b'{"name": "kept", "acl": {"read": []}}')
        assert ask(platform, "PUT", "/v1/data/ann/kept/secret", SECRET).status == 200
        assert ask(platform, "GET", f"/git/ann/held/{commit}.git/info/refs?service=git-upload-pack").status == 200
        identity = ask(platform, "GET", "/v1/algorithms/ann/held").json["id"]
        places = allowed(platform, platform.home / "repositories" / f"{identity}.git")
        bob = issue_key(platform, "bob")

        # once before, for what Python and git read when they are first needed
        assert ask(platform, "GET", "/v1/data/ann/kept/secret").body == SECRET
        trace.read()
        requests = spellings()
        assert len(set(requests)) == NUMBER
        statuses: Counter[int] = Counter()
        for key, forbidden in (
            (bob, [SECRET, CANARY, b"root:x:", b"[core]"]),
            (platform.key, [CANARY, b"root:x:", b"[core]"]),
        ):
            with ThreadPoolExecutor(4) as threads:
                batches = [requests[start::4] for start in range(4)]
                answers = list(threads.map(lambda batch, key=key: send(platform, batch, key), batches))
            for batch, answered in zip(batches, answers, strict=True):
                for (method, path), (status, body) in zip(batch, answered, strict=True):
                    assert status < 500, (method, path, status, body)
                    assert not any(secret in body for secret in forbidden), (method, path)
                    statuses[status] += 1
            kept = ask(platform, "GET", "/v1/data/ann/kept/secret")
            assert (kept.status, kept.body) == (200, SECRET)
        assert statuses.total() == 2 * NUMBER
        assert statuses[404] > NUMBER / 2, statuses

        # lines that no client of HTTP would send
        for line in (
            b"/v1/data/../../etc/passwd",
            b"http://x/../etc/passwd",
            b"*",
            b"/v1/data/\xff\xfe",
            b"/git/\\..\\..\\x",
        ):
            for key in (bob, platform.key):
                said = send_bytes(
                    platform,
                    b"GET "
                    + line
                    + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: "
                    + key.encode()
                    + b"\r\n\r\n",
                )
                assert re.match(rb"HTTP/1.1 4\d\d ", said), (line, said)

        calls = trace.read()
        assert sum(call.name in OPENS for call in calls) > 20, "the trace was watching"
        assert strays(calls, places) == []
        ask(platform, "DELETE", "/v1/data/ann/kept?force=true")
    finally:
        stop_platform(platform)
        Path("/var/tmp/canary").unlink(missing_ok=True)
    log = (platform.home / "platform.log").read_text()
    assert '"bug"' not in log


def test_what_is_opened_elsewhere_is_seen(tmp_path: Path) -> None:
    """The list of places bites."""
    home = tmp_path / "home"
    (home / "builds").mkdir(parents=True)
    places = allowed(Platform("", "", home, None), home / "repositories" / "1.git")  # type: ignore[arg-type]
    for path, is_fine in (
        (home / "store" / "sha256" / "ab", True),
        (home / "repositories" / "1.git" / "HEAD", True),
        (home / "repositories" / "2.git" / "HEAD", False),
        (home / "api-key", False),
        (home / "platform.db", True),
        (home / "platform.db.copy", False),
        (Path("/etc/passwd"), False),
        (Path("/proc/self/environ"), False),
        (Path("/usr/library"), False),
    ):
        call = Call(1, "git", "openat", "", (str(path),), 3)
        assert (strays([call], places) == []) is is_fine, path
