"""The data API's other places: connectors, ranges, access lists, organizations, and what algorithms keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from pushpoint.databases import reading
from pushpoint.databases.tables import collections, files
from pushpoint.registry import accounts
from pushpoint.registry import data as registry
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import JSON, Answer, ask, database, issue_key, serve

KEEPS = """
import json, os, urllib.request, urllib.error

def ask(method, path, body=None):
    request = urllib.request.Request(os.environ["ALGORITHMIA_API"] + path, data=body, method=method)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]

def apply(steps):
    return [ask(method, path, body and body.encode()) for method, path, body in steps]
"""


@dataclass(frozen=True)
class Places:
    platform: Platform
    bob: str

    def ask(self, method: str, path: str, body: bytes = b"", *, key: str = "", **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(self.platform, method, path, body, key=key, headers=sent)

    def run(self, algorithm: str, *steps: tuple[str, str, str | None], key: str = "") -> list[tuple[int, str]]:
        """Have an algorithm make requests as its caller; each answer is a status and a body."""
        body = json.dumps(steps).encode()
        answer = ask(self.platform, "POST", f"/v1/algo/{algorithm}", body, key=key, headers=JSON)
        assert "result" in answer.json, answer.body
        return [(status, text) for status, text in answer.json["result"]]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    found = Places(platform, issue_key(platform, "bob"))
    body = b'{"name": "c", "acl": {"read": ["user://*"]}}'
    assert found.ask("POST", "/v1/data/ann", body).status == 200
    assert found.ask("PUT", "/v1/data/ann/c/ten", b"0123456789").status == 200
    assert found.ask("PUT", "/v1/data/ann/c/none").status == 200
    for name in ("ann/keeps", "ann/others"):
        serve(platform, name, KEEPS, algorithm_callability="public")
    yield found
    stop_platform(platform)


# -- connectors ---------------------------------------------------------------------------------------------


def test_the_data_connector_is_the_data_api(places: Places) -> None:
    for path in ("/v1/connector/data/ann/c/ten", "/v1/connector/data+mine/ann/c/ten", "/v1/connector/data/.my/c/ten"):
        assert places.ask("GET", path).body == b"0123456789"
    assert places.ask("GET", "/v1/connector/data").json == {"folders": [{"name": "ann"}]}
    assert places.ask("PUT", "/v1/connector/data/ann/c/new", b"x").json == {"result": "data://ann/c/new"}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/connector/s3/bucket/x",
        "/v1/connector/s3+label/bucket//x",
        "/v1/connector/gs",
        "/v1/connector/dropbox/x",
        "/v1/connector/azureblob+a.b/x",
        "/v1/data/s3://bucket/x",
        "/v1/data/s3+test://bucket/a//b",
        "/v1/data/s3%2Btest%3A%2F%2Fbucket%2Fx",
        "/v1/data/dropbox://",
    ],
)
def test_other_peoples_storage_is_not_offered_and_that_is_said(places: Places, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = places.ask(method, path, b"x" if method == "PUT" else b"")
        assert (answer.status, answer.json["error"]["code"]) == (501, 5005)
        assert "put the data into a collection" in answer.message
    assert places.ask("GET", path, key="sim" + "x" * 25).status == 401


def test_an_unknown_connector_and_an_owner_called_like_one(places: Places) -> None:
    for path in ("/v1/connector/ftp/x", "/v1/connector/datax/ann/c/ten", "/v1/connector/s33/x", "/v1/connector/"):
        assert places.ask("GET", path).status == 404
    gs = issue_key(places.platform, "gs")
    assert places.ask("POST", "/v1/data/gs", b'{"name": "c"}', key=gs).status == 200
    assert places.ask("PUT", "/v1/data/gs/c/f", b"x", key=gs).status == 200
    assert places.ask("GET", "/v1/connector/data/gs/c/f", key=gs).body == b"x"


@pytest.mark.parametrize("path", ["//ann/c/ten", "/ann//c/ten", "/ann/c//ten", "/ann/c/ten//", "//"])
def test_slashes_are_never_merged(places: Places, path: str) -> None:
    for prefix in ("/v1/data", "/v1/connector/data"):
        assert places.ask("GET", prefix + path).status == 400


# -- ranges and conditions ----------------------------------------------------------------------------------

TAG = '"781e5e245d69b566979b86e28d23f2c7"'


@pytest.mark.parametrize(
    ("asked", "status", "body", "said"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-30", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=9-9", 206, b"9", "bytes 9-9/10"),
        ("bytes=5-99999999999999999", 206, b"56789", "bytes 5-9/10"),
        ("Bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=10-20", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=3-1", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("bytes=" + "0-," * 3000, 200, b"0123456789", None),
        ("bytes=a-b", 200, b"0123456789", None),
        ("bytes=\u0661-", 200, b"0123456789", None),
        ("lines=0-3", 200, b"0123456789", None),
        ("bytes=" + "9" * 400 + "-", 200, b"0123456789", None),
    ],
)
def test_ranges(places: Places, asked: str, status: int, body: bytes, said: str | None) -> None:
    answer = places.ask("GET", "/v1/data/ann/c/ten", range=asked.encode().decode("latin-1"))
    assert (answer.status, answer.body, answer.headers.get("content-range")) == (status, body, said)
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"] == TAG


def test_a_range_of_an_empty_file_is_none(places: Places) -> None:
    for asked in ("bytes=0-", "bytes=0-0", "bytes=-1"):
        answer = places.ask("GET", "/v1/data/ann/c/none", range=asked)
        assert (answer.status, answer.headers["content-range"]) == (416, "bytes */0")
    assert places.ask("HEAD", "/v1/data/ann/c/ten", range="bytes=0-3").headers["content-length"] == "10"


def test_a_range_is_of_the_bytes_that_the_asker_knows(places: Places) -> None:
    modified = places.ask("HEAD", "/v1/data/ann/c/ten").headers["last-modified"]
    for condition, status in ((TAG, 206), (modified, 206), ('"other"', 200), ("W/" + TAG, 200), ("yesterday", 200)):
        answer = places.ask("GET", "/v1/data/ann/c/ten", range="bytes=0-3", if_range=condition)
        assert answer.status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_none_match": TAG}, 304),
        ({"if_none_match": f'"x", W/{TAG}'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"x"'}, 200),
        ({"if_match": TAG}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": '"x"'}, 412),
        ({"if_match": "W/" + TAG}, 412),
        ({"if_match": '"x"', "if_none_match": TAG}, 412),
        ({"if_none_match": TAG, "range": "bytes=0-1"}, 304),
    ],
)
def test_conditions(places: Places, headers: dict[str, str], status: int) -> None:
    for method in ("GET", "HEAD"):
        answer = places.ask(method, "/v1/data/ann/c/ten", b"", **headers)
        assert answer.status == status
        assert answer.headers["etag"] == TAG
        if status == 304:
            assert answer.body == b""
            assert "content-length" not in answer.headers, "it would be that of the file"


def test_a_condition_that_a_write_cannot_keep_is_not_ignored(places: Places) -> None:
    for method in ("PUT", "DELETE"):
        assert places.ask(method, "/v1/data/ann/c/ten", b"", if_match='"x"').status == 400
    assert places.ask("GET", "/v1/data/ann/c/ten").body == b"0123456789"


# -- who may ------------------------------------------------------------------------------------------------


def test_an_access_list_is_changed_by_its_owner(places: Places) -> None:
    assert places.ask("POST", "/v1/data/ann", b'{"name": "shared"}').status == 200
    assert places.ask("PUT", "/v1/data/ann/shared/f", b"x").status == 200
    for read, bobs in ((["user://*"], 200), ([], 404), (["algo://.my/*"], 404)):
        answer = places.ask("PATCH", "/v1/data/ann/shared", json.dumps({"acl": {"read": read}}).encode())
        assert (answer.status, answer.body) == (200, b"")
        assert places.ask("GET", "/v1/data/ann/shared?acl=true").json["acl"] == {"read": read}
        assert places.ask("GET", "/v1/data/ann/shared/f", key=places.bob).status == bobs
    whole = b'{"acl": {"read": ["user://*"]}}'
    assert places.ask("PATCH", "/v1/data/ann/shared", whole, key=places.bob).status == 403
    assert places.ask("PATCH", "/v1/data/ann/absent", whole).status == 404
    for path in ("ann", "ann/shared/f", "", ".algo/ann/keeps/perm"):
        assert places.ask("PATCH", f"/v1/data/{path}", whole).status in {400, 403}
    for body in (b"", b"{}", b'{"acl": {}}', b'{"acl": {"read": ["user://bob"]}}', b'{"acl": {"read": null}}'):
        assert places.ask("PATCH", "/v1/data/ann/shared", body).status == 400
    assert places.ask("GET", "/v1/data/ann/shared?acl=true").json["acl"] == {"read": ["algo://.my/*"]}


def test_members_write_to_their_organizations_collections(places: Places) -> None:
    cy, eve = issue_key(places.platform, "cy"), issue_key(places.platform, "eve")
    with database(places.platform) as found:
        accounts.create(found, "team", is_organization=True, owner=accounts.find(found, "cy"))
    assert places.ask("GET", "/v1/data", key=cy).json == {"folders": [{"name": "cy"}, {"name": "team"}]}
    assert places.ask("POST", "/v1/data/team", b'{"name": "c"}', key=cy).json == {"result": "data://team/c"}
    assert places.ask("PUT", "/v1/data/team/c/f", b"x", key=cy).status == 200
    assert places.ask("GET", "/v1/data/team", key=cy).json == {"folders": [{"name": "c"}]}
    assert places.ask("GET", "/v1/data/cy", key=cy).json == {"folders": []}
    for method, path in (("GET", "team"), ("GET", "team/c"), ("GET", "team/c/f"), ("HEAD", "team/c/f")):
        there, absent = (places.ask(method, f"/v1/data/{one}", key=eve) for one in (path, path.replace("team", "no")))
        assert there.status == absent.status == 404
    assert places.ask("PUT", "/v1/data/team/c/f", b"y", key=eve).status == 403
    assert places.ask("GET", "/v1/data/team/c/f", key=cy).body == b"x"


def test_a_key_that_may_only_read_writes_nothing(places: Places) -> None:
    reads, writes, calls = (issue_key(places.platform, "ann", scope) for scope in ("read", "data", "call"))
    for key, reading_, writing_ in ((reads, 200, 403), (writes, 200, 200), (calls, 403, 403)):
        for path in ("/v1/data/ann/c/ten", "/v1/data/ann/c", "/v1/data", "/v1/connector/data/ann"):
            assert places.ask("GET", path, key=key).status == reading_
            assert places.ask("HEAD", path, key=key).status == reading_
        assert places.ask("PUT", "/v1/data/ann/c/scoped", b"x", key=key).status == writing_
        assert places.ask("PATCH", "/v1/data/ann/c", b'{"acl":{"read":["user://*"]}}', key=key).status == writing_
        assert places.ask("POST", "/v1/data/ann", b"again", key=key).status in {writing_, 400}
        assert places.ask("DELETE", "/v1/data/ann/c/scoped", key=key).status == writing_


def test_a_head_says_what_is_wrong_and_how(places: Places) -> None:
    assert places.ask("HEAD", "/v1/data/ann/c").headers["x-data-type"] == "directory"
    for path, status in (("ann/absent", 404), ("bob", 404), ("a-b/c/f", 400), (".session", 400)):
        head = places.ask("HEAD", f"/v1/data/{path}")
        assert head.status == status
        assert head.headers["x-error-message"]


# -- what algorithms keep -----------------------------------------------------------------------------------


def test_a_session_is_shared_by_a_call_and_its_child_calls_and_by_no_other(places: Places) -> None:
    child = json.dumps([["GET", "/v1/data/.session/shared_f", None], ["PUT", "/v1/data/.session/g", "of the child"]])
    root = places.run(
        "ann/keeps",
        ("GET", "/v1/data/.session", None),
        ("PUT", "/v1/data/.session/shared_f", "of the root"),
        ("POST", "/v1/algo/ann/others", child),
        ("GET", "/v1/data/.session/g", None),
        ("GET", "/v1/data/.session", None),
        ("GET", "/v1/data/.session?acl=true", None),
        ("DELETE", "/v1/data/.session/g", None),
        key=places.bob,
    )
    assert [status for status, _ in root] == [200] * 7, root
    assert json.loads(root[0][1]) == {"files": []}
    assert json.loads(root[1][1]) == {"result": "data://.session/shared_f"}
    assert json.loads(root[2][1])["result"] == [[200, "of the root"], [200, '{"result":"data://.session/g"}']]
    assert root[3][1] == "of the child"
    assert [file["filename"] for file in json.loads(root[4][1])["files"]] == ["g", "shared_f"]
    assert "acl" not in json.loads(root[5][1])

    again = places.run("ann/keeps", ("GET", "/v1/data/.session/shared_f", None), key=places.bob)
    assert again[0][0] == 404, "another call is another session"
    for method in ("GET", "PUT", "DELETE"):
        outside = places.ask(method, "/v1/data/.session/shared_f", b"x" if method == "PUT" else b"", key=places.bob)
        assert outside.status == 400
        assert "during a call" in outside.message

    with database(places.platform) as found:
        with reading(found) as connection:
            assert connection.execute(select(files).where(files.c.name == "shared_f")).first() is not None
        registry.sweep(found, sessions=set())
        with reading(found) as connection:
            assert connection.execute(select(files).where(files.c.name == "shared_f")).first() is None
            hidden = collections.c.name.startswith(".session")
            assert connection.execute(select(collections).where(hidden)).first() is None


def test_what_an_algorithm_keeps_is_its_callers_alone(places: Places) -> None:
    kept = places.run(
        "ann/keeps",
        ("PUT", "/v1/data/.algo/temp/t", "bob's for a day"),
        ("PUT", "/v1/data/.algo/ann/keeps/perm/p", "bob's for good"),
        ("GET", "/v1/data/.algo/perm/p", None),
        ("GET", "/v1/data/.algo/temp", None),
        key=places.bob,
    )
    assert [status for status, _ in kept] == [200] * 4, kept
    assert json.loads(kept[0][1]) == {"result": "data://.algo/ann/keeps/temp/t"}
    assert kept[2][1] == "bob's for good"

    elsewhere = [("GET", f"/v1/data/.algo/ann/keeps/{path}", None) for path in ("perm/p", "temp/t", "perm")]
    assert [status for status, _ in places.run("ann/keeps", *elsewhere[:2])] == [404, 404], "ann called it, not bob"
    through_another = places.run("ann/others", *elsewhere, key=places.bob)
    assert [status for status, _ in through_another] == [404] * 3, "another algorithm, bob or not"
    assert places.ask("GET", "/v1/data/.algo/ann/keeps/perm/p", key=places.bob).body == b"bob's for good"
    assert places.ask("GET", "/v1/data/.algo/ann/keeps/perm/p").status == 404
    assert places.ask("GET", "/v1/data/.algo/ann/absent/perm/p", key=places.bob).status == 404
    assert places.ask("GET", "/v1/data/bob", key=places.bob).json == {"folders": []}

    with database(places.platform) as found:
        registry.sweep(found, sessions=set(), now=datetime.now(UTC) + timedelta(hours=23))
        assert places.ask("GET", "/v1/data/.algo/ann/keeps/temp/t", key=places.bob).status == 200
        registry.sweep(found, sessions=set(), now=datetime.now(UTC) + timedelta(hours=25))
    assert places.ask("GET", "/v1/data/.algo/ann/keeps/temp/t", key=places.bob).status == 404
    assert places.ask("GET", "/v1/data/.algo/ann/keeps/perm/p", key=places.bob).status == 200


@pytest.mark.parametrize(
    "path", [".algo", ".algo/temp", ".algo/ann/keeps", ".algo/ann/keeps/other/f", ".algo/ann/../perm/f", ".session/a/b"]
)
def test_places_that_are_none_are_refused(places: Places, path: str) -> None:
    assert places.ask("GET", f"/v1/data/{path}").status == 400
    assert places.ask("PUT", f"/v1/data/{path}", b"x").status == 400


def test_a_collection_with_a_reader_is_read_by_its_owners_algorithms_whoever_calls(places: Places) -> None:
    assert places.ask("POST", "/v1/data/ann", b'{"name": "mine"}').status == 200
    assert places.ask("PUT", "/v1/data/ann/mine/f", b"ann's").status == 200
    serve(places.platform, "bob/reads", KEEPS, key=places.bob, algorithm_callability="public")
    steps = [("GET", "/v1/data/ann/mine/f", None), ("PUT", "/v1/data/ann/mine/f", "bob's"), ("GET", "/v1/data", None)]
    mine = places.run("ann/keeps", *steps, key=places.bob)
    assert [status for status, _ in mine] == [200, 403, 200]
    assert json.loads(mine[2][1]) == {"folders": [{"name": "bob"}]}, "it acts as its caller"
    assert places.run("bob/reads", *steps[:1], key=places.bob)[0][0] == 404
