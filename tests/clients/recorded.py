"""Requests of the clients that no package brings here, as their sources make them, and what each needs from the answer.

They are sent one after the other, client by client, as raw bytes. `$KEY`, `$ADMIN`, `$BOB` (a stranger's key),
`$BUILD`, `$COMMIT` and `$TYPE` (of organizations) stand for what the running platform has; `Host` and the length of the
body are added.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

TEXT = str
NUMBER = (int, float)
MILLISECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
"""The layout that Go's client parses, to the letter."""


class Exactly(dict[str, object]):
    """An object with these members and no others."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request.

    Attributes:
        client: Whose it is.
        method: Of HTTP.
        target: As it stands in the request line.
        headers: Lines of the head, as that client's HTTP library writes them.
        body: As it is sent.
        chunked: Whether the client does not tell the length.
        status: What the client insists on, or takes for success.
        shape: What it reads from the answer's JSON: types, patterns, values, and members that must be there.
        exactly: The answer's whole body, where the client compares that.
        answer: Headers that it reads from the answer, as patterns.
        why: What breaks otherwise.
    """

    client: str
    method: str
    target: str
    headers: tuple[str, ...]
    body: bytes = b""
    chunked: bool = False
    status: int = 200
    shape: object = None
    exactly: bytes | None = None
    answer: Mapping[str, str] = field(default_factory=dict)
    why: str = ""


def _result(value: object, kind: str) -> dict[str, object]:
    return {"result": value, "metadata": {"content_type": kind, "duration": NUMBER}}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


ALGORITHM = {"id": TEXT, "name": TEXT, "details": {"label": TEXT}, "settings": {"algorithm_callability": TEXT}}
BUILD = {"build_id": TEXT, "status": TEXT, "commit_sha": TEXT, "started_at": TEXT, "resource_type": "algorithm_build"}
ORGANIZATION = {
    "org_name": TEXT,
    "org_label": TEXT,
    "org_email": TEXT,
    "type_id": TEXT,
    "resource_type": "organization",
}
SCM = {"id": TEXT, "provider": TEXT, "default": bool, "enabled": bool}
SETTINGS = {
    "environment": "cpu",
    "language": "python3-1",
    "license": "apl",
    "network_access": "full",
    "pipeline_enabled": True,
    "source_visibility": "closed",
}


def _made(name: str) -> bytes:
    return _json({"name": name, "details": {"label": "Made"}, "settings": SETTINGS})


def _organization(name: str, kind: str = "") -> bytes:
    described = {
        "org_contact_name": "some owner",
        "org_email": "some@example.com",
        "org_label": "myLabel",
        "org_name": name,
        "org_url": "https://example.com",
        "resource_type": "organization",
    }
    return _json(described | ({"type_id": kind} if kind else {}))


# -- Java: Apache HttpAsyncClient; paths of data are encoded as a form is, slashes too ----------------------

_JAVA = ("Authorization: Simple $KEY", "User-Agent: algorithmia-java/1.0.16", "Connection: Keep-Alive")
_JAVA_ADMIN = ("Authorization: Simple $ADMIN", *_JAVA[1:])
_JAVA_TEXT = (*_JAVA, "Content-Type: text/plain; charset=UTF-8")
_JAVA_JSON = (*_JAVA, "Content-Type: application/json; charset=UTF-8")
_JAVA_BYTES = (*_JAVA, "Content-Type: application/octet-stream")


def _java(method: str, target: str, headers: tuple[str, ...] = _JAVA, **more: object) -> Request:
    return Request(client="java", method=method, target=target, headers=headers, **more)  # type: ignore[arg-type]


