"""The client against a platform that misbehaves: a small server of the standard library that says what it is told."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pushpoint import errors, wire
from pushpoint.client import Client, exchange
from pushpoint.digests import describe
from pushpoint.names import AlgorithmName, Reference, data_path
from tests.conftest import Platform

KEY = "sim" + "k" * 25
NAME = AlgorithmName("ann", "sentiment")
FILE = data_path("ann/c/f")


@dataclass
class Reply:
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass
class StandIn:
    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def client(self, key: str = KEY) -> Client:
        return Client(self.url, key)

    def says(self, *replies: Reply) -> None:
        """The last one is repeated."""
        self.replies[:] = replies
        self.seen.clear()


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    found = StandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            if self.headers.get("transfer-encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.seen.append((self.command, self.path, headers, body))
            reply = found.replies.pop(0) if len(found.replies) > 1 else found.replies[0]
            self.send_response(reply.status)
            headers = {"content-length": str(len(reply.body) + 1000 * reply.cut)} | reply.headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)
            if reply.cut:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def failure(status: int, error: object) -> Reply:
    return Reply(status, json.dumps({"error": error}).encode())


def nowhere() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_nobody_there_is_unavailable_and_says_what_to_do() -> None:
    with Client(nowhere(), KEY) as client:
        with pytest.raises(errors.Unavailable, match=r"no answer from http://127.0.0.1:\d+ .*pushpoint serve"):
            client.account()
        with pytest.raises(errors.Unavailable, match="pushpoint serve"):
            client.call(Reference(NAME, None), b"1", content_type="application/json")
        with pytest.raises(errors.Unavailable, match="pushpoint serve"), client.open(FILE):
            pass


def test_a_host_that_does_not_exist_is_unavailable() -> None:
    with (
        Client("http://does-not-exist.invalid", KEY) as client,
        pytest.raises(errors.Unavailable, match="PUSHPOINT_URL"),
    ):
        client.call(Reference(NAME, None), b"1", content_type="application/json")


@pytest.mark.parametrize("url", ["http://[::1", "http://x:port"])
def test_an_address_that_is_none_is_a_setting_to_change(url: str) -> None:
    with pytest.raises(errors.ConfigError, match="PUSHPOINT_URL"):
        Client(url, KEY)


@pytest.mark.parametrize("url", ["", "localhost", "ftp://x", "://", "http://127.0.0.1:99999999"])
def test_an_address_without_a_scheme_we_speak_is_an_error_of_ours(url: str) -> None:
    with pytest.raises(errors.Error, match="PUSHPOINT_URL"), Client(url, KEY) as client:
        client.call(Reference(NAME, None), b"1", content_type="application/json")


@pytest.mark.parametrize("key", ["sim\u00e9", "sim\nX-Evil: 1", "sim\x00", "\u043a\u043b\u044e\u0447"])
def test_a_key_that_cannot_be_one_is_not_sent_and_not_shown(key: str) -> None:
    with pytest.raises(errors.Unauthenticated) as caught:
        Client("http://127.0.0.1:1", key)
    assert key not in str(caught.value)


def test_a_busy_platform_is_asked_again(stand_in: StandIn) -> None:
    good = Reply(body=b'{"name": "ann", "scopes": ["call"]}')
    stand_in.says(Reply(503, b"busy"), failure(503, {"error_type": "Unavailable"}), good)
    with stand_in.client() as client:
        assert client.account().name == "ann"
    assert len(stand_in.seen) == 3
    assert {headers["authorization"] for _, _, headers, _ in stand_in.seen} == {f"Simple {KEY}"}


def test_a_platform_that_stays_busy_is_unavailable(stand_in: StandIn) -> None:
    stand_in.says(failure(503, {"message": "the disk is full", "error_type": "Unavailable"}))
    with stand_in.client() as client, pytest.raises(errors.Unavailable, match="the disk is full"):
        client.account()
    assert 1 < len(stand_in.seen) <= 5


def test_a_call_is_never_repeated(stand_in: StandIn) -> None:
    """Whether it ran is not known."""
    stand_in.says(Reply(503, b"busy"))
    with stand_in.client() as client, pytest.raises(errors.Unavailable):
        client.call(Reference(NAME, None), b"1", content_type="application/json")
    assert len(stand_in.seen) == 1


def test_an_upload_is_sent_anew_from_its_beginning(stand_in: StandIn, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"x" * 3_000_000)
    blob = describe(tmp_path / "model")
    stand_in.says(Reply(503, b""), Reply(body=b'{"result": "data://ann/c/f"}'))
    with stand_in.client() as client:
        client.put(FILE, tmp_path / "model", blob)
    assert [hashlib.sha256(body).hexdigest() for *_, body in stand_in.seen] == [blob.hex] * 2
    for method, path, headers, _ in stand_in.seen:
        assert (method, path) == ("PUT", "/v1/data/ann/c/f")
        assert headers["if-none-match"] == "*"
        assert headers["content-length"] == "3000000"
        assert headers["content-digest"].startswith("sha-256=:")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (failure(400, {"message": "m", "error_type": "InvalidRequest"}), errors.InvalidRequest),
        (failure(400, {"message": "m", "error_type": "ConfigError"}), errors.ConfigError),
        (failure(409, {"message": "m", "error_type": "Superseded"}), errors.Superseded),
        (failure(409, {"message": "m", "error_type": "AlreadyExists"}), errors.AlreadyExists),
        (failure(409, {"message": "m", "error_type": "InUse"}), errors.Conflict),
        (failure(422, {"message": "m", "error_type": "DigestMismatch"}), errors.IntegrityError),
        (failure(403, {"message": "m", "error_type": "Refused"}), errors.Refused),
        (failure(404, {"message": "m", "error_type": "NotFound"}), errors.NotFound),
        (failure(502, {"message": "m", "error_type": "RolloutFailed", "reason": "m"}), errors.RolloutFailed),
        (failure(400, {"message": "m", "error_type": "SystemExit"}), errors.ConfigError),
        (failure(400, {"message": "m", "error_type": "__import__"}), errors.ConfigError),
        (failure(403, {"message": "m"}), errors.Refused),
        (failure(404, "m"), errors.NotFound),
        (failure(409, {"message": "m"}), errors.Conflict),
        (failure(429, {"message": "m"}), errors.Overloaded),
        (failure(418, {"message": "m"}), errors.ConfigError),
        (failure(500, {"message": "m", "error_type": "Error"}), errors.Unavailable),
    ],
)
def test_an_error_is_of_the_class_the_platform_names(stand_in: StandIn, reply: Reply, kind: type[errors.Error]) -> None:
    stand_in.says(reply)
    with stand_in.client() as client, pytest.raises(errors.Error) as caught:
        client.live(NAME) if kind is not errors.NotFound else client.account()
    assert type(caught.value) is kind
    assert "m" in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>nginx</html>", b"null", b"[]", b"5", b'{"error": null}', b'{"error": 5}', b'{"error": [1]}', b"\xff"],
)
@pytest.mark.parametrize(
    ("status", "kind"), [(404, errors.NotFound), (500, errors.Unavailable), (301, errors.ConfigError)]
)
def test_an_error_that_is_no_json_of_ours_is_still_an_error_of_ours(
    stand_in: StandIn, status: int, kind: type[errors.Error], body: bytes
) -> None:
    stand_in.says(Reply(status, body))
    with stand_in.client() as client, pytest.raises(kind, match=f"answered {status}"):
        client.account()


def test_a_refused_key_says_which_setting_and_not_which_key(stand_in: StandIn) -> None:
    stand_in.says(failure(401, {"message": f"wrong {KEY}"}))
    with stand_in.client() as client, pytest.raises(errors.Unauthenticated, match="PUSHPOINT_API_KEY") as caught:
        client.account()
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"{}", b'{"name": 5, "scopes": []}', b'"x"', b"\xff"])
def test_a_success_that_is_not_ours_is_unavailable(stand_in: StandIn, body: bytes) -> None:
    stand_in.says(Reply(body=body))
    with stand_in.client() as client:
        with pytest.raises(errors.Unavailable, match="does not answer as a platform does"):
            client.account()
        with pytest.raises(errors.Unavailable, match="does not answer as a platform does"):
            client.call(Reference(NAME, None), b"1", content_type="application/json")


@pytest.mark.parametrize(
    "body",
    [
        b'{"result": "%%%", "metadata": {"content_type": "binary"}}',
        b'{"result": 5, "metadata": {"content_type": "binary"}}',
        b'{"metadata": 5}',
        b'{"metadata": null, "result": 1}',
    ],
)
def test_a_call_whose_answer_does_not_fit_is_unavailable(stand_in: StandIn, body: bytes) -> None:
    stand_in.says(Reply(body=body))
    with stand_in.client() as client, pytest.raises(errors.Unavailable):
        client.call(Reference(NAME, None), b"1", content_type="application/json")


def test_a_call_reads_result_error_and_lineage(stand_in: StandIn) -> None:
    metadata = b'"metadata": {"content_type": "binary", "duration": 0.1}'
    stand_in.says(Reply(body=b'{"result": "AP8=", ' + metadata + b"}", headers={"X-Pushpoint-Version": "0.1.0"}))
    with stand_in.client() as client:
        found = client.call(Reference(NAME, "0.1.*"), b"1", content_type="text/plain", timeout=7, stdout=True)
    assert (found.value, found.error, found.lineage) == (b"\x00\xff", None, {"version": "0.1.0"})
    assert stand_in.seen[0][1] == "/v1/algo/ann/sentiment/0.1.%2A?timeout=7&stdout=true"
    stand_in.says(Reply(body=b'{"error": {"message": "boom"}, "metadata": {"duration": 0.1}}'))
    with stand_in.client() as client:
        found = client.call(Reference(NAME, None), b"1", content_type="text/plain")
    assert (found.value, found.error) == (None, {"message": "boom"})


def test_what_is_generated_comes_item_by_item_and_then_how_it_ended(stand_in: StandIn) -> None:
    lines = [
        {"item": "\u2028", "content_type": "text"},
        {"item": "AP8=", "content_type": "binary"},
        {"item": {"metadata": 1}, "content_type": "json"},
        {"error": {"message": "boom"}, "metadata": {"duration": 0.1}},
    ]
    text = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
    stand_in.says(Reply(body=text, headers={"X-Pushpoint-Version": "0.1.0"}))
    with stand_in.client() as client:
        items = client.generate(Reference(NAME, None), b"1", content_type="application/json")
        assert [next(items) for _ in range(3)] == ["\u2028", b"\x00\xff", {"metadata": 1}]
        with pytest.raises(StopIteration) as end:
            next(items)
    assert (end.value.value.error, end.value.value.lineage) == ({"message": "boom"}, {"version": "0.1.0"})
    assert stand_in.seen[0][2]["accept"] == "application/x-ndjson"


@pytest.mark.parametrize("text", [b"", b'{"item": 1, "content_type": "json"}\n', b"[]\n", b'{"item": 1}\n', b"x\n"])
def test_a_stream_without_an_end_is_no_success(stand_in: StandIn, text: bytes) -> None:
    stand_in.says(Reply(body=text))
    with stand_in.client() as client, pytest.raises(errors.Unavailable):
        list(client.generate(Reference(NAME, None), b"1", content_type="application/json"))


@pytest.mark.parametrize("headers", [{}, {"repr-digest": "x"}, {"repr-digest": "md5=:AAAA:"}, {"repr-digest": "a=:!:"}])
def test_a_file_without_digests_is_not_trusted(stand_in: StandIn, headers: dict[str, str]) -> None:
    stand_in.says(Reply(headers=headers))
    with stand_in.client() as client, pytest.raises(errors.Unavailable, match="does not answer as a platform does"):
        client.stat(FILE)


def test_a_download_that_breaks_off_is_unavailable(stand_in: StandIn) -> None:
    stand_in.says(Reply(body=b"half", cut=True))
    with (
        stand_in.client() as client,
        pytest.raises(errors.Unavailable, match="no answer"),
        client.open(FILE) as pieces,
    ):
        list(pieces)


def test_a_download_that_is_refused_is_that_error(stand_in: StandIn) -> None:
    stand_in.says(failure(404, {"message": "data://ann/c/f not found", "error_type": "NotFound"}))
    with stand_in.client() as client, pytest.raises(errors.NotFound, match="data://ann/c/f"), client.open(FILE):
        pass


def test_what_is_there_already_is_no_error(stand_in: StandIn) -> None:
    stand_in.says(failure(409, {"message": "exists", "error_type": "AlreadyExists"}))
    with stand_in.client() as client:
        client.create(NAME)
        client.create_collection(data_path("ann/c"))
    stand_in.says(failure(404, "No such algorithm"))
    with stand_in.client() as client:
        assert client.exists(NAME) is False
        assert client.live(NAME) is None
        assert client.stat(FILE) is None


def test_a_published_commit_is_looked_up(stand_in: StandIn) -> None:
    exists = failure(409, {"message": "published", "error_type": "AlreadyExists"})
    stand_in.says(exists, Reply(body=b'{"version_info": {"semantic_version": "0.7.0"}}'))
    with stand_in.client() as client:
        assert client.publish(NAME, "c" * 40, part="minor", sample_input=None, notes="") == "0.7.0"
    assert [path for _, path, _, _ in stand_in.seen] == [
        "/v1/algorithms/ann/sentiment/versions?roll_out=false",
        f"/v1/algorithms/ann/sentiment/versions/{'c' * 40}",
    ]


def test_names_of_files_are_encoded(stand_in: StandIn) -> None:
    stand_in.says(failure(404, {"message": "m"}))
    with stand_in.client() as client:
        client.stat(data_path("ann/c/a b+\u00e9?#%"))
    assert stand_in.seen[0][1] == "/v1/data/ann/c/a%20b%2B%C3%A9%3F%23%25"


def test_pages_are_read_to_the_end(stand_in: StandIn) -> None:
    build = {"build_id": "b", "status": "succeeded", "commit_sha": "c", "more": "keys"}
    stand_in.says(Reply(body=json.dumps({"results": [build], "marker": None, "next_link": None}).encode()))
    with stand_in.client() as client:
        assert [one.build_id for one in client.builds(NAME, limit=3)] == ["b"]
    deployment = json.dumps({"results": [], "marker": "200"}).encode()
    stand_in.says(Reply(body=deployment), Reply(body=b'{"results": [], "marker": null}'))
    with stand_in.client() as client:
        assert list(client.deployments(NAME)) == []
    assert [path.partition("?")[2] for _, path, _, _ in stand_in.seen] == ["limit=200", "limit=200&marker=200"]


def test_against_the_real_one(platform: Platform, tmp_path: Path) -> None:
    """What the stand-in says above is what a platform says."""
    (tmp_path / "model").write_bytes(b"x" * 2_500_000)
    blob = describe(tmp_path / "model")
    with platform.client() as client:
        assert client.account().name == "ann"
        assert client.exists(NAME) is False
        client.create(NAME)
        client.create(NAME)
        assert client.exists(NAME) is True
        assert client.live(NAME) is None
        assert list(client.releases(NAME)) == []
        client.create_collection(data_path("ann/c"))
        client.create_collection(data_path("ann/c"))
        assert client.stat(FILE) is None
        assert client.link(FILE, blob) is False
        sizes: list[int] = []
        client.put(FILE, tmp_path / "model", blob, progress=sizes.append)
        assert sum(sizes) == blob.size
        assert client.stat(FILE) == blob
        client.put(FILE, tmp_path / "model", blob)
        assert client.link(data_path("ann/c/g"), blob) is True
        with client.open(data_path("ann/c/g")) as pieces:
            assert hashlib.sha256(b"".join(pieces)).hexdigest() == blob.hex
        (tmp_path / "model").write_bytes(b"y" * 2_500_000)
        with pytest.raises(errors.IntegrityError):
            client.put(data_path("ann/c/h"), tmp_path / "model", blob)
        with pytest.raises(errors.AlreadyExists):
            client.put(FILE, tmp_path / "model", describe(tmp_path / "model"))
        with pytest.raises(errors.NotFound):
            client.call(Reference(NAME, None), b"1", content_type="application/json")
        with pytest.raises(errors.Refused):
            client.create(AlgorithmName("bob", "x"))
    with Client(platform.url, KEY) as client, pytest.raises(errors.Unauthenticated):
        client.account()


# -- keys that are renewed ----------------------------------------------------------------------------------


def counted(*lives: float) -> tuple[list[str], Callable[[], wire.ExchangedKey]]:
    """Keys in a row, each with its seconds to live, and the list of those that were asked for."""
    given: list[str] = []
    left = iter(lives)

    def renew() -> wire.ExchangedKey:
        given.append(f"key-{len(given) + 1}")
        return wire.ExchangedKey(
            key=given[-1], expires=next(left), scopes=[], algorithm=str(NAME), collection="data://ann/sentiment"
        )

    return given, renew


ACCOUNT = Reply(body=b'{"name": "ann", "scopes": []}')


def keys_sent(stand_in: StandIn) -> list[str]:
    return [headers.get("authorization", "") for _, _, headers, _ in stand_in.seen]


def test_a_key_is_asked_for_when_it_is_needed_and_kept_while_it_lives(stand_in: StandIn) -> None:
    stand_in.says(ACCOUNT)
    given, renew = counted(900.0)
    with Client(stand_in.url, renew=renew) as client:
        assert given == []
        client.account()
        client.account()
    assert given == ["key-1"]
    assert keys_sent(stand_in) == ["Simple key-1"] * 2


def test_a_key_that_is_over_is_renewed_before_it_is_sent(stand_in: StandIn) -> None:
    stand_in.says(ACCOUNT)
    given, renew = counted(0.0, 900.0)
    with Client(stand_in.url, renew=renew) as client:
        client.account()
        client.account()
    assert keys_sent(stand_in) == ["Simple key-1", "Simple key-2"]
    assert given == ["key-1", "key-2"]


def test_a_refused_key_is_renewed_once_and_the_request_sent_again(stand_in: StandIn, tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"model")
    stand_in.says(failure(401, {"message": "authorization required"}), Reply())
    given, renew = counted(900.0, 900.0)
    with Client(stand_in.url, renew=renew) as client:
        client.put(FILE, file, describe(file))
    assert keys_sent(stand_in) == ["Simple key-1", "Simple key-2"]
    assert [body for _, _, _, body in stand_in.seen] == [b"model", b"model"]

    stand_in.says(failure(401, {"message": "authorization required"}))
    given, renew = counted(900.0, 900.0, 900.0)
    with Client(stand_in.url, renew=renew) as client:
        with pytest.raises(errors.Unauthenticated):
            client.call(Reference(NAME, None), b"1", content_type="application/json")
        assert given == ["key-1", "key-2"]


def test_without_renewal_a_refused_key_is_an_error_at_once(stand_in: StandIn) -> None:
    stand_in.says(failure(401, {"message": "authorization required"}))
    with stand_in.client() as client, pytest.raises(errors.Unauthenticated, match="set PUSHPOINT_API_KEY"):
        client.account()
    assert len(stand_in.seen) == 1


@pytest.mark.parametrize(("seconds", "is_renewed"), [(900.0, False), (60.0, True)])
def test_git_gets_a_key_that_lives_long_enough(stand_in: StandIn, seconds: float, is_renewed: bool) -> None:
    stand_in.says(ACCOUNT)
    _, renew = counted(seconds, 900.0)
    with Client(stand_in.url, renew=renew) as client:
        client.account()
        assert client.repository(NAME)[2] == ("key-2" if is_renewed else "key-1")


EXCHANGED = {"key": KEY, "expires": 900.0, "scopes": [], "algorithm": "ann/sentiment", "collection": "data://ann/c"}


def test_an_identity_is_exchanged_with_the_token_in_the_body_alone(stand_in: StandIn) -> None:
    stand_in.says(failure(503, {"message": "busy"}), Reply(body=json.dumps(EXCHANGED).encode()))
    assert exchange(stand_in.url, "the.to.ken", NAME).key == KEY
    assert len(stand_in.seen) == 2, "a platform that is busy has not used the token"
    method, path, headers, body = stand_in.seen[-1]
    assert (method, path) == ("POST", "/v1/keys/exchange")
    assert json.loads(body) == {"token": "the.to.ken", "algorithm": "ann/sentiment"}
    assert "the.to.ken" not in path + str(headers)


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (failure(401, {"message": "its `aud` is not x"}), errors.Unauthenticated, "its `aud` is not x"),
        (Reply(body=b"<html>"), errors.Unavailable, "gives no key"),
        (Reply(cut=True), errors.Unavailable, "gives no key"),
        (failure(404, {"message": "no such route", "error_type": "NotFound"}), errors.NotFound, "no such route"),
        (failure(503, {"message": "busy"}), errors.Unavailable, "busy"),
    ],
)
def test_an_exchange_that_fails_is_not_repeated_where_the_token_may_be_used(
    stand_in: StandIn, reply: Reply, kind: type[errors.Error], said: str
) -> None:
    stand_in.says(reply)
    with pytest.raises(kind, match=said) as caught:
        exchange(stand_in.url, "the.to.ken", NAME)
    assert "the.to.ken" not in str(caught.value)
    assert len(stand_in.seen) == (5 if reply.status == 503 else 1)


def test_an_exchange_with_nobody_is_unavailable() -> None:
    with pytest.raises(errors.Unavailable, match="run it again"):
        exchange(nowhere(), "the.to.ken", NAME)
    with pytest.raises(errors.ConfigError, match="PUSHPOINT_URL"):
        exchange("http://x:port", "the.to.ken", NAME)
