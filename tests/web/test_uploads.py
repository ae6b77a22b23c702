"""`/v1/uploads` by tus 1.0.0, request by request, and as an independent client speaks it."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import insert, select

from pushpoint.databases import writing
from pushpoint.databases.tables import uploads as table
from pushpoint.registry import uploads
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import Answer, address, ask, database, issue_key, stored

BYTES = "application/offset+octet-stream"


def metadata(**values: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def checksum(content: bytes, algorithm: str = "sha1") -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"


@dataclass(frozen=True)
class Tus:
    platform: Platform
    bob: str

    def ask(
        self, method: str, path: str = "", body: bytes | Iterator[bytes] = b"", *, key: str = "", **headers: str | None
    ) -> Answer:
        sent = {"tus-resumable": "1.0.0"} | {name.replace("_", "-"): value for name, value in headers.items()}
        path = path if path.startswith("/") else f"/v1/uploads{path}"
        kept = {name: value for name, value in sent.items() if value is not None}
        return ask(self.platform, method, path, body, key=key, headers=kept)

    def begin(self, size: int, path: str | None = "ann/c/f", *, key: str = "", **headers: str) -> str:
        if path is not None:
            headers["upload_metadata"] = metadata(path=f"data://{path}")
        answer = self.ask("POST", "", b"", key=key, upload_length=str(size), **headers)
        assert answer.status == 201, answer.body
        return answer.headers["location"]

    def send(self, upload: str, offset: int, body: bytes | Iterator[bytes], *, key: str = "", **headers: str) -> Answer:
        headers = {"content_type": BYTES, "upload_offset": str(offset)} | headers
        return self.ask("PATCH", upload, body, key=key, **headers)

    def offset(self, upload: str, *, key: str = "") -> int:
        answer = self.ask("HEAD", upload, key=key)
        assert answer.status == 200, answer.headers
        return int(answer.headers["upload-offset"])

    def known(self, upload: str, path: str) -> int:
        found = self.ask("GET", f"?path=data://{path}").json["uploads"]
        return int(next(one["offset"] for one in found if upload.endswith(one["id"])))

    def read(self, path: str) -> Answer:
        return ask(self.platform, "GET", f"/v1/data/{path}")

    def files(self) -> set[str]:
        return {path.name for path in (self.platform.home / "store" / "uploads").iterdir()}


@pytest.fixture(scope="module")
def tus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tus]:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    found = Tus(platform, issue_key(platform, "bob"))
    assert ask(platform, "POST", "/v1/data/ann", b'{"name": "c"}').status == 200
    yield found
    stop_platform(platform)


def test_the_platform_says_what_it_can_do(tus: Tus) -> None:
    answer = tus.ask("OPTIONS", tus_resumable=None)
    assert answer.status == 204
    assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
    offered = "creation,creation-with-upload,expiration,checksum,termination,concatenation"
    assert answer.headers["tus-extension"] == offered
    assert answer.headers["tus-checksum-algorithm"].split(",") == ["sha1", "sha256"]
    assert int(answer.headers["tus-max-size"]) == 1 << 40
    assert tus.ask("OPTIONS", key="sim" + "x" * 25).status == 401


def test_an_upload_in_two_requests_becomes_a_file(tus: Tus) -> None:
    said = metadata(path="data://.my/c/two", sha256=sha256(b"hello world"), filename="x y") + ",is_nothing"
    made = tus.ask("POST", upload_length="11", upload_metadata=said)
    assert (made.status, made.body, made.headers["tus-resumable"]) == (201, b"", "1.0.0")
    upload = made.headers["location"]
    expires = parsedate_to_datetime(made.headers["upload-expires"])
    assert timedelta(hours=23) < expires - datetime.now(UTC) <= timedelta(days=1)

    first = tus.send(upload, 0, b"hello")
    assert (first.status, first.headers["upload-offset"], first.body) == (204, "5", b"")
    assert "upload-expires" in first.headers
    head = tus.ask("HEAD", upload)
    assert (head.status, head.headers["upload-offset"], head.headers["upload-length"]) == (200, "5", "11")
    assert head.headers["cache-control"] == "no-store"
    assert head.headers["upload-metadata"] == said
    assert "upload-concat" not in head.headers
    assert tus.read("ann/c/two").status == 404, "half a file is none"

    second = tus.send(upload, 5, b" world")
    assert (second.status, second.headers["upload-offset"]) == (204, "11")
    assert "upload-expires" not in second.headers, "what is finished does not end"
    assert tus.read("ann/c/two").body == b"hello world"
    assert tus.offset(upload) == 11
    assert tus.files() == set()


def test_a_creation_may_bring_bytes_along(tus: Tus) -> None:
    said = metadata(path="data://ann/c/along")
    whole = tus.ask("POST", "", b"hello", upload_length="5", upload_metadata=said, content_type=BYTES)
    assert (whole.status, whole.headers["upload-offset"]) == (201, "5")
    assert tus.read("ann/c/along").body == b"hello"
    part = tus.ask("POST", "", b"he", upload_length="5", upload_metadata=said, content_type=BYTES)
    assert (part.status, part.headers["upload-offset"]) == (201, "2")
    assert tus.ask("POST", "", b"hello!", upload_length="5", upload_metadata=said, content_type=BYTES).status == 413
    assert tus.ask("DELETE", part.headers["location"]).status == 204


def test_an_empty_file_is_there_at_once(tus: Tus) -> None:
    upload = tus.begin(0, "ann/c/empty")
    assert tus.offset(upload) == 0
    assert tus.read("ann/c/empty").headers["content-length"] == "0"


def test_parts_become_a_file_in_the_order_that_is_named(tus: Tus) -> None:
    parts = [b"one " * 1000, b"two " * 2_000_000, b"three"]

    def send(content: bytes) -> str:
        upload = tus.begin(len(content), None, upload_concat="partial")
        assert tus.send(upload, 0, content).status == 204
        return upload

    with ThreadPoolExecutor(3) as threads:
        sent = list(threads.map(send, parts))
    head = tus.ask("HEAD", sent[0])
    assert (head.headers["upload-concat"], head.headers["upload-offset"]) == ("partial", "4000")
    named = f"final;{sent[2]} {tus.platform.url}{sent[0]} {sent[1]}"
    said = metadata(path="data://ann/c/joined", sha256=sha256(parts[2] + parts[0] + parts[1]))
    final = tus.ask("POST", upload_concat=named, upload_metadata=said)
    assert final.status == 201
    assert tus.read("ann/c/joined").body == parts[2] + parts[0] + parts[1]
    head = tus.ask("HEAD", final.headers["location"])
    assert head.headers["upload-offset"] == head.headers["upload-length"] == str(sum(map(len, parts)))
    assert head.headers["upload-concat"] == named
    assert tus.send(final.headers["location"], 0, b"x").status == 403
    assert [tus.ask("HEAD", part).status for part in sent] == [404] * 3
    assert tus.files() == set()


def test_what_is_not_finished_or_no_part_cannot_be_joined(tus: Tus) -> None:
    part, whole = tus.begin(5, None, upload_concat="partial"), tus.begin(5)
    bobs = tus.begin(0, None, upload_concat="partial", key=tus.bob)
    tus.send(part, 0, b"four")
    said = metadata(path="data://ann/c/never")
    for named, status in (
        (part, 400),
        (whole, 400),
        ("", 400),
        (" ", 400),
        ("/v1/data/ann/c/two", 400),
        ("/v1/uploads/../uploads/x", 400),
        (bobs, 404),
        ("/v1/uploads/" + "0" * 36, 404),
    ):
        assert tus.ask("POST", upload_concat=f"final;{named}", upload_metadata=said).status == status
    assert tus.ask("POST", upload_concat="some", upload_metadata=said, upload_length="1").status == 400
    assert tus.read("ann/c/never").status == 404
    for upload in (part, whole):
        assert tus.ask("DELETE", upload).status == 204


@pytest.mark.parametrize("version", [None, "0.2.2", "1.0", "1.0.0,1.0.1", ""])
def test_another_version_of_the_protocol_is_not_spoken(tus: Tus, version: str | None) -> None:
    upload = tus.begin(5)
    for method, path in (("POST", ""), ("HEAD", upload), ("PATCH", upload), ("DELETE", upload)):
        answer = tus.ask(method, path, tus_resumable=version, upload_length="5")
        assert (answer.status, answer.headers["tus-version"]) == (412, "1.0.0")
    assert tus.ask("DELETE", upload).status == 204


def test_the_order_of_bytes_is_kept(tus: Tus) -> None:
    upload = tus.begin(5)
    assert tus.send(upload, 0, b"he").status == 204
    for offset in (0, 1, 3, 5):
        assert tus.send(upload, offset, b"x").status == 409
    for wrong in ("", "-1", "x", "2.0", "0x2", "\u0662"):
        assert tus.send(upload, 0, b"x", upload_offset=wrong.encode().decode("latin-1")).status == 400
    assert tus.send(upload, 2, b"x", content_type="text/plain").status == 415
    assert tus.send(upload, 2, b"four").status == 413
    assert tus.send(upload, 2, iter([b"fo", b"ur"])).status == 413, "not told its length before"
    assert tus.offset(upload) == 2
    assert tus.ask("DELETE", upload).status == 204


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_checksum_is_compared_before_the_offset_moves(tus: Tus, algorithm: str) -> None:
    content = os.urandom(9 << 20)  # more than is made safe at a time
    upload = tus.begin(len(content) + 4, f"ann/c/{algorithm}")
    assert tus.send(upload, 0, content, upload_checksum=checksum(b"other", algorithm)).status == 460
    assert tus.offset(upload) == 0
    assert tus.send(upload, 0, content, upload_checksum=checksum(content, algorithm)).status == 204
    assert tus.send(upload, len(content), b"torn", upload_checksum=checksum(b"xxxx", algorithm)).status == 460
    assert tus.send(upload, len(content), b"good", upload_checksum=checksum(b"good", algorithm)).status == 204
    assert tus.read(f"ann/c/{algorithm}").body == content + b"good"


@pytest.mark.parametrize("header", ["md5 AAAA", "crc32 AAAA", "sha1", "sha1 !", "sha1 AAAA", "SHA1 x", "", "sha256 "])
def test_a_checksum_that_cannot_be_compared_is_refused(tus: Tus, header: str) -> None:
    upload = tus.begin(4)
    assert tus.send(upload, 0, b"data", upload_checksum=header).status == 400
    assert tus.offset(upload) == 0
    assert tus.ask("DELETE", upload).status == 204


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"upload_length": "x"}, 400),
        ({"upload_length": "-5"}, 400),
        ({"upload_length": str(1 << 40)}, 201),
        ({"upload_length": str((1 << 40) + 1)}, 413),
        ({"upload_length": "9" * 30}, 400),
        ({"upload_defer_length": "1"}, 400),
        ({"upload_length": "5", "upload_metadata": ""}, 400),
        ({"upload_length": "5", "upload_metadata": "filename eA=="}, 400),
        ({"upload_length": "5", "upload_metadata": "path !"}, 400),
        ({"upload_length": "5", "upload_metadata": "path YQ==,path YQ=="}, 400),
        ({"upload_length": "5", "upload_metadata": ",,"}, 400),
        ({"upload_length": "5", "upload_metadata": metadata(path="data://ann/c")}, 400),
        ({"upload_length": "5", "upload_metadata": metadata(path="data://ann/c/../d")}, 400),
        ({"upload_length": "5", "upload_metadata": metadata(path="data://ann/c/f", sha256="xyz")}, 400),
        ({"upload_length": "5", "upload_metadata": metadata(path="data://ann/absent/f")}, 404),
        ({"upload_length": "5", "upload_metadata": metadata(path="data://bob/c/f")}, 403),
    ],
)
def test_what_is_asked_of_a_creation(tus: Tus, headers: dict[str, str], status: int) -> None:
    answer = tus.ask("POST", "", b"", **({"upload_metadata": metadata(path="data://ann/c/f")} | headers))
    assert answer.status == status
    assert answer.headers["tus-resumable"] == "1.0.0"
    if status == 201:
        assert tus.ask("DELETE", answer.headers["location"]).status == 204


def test_anothers_upload_looks_absent(tus: Tus) -> None:
    upload, absent = tus.begin(5), "/v1/uploads/" + "0" * 36
    for method in ("HEAD", "PATCH", "DELETE"):
        answers = [
            tus.ask(method, path, b"", key=tus.bob, content_type=BYTES, upload_offset="0") for path in (upload, absent)
        ]
        assert [answer.status for answer in answers] == [404, 404]
        assert len({len(answer.body) for answer in answers}) == 1
    assert tus.offset(upload) == 0
    reads = issue_key(tus.platform, "ann", "read")
    assert tus.ask("HEAD", upload, key=reads).status == 403
    assert tus.ask("DELETE", upload).status == 204
    assert tus.ask("HEAD", upload).status == 404
    for method, path in (("PUT", upload), ("GET", upload), ("PATCH", ""), ("DELETE", "")):
        assert tus.ask(method, path).status == 405
    assert tus.ask("GET", "/v1/uploadsx").status == tus.ask("GET", "/v1/uploads/x").status == 404


def test_a_method_may_stand_in_a_header(tus: Tus) -> None:
    upload = tus.begin(5, "ann/c/overridden")
    headers = {"content_type": BYTES, "upload_offset": "0", "x_http_method_override": "PATCH"}
    assert tus.ask("POST", upload, b"hello", **headers).status == 204
    assert tus.read("ann/c/overridden").body == b"hello"


def test_the_rules_of_a_put_hold_at_the_end(tus: Tus) -> None:
    ask(tus.platform, "PUT", "/v1/data/ann/c/there", b"other")
    only = tus.begin(5, "ann/c/there", if_none_match="*")
    refused = tus.send(only, 0, b"hello")
    assert (refused.status, refused.json["error"]["error_type"]) == (409, "AlreadyExists")
    assert tus.offset(only) < 5, "it is not what it was to become"
    assert tus.read("ann/c/there").body == b"other"
    replaced = tus.begin(5, "ann/c/there")
    assert tus.send(replaced, 0, b"hello").status == 204
    assert tus.read("ann/c/there").body == b"hello"
    assert tus.send(only, tus.offset(only), b"o").status == 204, "the same bytes are there now"


def test_bytes_that_are_not_those_announced_become_nothing(tus: Tus) -> None:
    before, said = tus.files(), metadata(path="data://ann/c/announced", sha256=sha256(b"hello"))
    whole = tus.ask("POST", upload_length="5", upload_metadata=said).headers["location"]
    refused = tus.send(whole, 0, b"jello")
    assert (refused.status, refused.json["error"]["error_type"]) == (422, "DigestMismatch")
    assert tus.offset(whole) == 0, "they would never be right"
    assert tus.send(whole, 0, b"hello").status == 204

    part = tus.begin(5, None, upload_concat="partial")
    tus.send(part, 0, b"jello")
    again = metadata(path="data://ann/c/again", sha256=sha256(b"hello"))
    assert tus.ask("POST", upload_concat=f"final;{part}", upload_metadata=again).status == 422
    assert tus.ask("HEAD", part).status == 404
    assert tus.read("ann/c/again").status == 404
    assert (stored(tus.platform)[0], tus.files()) == (set(), before)


def test_an_unfinished_upload_is_found_by_what_it_is_to_become(tus: Tus) -> None:
    upload = tus.begin(5, "ann/c/lost")
    tus.begin(5, "ann/c/another")
    tus.send(upload, 0, b"he")
    found = tus.ask("GET", "?path=data://ann/c/lost", tus_resumable=None).json["uploads"]
    shown = {"id": upload.rpartition("/")[2], "size": 5, "offset": 2, "concat": ""}
    assert found == [shown | {"metadata": {"path": "data://ann/c/lost"}}]
    assert tus.ask("GET", "?path=data://.my/c/lost").json["uploads"] == found
    assert tus.ask("GET", "?path=data://ann/c/lost", key=tus.bob).status == 403
    for query in ("", "?path=", "?path=data://ann/c"):
        assert tus.ask("GET", query).status == 400


def test_a_torn_request_leaves_what_arrived(tus: Tus) -> None:
    content = os.urandom(20 << 20)
    upload = tus.begin(len(content), "ann/c/torn")
    head = f"PATCH {upload} HTTP/1.1\r\nHost: x\r\nAuthorization: {tus.platform.key}\r\nTus-Resumable: 1.0.0\r\n"
    head += f"Content-Type: {BYTES}\r\nUpload-Offset: 0\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection(address(tus.platform)) as connection:
        connection.sendall(head.encode() + content[: 15 << 20])
    deadline = time.monotonic() + 20
    while tus.known(upload, "ann/c/torn") < 14 << 20 and time.monotonic() < deadline:
        time.sleep(0.05)  # to ask the upload itself would make its request give way
    offset = tus.offset(upload)
    assert 14 << 20 < offset <= 15 << 20, "all but what the server had not looked at when the connection broke"
    assert tus.send(upload, offset, content[offset:]).status == 204
    assert tus.read("ann/c/torn").body == content


def test_a_new_request_makes_one_whose_client_is_silent_give_way(tus: Tus) -> None:
    upload = tus.begin(10, "ann/c/silent")
    head = f"PATCH {upload} HTTP/1.1\r\nHost: x\r\nAuthorization: {tus.platform.key}\r\nTus-Resumable: 1.0.0\r\n"
    head += f"Content-Type: {BYTES}\r\nUpload-Offset: 0\r\nContent-Length: 10\r\n\r\n"
    with socket.create_connection(address(tus.platform), timeout=20) as silent:
        silent.sendall(head.encode() + b"hell")
        time.sleep(1)
        assert tus.offset(upload) == 4
        assert silent.recv(1000).startswith(b"HTTP/1.1 409")
    assert tus.send(upload, 4, b"o worl").status == 204
    assert tus.read("ann/c/silent").body == b"hello worl"


def test_requests_for_one_upload_come_one_after_the_other(tus: Tus) -> None:
    upload = tus.begin(1 << 20, "ann/c/raced")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: tus.send(upload, 0, bytes([number]) * (1 << 19)), range(8)))
    # a late one finds some of an early one's bytes there, which gave way to it: it may be that none of them is 204
    assert {answer.status for answer in answers} <= {204, 409}
    offset = tus.offset(upload)
    assert 0 < offset <= 1 << 19
    assert tus.send(upload, offset, b"z" * ((1 << 20) - offset)).status == 204
    body = tus.read("ann/c/raced").body
    assert len(body) == 1 << 20
    assert '"bug"' not in (tus.platform.home / "platform.log").read_text()


def test_abandoned_uploads_and_bytes_of_nobody_are_swept(tus: Tus) -> None:
    folder = tus.platform.home / "store" / "uploads"
    kept, old = tus.begin(5, "ann/c/kept"), tus.begin(5, "ann/c/old")
    for upload in (kept, old):
        tus.send(upload, 0, b"he")
    (folder / "of-nobody").write_bytes(b"x")
    with database(tus.platform) as found:
        uploads.sweep(found, folder)
        assert tus.files() >= {kept.rpartition("/")[2], old.rpartition("/")[2]}
        assert "of-nobody" not in tus.files()
        uploads.sweep(found, folder, now=datetime.now(UTC) + timedelta(hours=25))
    assert tus.files() == set()
    assert tus.ask("HEAD", kept).status == tus.ask("HEAD", old).status == 404


def test_lost_bytes_are_not_made_up(tus: Tus) -> None:
    upload = tus.begin(5, "ann/c/lost_bytes")
    tus.send(upload, 0, b"he")
    (tus.platform.home / "store" / "uploads" / upload.rpartition("/")[2]).unlink()
    assert tus.send(upload, 2, b"llo").status == 404
    assert tus.ask("HEAD", upload).status == 404
    part = tus.begin(5, None, upload_concat="partial")
    tus.send(part, 0, b"hello")
    (tus.platform.home / "store" / "uploads" / part.rpartition("/")[2]).unlink()
    joined = tus.ask("POST", upload_concat=f"final;{part}", upload_metadata=metadata(path="data://ann/c/lost_bytes"))
    assert joined.status == 404
    assert tus.read("ann/c/lost_bytes").status == 404


def test_an_account_has_a_thousand_uploads_at_most(tus: Tus) -> None:
    eve = issue_key(tus.platform, "eve")
    first = tus.begin(1, None, upload_concat="partial", key=eve)
    with database(tus.platform) as found, writing(found) as connection:
        row = connection.execute(select(table).where(table.c.id == first.rpartition("/")[2])).mappings().one()
        rows = [dict(row) | {"id": str(uuid4())} for _ in range(uploads.MOST - 1)]
        connection.execute(insert(table), rows)
    refused = tus.ask("POST", key=eve, upload_length="1", upload_concat="partial")
    assert (refused.status, "uploads under way" in refused.message) == (409, True)
    assert tus.ask("DELETE", first, key=eve).status == 204
    tus.begin(1, None, upload_concat="partial", key=eve)


def test_a_restart_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    content = os.urandom(12 << 20)
    platform = start_platform(tmp_path / "home")
    tus = Tus(platform, "")
    try:
        assert ask(platform, "POST", "/v1/data/ann", b'{"name": "c"}').status == 200
        upload = tus.begin(len(content))
        assert tus.send(upload, 0, content[: 1 << 20]).status == 204
        head = f"PATCH {upload} HTTP/1.1\r\nHost: x\r\nAuthorization: {platform.key}\r\nTus-Resumable: 1.0.0\r\n"
        head += f"Content-Type: {BYTES}\r\nUpload-Offset: {1 << 20}\r\nContent-Length: {11 << 20}\r\n\r\n"
        with socket.create_connection(address(platform)) as connection:
            connection.sendall(head.encode() + content[1 << 20 : 11 << 20])
            time.sleep(1)
            platform.process.kill()
            platform.process.wait()
        port = address(platform)[1]
        stop_platform(platform)
        platform = start_platform(tmp_path / "home", port=port)
        tus = Tus(platform, "")
        offset = tus.offset(upload)
        assert 9 << 20 <= offset <= 11 << 20, "what is made safe every 8 MiB, after the first one"
        assert tus.send(upload, offset, content[offset:]).status == 204
        assert tus.read("ann/c/f").body == content
    finally:
        stop_platform(platform)