JAVA = [
    _java("POST", "/v1/algo/ann/echo", _JAVA_TEXT, body="naïve".encode(), shape=_result("naïve", "text")),
    _java("POST", "/v1/algo/ann/echo", _JAVA_JSON, body=b'{"a":[1]}', shape=_result({"a": [1]}, "json")),
    _java("POST", "/v1/algo/ann/echo/0.1.0", _JAVA_BYTES, body=b"\x00\xff", shape=_result("AP8=", "binary")),
    _java(
        "POST",
        "/v1/algo/ann/echo?timeout=10&stdout=true",
        _JAVA_TEXT,
        body=b"x",
        shape={"result": "x", "metadata": {"stdout": TEXT}},
    ),
    _java(
        "POST",
        "/v1/algo/ann/echo",
        ("Authorization: Simple $BOB", *_JAVA_TEXT[1:]),
        body=b"raise",
        shape={"error": {"message": "broken", "stacktrace": TEXT}},
        why="it reads `stacktrace` as text unasked; without it, a NullPointerException hides the message",
    ),
    _java(
        "POST",
        "/v1/algo/ann/echo?output=void",
        _JAVA_TEXT,
        body=b"x",
        shape={"async": "void", "request_id": re.compile("req-.+")},
    ),
    _java("POST", "/v1/algo/ann/echo?output=raw", _JAVA_JSON, body=b'{"a": 1}', exactly=b'{"a":1}'),
    _java("POST", "/v1/algorithms/ann", _JAVA_JSON, body=_made("javamade"), status=201, shape=ALGORITHM),
    _java("GET", "/v1/algorithms/ann/javamade", shape=ALGORITHM),
    _java(
        "PUT",
        "/v1/algorithms/ann/javamade",
        _JAVA_JSON,
        body=b'{"details":{"label":"Changed"}}',
        shape={"details": {"label": "Changed"}},
    ),
    _java(
        "POST",
        "/v1/algorithms/ann/javamade/compile",
        shape=ALGORITHM | {"compilation": {"successful": True, "output": TEXT}, "version_info": {"git_hash": TEXT}},
        why="a POST with neither body nor type",
    ),
    _java(
        "POST",
        "/v1/algorithms/ann/javamade/versions",
        _JAVA_JSON,
        body=_json({"settings": {"algorithm_callability": "private"}, "version_info": {"version_type": "major"}}),
        shape={"version_info": {"semantic_version": "1.0.0", "git_hash": TEXT}},
    ),
    _java(
        "GET",
        "/v1/algorithms/ann/javamade/versions?callable=false&limit=10&published=true",
        shape={"marker": None, "next_link": None, "results": [{"version_info": {"semantic_version": "1.0.0"}}]},
    ),
    _java("GET", "/v1/algorithms/ann/echo/builds?limit=1", shape={"results": [BUILD]}),
    _java("GET", "/v1/algorithms/ann/echo/builds/$BUILD", shape=BUILD),
    _java("GET", "/v1/algorithms/ann/echo/builds/$BUILD/logs", shape={"logs": TEXT}),
    _java("GET", "/v1/algorithms/ann/echo/scm/status", shape={"scm_connection_status": "active"}),
    _java("GET", "/v1/algorithms/ann/echo/errors", shape=[{"error": TEXT, "created_at": int, "request_id": TEXT}]),
    _java("GET", "/v1/users/ann/errors", shape=[{"algoname": "echo", "username": TEXT}]),
    _java("GET", "/v1/organizations/nobodys/errors", exactly=b"[]"),
    _java("DELETE", "/v1/algorithms/ann/javamade", status=204, exactly=b""),
    _java("GET", "/v1/scms", shape={"results": [{"id": "internal", "provider": "internal"}, SCM]}),
    _java("GET", "/v1/scms/internal", shape=SCM | {"default": True}),
    _java("GET", "/v1/scms/internal/oauth/status", shape={"authorization_status": "unauthorized"}),
    _java(
        "GET",
        "/v1/algorithm-environments/edge/languages/python3/environments",
        shape={"environments": [{"id": TEXT, "environment_specification_id": TEXT, "display_name": TEXT}]},
    ),
    _java("GET", "/v1/organization/types", shape=[{"id": TEXT, "name": "basic"}]),
    _java(
        "POST",
        "/v1/users",
        (*_JAVA_ADMIN, "Content-Type: application/json; charset=UTF-8"),
        body=b'{"username":"javauser","email":"java@example.com","passwordHash":"","shouldCreateHello":false}',
        shape={"id": TEXT, "username": "javauser", "email": "java@example.com", "self_link": TEXT},
    ),
    _java(
        "POST",
        "/v1/organizations",
        (*_JAVA_ADMIN, "Content-Type: application/json; charset=UTF-8"),
        body=_organization("javaorg", "$TYPE"),
        shape=ORGANIZATION,
    ),
    _java("GET", "/v1/organizations/javaorg", _JAVA_ADMIN, shape=ORGANIZATION),
    _java(
        "PUT",
        "/v1/organizations/javaorg",
        (*_JAVA_ADMIN, "Content-Type: application/json; charset=UTF-8"),
        body=_organization("javaorg", "$TYPE"),
        status=204,
        exactly=b"",
    ),
    _java("PUT", "/v1/organizations/javaorg/members/javauser", _JAVA_ADMIN, exactly=b""),
    _java("POST", "/v1/data/.my", _JAVA_JSON, body=b'{"name":"java"}'),
    _java("GET", "/v1/data/.my%2Fjava", shape={"files": []}),
    _java("PUT", "/v1/data/.my%2Fjava%2Ftext+and+spaces.txt", _JAVA_TEXT, body="naïve".encode()),
    _java(
        "PUT",
        "/v1/data/.my%2Fjava%2Fstream",
        _JAVA_BYTES,
        body=b"0123456789" * 1000,
        chunked=True,
        why="an InputStream goes in chunks",
    ),
    _java("HEAD", "/v1/data/.my%2Fjava%2Fstream", answer={"content-length": "10000", "x-data-type": "file"}),
    _java("HEAD", "/v1/data/.my%2Fjava%2Fmissing", status=404, answer={"x-error-message": ".+"}),
    _java(
        "GET",
        "/v1/data/.my%2Fjava%2Ftext+and+spaces.txt",
        exactly="naïve".encode(),
        answer={"content-type": "text/plain; charset=utf-8"},
    ),
    _java("GET", "/v1/data/.my%2Fjava%2Fmissing", status=404, shape={"error": {"message": TEXT}}),
    _java(
        "GET",
        "/v1/data/.my%2Fjava",
        shape={"files": [{"filename": "stream"}, {"filename": "text and spaces.txt", "size": 6}]},
    ),
    _java(
        "PATCH",
        "/v1/data/.my%2Fjava",
        _JAVA_JSON,
        body=b'{"acl":{"read":["user://*"]}}',
        exactly=b"",
    ),
    _java("GET", "/v1/data/.my%2Fjava?acl=true", shape={"acl": {"read": ["user://*"]}}),
    _java("DELETE", "/v1/data/.my%2Fjava%2Fstream", exactly=b'{"result":{"deleted":1}}'),
    _java("DELETE", "/v1/data/.my%2Fjava?force=false", status=400, shape={"error": {"message": TEXT}}),
    _java("DELETE", "/v1/data/.my%2Fjava?force=true", exactly=b'{"result":{"deleted":1}}'),
]

