"""Every route, every method, every kind of wrong key: who asks is settled before anything else is."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import pytest
from litestar import get
from sqlalchemy import update

from pushpoint import web
from pushpoint.databases import writing
from pushpoint.databases.tables import keys
from pushpoint.records import IMPLIED, SCOPES
from pushpoint.serving import Services
from pushpoint.web import ROUTES, guards, unoffered
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import JSON, Answer, ask, database, issue_key, send_bytes, serve

ALGORITHM = "/v1/algorithms/{owner}/{name}"
MANAGEMENT = [
    ("GET", "/v1/account", "known"),
    ("POST", "/v1/algorithms/{owner}", "manage"),
    ("GET", ALGORITHM, "call or view"),
    ("PUT", ALGORITHM, "manage"),
    ("GET", f"{ALGORITHM}/source", "view"),
    ("PUT", f"{ALGORITHM}/source", "manage"),
    ("DELETE", f"{ALGORITHM}/source", "manage"),
    ("POST", f"{ALGORITHM}/source/secret", "manage"),
    ("POST", f"{ALGORITHM}/source/reset", "manage"),
    ("GET", f"{ALGORITHM}/scm/status", "view"),
    ("POST", f"{ALGORITHM}/compile", "manage"),
    ("GET", f"{ALGORITHM}/builds", "view"),
    ("GET", f"{ALGORITHM}/builds/{{build_id}}", "view"),
    ("GET", f"{ALGORITHM}/builds/{{build_id}}/logs", "view"),
    ("GET", f"{ALGORITHM}/builds/{{build_id}}/output", "view"),
    ("GET", f"{ALGORITHM}/versions", "call or view"),
    ("GET", f"{ALGORITHM}/versions/{{selector}}", "call or view"),
    ("POST", f"{ALGORITHM}/versions", "manage"),
    ("POST", f"{ALGORITHM}/version", "manage"),
    ("GET", f"{ALGORITHM}/releases", "view"),
    ("GET", f"{ALGORITHM}/live", "view"),
    ("GET", f"{ALGORITHM}/deployments", "view"),
    ("POST", f"{ALGORITHM}/deployments", "manage"),
    ("GET", f"{ALGORITHM}/deployments/{{deployment_id}}", "view"),
    ("GET", f"{ALGORITHM}/publishers", "view"),
    ("POST", f"{ALGORITHM}/publishers", "manage"),
    ("DELETE", f"{ALGORITHM}/publishers/{{publisher_id}}", "manage"),
    ("DELETE", ALGORITHM, "manage"),
    ("GET", f"{ALGORITHM}/log", "view"),
    ("GET", f"{ALGORITHM}/errors", "view"),
    ("GET", f"{ALGORITHM}/insights", "view"),
    ("GET", f"{ALGORITHM}/secrets", "view"),
    ("POST", f"{ALGORITHM}/secrets", "manage"),
    ("PUT", f"{ALGORITHM}/secrets/{{secret_id}}", "manage"),
    ("DELETE", f"{ALGORITHM}/secrets/{{secret_id}}", "manage"),
    ("GET", "/v1/secret-provider", "known"),
    ("POST", "/v1/insights", "call"),
    ("POST", "/v1/users", "admin"),
    ("GET", "/v1/users", "admin"),
    ("GET", "/v1/users/{username}", "view or admin"),
    ("PUT", "/v1/users/{username}", "manage or admin"),
    ("DELETE", "/v1/users/{username}", "admin"),
    ("PUT", "/v1/users/{username}/password", "manage or admin"),
    ("GET", "/v1/users/{username}/algorithms", "call or view"),
    ("GET", "/v1/users/{username}/keys", "manage or admin"),
    ("POST", "/v1/users/{username}/keys", "manage or admin"),
    ("DELETE", "/v1/users/{username}/keys/{key_id}", "manage or admin"),
    ("GET", "/v1/users/{account}/errors", "view"),
    ("GET", "/v1/organizations/{account}/errors", "view"),
    ("GET", "/v1/organization/types", "known"),
    ("POST", "/v1/organizations", "admin"),
    ("GET", "/v1/organizations", "view or admin"),
    ("GET", "/v1/organizations/{organization}", "view or admin"),
    ("PUT", "/v1/organizations/{organization}", "manage or admin"),
    ("DELETE", "/v1/organizations/{organization}", "manage or admin"),
    ("GET", "/v1/organizations/{organization}/members", "view or admin"),
    ("PUT", "/v1/organizations/{organization}/members/{username}", "manage or admin"),
    ("DELETE", "/v1/organizations/{organization}/members/{username}", "manage or admin"),
    ("GET", "/v1/organizations/{organization}/keys", "manage or admin"),
    ("POST", "/v1/organizations/{organization}/keys", "manage or admin"),
    ("DELETE", "/v1/organizations/{organization}/keys/{key_id}", "manage or admin"),
    ("GET", "/v1/scms", "known"),
    ("GET", "/v1/scms/{scm_id}", "known"),
    ("GET", "/v1/scms/{scm_id}/oauth/status", "known"),
]
UNOFFERED = [
    (method, re.sub(r":\w+}", "}", path), "known")
    for path in unoffered.REASONS
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
]
RAW = [
    ("POST", "/v1/algo/{owner}/{name}", "call"),
    ("POST", "/v1/algo/{owner}/{name}/latest", "call"),
    ("POST", "/v1/algo/{owner}/{name}/{commit}", "call"),
    ("POST", "/v1/algo/{owner}/{name}?output=raw", "call"),
    ("POST", "/v1/algo/{owner}/{name}?output=void", "call"),
    ("GET", "/v1/data", "read"),
    ("GET", "/v1/data/", "read"),
    ("GET", "/v1/data/{owner}", "read"),
    ("POST", "/v1/data/{owner}", "data"),
    ("GET", "/v1/data/{owner}/{collection}", "read"),
    ("HEAD", "/v1/data/{owner}/{collection}", "read"),
    ("DELETE", "/v1/data/{owner}/{collection}", "data"),
    ("GET", "/v1/data/{owner}/{collection}/file.txt", "read"),
    ("HEAD", "/v1/data/{owner}/{collection}/file.txt", "read"),
    ("PUT", "/v1/data/{owner}/{collection}/file.txt", "data"),
    ("DELETE", "/v1/data/{owner}/{collection}/file.txt", "data"),
    ("GET", "/git/{owner}/{name}.git/info/refs?service=git-upload-pack", "view"),
    ("GET", "/git/{owner}/{name}.git/info/refs?service=git-receive-pack", "manage"),
    ("GET", "/git/{owner}/{name}.git/info/refs", "view"),
    ("POST", "/git/{owner}/{name}.git/git-upload-pack", "view"),
    ("POST", "/git/{owner}/{name}.git/git-receive-pack", "manage"),
    ("GET", "/git/{owner}/{name}/{commit}.git/info/refs?service=git-upload-pack", "view"),
    ("POST", "/git/{owner}/{name}/{commit}.git/git-upload-pack", "view"),
]
ALL = MANAGEMENT + RAW + UNOFFERED
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@dataclass(frozen=True)
class Tenants:
    platform: Platform
    commit: str
    bob: str
    lacking: dict[str, str]

    def path(self, pattern: str, *, is_there: bool = True) -> str:
        return pattern.format(
            owner="ann",
            name="secret" if is_there else "absent",
            collection="hidden" if is_there else "absent",
            commit=self.commit,
            build_id=self.commit,
            selector="latest",
            deployment_id="x",
            publisher_id="x",
            secret_id="x",
            key_id="x",
            scm_id="github",
            rest="x",
            username="ann" if is_there else "absent",
            account="ann" if is_there else "absent",
            organization="team" if is_there else "absent",
        )

    def ask(self, method: str, pattern: str, *, key: str | None, is_there: bool = True) -> Answer:
        body = b'{"name": "fresh", "deploy_id": "d", "version": "0.1.0"}' if method in {"POST", "PUT"} else b""
        return ask(self.platform, method, self.path(pattern, is_there=is_there), body, key=key, headers=JSON)


def giving(scope: str) -> set[str]:
    """The scopes that open a route, among them those that bring its own along."""
    asked = set(scope.split(" or "))
    return asked | {name for name, implied in IMPLIED.items() if implied in asked}


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    commit = serve(platform, "ann/secret", "def apply(input):\n    return 'secret'\n")
    assert ask(platform, "POST", "/v1/data/ann", b'{"name": "hidden"}').status == 200
    assert ask(platform, "PUT", "/v1/data/ann/hidden/file.txt", b"secret").status == 200
    admin = (platform.home / "admin-key").read_text().strip()
    assert ask(platform, "POST", "/v1/organizations", b'{"org_name": "team"}', key=admin, headers=JSON).status == 200
    scopes = {scope for _, _, scope in ALL} - {guards.KNOWN}
    lacking = {scope: issue_key(platform, "ann", *(SCOPES - giving(scope) - {"admin"})) for scope in scopes}
    yield Tenants(platform, commit, issue_key(platform, "bob"), lacking)
    stop_platform(platform)


def test_the_table_above_has_every_route() -> None:
    routes = set()
    for handler in ROUTES:
        for path in handler.paths:
            for method in handler.http_methods:
                if handler.opt["scope"] != guards.OPEN:
                    routes.add((str(method), re.sub(r":\w+}", "}", path), handler.opt["scope"]))

    assert routes == set(MANAGEMENT + UNOFFERED)


def test_only_health_the_description_what_is_signed_instead_and_the_exchange_of_identities_are_open() -> None:
    assert {path for handler in ROUTES if handler.opt["scope"] == guards.OPEN for path in handler.paths} == {
        "/live",
        "/ready",
        "/openapi.json",
        "/v1/openapispec",
        "/docs",
        "/docs/show.js",
        "/docs/swagger-ui-bundle.js",
        "/docs/swagger-ui.css",
        "/v1/algorithms/{owner:str}/{name:str}/scm/webhook",
        "/v1/keys/exchange",
    }


def test_a_route_without_a_scope_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    @get("/forgotten", sync_to_thread=False)
    def forgotten() -> None: ...

    @get("/misspelt", opt={"scope": "mangae"}, sync_to_thread=False)
    def misspelt() -> None: ...

    for handler in (forgotten, misspelt):
        monkeypatch.setattr(web, "ROUTES", [handler])
        with pytest.raises(LookupError, match=r"/(forgotten|misspelt) declares no scope"):
            web.create_app(cast("Services", None))


@pytest.mark.parametrize(("method", "pattern", "scope"), ALL)
def test_without_a_valid_key_nothing_is_told(tenants: Tenants, method: str, pattern: str, scope: str) -> None:
    for header in (None, "", "sim" + "x" * 25, "call-x"):
        headers = JSON if header is None else JSON | {"authorization": header}
        answer = ask(tenants.platform, method, tenants.path(pattern), key=None, headers=headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        if method != "HEAD":
            assert answer.message == "authorization required"
            assert answer.json["error"]["code"] == 2002
            assert answer.json["error"]["error_type"] == "Unauthenticated"


@pytest.mark.parametrize(("method", "pattern", "scope"), [one for one in ALL if one[2] != guards.KNOWN])
def test_a_key_that_lacks_the_scope_is_refused(tenants: Tenants, method: str, pattern: str, scope: str) -> None:
    for is_there in (True, False):
        answer = tenants.ask(method, pattern, key=tenants.lacking[scope], is_there=is_there)
        assert answer.status == 403
        if method != "HEAD":
            assert answer.json["error"]["code"] == 2001
            assert answer.message == f"this key may not {scope}; ask ann for one that may"


@pytest.mark.parametrize(("method", "pattern", "scope"), [one for one in ALL if "{" in one[1]])
def test_what_is_another_tenants_looks_absent(tenants: Tenants, method: str, pattern: str, scope: str) -> None:
    there = tenants.ask(method, pattern, key=tenants.bob)
    absent = tenants.ask(method, pattern, key=tenants.bob, is_there=False)

    def seen(answer: Answer) -> bytes:
        without_id = re.sub(rb'"id":"[^"]*"', b"", answer.body)
        named = re.sub(rb"\b(user|users|organization|organizations)([ /])(ann|team)\b", rb"\1\2absent", without_id)
        return named.replace(b"secret", b"absent").replace(b"hidden", b"absent")

    writes_data = pattern.startswith("/v1/data/") and method in {"POST", "PUT", "DELETE"}
    creates = method == "POST" and pattern in {"/v1/algorithms/{owner}", "/v1/data/{owner}"}
    expected = 403 if writes_data or creates or scope == "admin" else 404
    if (method, pattern, scope) in UNOFFERED:
        expected = 501
    elif "{scm_id}" in pattern or pattern.endswith(("{account}/errors", "{username}/algorithms")):
        expected = 200
    assert there.status == expected
    assert (there.status, seen(there)) == (absent.status, seen(absent))
    assert there.headers.get("x-error-message", "").replace("hidden", "absent") == absent.headers.get(
        "x-error-message", ""
    )


def test_nothing_of_the_above_changed_anything(tenants: Tenants) -> None:
    assert ask(tenants.platform, "GET", "/v1/data/ann/hidden/file.txt").body == b"secret"
    assert ask(tenants.platform, "GET", "/v1/data/ann").json == {"folders": [{"name": "hidden"}]}
    assert ask(tenants.platform, "GET", "/v1/algorithms/ann/fresh").status == 404
    assert len(ask(tenants.platform, "GET", "/v1/algorithms/ann/secret/versions").json["results"]) == 1
    assert len(ask(tenants.platform, "GET", "/v1/algorithms/ann/secret/deployments").json["results"]) == 1


@pytest.mark.parametrize("pattern", sorted({pattern for _, pattern, _ in ALL} | {"/live", "/", "/v1", "/v1/secrets"}))
def test_no_method_is_a_way_around_the_key(tenants: Tenants, pattern: str) -> None:
    for method in METHODS:
        answer = ask(tenants.platform, method, tenants.path(pattern), key=None)
        if (method, pattern) == ("GET", "/live"):
            assert answer.json == {"status": "live"}
        else:
            assert answer.status in {401, 404, 405}, method
        assert b"secret" not in answer.body.replace(b"/v1/secrets", b"")


@pytest.mark.parametrize("pattern", sorted({pattern for _, pattern, _ in ALL if not pattern.startswith("/git/")}))
def test_odd_methods_are_no_bugs(tenants: Tenants, pattern: str) -> None:
    allowed = {one for one, other, _ in ALL if other == pattern}
    for method in sorted(set(METHODS) - allowed - {"GET", "HEAD"}):
        answer = ask(tenants.platform, method, tenants.path(pattern))
        if pattern.startswith("/v1/data"):
            assert answer.status in {400, 403, 404, 405}, method
        elif method == "OPTIONS" and not pattern.startswith("/v1/algo/"):
            assert answer.status == 204
        else:
            assert answer.status == 405, method
        if answer.status in {204, 405}:
            assert set(answer.headers["allow"].split(", ")) & (allowed | {"OPTIONS"})
        if answer.status != 204:
            assert "error" in answer.json


def test_a_head_where_there_is_only_a_get_is_no_bug(tenants: Tenants) -> None:
    for path in ("/v1/account", "/v1/algorithms/ann/secret", "/live", "/v1/algo/ann/secret"):
        answer = ask(tenants.platform, "HEAD", path)
        assert answer.status == 405
        assert answer.body == b""


def test_a_key_may_be_written_in_each_of_the_old_ways(tenants: Tenants) -> None:
    key = tenants.platform.key
    basic = base64.b64encode(f"anybody:{key}".encode()).decode()
    for header in (key, f"Simple {key}", f"simple {key}", f"Bearer {key}", f"SIMPLE   {key} ", f"Basic {basic}"):
        for path in ("/v1/account", "/v1/data/"):
            assert ask(tenants.platform, "GET", path, key=header).status == 200, header


@pytest.mark.parametrize(
    "header",
    [
        "KEY KEY",
        "Digest KEY",
        "Simple KEY KEY",
        "key",
        "' OR 1=1 --",
        "%",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic \xe9\xe9\xe9\xe9",
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + "A" * 8000,
        "\xff",
        "Simple \x80",
        "call-",
        "Simple call-",
        ",",
    ],
)
def test_an_odd_authorization_is_no_key_and_no_bug(tenants: Tenants, header: str) -> None:
    for path in ("/v1/account", "/v1/data/", "/git/ann/secret.git/info/refs"):
        answer = ask(tenants.platform, "GET", path, key=header.replace("KEY", tenants.platform.key).encode("latin-1"))  # type: ignore[arg-type]
        assert answer.status == 401
    assert ask(tenants.platform, "POST", "/v1/algo/ann/secret", b"x", key=header.encode("latin-1")).status == 401  # type: ignore[arg-type]


def test_of_two_authorizations_all_routes_take_the_same(tenants: Tenants) -> None:
    key = tenants.platform.key
    for first, last, status in (("wrong", key, b"200"), (key, "wrong", b"401")):
        for path in ("/v1/account", "/v1/data/"):
            request = (
                f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                f"Authorization: {first}\r\nAuthorization: {last}\r\n\r\n"
            )
            answer = send_bytes(tenants.platform, request.encode())
            assert answer.startswith(b"HTTP/1.1 " + status), (path, first)


def test_a_key_that_another_process_revokes_is_over_within_a_second(tenants: Tenants) -> None:
    key = issue_key(tenants.platform, "ann")
    assert ask(tenants.platform, "GET", "/v1/account", key=key).status == 200
    with database(tenants.platform) as found, writing(found) as connection:
        hashed = hashlib.sha256(key.encode()).hexdigest()
        connection.execute(update(keys).where(keys.c.hash == hashed).values(revoked=datetime.now(UTC)))
    time.sleep(1)  # another process did it
    assert ask(tenants.platform, "GET", "/v1/account", key=key).status == 401


def test_the_key_is_nowhere_in_the_clear(tenants: Tenants) -> None:
    home = tenants.platform.home
    holding = [
        path.name
        for path in home.rglob("*")
        if path.is_file() and not path.is_symlink() and tenants.platform.key.encode() in path.read_bytes()
    ]
    assert holding == ["api-key"]
    assert (home / "admin-key").stat().st_mode & 0o777 == 0o600
    assert (home / "api-key").stat().st_mode & 0o777 == 0o600
    assert len(tenants.platform.key) == 28
    assert tenants.platform.key.startswith("sim")


THIEF = """
import gc, http.client, os
from urllib.parse import urlsplit

