"""`/v1/data` byte by byte (platform API, section 3)."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import insert, select

from pushpoint import manifest as manifests
from pushpoint.databases import reading, writing
from pushpoint.databases.tables import collections, files
from pushpoint.digests import describe
from pushpoint.names import data_path
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import (
    JSON,
    Answer,
    address,
    ask,
    compile_head,
    create,
    database,
    issue_key,
    manifest_of,
    publish,
    push,
    serve,
    stored,
)


def digest(name: str, content: bytes) -> str:
    raw = hashlib.new(name.replace("-", ""), content).digest()
    return f"{name}=:{base64.b64encode(raw).decode()}:"


@dataclass(frozen=True)
class Data:
    platform: Platform
    bob: str

    def put(self, path: str, content: bytes | Iterator[bytes] = b"", *, key: str = "", **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(self.platform, "PUT", f"/v1/data/{path}", content, key=key, headers=sent)

    def get(self, path: str, *, key: str = "") -> Answer:
        return ask(self.platform, "GET", f"/v1/data/{path}", key=key)

    def head(self, path: str, *, key: str = "") -> Answer:
        return ask(self.platform, "HEAD", f"/v1/data/{path}", key=key)

    def delete(self, path: str, *, key: str = "") -> Answer:
        return ask(self.platform, "DELETE", f"/v1/data/{path}", key=key)

    def make(self, name: str, *, key: str = "", owner: str = "ann", read: str | None = None) -> Answer:
        asked: dict[str, object] = {"name": name}
        if read is not None:
            asked["acl"] = {"read": [read] if read else []}
        return ask(self.platform, "POST", f"/v1/data/{owner}", json.dumps(asked).encode(), key=key, headers=JSON)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Data]:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    found = Data(platform, issue_key(platform, "bob"))
    assert found.make("c").status == 200
    yield found
    stop_platform(platform)


def test_a_file_comes_back_with_all_that_clients_read(data: Data) -> None:
    content = "gr\u00fc\u00dfe\n".encode()
    answer = data.put("ann/c/greeting.txt", content)
    assert (answer.status, answer.json) == (200, {"result": "data://ann/c/greeting.txt"})

    got, head = data.get("ann/c/greeting.txt"), data.head("ann/c/greeting.txt")
    assert got.status == head.status == 200
    assert got.body == content
    assert head.body == b""
    for answer in (got, head):
        assert answer.headers["content-type"] == "text/plain; charset=utf-8", "else requests takes it for Latin-1"
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["x-data-type"] == "file"
        assert answer.headers["etag"] == f'"{hashlib.md5(content).hexdigest()}"'
        assert answer.headers["repr-digest"] == f"{digest('sha-256', content)}, {digest('md5', content)}"
        assert "content-encoding" not in answer.headers
        datetime.strptime(answer.headers["last-modified"], "%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "image/png"), ("a.json", "application/json"), ("a", "application/octet-stream")]
)
def test_the_content_type_is_guessed_from_the_name_alone(data: Data, name: str, kind: str) -> None:
    data.put(f"ann/c/{name}", b"x", content_type="application/x-lie")
    assert data.get(f"ann/c/{name}").headers["content-type"] == kind


def test_my_is_the_caller(data: Data) -> None:
    assert data.put(".my/c/mine", b"ann's").json == {"result": "data://ann/c/mine"}
    assert data.get("ann/c/mine").body == b"ann's"
    assert data.get(".my/c/mine", key=data.bob).status == 404


def test_an_empty_file_however_it_is_sent(data: Data) -> None:
    def nothing() -> Iterator[bytes]:
        yield from ()

    for name, body in (("empty", b""), ("empty_chunked", nothing())):
        assert data.put(f"ann/c/{name}", body).status == 200
        got = data.get(f"ann/c/{name}")
        assert (got.status, got.body, got.headers["content-length"]) == (200, b"", "0")
        assert got.headers["etag"] == '"d41d8cd98f00b204e9800998ecf8427e"'


def test_a_chunked_upload_of_several_pieces(data: Data) -> None:
    pieces = [os.urandom(700_001) for _ in range(10)]
    whole = b"".join(pieces)
    assert data.put("ann/c/chunked", iter(pieces), content_digest=digest("sha-256", whole)).status == 200
    got = data.get("ann/c/chunked")
    assert got.body == whole
    assert got.headers["etag"] == f'"{hashlib.md5(whole).hexdigest()}"'


def test_a_file_may_be_replaced_unless_the_writer_says_create_only(data: Data) -> None:
    assert data.put("ann/c/replaced", b"one").status == 200
    assert data.put("ann/c/replaced", b"two").status == 200
    assert data.get("ann/c/replaced").body == b"two"

    again = data.put("ann/c/replaced", b"two", if_none_match="*")
    assert again.status == 200, "the same bytes are there: nothing is to be done"
    other = data.put("ann/c/replaced", b"three", if_none_match="*")
    assert other.status == 409
    assert other.json["error"]["error_type"] == "AlreadyExists"
    assert data.get("ann/c/replaced").body == b"two"
    assert data.put("ann/c/created", b"x", if_none_match="*").status == 200


def test_sixteen_create_only_writers_have_one_winner(data: Data) -> None:
    def write(number: int) -> int:
        return data.put("ann/c/raced", b"by %d" % number, if_none_match="*").status

    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(write, range(16)))
    assert sorted(statuses) == [200] + [409] * 15
    assert data.get("ann/c/raced").body == b"by %d" % statuses.index(200)


@pytest.mark.parametrize("algorithm", ["sha-256", "md5"])
def test_the_announced_digest_is_checked_before_the_upload_is_acknowledged(data: Data, algorithm: str) -> None:
    good, bad = digest(algorithm, b"data"), digest(algorithm, b"other")
    assert data.put(f"ann/c/checked_{algorithm}", b"data", content_digest=good).status == 200
    answer = data.put(f"ann/c/refused_{algorithm}", b"data", content_digest=bad)
    assert answer.status == 422
    assert answer.json["error"]["error_type"] == "DigestMismatch"
    assert hashlib.new(algorithm.replace("-", ""), b"data").hexdigest() in answer.message
    assert hashlib.new(algorithm.replace("-", ""), b"other").hexdigest() in answer.message
    assert data.get(f"ann/c/refused_{algorithm}").status == 404
    assert stored(data.platform)[0] == set()


def test_of_two_announced_digests_both_are_checked(data: Data) -> None:
    good = f"{digest('md5', b'data')},{digest('sha-256', b'data')}, sha-512=:AAAA:"
    assert data.put("ann/c/both", b"data", content_digest=good).status == 200
    for bad in (
        f"{digest('md5', b'data')}, {digest('sha-256', b'x')}",
        f"{digest('md5', b'x')}, {digest('sha-256', b'data')}",
    ):
        assert data.put("ann/c/not_both", b"data", content_digest=bad).status == 422
    assert data.get("ann/c/not_both").status == 404


@pytest.mark.parametrize(
    "header",
    [
        "garbage",
        "sha-256",
        "sha-256=abc",
        "sha-256=:!!:",
        "sha-256=:AAA:",
        "sha-256=::",
        "SHA-256=:AAAA:",
        "md5=:AAAA",
        "md5=:AAAA:;q=1",
        ",",
        "\xff",
    ],
)
def test_a_malformed_digest_is_not_taken_for_none(data: Data, header: str) -> None:
    answer = data.put("ann/c/malformed", b"data", content_digest=header)
    assert answer.status in {400, 422}
    assert data.get("ann/c/malformed").status == 404


def test_a_collection_has_its_life(data: Data) -> None:
    made = data.make("life")
    assert (made.status, made.json) == (200, {"result": "data://ann/life"}), "the Python client refuses 201"
    again = data.make("life")
    assert again.status == 400, "the Ruby client crashes on 409"
    assert again.json["error"]["error_type"] == "AlreadyExists"
    assert data.get("ann/life").json == {"files": []}
    data.put("ann/life/a", b"1")
    data.put("ann/life/b", b"2")

    refused = data.delete("ann/life")
    assert refused.status == 400, "neither 401, 404 nor 5xx: the Ruby client's suite wants its general error"
    assert "force" in refused.message
    assert refused.json["error"]["deleted"] == 0
    assert data.get("ann/life/a").status == 200
    assert data.delete("ann/life?force=false").status == 400
    assert data.delete("ann/life?force=TRUE").json == {"result": {"deleted": 2}}
    for path in ("ann/life", "ann/life/a"):
        assert data.get(path).status == 404
    assert data.delete("ann/life").status == 404
    assert data.put("ann/life/a", b"1").status == 404

    assert data.make("life").status == 200
    assert data.get("ann/life").json == {"files": []}, "the files are gone with it"
    assert data.delete("ann/life").json == {"result": {"deleted": 0}}
    data.make("life")
    assert data.delete("ann/life?force=true").json == {"result": {"deleted": 1}}, "the Node client's suite wants 1"


def test_a_file_is_deleted_once(data: Data) -> None:
    data.put("ann/c/short", b"x")
    gone = data.delete("ann/c/short")
    assert (gone.status, gone.body) == (200, b'{"result":{"deleted":1}}'), "compact: Node compares text"
    missing = data.delete("ann/c/short")
    assert missing.status == 404
    assert missing.json["error"]["error_type"] == "NotFound"


def test_a_listing_has_the_shape_that_clients_read(data: Data) -> None:
    data.make("listed")
    data.put("ann/listed/b.txt", b"12345")
    data.put("ann/listed/a.txt", b"")
    for path in ("ann/listed", "ann/listed/", ".my/listed"):
        answer = data.get(path)
        assert answer.headers["x-data-type"] == "directory", "the Rust client needs it"
        assert set(answer.json) == {"files"}
        assert [set(file) for file in answer.json["files"]] == [{"filename", "last_modified", "size"}] * 2
        assert [(file["filename"], file["size"]) for file in answer.json["files"]] == [("a.txt", 0), ("b.txt", 5)]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answer.json["files"][0]["last_modified"])
    head = data.head("ann/listed")
    assert (head.status, head.headers["x-data-type"], head.body) == (200, "directory", b"")
    assert data.get("ann/listed?acl=true").json["acl"] == {"read": ["algo://.my/*"]}


def test_the_root_names_the_caller_first(data: Data) -> None:
    assert data.get("").json == {"folders": [{"name": "ann"}]}
    assert data.get("", key=data.bob).json == {"folders": [{"name": "bob"}]}
    folders = [folder["name"] for folder in data.get("ann").json["folders"]]
    assert "c" in folders
    assert folders == sorted(folders)


def test_more_than_a_thousand_files_come_in_pages(data: Data) -> None:
    data.make("many")
    names = sorted([f"f{number:04}" for number in range(2101)] + ["z \u00e9&?=#%2F+\u20ac"])
    now = datetime.now(UTC)
    with database(data.platform) as found, writing(found) as connection:
        inside = connection.execute(select(collections.c.id).where(collections.c.name == "many")).scalar()
        row = {"collection_id": inside, "digest": "sha256:" + "0" * 64, "md5": "0" * 32, "size": 1}
        rows = [row | {"media_type": "x/y", "modified": now, "name": name} for name in names]
        connection.execute(insert(files), rows)

    seen, marker, sizes = [], "", []
    while True:
        page = data.get(f"ann/many?marker={quote(marker)}" if marker else "ann/many").json
        sizes.append(len(page["files"]))
        seen += [file["filename"] for file in page["files"]]
        if "marker" not in page:
            break
        marker = page["marker"]
    assert sizes == [1000, 1000, 102]
    assert seen == names
    for odd in ("\x00", "'", "\U0010ffff" * 300):
        assert data.get(f"ann/many?marker={quote(odd)}").status == 200


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("%C3%A9%F0%9F%98%80", "\u00e9\U0001f600"),
        ("...", "..."),
        ("-rf", "-rf"),
        ("a%3Fb%23c", "a?b#c"),
        ("%2525", "%25"),
        ("'%20OR%201=1%20--", "' OR 1=1 --"),
        ("%25252e", "%252e"),
        ("x" * 255, "x" * 255),
        ("%C3%A9" * 127, "\u00e9" * 127),
    ],
)
def test_weird_names_are_kept_to_the_letter(data: Data, path: str, name: str) -> None:
    data.make("weird")
    assert data.put(f"ann/weird/{path}", name.encode()).json == {"result": f"data://ann/weird/{name}"}
    assert data.get(f"ann/weird/{path}").body == name.encode()
    assert data.head(f"ann/weird/{path}").status == 200
    assert name in [file["filename"] for file in data.get("ann/weird").json["files"]]
    assert data.delete(f"ann/weird/{path}").status == 200


def test_a_slash_may_be_encoded_and_then_a_plus_is_a_space(data: Data) -> None:
    assert data.put(".my%2Fc%2Fjava+file", b"x").json == {"result": "data://ann/c/java file"}
    assert data.get("ann/c/java%20file").body == b"x"


@pytest.mark.parametrize(
    "path",
    [
        "ann/c/..",
        "ann/c/.",
        "ann/c/%2e%2e",
        "ann/c/%2E",
        "ann/c/..%2f..%2fplatform.db",
        "ann/c/a%2Fb",
        "ann/c/a/b",
        "ann/c/a%5Cb",
        "ann/c/%00",
        "ann/c/a%0Ab",
        "ann/c/a%0d%0aX-Evil:1",
        "ann/c/%7f",
        "ann/c/%E2%80%AE",
        "ann/c/%ff",
        "ann/c/%ED%A0%80",
        "ann/c/" + "x" * 256,
        "ann/c/" + "%C3%A9" * 128,
        "ann/c-d/f",
        "ann/../f",
        "ann//f",
        "%2e%2e/c/f",
        "../c/f",
        "a.b/c/f",
        "ann/" + "x" * 31 + "/f",
    ],
)
def test_names_that_could_mean_another_place_are_refused(data: Data, path: str) -> None:
    before = stored(data.platform)
    for method in ("PUT", "GET", "DELETE"):
        answer = ask(data.platform, method, f"/v1/data/{path}", b"evil" if method == "PUT" else b"")
        assert answer.status == 400, method
        assert answer.json["error"]["error_type"] in {"InvalidName", "InvalidRequest"}
        assert "x-evil" not in answer.headers
    head = data.head(path)
    assert head.status == 400
    assert "\n" not in head.headers["x-error-message"]
    assert "x-evil" not in head.headers
    assert stored(data.platform) == before


def test_a_missing_file_tells_why_in_a_header(data: Data) -> None:
    head = data.head("ann/c/missing%E2%82%AC")
    assert head.status == 404
    assert head.headers["x-error-message"] == "data://ann/c/missing? not found; list data://ann/c"
    assert data.head("ann/nothing").headers["x-error-message"].startswith("data://ann/nothing not found")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("ann", b""),
        ("ann", b"{}"),
        ("ann", b'{"name": 5}'),
        ("ann", b'{"name": ""}'),
        ("ann", b'{"name": "a/b"}'),
        ("ann", b'{"name": ".my"}'),
        ("ann", b'{"name": ".."}'),
        ("ann", b'{"name": "a-b"}'),
        ("ann", b'{"name": "x", "acl": {"read": ["everybody"]}}'),
        ("ann", b'{"name": "x", "acl": {"read": [["user://*"]]}}'),
        ("ann", b'{"name": "x", "acl": {"read": [""]}}'),
        ("ann", b'{"name": "x", "acl": {"read": ["algo://.my/*", "user://*"]}}'),
        ("ann", b'{"name": "x", "acl": {"read": "user://*"}}'),
        ("ann", b'{"name": "x", "acl": []}'),
        ("ann", b"[1]"),
        ("ann", b"["),
        ("ann", b'{"name":' + b"[" * 60_000),
        ("ann", b'{"name": "x' + b" " * 100_000 + b'"}'),
        ("ann", b"\xff\xfe"),
        ("ann/c", b'{"name": "sub"}'),
        ("ann/c/f", b'{"name": "sub"}'),
    ],
)
def test_what_is_no_collection_is_not_made(data: Data, path: str, body: bytes) -> None:
    before = data.get("ann").json
    answer = ask(data.platform, "POST", f"/v1/data/{path}", body)
    assert answer.status == 400
    assert answer.json["error"]["code"] == 2015
    assert data.get("ann").json == before


def test_collections_are_made_in_each_of_the_old_ways(data: Data) -> None:
    for path, body, name in (
        (".my", b'{"name": "by_my"}', "by_my"),
        ("", b'{"name": "by_root"}', "by_root"),
        ("ann/", b"by_node", "by_node"),
        ("ann", b'{"name": "by_rust", "_dummy": null}', "by_rust"),
    ):
        answer = ask(data.platform, "POST", f"/v1/data/{path}", body)
        assert (answer.status, answer.json) == (200, {"result": f"data://ann/{name}"})


def test_a_method_we_do_not_have_is_405_and_says_what_there_is(data: Data) -> None:
    answer = ask(data.platform, "OPTIONS", "/v1/data/ann/c", b"{}")
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD, POST, PUT, PATCH, DELETE"
    assert ask(data.platform, "GET", "/v1/database").status == 404
    assert ask(data.platform, "GET", "/v1/datannn/c").status == 404


def test_who_may_read_is_what_the_access_list_says(data: Data) -> None:
    for name, read in (("private", ""), ("algos", "algo://.my/*"), ("public", "user://*")):
        assert data.make(name, read=read).status == 200
        data.put(f"ann/{name}/f", name.encode())
        assert data.get(f"ann/{name}?acl=true").json["acl"] == {"read": [read] if read else []}
    for name, status in (("private", 404), ("algos", 404), ("public", 200)):
        for path in (f"ann/{name}", f"ann/{name}/f"):
            assert data.get(path, key=data.bob).status == status
            assert data.head(path, key=data.bob).status == status
    assert data.put("ann/public/f", b"bob's", key=data.bob).status == 403, "writing is the owner's alone"
    assert data.delete("ann/public/f", key=data.bob).status == 403
    assert data.delete("ann/public?force=true", key=data.bob).status == 403
    assert data.make("theirs", key=data.bob).status == 403
    assert data.get("ann/public/f").body == b"public"

    code = "\n".join(
        [
            "import os, urllib.request, urllib.error",
            "def apply(path):",
            "    try:",
            "        return urllib.request.urlopen(os.environ['ALGORITHMIA_API'] + '/v1/data/' + path).read().decode()",
            "    except urllib.error.HTTPError as error:",
            "        return error.code",
        ]
    )
    serve(data.platform, "ann/reads", code, algorithm_callability="public")
    issued = data.bob
    for path, result in (("ann/private/f", 404), ("ann/algos/f", "algos"), ("ann/public/f", "public")):
        text = {"content-type": "text/plain"}
        answer = ask(data.platform, "POST", "/v1/algo/ann/reads", path.encode(), key=issued, headers=text)
        assert answer.json["result"] == result, "through ann's algorithm, as bob"


def test_a_link_gives_known_bytes_another_name(data: Data) -> None:
    content = os.urandom(3000)
    sha256 = hashlib.sha256(content).hexdigest()
    data.put("ann/c/original", content)
    before = stored(data.platform)
    answer = data.put("ann/c/linked", pushpoint_link=f"sha256:{sha256}", if_none_match="*")
    assert (answer.status, answer.json) == (200, {"result": "data://ann/c/linked"})
    assert data.get("ann/c/linked").body == content
    assert stored(data.platform) == before
    data.delete("ann/c/original")
    assert data.get("ann/c/linked").body == content


def test_anothers_bytes_cannot_be_had_by_their_digest(data: Data) -> None:
    content = os.urandom(3000)
    data.put("ann/c/unknown_to_bob", content)
    data.make("mine", owner="bob", key=data.bob)
    foreign = data.put("bob/mine/x", key=data.bob, pushpoint_link=f"sha256:{hashlib.sha256(content).hexdigest()}")
    absent = data.put("bob/mine/x", key=data.bob, pushpoint_link=f"sha256:{'0' * 64}")
    assert foreign.status == absent.status == 404

    def seen(answer: Answer) -> str:
        return re.sub(r"sha256:[0-9a-f]{64}", "", answer.message)

    assert seen(foreign) == seen(absent)
    assert data.get("bob/mine/x", key=data.bob).status == 404
    for odd in ("", "x", "sha256:", "sha256:../../platform.db", "%", "sha256:" + "A" * 64):
        answer = data.put("bob/mine/x", b"", key=data.bob, pushpoint_link=odd)
        assert answer.status == (404 if odd else 200)


def test_a_model_that_a_release_needs_stays(data: Data) -> None:
    platform, content = data.platform, b"the model"
    data.make("models")
    data.put("ann/models/m.bin", content)
    data.put("ann/models/other.bin", b"not needed")
    create(platform, "ann/needs")
    # the manifest's writer may put it as oddly as it likes
    manifest = manifest_of("ann/needs", "data://ann/models/m.bin/", content)
    push(platform, "ann/needs", {"model_manifest.json": manifests.write(manifest)})
    built = compile_head(platform, "ann/needs")
    assert built["compilation"]["successful"], built["compilation"]["output"]
    assert data.put("ann/models/m.bin", content).status == 200
    assert publish(platform, "ann/needs") == "0.1.0"

    for status, answer in (
        (409, data.put("ann/models/m.bin", b"other bytes")),
        (400, data.delete("ann/models/m.bin")),
        (400, data.delete("ann/models?force=true")),
    ):
        assert answer.status == status
        assert answer.json["error"]["error_type"] == "InUse"
        assert "release 0.1.0" in answer.message
    assert data.get("ann/models/m.bin").body == content
    assert data.put("ann/models/m.bin", content).status == 200, "the same bytes do no harm"
    assert data.put("ann/models/other.bin", b"changed").status == 200
    assert data.delete("ann/models/other.bin").status == 200


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(data: Data) -> None:
    before = stored(data.platform)
    head = f"PUT /v1/data/ann/c/torn HTTP/1.1\r\nHost: x\r\nAuthorization: {data.platform.key}\r\n"
    sent = [
        f"{head}Content-Length: 10000000\r\n\r\n".encode() + b"x" * 5_000_000,
        f"{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".encode(),
        f"{head}Content-Length: 10\r\n\r\n".encode(),
    ]
    for request in sent:
        with socket.create_connection(address(data.platform)) as connection:
            connection.sendall(request)
    deadline = time.monotonic() + 20
    while stored(data.platform)[0] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert stored(data.platform) == before
    assert data.get("ann/c/torn").status == 404
    with database(data.platform) as found, reading(found) as connection_:
        assert connection_.execute(select(files).where(files.c.name == "torn")).first() is None
    assert '"bug"' not in (data.platform.home / "platform.log").read_text()


def test_an_upload_that_is_refused_leaves_no_draft(data: Data) -> None:
    data.put("ann/c/there", b"x")
    big = os.urandom(3 << 20)
    for answer, status in (
        (data.put("ann/absent/f", big), 404),
        (data.put("ann/c", big), 400),
        (data.put("ann", big), 400),
        (data.put("bob/c/f", big), 403),
        (data.put("ann/c/there", big, if_none_match="*"), 409),
        (data.put("ann/c/f", big, content_digest=digest("md5", b"")), 422),
    ):
        assert answer.status == status
    assert stored(data.platform)[0] == set()


def test_a_collection_that_is_deleted_during_an_upload_is_no_bug(data: Data) -> None:
    data.make("vanishes")
    head = f"PUT /v1/data/ann/vanishes/f HTTP/1.1\r\nHost: x\r\nAuthorization: {data.platform.key}\r\n"
    with socket.create_connection(address(data.platform), timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: 4\r\nConnection: close\r\n\r\nda".encode())
        deadline = time.monotonic() + 20
        while not stored(data.platform)[0] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert data.delete("ann/vanishes").status == 200
        connection.sendall(b"ta")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 404")
    assert stored(data.platform)[0] == set()


def test_the_store_heals_when_damaged_bytes_are_sent_again(data: Data) -> None:
    content = b"precious" * 1000
    data.put("ann/c/precious", content)
    sha256 = hashlib.sha256(content).hexdigest()
    blob = data.platform.home / "store" / "sha256" / sha256[:2] / sha256[2:]
    blob.chmod(0o644)
    blob.write_bytes(b"damaged!" * 1000)
    assert data.put("ann/c/precious", content).status == 200
    assert data.get("ann/c/precious").body == content


def test_a_truncated_blob_breaks_the_download_off(data: Data) -> None:
    """Nobody may take half a file for a whole one."""
    import http.client

    content = os.urandom(5000)
    data.put("ann/c/cut", content)
    sha256 = hashlib.sha256(content).hexdigest()
    blob = data.platform.home / "store" / "sha256" / sha256[:2] / sha256[2:]
    blob.chmod(0o644)
    os.truncate(blob, 1000)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        data.get("ann/c/cut")
    blob.unlink()
    assert data.get("ann/c/cut").status == 404


def test_a_damaged_blob_is_sent_again_instead_of_linked(platform: Platform, tmp_path: Path) -> None:
    model = tmp_path / "model.pkl"
    model.write_bytes(b"the trained bytes" * 100)
    blob, path = describe(model), data_path("data://ann/healing/model.pkl")
    with platform.client() as client:
        client.create_collection(path)
        client.put(path, model, blob)
        assert client.link(path, blob)
        stored = platform.home / "store" / "sha256" / blob.hex[:2] / blob.hex[2:]
        stored.chmod(0o644)
        stored.write_bytes(b"other bytes")
        assert not client.link(path, blob)
        client.put(path, model, blob)
        assert client.link(path, blob)
        with client.open(path) as pieces:
            assert b"".join(pieces) == model.read_bytes()