# -- Scala: HttpURLConnection; success is 200 to the digit, and 204 where it deletes or changes -------------

_SCALA = ("User-Agent: algorithmia-scala/1.0.0", "Authorization: $KEY", "Connection: keep-alive")
_SCALA_ADMIN = ("User-Agent: algorithmia-scala/1.0.0", "Authorization: $ADMIN", "Connection: keep-alive")
_SCALA_SENDS = ("Content-Type: application/json", "Accept: application/json")
_SCALA_PUTS = ("Content-Type: application/x-www-form-urlencoded", "Accept: application/json")
"""HttpURLConnection says so of every body whose type it is not told."""


def _scala(method: str, target: str, headers: tuple[str, ...] = _SCALA, **more: object) -> Request:
    return Request(client="scala", method=method, target=target, headers=headers, **more)  # type: ignore[arg-type]


SCALA = [
    _scala("POST", "/v1/algo/ann/echo", (*_SCALA, *_SCALA_SENDS), body=b'"text"', shape=_result("text", "text")),
    _scala("POST", "/v1/algo/ann/echo", (*_SCALA, *_SCALA_SENDS), body=b'"raise"', shape={"error": {"message": TEXT}}),
    _scala("GET", "/v1/organization/types", _SCALA_ADMIN, shape=[{"id": TEXT, "name": TEXT}]),
    _scala(
        "POST",
        "/v1/users",
        (*_SCALA_ADMIN, *_SCALA_SENDS),
        body=b'{"username":"scalauser","email":"scala@example.com","passwordHash":"","shouldCreateHello":false}',
        shape={"username": "scalauser"},
    ),
    _scala(
        "POST",
        "/v1/organizations",
        (*_SCALA_ADMIN, *_SCALA_SENDS),
        body=_organization("scalaorg", "$TYPE"),
        shape=ORGANIZATION,
    ),
    _scala("GET", "/v1/organizations/scalaorg", _SCALA_ADMIN, shape=ORGANIZATION),
    _scala(
        "PUT",
        "/v1/organizations/scalaorg",
        (*_SCALA_ADMIN, *_SCALA_PUTS),
        body=_organization("scalaorg", "$TYPE"),
        status=204,
    ),
    _scala(
        "PUT",
        "/v1/organizations/scalaorg/members/scalauser",
        (*_SCALA_ADMIN, *_SCALA_PUTS),
        why="it takes 201 for a failure",
    ),
    _scala("DELETE", "/v1/organizations/scalaorg", (*_SCALA_ADMIN, "Accept: application/json"), status=204),
    _scala("POST", "/v1/data/.my", (*_SCALA, *_SCALA_SENDS), body=b'{"name":"scala"}'),
    _scala("HEAD", "/v1/data/.my%2Fscala", answer={"x-data-type": "directory"}),
    _scala("PUT", "/v1/data/.my%2Fscala%2Ff.txt", (*_SCALA, *_SCALA_PUTS), body=b"a=b&c"),
    _scala("GET", "/v1/data/.my%2Fscala%2Ff.txt", exactly=b"a=b&c"),
    _scala("GET", "/v1/data/.my%2Fscala", shape={"files": [{"filename": "f.txt"}]}),
    _scala("PATCH", "/v1/data/.my%2Fscala", (*_SCALA, *_SCALA_SENDS), body=b'{"acl":{"read":[]}}'),
    _scala("GET", "/v1/data/.my%2Fscala?acl=true", shape={"acl": {"read": []}}),
    _scala("DELETE", "/v1/data/.my%2Fscala%2Ff.txt", (*_SCALA, "Accept: application/json")),
    _scala("DELETE", "/v1/data/.my%2Fscala?force=false", (*_SCALA, "Accept: application/json")),
]

