"""How a key is shown, how long it is good, what an algorithm may do with its caller's. Promise 49 walks the routes."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.web.routes import ALGORITHM, MANAGEMENT
from tests.web.support import JSON, ask, issue_key, send_bytes, serve


@dataclass(frozen=True)
class Tenants:
    platform: Platform
    bob: str


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    serve(platform, "ann/secret", "def apply(input):\n    return 'secret'\n")
    yield Tenants(platform, issue_key(platform, "bob"))
    stop_platform(platform)


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


def test_a_wrong_key_is_told_from_none_and_from_one_for_something_else(tenants: Tenants) -> None:
    platform = tenants.platform
    for path in ("/v1/account", "/v1/data/", "/v1/algo/ann/secret", "/metrics"):
        method = "POST" if "algo" in path else "GET"
        none, wrong = ask(platform, method, path, key=None), ask(platform, method, path, key="simX")
        assert (none.status, none.message) == (401, "authorization required")
        assert (wrong.status, wrong.message) == (401, "authorization required: this key is not valid; use one that is")
        assert none.headers["www-authenticate"] == 'Simple realm="pushpoint", Bearer realm="pushpoint"'
    git = ask(platform, "GET", "/git/ann/secret.git/info/refs?service=git-upload-pack", key=None)
    assert git.headers["www-authenticate"] == 'Basic realm="pushpoint"', "git knows no other"
    metrics = ask(platform, "GET", "/metrics")
    said = "this takes an admin key, such as the one that the platform keeps in HOME/admin-key; use that"
    assert (metrics.status, metrics.message) == (403, said)
    said = "this key lacks the scope `call` or `view`; use a key of ann's that has it"
    assert (
        ask(
            platform, "GET", ALGORITHM.format(owner="ann", name="secret"), key=issue_key(platform, "ann", "data")
        ).message
        == said
    )


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


def test_the_first_keys_are_in_files_that_nobody_else_reads(tenants: Tenants) -> None:
    home = tenants.platform.home
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
    gc.unfreeze()  # or what was there before the first call would not be among them
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