def ask(method, path, body=None):
    there = urlsplit(os.environ["ALGORITHMIA_API"])
    connection = http.client.HTTPConnection(there.hostname, there.port, timeout=10)
    connection.request(method, there.path + path, body=body)
    answer = connection.getresponse()
    return [answer.status, answer.read().decode()]

def apply(input):
    tokens = [one.token for one in gc.get_objects() if type(one).__name__ == "Forwarder"]
    return {
        "tokens": tokens,
        "root": ask("GET", "/v1/data/"),
        "create": ask("POST", "/v1/algorithms/" + input, '{"name": "planted"}'),
        "push": ask("GET", "/git/" + input + "/secret.git/info/refs"),
        "builds": ask("GET", "/v1/algorithms/" + input + "/secret/builds"),
    }
"""


@pytest.fixture(scope="module")
def thief(tenants: Tenants) -> str:
    """An algorithm of bob's that anybody may call, and that steals what it can."""
    serve(tenants.platform, "bob/thief", THIEF, key=tenants.bob, algorithm_callability="public")
    return "bob/thief"


@pytest.mark.usefixtures("thief")
def test_an_algorithm_acts_for_its_caller_for_the_length_of_the_call_and_manages_nothing(tenants: Tenants) -> None:
    platform = tenants.platform
    answer = ask(platform, "POST", "/v1/algo/bob/thief", b"ann", headers={"content-type": "text/plain"})
    found = answer.json["result"]

    status, root = found["root"]
    assert status == 200
    assert json.loads(root) == {"folders": [{"name": "ann"}]}, "the caller's identity, not the owner's"
    for manages in ("create", "push", "builds"):
        assert found[manages][0] == 403, manages
    assert len(found["tokens"]) == 1
    assert found["tokens"][0].startswith("call-")
    for stolen in found["tokens"]:
        assert ask(platform, "GET", "/v1/data/", key=stolen).status == 401, "the call is over, and so is its token"


@pytest.mark.usefixtures("thief")
def test_a_call_has_no_more_scopes_than_the_key_it_came_with(tenants: Tenants) -> None:
    only_call = issue_key(tenants.platform, "ann", "call")
    answer = ask(
        tenants.platform, "POST", "/v1/algo/bob/thief", b"ann", key=only_call, headers={"content-type": "text/plain"}
    )
    assert answer.json["result"]["root"][0] == 403


@pytest.mark.usefixtures("thief")
def test_another_tenants_public_algorithm_may_be_called_and_no_more(tenants: Tenants) -> None:
    for method, pattern, _ in MANAGEMENT:
        if "{name}" not in pattern:
            continue
        path = re.sub(r"{\w+_id}", "x", pattern).format(owner="bob", name="thief", selector="latest")
        answer = ask(tenants.platform, method, path, b"{}", headers=JSON)
        reads = method == "GET" and (pattern == ALGORITHM or "/versions" in pattern)
        assert answer.status == (200 if reads else 403), pattern
        assert b"stdout" not in answer.body
    for service in ("git-upload-pack", "git-receive-pack"):
        answer = ask(tenants.platform, "GET", f"/git/bob/thief.git/info/refs?service={service}")
        assert answer.status == 403, "the source is closed"