# -- Node 1.0: headers stay from one request to the next; bodies are compared as text -----------------------

_NODE = ("Authorization: Simple $KEY", "User-Agent: algorithmia-nodejs/1.0.0 (NodeJS v14.17.0)", "Connection: close")
_NODE_ADMIN = ("Authorization: Simple $ADMIN", *_NODE[1:])
_NODE_JSON = (*_NODE, "Content-Type: application/json", "Accept: application/octet-stream")
_NODE_TEXT = (*_NODE, "Content-Type: text/plain")


def _node(method: str, target: str, headers: tuple[str, ...] = _NODE_JSON, **more: object) -> Request:
    return Request(client="node", method=method, target=target, headers=headers, **more)  # type: ignore[arg-type]


NODE = [
    _node(
        "POST",
        "/v1/algo/ann/echo/?timeout=300&stdout=false&output=raw",
        _NODE_TEXT,
        body=b'"foo"',
        exactly=b'"foo"',
        why="it quotes texts, and its suite wants the quotes back",
    ),
    _node(
        "POST", "/v1/algo/ann/echo/$COMMIT/?timeout=300&stdout=false&output=raw", body=b'{"a":1}', exactly=b'{"a":1}'
    ),
    _node("POST", "/v1/algorithms/ann", body=_made("node_made"), status=201, shape=ALGORITHM),
    _node("GET", "/v1/algorithms/ann/node_made", shape={"name": "node_made"}),
    _node("POST", "/v1/algorithms/ann/node_made/compile", body=b"{}", shape={"version_info": {"git_hash": TEXT}}),
    _node("GET", "/v1/algorithms/ann/node_made/builds?limit=50", shape={"results": [BUILD]}),
    _node(
        "POST",
        "/v1/algorithms/ann/node_made/version",
        body=_json({"version_info": {"version_type": "revision"}}),
        shape={"version_info": {"semantic_version": "0.0.1"}},
    ),
    _node(
        "GET",
        "/v1/algorithms/ann/node_made/versions?callable=false&limit=50&published=true",
        shape={"results": [{"resource_type": "algorithm"}]},
    ),
    _node(
        "GET",
        "/v1/algorithms/ann/echo/builds/$BUILD/logs",
        shape={"logs": re.compile("(?s).*Beginning container customization.*")},
    ),
    _node("DELETE", "/v1/algorithms/ann/node_made", status=204, exactly=b""),
    _node("GET", "/v1/algorithms/ann/node_made", status=404, exactly=b'{"error":"No such algorithm"}'),
    _node("GET", "/v1/scms", shape={"results": [{"id": "internal"}, SCM]}),
    _node("GET", "/v1/scms/internal", shape={"enabled": True}),
    _node("GET", "/v1/scms/internal/oauth/status", shape={"authorization_status": "unauthorized"}),
    _node("GET", "/v1/organization/types", shape=[{"id": TEXT, "name": TEXT}]),
    _node(
        "POST",
        "/v1/organizations",
        (*_NODE_ADMIN, "Content-Type: application/json"),
        body=_organization("nodeorg", "$TYPE"),
        shape=ORGANIZATION,
    ),
    _node("GET", "/v1/organizations/nodeorg", _NODE_ADMIN, shape=ORGANIZATION | {"org_email": "some@example.com"}),
    _node(
        "PUT",
        "/v1/organizations/nodeorg",
        _NODE_ADMIN,
        body=_organization("nodeorg", "$TYPE").replace(b"some@", b"other@"),
        status=204,
        exactly=b"",
    ),
    _node("GET", "/v1/organizations/nodeorg", _NODE_ADMIN, shape={"org_email": "other@example.com"}),
    _node("POST", "/v1/data/ann", _NODE_TEXT, body=b'"node_dir"', why="it quotes the name too"),
    _node("POST", "/v1/data/ann", _NODE_TEXT, body=b"node_bare", why="so did its suite of one time"),
    _node("HEAD", "/v1/data/ann/node_dir", _NODE_TEXT, answer={"x-data-type": "directory"}),
    _node("PUT", "/v1/data/ann/node_dir/f.txt", body=b'"nah dawg"'),
    _node("HEAD", "/v1/data/ann/node_dir/f.txt", answer={"x-data-type": "file"}),
    _node("GET", "/v1/data/ann/node_dir/f.txt", exactly=b'"nah dawg"'),
    _node("GET", "/v1/data/ann/node_dir", shape={"files": [{"filename": "f.txt"}]}),
    _node("DELETE", "/v1/data/ann/node_dir/f.txt", exactly=b'{"result":{"deleted":1}}'),
    _node("DELETE", "/v1/data/ann/node_dir?force=true", exactly=b'{"result":{"deleted":1}}', why="of an empty one"),
    _node("DELETE", "/v1/data/ann/node_bare?force=false", exactly=b'{"result":{"deleted":0}}'),
]

