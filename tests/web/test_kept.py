"""What the platform keeps of an algorithm beside its code: secrets, failed calls, insights; and how all of it goes."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import JSON, Answer, ask, compile_head, create, issue_key, publish, push, serve

VARIABLE = """
import os

def apply(input):
    return os.environ.get(input)
"""
FAILS = """
class Odd(Exception):
    error_type = "InputError"

def apply(input):
    raise Odd("it is \\u00fc" + str(input)[:5])
"""
REPORTS = """
import Algorithmia

def apply(input):
    Algorithmia.client().report_insights({"length": len(input)})
    return "ok"
"""
CHILDREN = """
import json, os, threading, urllib.request
from urllib.error import HTTPError

def apply(input):
    answers = []

    def call():
        address = os.environ["ALGORITHMIA_API"] + "/v1/algo/ann/slow"
        request = urllib.request.Request(address, b"0.7", {"content-type": "application/json"})
        try:
            answers.append(urllib.request.urlopen(request).status)
        except HTTPError as error:
            answers.append(error.code)

    threads = [threading.Thread(target=call) for _ in range(input)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(answers)
"""
SLOW = "import time\n\ndef apply(input):\n    time.sleep(input)\n    return 'x' * int(1e6)\n"
CANARY = "canary-value-7f3a"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    limits = (
        "--call-limit",
        "3",
        "--child-limit",
        "2",
        "--queue-limit",
        "3",
        "--input-limit",
        "1",
        "--output-limit",
        "1",
    )
    running = start_platform(tmp_path_factory.mktemp("home"), *limits)
    yield running
    stop_platform(running)


def manage(platform: Platform, method: str, path: str, body: object = None, *, key: str = "") -> Answer:
    content = b"" if body is None else json.dumps(body).encode()
    return ask(platform, method, f"/v1/algorithms/{path}", content, key=key, headers=JSON)


def called(platform: Platform, name: str, body: object, *, key: str = "", query: str = "") -> Answer:
    return ask(platform, "POST", f"/v1/algo/{name}{query}", json.dumps(body).encode(), key=key, headers=JSON)


def until(found: object, look: Callable[[], object]) -> object:
    """Look until it is so: the platform writes reports down beside the calls."""
    deadline = time.monotonic() + 10
    while (seen := look()) != found and time.monotonic() < deadline:
        time.sleep(0.1)
    return seen


def test_a_secret_is_in_the_workers_environment_and_nowhere_else(platform: Platform) -> None:
    serve(platform, "ann/reader", VARIABLE)
    assert called(platform, "ann/reader", "TOKEN").json["result"] is None
    identifier = manage(platform, "GET", "ann/reader").json["id"]
    body = {
        "owner_type": "algorithm",
        "owner_id": identifier,
        "short_name": "the token",
        "provider_id": ask(platform, "GET", "/v1/secret-provider").json[0]["id"],
        "secret_key": "TOKEN",
        "secret_value": CANARY,
        "description": "d",
    }
    made = manage(platform, "POST", f"{identifier}/secrets", body)
    assert made.status == 200
    assert {
        name: made.json[name] for name in ("short_name", "secret_key", "owner_id", "provider_id", "description")
    } == {name: body[name] for name in ("short_name", "secret_key", "owner_id", "provider_id", "description")}
    assert called(platform, "ann/reader", "TOKEN").json["result"] == CANARY, "the next call finds it"
    listed = manage(platform, "GET", f"{identifier}/secrets")
    assert listed.json["secrets"] == listed.json["results"] == [made.json]

    secret = f"ann/reader/secrets/{made.json['id']}"
    assert manage(platform, "PUT", secret, {"secret_value": CANARY + "2"}).status == 200
    assert called(platform, "ann/reader", "TOKEN").json["result"] == CANARY + "2"
    assert manage(platform, "POST", "ann/reader/secrets", body).status == 409, "one of a name"
    for answer in (made, listed, manage(platform, "GET", "ann/reader")):
        assert CANARY.encode() not in answer.body
    for folder, _, names in os.walk(platform.home):  # a worker's scratch may go meanwhile
        for file in (Path(folder, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if file.is_file() and not file.is_symlink():
                    assert CANARY.encode() not in file.read_bytes(), file
    assert manage(platform, "DELETE", secret).status == 204
    assert called(platform, "ann/reader", "TOKEN").json["result"] is None
    assert manage(platform, "PUT", secret, {}).status == 404


@pytest.mark.parametrize("name", ["", "A-B", "1A", "PATH", "LD_PRELOAD", "PYTHONPATH", "ALGORITHMIA_API", "A" * 101])
def test_a_secret_is_no_variable_that_something_else_reads(platform: Platform, name: str) -> None:
    if manage(platform, "GET", "ann/plain").status == 404:
        create(platform, "ann/plain")
    assert manage(platform, "POST", "ann/plain/secrets", {"secret_key": name, "secret_value": "x"}).status == 400


def test_a_secret_is_a_text_of_some_size(platform: Platform) -> None:
    create(platform, "ann/sized")
    for value, status in (("x" * 32768, 200), ("x" * 32769, 400), ("a\0b", 400), (5, 400)):
        assert (
            manage(platform, "POST", "ann/sized/secrets", {"secret_key": "A", "secret_value": value}).status == status
        )


def test_failed_calls_are_reported_to_the_owner(platform: Platform) -> None:
    serve(platform, "ann/fails", FAILS, algorithm_callability="public")
    bob = issue_key(platform, "bob")
    before = time.time() * 1000
    assert called(platform, "ann/fails", "\u00e9" * 300, key=bob).json["error"]["error_type"] == "InputError"
    assert called(platform, "ann/fails", "x", query="?output=void").status == 200

    def look() -> int:
        return len(manage(platform, "GET", "ann/fails/errors").json)

    assert until(2, look) == 2
    newest, oldest = manage(platform, "GET", "ann/fails/errors").json
    assert (oldest["username"], oldest["billable_to"], newest["username"]) == ("bob", "bob", "ann")
    assert oldest["error"] == "it is \u00fc\u00e9\u00e9\u00e9\u00e9\u00e9"
    assert len(oldest["input"]) == 128
    assert (oldest["algoname"], oldest["algoversion"], oldest["error_type"]) == ("fails", "0.1.0", "InputError")
    assert before <= oldest["created_at"] <= newest["created_at"] <= time.time() * 1000
    assert oldest["request_id"].startswith("req-")
    assert ask(platform, "GET", "/v1/users/ann/errors").json == [newest, oldest]
    for path in ("/v1/users/ann/errors", "/v1/organizations/ann/errors", "/v1/users/nobody/errors"):
        assert ask(platform, "GET", path, key=bob).json == []
    assert manage(platform, "GET", "ann/fails/errors", key=bob).status == 403
    assert manage(platform, "GET", "hello/errors").body == b'{"error":"No such algorithm"}'


@pytest.mark.slow
def test_insights_are_kept_with_the_call_that_reported_them(platform: Platform) -> None:
    create(platform, "ann/tells")
    push(platform, "ann/tells", {"src/tells.py": REPORTS, "requirements.txt": "algorithmia==2.0.5\nsetuptools<80\n"})
    built = compile_head(platform, "ann/tells")
    assert built["compilation"]["successful"], built["compilation"]["output"]
    publish(platform, "ann/tells")
    assert called(platform, "ann/tells", "four").json["result"] == "ok"

    def look() -> object:
        return [one["insight_value"] for one in manage(platform, "GET", "ann/tells/insights").json]

    assert until([4], look) == [4]
    assert manage(platform, "GET", "ann/tells/insights").json[0]["insight_key"] == "length"
    outside = ask(platform, "POST", "/v1/insights", b"[]", headers=JSON)
    assert outside.status == 403
    assert "running algorithm" in outside.message


def test_each_route_of_an_algorithm_takes_its_id(platform: Platform) -> None:
    commit = serve(platform, "ann/twin", "def apply(input):\n    return input\n")
    identifier = manage(platform, "GET", "ann/twin").json["id"]
    for path in ("", "/builds", f"/builds/{commit}", f"/versions/{commit}", "/versions", "/scm/status", "/log"):
        by_name, by_id = (manage(platform, "GET", f"{who}{path}") for who in ("ann/twin", identifier))
        assert by_name.status == by_id.status == 200, path
        assert by_name.json == by_id.json
    assert manage(platform, "POST", f"{identifier.upper()}/compile").json["version_info"]["git_hash"] == commit
    for reference in (identifier, f"{identifier}/0.1.0", f"{identifier}/{commit}", f"{identifier}/"):
        assert called(platform, reference, [1]).json["result"] == [1]
    bob = issue_key(platform, "bob")
    unknown = "00000000-0000-4000-8000-000000000000"
    for one in (identifier, unknown):
        assert manage(platform, "GET", one, key=bob).body == b'{"error":"No such algorithm"}'
        answer = called(platform, one, 1, key=bob)
        assert (answer.status, answer.message.replace(one, "ID")) == (
            404,
            "algorithm algo://ID not found; check its name and whose key you use",
        )


def test_the_log_lists_the_commits(platform: Platform) -> None:
    create(platform, "ann/logged")
    push(platform, "ann/logged", {"x": "1"})
    found = manage(platform, "GET", "ann/logged/log").json["commits"]
    assert [one["short_message"] for one in found] == ["a change", "Template"]
    assert set(found[0]) == {"id", "short_message", "message", "author"}
    assert manage(platform, "GET", "ann/logged/log?since=2999-01-01").json["commits"] == []
    assert len(manage(platform, "GET", "ann/logged/log?until=2999-01-01T00:00:00Z").json["commits"]) == 2
    assert manage(platform, "GET", "ann/logged/log?since=--output=x").status == 400


def test_details_change_and_the_rest_stays(platform: Platform) -> None:
    create(platform, "ann/told")
    answer = manage(
        platform, "PUT", "ann/told", {"details": {"summary": "what it does"}, "settings": {"license": "mit"}}
    )
    assert answer.json["details"] == {"label": "told", "summary": "what it does", "tagline": ""}
    assert answer.json["settings"]["license"] == "mit"
    assert manage(platform, "PUT", "ann/told", {"details": {"label": 5}}).status == 400


def test_a_deleted_algorithm_leaves_nothing_but_its_models(platform: Platform) -> None:
    serve(platform, "ann/gone", FAILS)
    assert manage(platform, "POST", "ann/gone/secrets", {"secret_key": "A", "secret_value": "x"}).status == 200
    called(platform, "ann/gone", 1)
    identifier = manage(platform, "GET", "ann/gone").json["id"]
    build = manage(platform, "GET", "ann/gone/builds").json["results"][0]["build_id"]
    bob = issue_key(platform, "bob")
    assert manage(platform, "DELETE", "ann/gone", key=bob).status == 404
    answer = manage(platform, "DELETE", "ann/gone")
    assert (answer.status, answer.body, answer.reason) == (204, b"", "No Content"), "the Python client reads the reason"
    for path in ("ann/gone", identifier, "ann/gone/builds", "ann/gone/secrets"):
        assert manage(platform, "GET", path).status == 404
    assert called(platform, "ann/gone", 1).status == 404
    assert not (platform.home / "builds" / build).exists()
    assert not list((platform.home / "repositories").glob(f"{identifier}*"))
    connection = sqlite3.connect(platform.home / "platform.db")
    for table in ("builds", "releases", "deployments", "secrets", "failures"):
        assert connection.execute(f"select count(*) from {table} where algorithm_id = ?", (identifier,)).fetchone() == (
            0,
        )
    connection.close()
    serve(platform, "ann/gone", "def apply(input):\n    return 'another'\n")
    assert called(platform, "ann/gone", 1).json["result"] == "another", "the name is free again"


def test_a_caller_has_so_many_calls_at_once_and_another_is_not_hindered(platform: Platform) -> None:
    serve(platform, "ann/slow", SLOW, algorithm_callability="public")
    bob = issue_key(platform, "bob")
    with ThreadPoolExecutor(5) as threads:
        started = [threads.submit(called, platform, "ann/slow", 0.7) for _ in range(4)]
        time.sleep(0.3)
        others = called(platform, "ann/slow", 0.01, key=bob)
        answers = [one.result() for one in started]
    refused = [one for one in answers if one.status == 429]
    assert len(refused) == 1
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].message == "ann makes 3 calls at once, which is the most; wait for one to end"
    assert others.status == 200
    assert called(platform, "ann/slow", 0.01).status == 200, "the places are given back"


def test_a_release_for_which_too_many_wait_refuses_more_at_once(platform: Platform) -> None:
    serve(platform, "ann/queued", SLOW, algorithm_callability="public")
    one = {"settings": {"scaling": {"max_replicas": 1}}}
    assert manage(platform, "PUT", "ann/queued", one).status == 200
    keys = [issue_key(platform, name) for name in ("queued_one", "queued_two")]
    began = time.monotonic()
    with ThreadPoolExecutor(6) as threads:
        calling = [threads.submit(called, platform, "ann/queued", 1.0, key=key) for key in keys * 3]
        answers = [one.result() for one in calling]
    refused = [one for one in answers if one.status != 200]
    assert [one.status for one in refused] == [429, 429], "one is made, three wait"
    assert refused[0].message == "algo://ann/queued has 3 calls waiting; call again"
    assert refused[0].headers["retry-after"] == "1"
    assert time.monotonic() - began < 10


def test_a_calls_own_calls_are_counted_by_themselves(platform: Platform) -> None:
    if called(platform, "ann/slow", 0).status == 404:
        serve(platform, "ann/slow", SLOW, algorithm_callability="public")
    serve(platform, "ann/parent", CHILDREN)
    assert called(platform, "ann/parent", 3).json["result"] == [200, 200, 429]


def test_inputs_and_answers_have_their_limits(platform: Platform) -> None:
    serve(platform, "ann/size", "def apply(input):\n    return 'x' * input\n")
    assert called(platform, "ann/size", "x" * (1 << 20)).status == 413
    assert called(platform, "ann/size", (1 << 20) - 10).status == 200
    answer = called(platform, "ann/size", (1 << 20) + 1)
    assert answer.json["error"]["error_type"] == "TooLargeError"
    assert "data:// file" in answer.message
    assert called(platform, "ann/size", (1 << 20) + 1, query="?output=raw").status == 400


def test_what_is_not_offered_says_why(platform: Platform) -> None:
    for path in ("/v1/admin/usage", "/v1/registries", "/v1/users/ann/billing", "/v1/scms/github/oauth/start"):
        answer = ask(platform, "GET", path)
        assert (answer.status, answer.json["error"]["code"]) == (501, 5005)
        assert answer.message.startswith("not offered: ")


def test_bad_pages_have_their_codes(platform: Platform) -> None:
    if manage(platform, "GET", "ann/plain").status == 404:
        create(platform, "ann/plain")
    for query, code in (("limit=0", 5003), ("limit=1001", 5003), ("marker=x", 5002), ("marker=-1", 5002)):
        answer = manage(platform, "GET", f"ann/plain/builds?{query}")
        assert (answer.status, answer.json["error"]["code"]) == (400, code), query
