"""What an attacker has tried: keys that outlive themselves or widen, algorithms that abuse their callers, and more."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from pushpoint.web import calls
from pushpoint.web.protocol import HEAD_PATIENCE
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import JSON, TEXT, Answer, address, ask, create, push, serve

PROBES = """
import json, os, time, urllib.error, urllib.request

def ask(method, path, body=None):
    request = urllib.request.Request(os.environ["ALGORITHMIA_API"] + path, body, method=method)
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code

def apply(input):
    if "acl" in input:
        return ask("PATCH", input["acl"], b'{"acl": {"read": ["user://*"]}}')
    seen = []
    for _ in range(input["times"]):
        seen.append(ask("GET", input["path"]))
        time.sleep(0.2)
    return seen
"""
SLOW_IMPORT = "import time\ntime.sleep(6)\n\ndef apply(input):\n    return input\n"


@dataclass(frozen=True)
class People:
    platform: Platform
    admin: str

    def ask(self, method: str, path: str, body: object = None, *, key: str = "") -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        return ask(self.platform, method, path, content, key=key or self.admin, headers=JSON)

    def user(self, name: str) -> str:
        if self.ask("POST", "/v1/users", {"username": name}).status != 200:
            assert self.ask("GET", f"/v1/users/{name}").status == 200
        return str(self.ask("POST", f"/v1/users/{name}/keys", {}).json["api_key"])

    def store(self, owner: str, collection: str, key: str) -> str:
        body = {"name": collection, "acl": {"read": []}}
        assert self.ask("POST", f"/v1/data/{owner}", body, key=key).status == 200
        assert ask(self.platform, "PUT", f"/v1/data/{owner}/{collection}/f", b"x", key=key).status == 200
        return f"/v1/data/{owner}/{collection}/f"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    serve(platform, "ann/probes", PROBES, algorithm_callability="public")
    yield People(platform, (platform.home / "admin-key").read_text().strip())
    stop_platform(platform)


def seen_through_a_call(people: People, key: str, path: str, meanwhile: object) -> list[int]:
    with ThreadPoolExecutor(1) as thread:
        body = {"path": path, "times": 12}
        calling = thread.submit(people.ask, "POST", "/v1/algo/ann/probes", body, key=key)
        time.sleep(0.8)
        meanwhile()  # type: ignore[operator]
        seen: list[int] = calling.result().json["result"]
    return seen


def test_a_revoked_key_acts_through_no_running_call(people: People) -> None:
    people.user("bea")
    made = people.ask("POST", "/v1/users/bea/keys", {}).json
    path = people.store("bea", "mine", made["api_key"])

    def revoke() -> None:
        assert people.ask("DELETE", f"/v1/users/bea/keys/{made['id']}").status == 204

    seen = seen_through_a_call(people, made["api_key"], path, revoke)
    assert seen[0] == 200
    assert seen[-1] == 401
    assert sorted(seen) == seen, "once over, it stays so"


def test_who_has_left_an_organization_reads_none_of_its_data_in_a_running_call(people: People) -> None:
    key = people.user("cleo")
    assert people.ask("POST", "/v1/organizations", {"org_name": "crew"}).status == 200
    people.ask("PUT", "/v1/organizations/crew/members/cleo", {})
    path = people.store("crew", "ours", key)

    def leave() -> None:
        assert people.ask("DELETE", "/v1/organizations/crew/members/cleo").status == 204

    seen = seen_through_a_call(people, key, path, leave)
    assert (seen[0], seen[-1]) == (200, 404)


def test_a_running_call_of_a_deleted_account_is_not_that_of_its_namesake(people: People) -> None:
    key = people.user("dan")

    def replace() -> None:
        assert people.ask("DELETE", "/v1/users/dan").status == 204
        people.store("dan", "new", people.user("dan"))

    seen = seen_through_a_call(people, key, "/v1/data/dan/new/f", replace)
    assert 200 not in seen
    assert seen[-1] == 401


def test_an_algorithm_opens_nothing_for_longer_than_its_call(people: People) -> None:
    key = people.user("eli")
    path = people.store("eli", "mine", key)
    answer = people.ask("POST", "/v1/algo/ann/probes", {"acl": "/v1/data/eli/mine"}, key=key)
    assert answer.json["result"] == 403
    assert ask(people.platform, "GET", path, key=people.platform.key).status == 404


def test_a_key_for_one_algorithm_is_for_nothing_of_the_whole_account(people: People) -> None:
    key = people.user("fay")
    create(people.platform, "fay/one", key=key)
    narrow = people.ask(
        "POST", "/v1/users/fay/keys", {"scopes": ["manage"], "patterns": ["algo://fay/one"]}, key=key
    ).json["api_key"]
    other = people.ask("GET", "/v1/users/fay/keys", key=key).json["results"][0]["id"]
    assert people.ask("POST", "/v1/organizations", {"org_name": "fays"}).status == 200
    people.ask("PUT", "/v1/organizations/fays/members/fay", {"is_owner": True})
    for method, path, body in (
        ("PUT", "/v1/users/fay", {"email": "x"}),
        ("PUT", "/v1/users/fay/password", {"password": "correct horse battery"}),
        ("GET", "/v1/users/fay/keys", None),
        ("POST", "/v1/users/fay/keys", {"scopes": ["view"]}),
        ("DELETE", f"/v1/users/fay/keys/{other}", None),
        ("PUT", "/v1/organizations/fays", {"org_label": "x"}),
        ("PUT", "/v1/organizations/fays/members/ann", {"is_owner": True}),
        ("GET", "/v1/organizations/fays/keys", None),
        ("DELETE", "/v1/organizations/fays", None),
    ):
        answer = people.ask(method, path, body, key=narrow)
        assert answer.status == 403, (method, path)
        assert "without patterns" in answer.message
    assert people.ask("GET", "/v1/algorithms/fay/one/builds", key=narrow).status == 200
    listed = people.ask("GET", "/v1/users/fay/algorithms?limit=1", key=narrow).json
    assert [one["name"] for one in listed["results"]] == ["one"]


def test_a_page_of_algorithms_holds_what_the_key_names(people: People) -> None:
    key = people.user("gil")
    for name in ("aaa", "bbb", "wanted"):
        create(people.platform, f"gil/{name}", key=key)
    asked = {"scopes": ["view"], "patterns": ["algo://gil/wanted/*"]}
    narrow = people.ask("POST", "/v1/users/gil/keys", asked, key=key).json["api_key"]
    page = people.ask("GET", "/v1/users/gil/algorithms?limit=1", key=narrow).json
    assert ([one["name"] for one in page["results"]], page["marker"]) == (["wanted"], None)


def test_no_everyday_key_ends_an_admin_key(people: People) -> None:
    admin = people.ask("POST", "/v1/users/ann/keys", {"scopes": ["admin"]}).json
    path = f"/v1/users/ann/keys/{admin['id']}"
    assert people.ask("DELETE", path, key=people.platform.key).status == 404
    assert people.ask("DELETE", path).status == 204


def test_passwords_are_checked_before_anything_is_made(people: People) -> None:
    for password in ("short", "sim" + "x" * 25):
        assert people.ask("POST", "/v1/users", {"username": "hal", "password": password}).status == 400
        assert people.ask("GET", "/v1/users/hal").status == 404
    good = {"username": "hal", "password": "simsalabim-1234"}
    assert people.ask("POST", "/v1/users", good).status == 200
    basic = "Basic " + base64.b64encode(b"hal:simsalabim-1234").decode()
    assert ask(people.platform, "GET", "/git/hal/x.git/info/refs?service=git-upload-pack", key=basic).status == 404


def test_many_guesses_at_once_are_no_way_around_the_count(people: People) -> None:
    people.ask("POST", "/v1/users", {"username": "ida", "password": "correct horse battery"})

    def guess(number: int) -> int:
        basic = "Basic " + base64.b64encode(f"ida:wrong password {number}".encode()).decode()
        return ask(people.platform, "GET", "/git/ida/x.git/info/refs?service=git-upload-pack", key=basic).status

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(guess, range(24)))
    assert answers.count(401) == 5
    assert answers.count(403) == 19


def test_a_member_becomes_an_owner(people: People) -> None:
    people.user("jon")
    assert people.ask("POST", "/v1/organizations", {"org_name": "joint"}).status == 200
    path = "/v1/organizations/joint/members"
    people.ask("PUT", f"{path}/jon")
    people.ask("PUT", f"{path}/jon", {"is_owner": True})
    people.ask("PUT", f"{path}/jon")
    owners = [one["username"] for one in people.ask("GET", path).json["results"] if one["is_owner"]]
    assert owners == ["ann", "jon"]
    assert people.ask("DELETE", f"{path}/ann").status == 204


def test_a_void_call_too_many_is_refused_and_not_dropped(people: People) -> None:
    key = people.user("kim")
    body = json.dumps({"path": "/v1/account", "times": 10}).encode()

    def void(_: int) -> int:
        return ask(people.platform, "POST", "/v1/algo/ann/probes?output=void", body, key=key, headers=JSON).status

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(void, range(100)))
    assert answers.count(200) == 80
    assert answers.count(429) == 20


def test_inputs_that_do_not_end_take_their_senders_places_and_no_others(people: People) -> None:
    serve(people.platform, "ann/echoes", "def apply(input):\n    return input\n", algorithm_callability="public")
    key = people.user("lou")
    head = f"POST /v1/algo/ann/echoes HTTP/1.1\r\nhost: x\r\nauthorization: Simple {key}\r\n"
    head += "content-type: application/json\r\ncontent-length: 3000000\r\n\r\n"
    body = {"some": "input"}
    with ExitStack() as held:
        for _ in range(80):
            sender = held.enter_context(socket.create_connection(address(people.platform), timeout=20))
            sender.sendall(head.encode() + b"x")
        deadline = time.monotonic() + 20
        while people.ask("POST", "/v1/algo/ann/echoes", body, key=key).status != 429:
            assert time.monotonic() < deadline
        assert people.ask("POST", "/v1/algo/ann/echoes", body, key=people.user("mia")).status == 200
    while people.ask("POST", "/v1/algo/ann/echoes", body, key=key).status == 429:
        assert time.monotonic() < deadline


def test_an_input_that_stops_coming_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "SILENCE", 0.2)
    parts = iter([{"type": "http.request", "body": b"ab", "more_body": True}])

    async def receive() -> object:
        return next(parts, None) or await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(calls._body(receive, 100))  # type: ignore[arg-type]


def test_half_a_surrogate_pair_is_the_algorithms_failure(people: People) -> None:
    serve(people.platform, "ann/odd", 'def apply(input):\n    return {"a": chr(0xD800)}\n')
    answer = ask(people.platform, "POST", "/v1/algo/ann/odd", b"x", headers=TEXT)
    assert answer.status == 200
    assert answer.json["error"]["error_type"] == "AlgorithmError"
    assert ask(people.platform, "POST", "/v1/algo/ann/odd?output=raw", b"x", headers=TEXT).status == 400


def test_a_part_is_in_a_file_once(people: People) -> None:
    key, tus = people.platform.key, {"tus-resumable": "1.0.0"}
    partial = {
        **tus,
        "upload-length": "3",
        "upload-concat": "partial",
        "content-type": "application/offset+octet-stream",
    }
    part = ask(people.platform, "POST", "/v1/uploads", b"abc", key=key, headers=partial).headers["location"]
    assert people.ask("POST", "/v1/data/ann", {"name": "twice"}, key=key).status == 200
    path = base64.b64encode(b"data://ann/twice/f").decode()
    final = {**tus, "upload-concat": f"final;{part} {part}", "upload-metadata": f"path {path}"}
    answer = ask(people.platform, "POST", "/v1/uploads", b"", key=key, headers=final)
    assert answer.status == 400
    assert "twice" in answer.message


def test_builds_of_one_algorithm_wait_for_each_other_and_not_in_anothers_way(people: People) -> None:
    create(people.platform, "ann/hog")
    for _ in range(3):
        push(people.platform, "ann/hog", {"src/hog.py": SLOW_IMPORT, "note": str(time.time())})
    create(people.platform, "ann/quick")
    push(people.platform, "ann/quick", {"src/quick.py": "def apply(input):\n    return input\n"})
    began = time.monotonic()
    answer = people.ask("POST", "/v1/algorithms/ann/quick/compile", key=people.platform.key)
    assert answer.json["compilation"]["successful"]
    busy = people.ask("GET", "/v1/algorithms/ann/hog/builds", key=people.platform.key).json["results"]
    assert "in-progress" in {one["status"] for one in busy}, f"after {time.monotonic() - began:.1f} s"


def test_an_algorithm_is_deleted_while_its_builds_wait(people: People) -> None:
    create(people.platform, "ann/doomed")
    for _ in range(2):
        push(people.platform, "ann/doomed", {"src/doomed.py": SLOW_IMPORT, "note": str(time.time())})
    answers: list[Answer] = []
    path = "/v1/algorithms/ann/doomed"

    def compile_it() -> None:
        answers.append(people.ask("POST", f"{path}/compile", key=people.platform.key))

    waiting = threading.Thread(target=compile_it)
    waiting.start()
    time.sleep(0.5)
    assert people.ask("DELETE", path, key=people.platform.key).status == 204
    waiting.join()
    assert answers[0].status == 404


def test_connections_that_send_nothing_or_no_end_are_closed(people: People) -> None:
    where = address(people.platform)
    idle = [socket.create_connection(where) for _ in range(20)]
    for one in idle[:10]:
        one.sendall(b"POST /v1/algo/ann/probes HTTP/1.1\r\nauthorization: Sim")
    with socket.create_connection(where) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\nx: " + b"a" * (1 << 16))
        assert endless.recv(100).startswith(b"HTTP/1.1 431 ")
    began = time.monotonic()
    for number, one in enumerate(idle):
        with one:
            one.settimeout(HEAD_PATIENCE + 5)
            assert one.recv(13) == (b"HTTP/1.1 408 " if number < 10 else b"")
    assert time.monotonic() - began > HEAD_PATIENCE / 2


def test_who_sends_junk_after_a_call_gets_its_answer_and_harms_nobody(people: People) -> None:
    body = b'{"path": "/v1/data/ann", "times": 2}'
    head = f"POST /v1/algo/ann/probes HTTP/1.1\r\nhost: x\r\nauthorization: {people.platform.key}\r\n".encode()
    call = head + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    for end in (b"GARBAGE\r\n\r\n", None):
        with socket.create_connection(address(people.platform)) as caller:
            caller.sendall(call + call + (end or b""))
            if end is None:
                caller.shutdown(socket.SHUT_WR)
            said = b"".join(iter(lambda: caller.recv(1 << 16), b""))
        assert said.count(b"HTTP/1.1 200 OK") == 2
        assert said.count(b"HTTP/1.1") == 2
        assert said.count(b'"result":[200,200]') == 2