# -- Ruby: HTTParty; of refusals it understands 400, 401, 404 and 500, and crashes on any other -------------

_RUBY = (
    "Authorization: $KEY",
    "User-Agent: Algorithmia Ruby Client",
    "Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3",
    "Accept: */*",
    "Connection: close",
)
_RUBY_JSON = (*_RUBY, "Content-Type: application/json")


def _ruby(method: str, target: str, headers: tuple[str, ...] = _RUBY_JSON, **more: object) -> Request:
    return Request(client="ruby", method=method, target=target, headers=headers, **more)  # type: ignore[arg-type]


_RUBY_CALL = "/v1/algo/ann/echo?timeout=300&stdout=false&output=default"
_RUBY_REFUSED = "other statuses than 400 raise a NameError in it, where its suite wants its general error"
RUBY = [
    _ruby("POST", _RUBY_CALL, (*_RUBY, "Content-Type: text/plain"), body=b"x", shape=_result("x", "text")),
    _ruby("POST", _RUBY_CALL, body=b'{"a":1}', shape=_result({"a": 1}, "json")),
    _ruby(
        "POST",
        _RUBY_CALL,
        (*_RUBY, "Content-Type: application/octet-stream"),
        body=b"\xff",
        shape=_result("/w==", "binary"),
    ),
    _ruby("POST", _RUBY_CALL, body=b'"raise"', shape={"error": {"message": TEXT, "error_type": "AlgorithmError"}}),
    _ruby("GET", "/v1/data/.my/ruby", status=404, shape={"error": {"message": TEXT}}),
    _ruby("POST", "/v1/data/.my", body=b'{"name":"ruby"}'),
    _ruby(
        "POST",
        "/v1/data/.my",
        body=b'{"name":"ruby"}',
        status=400,
        shape={"error": {"message": TEXT}},
        why=_RUBY_REFUSED,
    ),
    _ruby("GET", "/v1/data/.my/ruby", shape={"files": []}),
    _ruby("PUT", "/v1/data/.my/ruby/foo", (*_RUBY, "Content-Type: text/plain"), body=b"testdata"),
    _ruby("HEAD", "/v1/data/.my/ruby/foo"),
    _ruby("HEAD", "/v1/data/.my/ruby/missing", status=404),
    _ruby("GET", "/v1/data/.my/ruby/foo", exactly=b"testdata", why="compressed, it would be another text"),
    _ruby("GET", "/v1/data/.my/ruby", shape={"files": [{"filename": "foo"}]}),
    _ruby("DELETE", "/v1/data/.my/ruby", status=400, shape={"error": {"message": TEXT}}, why=_RUBY_REFUSED),
    _ruby("DELETE", "/v1/data/.my/ruby/foo", shape={"result": {"deleted": 1}}),
    _ruby("DELETE", "/v1/data/.my/ruby?force=true", shape={"result": {"deleted": int}}),
    _ruby(
        "GET",
        "/v1/data/.my/ruby",
        ("Authorization: ", *_RUBY_JSON[1:]),
        status=401,
        shape={"error": {"message": "authorization required"}},
        why="without a key it sends an empty header",
    ),
]

