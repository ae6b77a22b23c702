"""`/v1/algorithms`: create, show, compile, builds and their logs, publish, deployments (platform API, section 2)."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import JSON, Answer, address, ask, compile_head, create, push, send_bytes, serve

SLOW = "import time\nprint('importing')\ntime.sleep(1.5)\ndef apply(input):\n    return input\n"


@dataclass(frozen=True)
class Manage:
    platform: Platform

    def __call__(self, method: str, path: str, body: object = None, *, raw: bytes = b"") -> Answer:
        sent = raw if body is None else json.dumps(body).encode()
        return ask(self.platform, method, f"/v1/algorithms/{path}", sent, headers=JSON)


@pytest.fixture(scope="module")
def manage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manage]:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    serve(platform, "ann/steady", "def apply(input):\n    return input\n")
    yield Manage(platform)
    bugs = [line for line in (platform.home / "platform.log").read_text().splitlines() if '"event": "bug"' in line]
    stop_platform(platform)
    assert bugs == []


def test_what_is_created_is_shown(manage: Manage) -> None:
    asked = {
        "name": "shown",
        "details": {"label": "\u00dc", "summary": "s", "tagline": "t"},
        "settings": {"license": "mit", "algorithm_callability": "public", "anything": [1]},
        "version_info": {"sample_input": '"x"'},
    }
    created = manage("POST", "ann", asked)
    assert created.status == 201
    assert created.json["details"] == asked["details"]
    assert created.json["settings"]["license"] == "mit"
    assert created.json["settings"]["algorithm_callability"] == "private", "nothing is public before it is published"
    shown = manage("GET", "ann/shown")
    assert (shown.status, shown.json) == (200, created.json)
    assert manage("GET", "ann/shown/").json == created.json
    again = manage("POST", "ann", asked)
    assert again.status == 409
    assert again.json["error"]["code"] == 1002


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"{",
        b'{"name": null}',
        b'{"name": 5}',
        b'{"name": ["x"]}',
        b'{"name": ""}',
        b'{"name": "a-b"}',
        b'{"name": "../x"}',
        b'{"name": "x/y"}',
        b'{"name": "x\\u0000"}',
        b'{"name": "x\\r\\nX-Evil: 1"}',
        b'{"name": "' + b"x" * 31 + b'"}',
        b'{"name": "x\'; DROP TABLE algorithms; --"}',
        b'{"name": "odd", "settings": "x"}',
        b'{"name": "odd", "details": [1]}',
        b'{"name": "odd", "version_info": 5}',
        b'{"name": "odd", "a": ' + b"[" * 200_000,
        b'{"name": "\xff"}',
        b"name=odd",
    ],
)
def test_what_is_no_algorithm_is_not_created(manage: Manage, body: bytes) -> None:
    answer = manage("POST", "ann", raw=body)
    assert answer.status == 400
    assert answer.json["error"]["code"] == 2015
    assert "x-evil" not in answer.headers
    assert manage("GET", "ann/odd").status == 404


def test_a_body_that_is_too_large_is_413(manage: Manage) -> None:
    assert manage("POST", "ann", raw=b'{"name": "' + b"x" * (11 << 20) + b'"}').status == 413


def test_the_404_old_clients_know_by_heart(manage: Manage) -> None:
    for path in ("ann/absent", "hello/errors", "ann/absent/builds", "ann/%27", "ann/%00", "ann/%E2%82%AC"):
        answer = manage("GET", path)
        assert (answer.status, answer.body) == (404, b'{"error":"No such algorithm"}')


def test_sixteen_who_create_one_algorithm_create_one(manage: Manage) -> None:
    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(lambda _: manage("POST", "ann", {"name": "raced"}).status, range(16)))
    assert sorted(statuses) == [201] + [409] * 15
    assert compile_head(manage.platform, "ann/raced")["compilation"]["successful"] is True


def test_compile_waits_and_is_done_once(manage: Manage) -> None:
    create(manage.platform, "ann/compiled")

    def go(_: int) -> Any:
        return compile_head(manage.platform, "ann/compiled")["build"]["build_id"]

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(go, range(4)))) == 1
    found = manage("GET", "ann/compiled/builds").json
    assert len(found["results"]) == 1
    assert found["results"][0]["status"] == "succeeded"
    assert manage("POST", "ann/compiled/compile", raw=b"").status == 200


@pytest.mark.parametrize(
    "commit",
    ["HEAD", "master", "master~1", "--help", "--all", "a" * 40, "A" * 40, "abc", "..", " ", 5, ["x"], {"a": 1}, True],
)
def test_only_a_commit_of_the_branch_is_compiled(manage: Manage, commit: object) -> None:
    before = manage("GET", "ann/steady/builds").json
    answer = manage("POST", "ann/steady/compile", {"commitSha": commit})
    assert answer.status == 400
    assert manage("GET", "ann/steady/builds").json == before


def test_an_older_commit_of_the_branch_may_be_compiled(manage: Manage) -> None:
    create(manage.platform, "ann/older")
    first = push(manage.platform, "ann/older", {"src/older.py": "def apply(input):\n    return 1\n"})
    push(manage.platform, "ann/older", {"src/older.py": "def apply(input):\n    return 2\n"})
    answer = manage("POST", "ann/older/compile", {"commitSha": first})
    assert answer.json["version_info"]["git_hash"] == first
    assert answer.json["compilation"]["successful"] is True


def test_a_log_can_be_read_while_it_grows(manage: Manage) -> None:
    create(manage.platform, "ann/slow")
    commit = push(manage.platform, "ann/slow", {"src/slow.py": SLOW})
    build = manage("GET", f"ann/slow/builds/{commit}").json
    assert build["status"] == "in-progress"
    assert "finished_at" not in build
    logs = f"ann/slow/builds/{build['build_id']}/logs"
    early = manage("GET", logs)
    assert early.status == 404, "old clients are told nothing before the end"
    text, offset = "", 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        part = manage("GET", f"{logs}?offset={offset}").json
        text, offset = text + part["logs"], part["next"]
        if part["finished"]:
            break
    assert "Beginning container customization" in text
    assert text.endswith("build succeeded\n")
    assert manage("GET", logs).json["logs"] == text
    output = manage("GET", f"ann/slow/builds/{build['build_id']}/output").json
    assert "importing" in output["logs"]
    assert manage("GET", f"ann/slow/builds/{commit}").json["finished_at"].endswith("Z")


@pytest.mark.parametrize(
    ("offset", "status"),
    [("0", 200), ("-5", 200), ("99999999", 200), ("9" * 30, 200), ("x", 400), ("1.5", 400), ("", 400), ("0x1", 400)],
)
def test_an_offset_that_is_odd_is_no_bug(manage: Manage, offset: str, status: int) -> None:
    build = manage("GET", "ann/steady/builds").json["results"][0]["build_id"]
    assert manage("GET", f"ann/steady/builds/{build}/logs?offset={offset}").status == status


@pytest.mark.parametrize(
    "build_id",
    ["..", "%2e%2e", "..%2f..%2fplatform.db", "%00", "%ff", "x", "%27%20OR%201=1", "x" * 5000, "-", "a" * 40, "*"],
)
def test_a_build_that_does_not_exist_is_not_found(manage: Manage, build_id: str) -> None:
    for tail in ("", "/logs", "/logs?offset=0", "/output"):
        answer = manage("GET", f"ann/steady/builds/{build_id}{tail}")
        assert answer.status == 404
        assert b"SQLite" not in answer.body


def test_another_algorithms_build_is_not_found(manage: Manage) -> None:
    build = manage("GET", "ann/steady/builds").json["results"][0]
    create(manage.platform, "ann/nosy")
    for name in (build["build_id"], build["commit_sha"]):
        assert manage("GET", f"ann/nosy/builds/{name}").status == 404
        assert manage("GET", f"ann/nosy/builds/{name}/logs").status == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=1", 200),
        ("limit=1000", 200),
        ("limit=0", 400),
        ("limit=-1", 400),
        ("limit=1001", 400),
        ("limit=" + "9" * 40, 400),
        ("limit=x", 400),
        ("limit=1;drop", 400),
        ("marker=0", 200),
        ("marker=999999999", 200),
        ("marker=9999999999", 400),
        ("marker=-1", 400),
        ("marker=x", 400),
        ("marker=%D9%A1", 400),
        ("marker=%00", 400),
        ("unknown=1", 200),
    ],
)
def test_pages(manage: Manage, query: str, status: int) -> None:
    for listing in ("builds", "versions", "releases", "deployments"):
        answer = manage("GET", f"ann/steady/{listing}?{query}")
        assert answer.status == status, listing
        if status == 200:
            assert set(answer.json) == {"marker", "next_link", "results"}
        else:
            assert answer.message


def test_a_page_links_to_the_next(manage: Manage) -> None:
    create(manage.platform, "ann/paged")
    commits = [push(manage.platform, "ann/paged", {"n": str(number)}) for number in range(3)]
    seen, path = [], "ann/paged/builds?limit=2"
    while path:
        page = manage("GET", path).json
        seen += [build["commit_sha"] for build in page["results"]]
        path = (page["next_link"] or "").removeprefix("/v1/algorithms/")
        assert bool(path) == bool(page["marker"])
    assert seen == commits[::-1]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"settings": [1]}, 400),
        ({"version_info": "x"}, 400),
        ({"settings": {"algorithm_callability": [1]}}, 400),
        ({"settings": {"algorithm_callability": {}}}, 400),
        ({"settings": {"algorithm_callability": "everybody"}}, 400),
        ({"version_info": {"git_hash": "HEAD"}}, 400),
        ({"version_info": {"git_hash": [1]}}, 400),
        ({"version_info": {"git_hash": "f" * 40}}, 400),
        ({}, 409),
        ({"version_info": {"version_type": "huge"}}, 409),
    ],
)
def test_what_cannot_be_published_changes_nothing(manage: Manage, body: dict[str, object], status: int) -> None:
    before = manage("GET", "ann/steady").json
    for path in ("versions", "version"):
        assert manage("POST", f"ann/steady/{path}", body).status == status
    assert manage("GET", "ann/steady").json == before


def test_nothing_is_published_before_it_is_built(manage: Manage) -> None:
    create(manage.platform, "ann/unbuilt")
    answer = manage("POST", "ann/unbuilt/versions", {})
    assert answer.status == 400
    assert "compile" in answer.message
    assert manage("GET", "ann/unbuilt/live").status == 404


def test_an_unknown_version_type_is_refused(manage: Manage) -> None:
    create(manage.platform, "ann/parts")
    compile_head(manage.platform, "ann/parts")
    assert manage("POST", "ann/parts/versions", {"version_info": {"version_type": "huge"}}).status == 400
    assert (
        manage("POST", "ann/parts/version", {"version_info": {"version_type": "MAJOR"}}).json["version_info"][
            "semantic_version"
        ]
        == "1.0.0"
    )


def test_a_sample_input_that_is_no_text_is_kept_as_json(manage: Manage) -> None:
    assert manage("PUT", "ann/steady", {"version_info": {"sample_input": {"a": [1, "\u00e9"]}}}).status == 200
    shown = manage("GET", "ann/steady").json
    assert json.loads(shown["version_info"]["sample_input"]) == {"a": [1, "\u00e9"]}


@pytest.mark.parametrize(
    "body",
    [
        {"settings": 5},
        {"version_info": [1]},
        {"settings": {"algorithm_callability": [1]}},
        {"settings": {"algorithm_callability": "x"}},
        {"settings": {"limits": {"memory": "much"}}},
        {"settings": {"limits": {"memory": 1}}},
        {"settings": {"limits": {"cpus": 0}}},
    ],
)
def test_settings_that_fit_nowhere_are_refused(manage: Manage, body: dict[str, object]) -> None:
    before = manage("GET", "ann/steady").json
    assert manage("PUT", "ann/steady", body).status == 400
    assert manage("GET", "ann/steady").json == before


@pytest.mark.parametrize(
    ("group", "name", "said"),
    [
        ("network", "alow", "`settings.network` has no `alow`; did you mean `allow`?"),
        ("limits", "memroy", "`settings.limits` has no `memroy`; did you mean `memory`?"),
        ("scaling", "min_replica", "`settings.scaling` has no `min_replica`; did you mean `min_replicas`?"),
        ("network", "x", "`settings.network` has no `x`; there is allow"),
    ],
)
def test_a_slip_in_the_name_of_a_setting_undoes_none(manage: Manage, group: str, name: str, said: str) -> None:
    assert manage("PUT", "ann/steady", {"settings": {"limits": {"memory": 512 << 20}}}).status == 200
    before = manage("GET", "ann/steady").json
    slipped: dict[str, object] = {"settings": {group: {name: None}, "an_old_clients_own": {"x": 1}}}
    for method, path in (("PUT", "ann/steady"), ("POST", "ann/steady/versions")):
        answer = manage(method, path, slipped)
        assert (answer.status, answer.message) == (400, said)
    body = {"name": "slipped", "settings": slipped["settings"]}
    assert manage("POST", "ann", body).status == 400
    assert manage("GET", "ann/steady").json == before
    assert manage("PUT", "ann/steady", {"settings": {"an_old_clients_own": {"x": 1}}}).status == 200


def test_an_owner_lowers_the_limits_of_workers_and_raises_none(manage: Manage) -> None:
    code = (
        "import resource\ndef apply(input):\n"
        "    return [resource.getrlimit(getattr(resource, 'RLIMIT_' + name))[1] for name in ('NOFILE', 'DATA')]\n"
    )
    serve(manage.platform, "ann/modest", code)

    def bounds() -> list[int]:
        path = "/v1/algo/ann/modest"
        found: list[int] = ask(manage.platform, "POST", path, b"1", headers=JSON).json["result"]
        return found

    files, memory = bounds()
    assert files == 1024
    limits = {"open_files": 100, "memory": memory * 2}
    shown = manage("PUT", "ann/modest", {"settings": {"limits": limits}})
    assert (shown.status, shown.json["settings"]["limits"]) == (200, limits)
    assert bounds() == [100, memory]
    assert manage("PUT", "ann/modest", {"settings": {"limits": {"memory": 512 << 20}}}).status == 200
    assert bounds() == [1024, 512 << 20]


def test_a_rollout_is_begun_once_and_goes_back_on_purpose(manage: Manage) -> None:
    platform, name = manage.platform, "ann/rolled"
    serve(platform, name, "def apply(input):\n    return 1\n")
    push(platform, name, {"src/rolled.py": "def apply(input):\n    return 2\n"})
    compile_head(platform, name)
    second = manage("POST", f"{name}/versions?roll_out=false", {}).json["version_info"]["semantic_version"]
    assert second == "0.2.0"
    assert manage("GET", f"{name}/live").json["release"]["version"] == "0.1.0", "published, and without traffic"

    def settle(asked: dict[str, object]) -> Any:
        begun = manage("POST", f"{name}/deployments", asked)
        assert begun.status == 202
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = manage("GET", f"{name}/deployments/{begun.json['id']}").json
            if found["state"] not in {"starting", "verifying"}:
                return found
            time.sleep(0.05)
        raise AssertionError("it never ended")

    live = settle({"version": "0.2.0", "deploy_id": "d2"})
    assert (live["state"], live["generation"], live["release"]["is_live"]) == ("live", 2, True)
    assert settle({"version": "0.2.0", "deploy_id": "d2"})["id"] == live["id"]
    late = settle({"version": "0.1.0", "deploy_id": "late"})
    assert late["state"] == "superseded", "the newest commit wins"
    assert ask(platform, "POST", f"/v1/algo/{name}", b"1", headers=JSON).json["result"] == 2
    back = settle({"version": "0.1.0", "deploy_id": "back", "is_rollback": True})
    assert (back["state"], back["generation"], back["is_rollback"]) == ("live", 3, True)
    assert ask(platform, "POST", f"/v1/algo/{name}", b"1", headers=JSON).json["result"] == 1
    assert ask(platform, "POST", f"/v1/algo/{name}/0.2.0", b"1", headers=JSON).json["result"] == 2
    told = [one["state"] for one in manage("GET", f"{name}/deployments").json["results"]]
    assert told[0] == "live"
    assert told.count("live") == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ([], 400),
        ({"version": "0.1.0"}, 400),
        ({"version": "0.1.0", "deploy_id": ""}, 400),
        ({"version": "0.1.0", "deploy_id": "x" * 101}, 400),
        ({"version": "0.1.0", "deploy_id": 5}, 400),
        ({"version": 1, "deploy_id": "d"}, 400),
        ({"version": "x.y.z", "deploy_id": "d"}, 400),
        ({"version": "9.9.9", "deploy_id": "d"}, 404),
        ({"version": "'; --", "deploy_id": "d"}, 404),
    ],
)
def test_a_rollout_of_nothing_does_not_begin(manage: Manage, body: object, status: int) -> None:
    before = manage("GET", "ann/steady/deployments").json
    assert manage("POST", "ann/steady/deployments", body).status == status
    assert manage("GET", "ann/steady/deployments").json == before
    for odd in ("x", "%00", "..", "%2e%2e%2fx"):
        assert manage("GET", f"ann/steady/deployments/{odd}").status == 404


def test_answers_are_json_even_where_there_is_nothing(manage: Manage) -> None:
    for path in ("/v1", "/v1/nothing", "/v1/persons/ann", "/", "/nothing", "/v1/algorithms", "/v1//x", "/%2e%2e/etc"):
        answer = ask(manage.platform, "GET", path)
        assert answer.status in {404, 405}
        assert answer.headers["content-type"] == "application/json"
        assert "message" in answer.json["error"]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /v1/account\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/data/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n",
        b"GET http://evil.example/v1/account HTTP/1.1\r\nHost: x\r\n",
        b"CONNECT /v1/account HTTP/1.1\r\nHost: x\r\n",
        b"GET /v1/account HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n",
        b"GET /v1/account HTTP/1.1\r\nHost : x\r\n",
        b"POST /v1/algo/ann/steady HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n",
        b"POST /v1/algo/ann/steady HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        b"POST /v1/algo/ann/steady HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"POST /v1/algo/ann/steady HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n",
        b"GET /v1/account HTTP/9.9\r\nHost: x\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n\r\n\r\n",
        b"GET " + b"/x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n",
        b"GET /v1/account HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 300_000 + b"\r\n",
    ],
)
def test_bytes_that_are_hardly_http_are_refused_and_harm_nobody(manage: Manage, request_: bytes) -> None:
    try:
        answer = send_bytes(manage.platform, request_ + b"Connection: close\r\n\r\n\r\n", timeout=1.0)
    except (TimeoutError, ConnectionError):
        answer = b""  # it waits for more, or hung up
    assert answer == b"" or answer.split(b" ")[1] in {b"400", b"401", b"404", b"405", b"431"}
    assert manage("GET", "ann/steady").status == 200


def test_a_hundred_idle_connections_do_not_stop_the_next(manage: Manage) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(socket.create_connection(address(manage.platform)))
            connection.sendall(b"POST /v1/algo/ann/steady HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n")
        assert ask(manage.platform, "POST", "/v1/algo/ann/steady", b"1", headers=JSON, timeout=10).json["result"] == 1
