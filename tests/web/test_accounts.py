"""Users, organizations, keys and passwords: who may act for whom, and what a key is good for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import JSON, TEXT, Answer, ask, create, issue_key, run_git, serve

ECHO = "def apply(input):\n    return input\n"
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class People:
    """Ann owns the platform; bob is in `team`, carol is not; `admin` is the admin key."""

    platform: Platform
    admin: str
    bob: str
    carol: str

    def ask(self, method: str, path: str, body: object = None, *, key: str = "") -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        return ask(self.platform, method, path, content, key=key or self.admin, headers=JSON)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    admin = (platform.home / "admin-key").read_text().strip()
    found = People(platform, admin, issue_key(platform, "bob"), issue_key(platform, "carol"))
    assert found.ask("POST", "/v1/organizations", {"org_name": "team", "org_label": "The team"}).status == 200
    assert found.ask("PUT", "/v1/organizations/team/members/bob").status == 200
    yield found
    stop_platform(platform)


def test_a_user_is_made_changed_and_deleted(people: People) -> None:
    made = people.ask("POST", "/v1/users", {"username": "dora", "email": "d@x", "passwordHash": "", "fullname": "D"})
    assert made.status == 200
    assert (made.json["username"], made.json["email"], made.json["resource_type"]) == ("dora", "d@x", "user")
    again = people.ask("POST", "/v1/users", {"username": "dora"})
    assert (again.status, again.json["error"]["code"]) == (409, 3003)
    assert people.ask("PUT", "/v1/users/dora", {"company_role": "x"}).json["company_role"] == "x"
    assert people.ask("GET", "/v1/users/dora").json["email"] == "d@x", "what is not named stays"
    assert people.ask("GET", f"/v1/users/{made.json['id']}").json["username"] == "dora"
    assert people.ask("GET", f"/v1/users/{made.json['id']}", key=people.bob).status == 404
    assert people.ask("PUT", "/v1/users/dora", {"username": "eve"}).status == 400
    assert people.ask("PUT", "/v1/users/dora", {"email": "x" * 301}).status == 400
    names = [one["username"] for one in people.ask("GET", "/v1/users").json["results"]]
    assert names == sorted(names)
    assert {"ann", "bob", "dora"} <= set(names)
    assert "team" not in names
    assert people.ask("DELETE", "/v1/users/dora").status == 204
    gone = people.ask("GET", "/v1/users/dora")
    assert (gone.status, gone.json["error"]["code"]) == (404, 3000)
    for bad in ({}, {"username": 5}, {"username": "a-b"}, {"username": "../x"}):
        assert people.ask("POST", "/v1/users", bad).status == 400


def test_who_owns_something_is_not_deleted(people: People) -> None:
    create(people.platform, "carol/kept", key=people.carol)
    answer = people.ask("DELETE", "/v1/users/carol")
    assert answer.status == 409
    assert "algo://carol/kept" in answer.message
    answer = people.ask("DELETE", "/v1/users/ann")
    assert answer.status == 409
    assert "organization team, of which it is the last owner" in answer.message


def test_an_admin_key_is_good_for_accounts_alone(people: People) -> None:
    create(people.platform, "ann/mine")
    for method, path in (
        ("POST", "/v1/algo/ann/mine"),
        ("GET", "/v1/algorithms/ann/mine"),
        ("GET", "/v1/data"),
        ("POST", "/v1/algorithms/ann"),
        ("GET", "/git/ann/mine.git/info/refs"),
    ):
        assert people.ask(method, path).status == 403, path


def test_members_act_for_their_organization_and_others_see_nothing_of_it(people: People) -> None:
    platform = people.platform
    serve(platform, "team/shared", ECHO, key=people.bob)
    for key in (people.bob, platform.key):
        assert ask(platform, "POST", "/v1/algo/team/shared", b"x", key=key, headers=TEXT).json["result"] == "x"
        assert people.ask("GET", "/v1/algorithms/team/shared/releases", key=key).status == 200
        assert [one["name"] for one in people.ask("GET", "/v1/users/team/algorithms", key=key).json["results"]] == [
            "shared"
        ]
        assert people.ask("GET", "/v1/organizations", key=key).json["results"][0]["org_name"] == "team"
    assert people.ask("GET", "/v1/algorithms/team/shared", key=people.carol).status == 404
    assert people.ask("POST", "/v1/algorithms/team", {"name": "x"}, key=people.carol).status == 403
    assert people.ask("GET", "/v1/organizations/team", key=people.carol).status == 404
    assert people.ask("GET", "/v1/organizations", key=people.carol).json["results"] == []
    assert people.ask("GET", "/v1/users/team/algorithms", key=people.carol).json["results"] == []


def test_owners_of_an_organization_say_who_is_in_it(people: People) -> None:
    members = "/v1/organizations/team/members"
    assert people.ask("PUT", f"{members}/carol", key=people.bob).status == 403, "a member is no owner"
    added = people.ask("PUT", f"{members}/carol", key=people.platform.key)
    assert (added.status, added.body) == (200, b""), "the Scala client takes 201 for a failure"
    again = people.ask("PUT", f"{members}/carol")
    assert (again.status, again.body) == (200, b""), "the Python client takes any body for an error"
    assert people.ask("GET", "/v1/organizations/team", key=people.carol).status == 200
    listed = people.ask("GET", members, key=people.carol).json["results"]
    assert [(one["username"], one["role"]) for one in listed] == [
        ("ann", "owner"),
        ("bob", "member"),
        ("carol", "member"),
    ]
    assert people.ask("DELETE", f"{members}/carol").status == 204
    assert people.ask("GET", "/v1/organizations/team", key=people.carol).status == 404
    assert people.ask("DELETE", f"{members}/carol").status == 404
    last = people.ask("DELETE", f"{members}/ann")
    assert (last.status, last.json["error"]["code"]) == (409, 3102)
    assert people.ask("PUT", f"{members}/nobody").status == 404
    assert people.ask("PUT", f"{members}/team").status == 404, "an organization is no member"


def test_an_organization_is_made_changed_and_deleted(people: People) -> None:
    types = people.ask("GET", "/v1/organization/types", key=people.bob).json
    assert [one["name"] for one in types] == ["basic", "legacy", "pro"]
    made = people.ask("POST", "/v1/organizations", {"org_name": "brief", "type_id": types[1]["id"]})
    assert (made.json["org_name"], made.json["type_id"]) == ("brief", types[1]["id"])
    changed = people.ask("PUT", "/v1/organizations/brief", {"org_url": "https://x"})
    assert (changed.status, changed.body, changed.reason) == (204, b"", "No Content")
    assert people.ask("GET", "/v1/organizations/brief").json["org_url"] == "https://x"
    assert people.ask("POST", "/v1/organizations", {"org_name": "bob"}).json["error"]["code"] == 3101, "one namespace"
    assert people.ask("DELETE", "/v1/organizations/brief").status == 204
    gone = people.ask("GET", "/v1/organizations/brief")
    assert (gone.status, gone.json["error"]["code"]) == (404, 3100)


def test_a_key_is_shown_once_listed_masked_and_over_when_revoked(people: People) -> None:
    made = people.ask("POST", "/v1/users/bob/keys", {"key_label": "for CI", "scopes": ["call", "read"]}, key=people.bob)
    assert made.status == 200
    key, identifier = made.json["api_key"], made.json["id"]
    assert made.json["api_key_mask"] == f"{key[:5]}...{key[-2:]}"
    assert people.ask("GET", "/v1/account", key=key).json == {
        "name": "bob",
        "scopes": ["call", "read"],
        "organizations": ["team"],
    }
    listed = people.ask("GET", "/v1/users/bob/keys", key=people.bob)
    assert key.encode() not in listed.body
    found = next(one for one in listed.json["results"] if one["id"] == identifier)
    assert (found["key_label"], found["key_type"], found["scopes"]) == ("for CI", "AlgorithmKey", ["call", "read"])
    assert found["last_used_at"] > found["created_at"]
    assert people.ask("PUT", "/v1/data/bob/x/y", key=key).status == 403, "it reads alone"
    assert people.ask("DELETE", f"/v1/users/bob/keys/{identifier}", key=people.bob).status == 204
    assert people.ask("GET", "/v1/account", key=key).status == 401, "at once"
    assert people.ask("DELETE", f"/v1/users/bob/keys/{identifier}", key=people.bob).status == 404


def test_last_use_is_written_down(people: People) -> None:
    made = people.ask("POST", "/v1/users/bob/keys", {"key_label": "used"}, key=people.bob).json
    assert people.ask("GET", "/v1/account", key=made["api_key"]).status == 200
    import sqlite3

    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        connection = sqlite3.connect(people.platform.home / "platform.db")
        row = connection.execute("select last_used from keys where id = ?", (made["id"],)).fetchone()
        connection.close()
        if row[0]:
            return
        time.sleep(0.2)
    raise AssertionError("nobody wrote it down")


def test_a_key_makes_none_that_may_do_more(people: People) -> None:
    weak = people.ask("POST", "/v1/users/bob/keys", {"scopes": ["manage"]}, key=people.bob).json["api_key"]
    narrow = people.ask("POST", "/v1/users/bob/keys", {"patterns": ["algo://bob/one/*"]}, key=people.bob).json[
        "api_key"
    ]
    for key, asked in (
        (weak, {"scopes": ["call"]}),
        (weak, {}),
        (people.bob, {"scopes": ["admin"]}),
        (people.bob, {"key_type": "PlatformAdminKey"}),
        (narrow, {"scopes": ["call"]}),
    ):
        assert people.ask("POST", "/v1/users/bob/keys", asked, key=key).status == 403, asked
    assert people.ask("POST", "/v1/users/carol/keys", {}, key=people.bob).status == 404, "carol looks absent"
    refused: tuple[dict[str, object], ...] = (
        {"scopes": ["fly"]},
        {"scopes": "call"},
        {"patterns": ["algo://"]},
        {"patterns": ["bob/one"]},
        {"patterns": ["algo://*"] * 101},
        {"key_label": "x" * 101},
        {"permissions": {"allow_web_algo": True}},
        {"permissions": {"allow_algo": True, "algo_acl": []}},
        {"patterns": []},
        {"permissions": 5},
        {"scopes": ["admin", "call"]},
    )
    for bad in refused:
        assert people.ask("POST", "/v1/users/bob/keys", bad).status == 400, bad


def test_the_old_platforms_permissions_are_understood(people: People) -> None:
    asked = {
        "key_label": "old",
        "permissions": {"allow_algo": True, "allow_data": True, "algo_acl": ["algo://bob/one/*"]},
    }
    made = people.ask("POST", "/v1/users/bob/keys", asked).json
    assert made["scopes"] == ["call", "read"]
    assert made["permissions"]["algo_acl"] == ["algo://bob/one/*"]


def test_a_key_with_patterns_is_good_for_what_they_name(people: People) -> None:
    platform = people.platform
    for name in ("one", "two"):
        serve(platform, f"bob/{name}", ECHO, key=people.bob)
    serve(platform, "ann/open", ECHO, algorithm_callability="public")
    for pattern, good in (
        ("algo://*", {"bob/one", "bob/two", "ann/open"}),
        ("algo://bob/*", {"bob/one", "bob/two"}),
        ("algo://bob/one/*", {"bob/one"}),
        ("algo://bob/one", {"bob/one"}),
        ("algo://ann/*", {"ann/open"}),
    ):
        key = people.ask("POST", "/v1/users/bob/keys", {"patterns": [pattern]}).json["api_key"]
        for name in ("bob/one", "bob/two", "ann/open"):
            answer = ask(platform, "POST", f"/v1/algo/{name}", b"x", key=key, headers=TEXT)
            assert answer.status == (200 if name in good else 404), (pattern, name)
            if name.startswith("bob/"):
                builds = people.ask("GET", f"/v1/algorithms/{name}/builds", key=key)
                assert builds.status == (200 if name in good else 404), (pattern, name)


def test_a_key_of_an_organization_acts_for_it_alone(people: People) -> None:
    assert people.ask("POST", "/v1/organizations/team/keys", {}, key=people.bob).status == 403, "bob is no owner"
    made = people.ask("POST", "/v1/organizations/team/keys", {"key_label": "CI"}, key=people.platform.key).json
    key = made["api_key"]
    assert people.ask("GET", "/v1/account", key=key).json["name"] == "team"
    assert people.ask("POST", "/v1/algorithms/team", {"name": "by_key"}, key=key).status == 201
    assert people.ask("POST", "/v1/algorithms/ann", {"name": "x"}, key=key).status == 403
    assert people.ask("DELETE", f"/v1/organizations/team/keys/{made['id']}").status == 204
    assert people.ask("GET", "/v1/account", key=key).status == 401


def test_git_takes_a_password_and_nothing_else_does(people: People) -> None:
    platform = people.platform
    serve(platform, "bob/cloned", ECHO, key=people.bob)
    assert people.ask("PUT", "/v1/users/bob/password", {"password": "short"}, key=people.bob).status == 400
    assert people.ask("PUT", "/v1/users/bob/password", {"password": PASSWORD}, key=people.bob).status == 204
    host = platform.url.removeprefix("http://")

    def clone(user: str, password: str) -> int:
        address = f"http://{user}:{quote(password)}@{host}/git/bob/cloned.git"
        return run_git("ls-remote", address, GIT_TERMINAL_PROMPT="0").returncode

    assert clone("bob", PASSWORD) == 0
    assert clone("bob", people.bob) == 0
    assert clone("ann", PASSWORD) != 0
    assert clone("carol", PASSWORD) != 0
    import base64

    basic = "Basic " + base64.b64encode(f"bob:{PASSWORD}".encode()).decode()
    for path in ("/v1/account", "/v1/data", "/v1/algorithms/bob/cloned"):
        assert ask(platform, "GET", path, key=basic).status == 401, path
    kept = (platform.home / "platform.db").read_bytes() + (platform.home / "platform.db-wal").read_bytes()
    assert PASSWORD.encode() not in kept


def test_guessing_passwords_is_slowed_down_for_that_user_alone(people: People) -> None:
    platform = people.platform
    for name in ("guessed", "spared"):
        assert people.ask("POST", "/v1/users", {"username": name, "password": PASSWORD}).status == 200
    import base64

    def answered(name: str, password: str) -> int:
        basic = "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
        return ask(platform, "GET", f"/git/{name}/x.git/info/refs", key=basic).status

    assert [answered("guessed", f"wrong{number}") for number in range(5)] == [401] * 5
    assert answered("guessed", PASSWORD) == 403, "not even the right one"
    assert answered("spared", PASSWORD) == 404, "there is no repository, but the password is right"