# -- Go: net/http; types are strict -------------------------------------------------------------------------

_GO = ("User-Agent: Go-http-client/1.1", "Authorization: $KEY", "Accept-Encoding: gzip")


def _go(method: str, target: str, headers: tuple[str, ...] = _GO, **more: object) -> Request:
    return Request(client="go", method=method, target=target, headers=headers, **more)  # type: ignore[arg-type]


_GO_JSON = (*_GO, "Content-Type: application/json")
GO = [
    _go(
        "POST",
        "/v1/algo/ann/echo",
        (*_GO, "Content-Type: text/plain"),
        body=b"x",
        shape={"result": "x", "metadata": Exactly(content_type="text", duration=NUMBER)},
        why="`stdout`, where nobody asked for it, has a type that it cannot read",
    ),
    _go(
        "POST",
        "/v1/algo/ann/echo",
        (*_GO_JSON, "Content-Type: application/json"),
        body=b"null",
        shape=_result(None, "json"),
        why="of nothing it tells the type twice",
    ),
    _go(
        "POST",
        "/v1/algo/ann/echo?output=raw",
        (*_GO, "Content-Type: application/octet-stream"),
        body=b"\x00\xff",
        exactly=b"\x00\xff",
    ),
    _go(
        "POST",
        "/v1/algo/ann/echo?output=void&stdout=false&timeout=300",
        _GO_JSON,
        body=b"1",
        shape={"async": TEXT, "request_id": TEXT},
    ),
    _go("POST", "/v1/data/.my", _GO_JSON, body=b'{"acl":{"read":["algo://.my/*"]},"name":"go"}'),
    _go("PUT", "/v1/data/.my/go/f", body=b"x", why="without a type"),
    _go("HEAD", "/v1/data/.my/go/f"),
    _go("GET", "/v1/data/.my/go/f", exactly=b"x"),
    _go("GET", "/v1/data/.my/go", shape={"files": [{"filename": "f", "last_modified": MILLISECONDS, "size": 1}]}),
    _go("GET", "/v1/data/.my/go?acl=true", shape={"acl": {"read": ["algo://.my/*"]}}),
    _go("PATCH", "/v1/data/.my/go", _GO_JSON, body=b'{"acl":{"read":["user://*"]}}'),
    _go("GET", "/v1/data/.my/missing", status=404, shape={"error": {"message": TEXT}}),
    _go("DELETE", "/v1/data/.my/go", status=400, shape={"error": {"message": TEXT}}),
    _go("DELETE", "/v1/data/.my/go/f", shape={"result": {"deleted": 1}}),
    _go("DELETE", "/v1/data/.my/go?force=true", shape={"result": {"deleted": int}}),
]

# -- Rust: hyper; data by connector, and the kind of what is there from a header ----------------------------

_RUST = ("User-Agent: algorithmia-rust/2.1.0 (Rust 1.14.0", "Authorization: Simple $KEY")
_RUST_JSON = (*_RUST, "Content-Type: application/json")


def _rust(method: str, target: str, headers: tuple[str, ...] = _RUST, **more: object) -> Request:
    return Request(client="rust", method=method, target=target, headers=headers, **more)  # type: ignore[arg-type]


RUST = [
    _rust("POST", "/v1/algo/ann/echo/0.1", (*_RUST, "Content-Type: text/plain"), body=b"x", shape=_result("x", "text")),
    _rust("POST", "/v1/algo/ann/echo?timeout=3", _RUST_JSON, body=b"[2,3,4]", shape=_result([2, 3, 4], "json")),
    _rust("POST", "/v1/algo/ann/missing", _RUST_JSON, body=b"1", status=404, shape={"error": {"message": TEXT}}),
    _rust(
        "POST",
        "/v1/connector/data/.my",
        _RUST_JSON,
        body=b'{"name":"rust","acl":{"read":["algo://.my/*"]},"_dummy":[]}',
    ),
    _rust("HEAD", "/v1/connector/data/.my/rust", answer={"x-data-type": "directory"}),
    _rust("PUT", "/v1/connector/data/.my/rust/f.txt", body=b"file_contents", shape={"result": TEXT}),
    _rust("HEAD", "/v1/connector/data/.my/rust/f.txt", answer={"x-data-type": "file", "content-length": "13"}),
    _rust("GET", "/v1/connector/data/.my/rust/f.txt", exactly=b"file_contents", answer={"x-data-type": "file"}),
    _rust(
        "GET",
        "/v1/connector/data/.my/rust",
        shape={"files": [{"filename": "f.txt", "size": 13, "last_modified": MILLISECONDS}]},
        answer={"x-data-type": "directory"},
    ),
    _rust("DELETE", "/v1/connector/data/.my/rust/f.txt", shape={"result": {"deleted": 1}}),
    _rust("DELETE", "/v1/connector/data/.my/rust?force=true", shape={"result": {"deleted": int}}),
    _rust("GET", "/v1/connector/dropbox/f.txt", status=501, shape={"error": {"message": TEXT}}),
]

# -- R: httr; text goes as JSON, and the names of the metadata are compared ---------------------------------

_R = (
    "User-Agent: libcurl/7.68.0 r-curl/4.3.2 httr/1.4.2",
    "Accept-Encoding: deflate, gzip, br",
    "Accept: application/json, text/xml, application/xml, */*",
    "Authorization: $KEY",
)
_R_JSON = (*_R, "Content-Type: application/json")
_R_CALL = "/v1/algo/ann/echo?timeout=300&stdout=FALSE&output=default"


def _r(method: str, target: str, headers: tuple[str, ...] = _R, **more: object) -> Request:
    return Request(client="r", method=method, target=target, headers=headers, **more)  # type: ignore[arg-type]


R = [
    _r(
        "POST",
        _R_CALL,
        _R_JSON,
        body=b'"text"',
        shape=Exactly(result="text", metadata=Exactly(content_type="text", duration=NUMBER)),
    ),
    _r("POST", _R_CALL, _R_JSON, body=b"null", shape=_result(None, "json")),
    _r("POST", _R_CALL, _R_JSON, body=b"[]", shape=_result([], "json")),
    _r(
        "POST",
        _R_CALL.replace("default", "raw"),
        (*_R, "Content-Type: application/octet-stream"),
        body=b"\xff",
        exactly=b"\xff",
    ),
    _r("POST", "/v1/data/.my", _R_JSON, body=b'{"name":"r"}'),
    _r("GET", "/v1/data/.my/r", shape={"files": []}),
    _r("PUT", "/v1/data/.my/r/f.json", body=b'{"a":1}'),
    _r("HEAD", "/v1/data/.my/r/f.json"),
    _r("GET", "/v1/data/.my/r/f.json", exactly=b'{"a":1}', answer={"content-type": "application/json"}),
    _r("GET", "/v1/data/.my/r?acl=true", shape={"acl": {"read": ["algo://.my/*"]}, "files": [{"filename": "f.json"}]}),
    _r("PATCH", "/v1/data/.my/r", _R_JSON, body=b'{"acl":{"read":[]}}'),
    _r("DELETE", "/v1/data/.my/r/f.json", shape={"result": {"deleted": 1}}),
    _r("DELETE", "/v1/data/.my/r?force=true", shape={"result": {"deleted": int}}),
    _r("POST", "/v1/algorithms/ann", _R_JSON, body=_made("rmade"), status=201, shape=ALGORITHM),
    _r(
        "POST",
        "/v1/algorithms/ann/rmade/compile",
        _R_JSON,
        body=b"[]",
        shape={"id": TEXT},
        why="an empty list is its empty object",
    ),
    _r("DELETE", "/v1/algorithms/ann/rmade", status=204, exactly=b""),
]

# -- PHP: Guzzle; one type for all requests, and an error must be an object ---------------------------------

_PHP = ("User-Agent: GuzzleHttp/6.3.3 curl/7.58.0 PHP/7.2.24", "Authorization: Simple $KEY")
_PHP_JSON = (*_PHP, "Content-Type: application/json")
_PHP_BYTES = (*_PHP, "Content-Type: application/octet-stream")


def _php(method: str, target: str, headers: tuple[str, ...] = _PHP_JSON, **more: object) -> Request:
    return Request(client="php", method=method, target=target, headers=headers, **more)  # type: ignore[arg-type]


PHP = [
    _php("POST", "/v1/algo/ann/echo", body=b'"text"', shape=_result("text", "text")),
    _php("POST", "/v1/algo/ann/echo", _PHP_BYTES, body=b"\x00", shape=_result("AA==", "binary")),
    _php("POST", "/v1/algo/ann/echo", (*_PHP, "Content-Type: application/text"), body=b"x", shape=_result("x", "text")),
    _php(
        "POST",
        "/v1/algo/ann/echo?output=raw",
        body=b'{"something": "something else"}',
        exactly=b'{"something":"something else"}',
    ),
    _php("POST", "/v1/algo/ann/echo?output=void", body=b"1", shape={"async": TEXT, "request_id": TEXT}),
    _php("POST", "/v1/algo/ann/echo", body=b'"raise"', shape={"error": {"message": TEXT}}),
    _php("POST", "/v1/algo/ann/missing", body=b"1", status=404, shape={"error": {"message": TEXT}}),
    _php("GET", "/v1/connector/data/.my/php", status=404, shape={"error": {"message": TEXT}}),
    _php("POST", "/v1/connector/data/.my", body=b'{"name":"php","acl":{"read":["user://*"]}}'),
    _php("PUT", "/v1/connector/data/.my/php/image.png", _PHP_BYTES, body=b"\x89PNG"),
    _php(
        "GET",
        "/v1/connector/data/.my/php/image.png",
        _PHP_BYTES,
        exactly=b"\x89PNG",
        answer={"content-type": "image/png", "content-length": "4"},
    ),
    _php("GET", "/v1/connector/data/.my/php?acl=true", shape={"acl": {"read": ["user://*"]}}),
    _php("GET", "/v1/connector/data/.my/php?acl=false", shape={"files": [{"filename": "image.png"}]}),
    _php("DELETE", "/v1/connector/data/.my/php", status=400, shape={"error": {"message": TEXT}}),
    _php("DELETE", "/v1/connector/data/.my/php/image.png", shape={"result": {"deleted": 1}}),
    _php("DELETE", "/v1/connector/data/.my/php?force=true"),
]

REQUESTS = [*JAVA, *SCALA, *NODE, *RUBY, *GO, *RUST, *R, *PHP]
