"""Promise 49, default deny: every route x every method, and upgrades x eight roles x two tenants.

What a role may do of its own tenant's stands in a table; everything else is refused. Another tenant's things, and those
of another algorithm where a key is for one alone, look absent: the answer is the one for what is nowhere, to the letter
but for names and ids, and takes about as long.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any, cast

import pytest
from litestar import get
from litestar.types import Receive, Scope, Send

from pushpoint import web
from pushpoint.databases import writing
from pushpoint.names import AlgorithmName
from pushpoint.records import EVERYDAY, Limit, lacking
from pushpoint.registry import accounts, algorithms, keys, publishers
from pushpoint.serving import Services
from pushpoint.web import ROUTES, guards
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.routes import ALGORITHM, ALL, DEPLOYS, MANAGEMENT, OPEN, RAW, UNOFFERED
from tests.web.support import JSON, Answer, address, ask, database, issue_key, serve

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
CODE = "def apply(input):\n    if input == 'fail':\n        raise ValueError('as asked')\n    return input\n"

NOBODY, REVOKED, READER, CALLER, DEPLOYER, MEMBER, OWNER, ADMIN = ROLES = (
    "nobody",
    "a key that was revoked",
    "the owner's key that sees and reads alone",
    "the owner's key that calls alone",
    "a key of CI for one algorithm",
    "a member",
    "an owner",
    "the admin key",
)
WRONG = ": this key is not valid; use one that is"
SCOPES: dict[str, frozenset[str]] = {
    READER: frozenset({"view", "read"}),
    CALLER: frozenset({"call"}),
    MEMBER: EVERYDAY,
    OWNER: EVERYDAY,
    ADMIN: frozenset({"admin"}),
}
ORGANIZATION, USER = "/v1/organizations/{organization}", "/v1/users/{username}"
REFUSED = {
    # owners alone say what an organization is, who is in it and which keys it has
    **{
        (method, f"{ORGANIZATION}{rest}"): {MEMBER}
        for method, rest in (
            ("PUT", ""),
            ("DELETE", ""),
            ("PUT", "/members/{person}"),
            ("DELETE", "/members/{person}"),
            ("GET", "/keys"),
            ("POST", "/keys"),
            ("DELETE", "/keys/{key_id}"),
        )
    },
    # a user is seen and changed by themselves; the path is the owner's
    **{
        (method, f"{USER}{rest}"): {MEMBER}
        for method, rest in (
            ("GET", ""),
            ("PUT", ""),
            ("PUT", "/password"),
            ("GET", "/keys"),
            ("POST", "/keys"),
            ("DELETE", "/keys/{key_id}"),
        )
    },
    ("POST", "/v1/insights"): {CALLER, MEMBER, OWNER},  # for an algorithm, during a call
    # an upload is whose who began it, which was the owner
    **{(method, "/v1/uploads/{upload_id}"): {MEMBER} for method in ("HEAD", "PATCH", "DELETE")},
}
"""Whom a route refuses although their scope would do."""
LISTS = {
    ("GET", "/v1/users/{account}/errors"),
    ("GET", "/v1/organizations/{account}/errors"),
    ("GET", "/v1/users/{owner}/algorithms"),
}
"""What has nothing to say of another tenant's things, with 200: old clients ask it of names that nobody has."""


def named(pattern: str) -> str:
    """Tell apart what the routes call by one name, and here are two: a member, and the owner of algorithms."""
    pattern = pattern.replace("/members/{username}", "/members/{person}")
    return pattern.replace("/users/{username}/algorithms", "/users/{owner}/algorithms")


def with_twins(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Add each path by id to the paths by name."""
    by_name = ((ALGORITHM, "/v1/algorithms/{id}"), ("/v1/algo/{owner}/{name}", "/v1/algo/{id}"))
    twins = [
        (method, pattern.replace(name, other), scope)
        for method, pattern, scope in rows
        for name, other in by_name
        if pattern.startswith(name)
    ]
    return rows + twins


ROWS = with_twins([(method, named(pattern), scope) for method, pattern, scope in ALL])
DEPLOYED = {
    (method, pattern)
    for method, pattern, _ in with_twins([(method, named(pattern), "") for method, pattern in DEPLOYS])
}
TENANT = re.compile(r"{(owner|id|username|account|organization|upload_id)}")


def may(role: str, method: str, pattern: str, scope: str) -> bool:
    """Say whether a role is let in, to what is its own."""
    if role in {NOBODY, REVOKED}:
        return False
    if role == DEPLOYER:
        return (method, pattern) in DEPLOYED
    if scope == guards.KNOWN:
        return True
    return role not in REFUSED.get((method, pattern), ()) and not SCOPES[role].isdisjoint(scope.split(" or "))


@dataclass(frozen=True)
class Place:
    """What a path is filled with; all places have names of the same length, so that answers have too."""

    organization: str
    algorithm: str
    user: str
    ids: Mapping[str, str]

    def path(self, pattern: str) -> str:
        names = {"owner": self.organization, "name": self.algorithm, "collection": self.algorithm}
        names |= {"username": self.user, "organization": self.organization, "account": self.organization}
        names |= {
            "person": "nemo",
            "selector": "latest",
            "scm_id": "github",
            "rest": "x",
            "language": "python3",
            "specification": "x",
        }
        return pattern.format(**names, **self.ids)

    def seen(self, answer: Answer) -> tuple[int, bytes, dict[str, str]]:
        """Leave out of an answer what tells this place from another."""

        def clean(text: str) -> str:
            text = re.sub(r'"id":"[^"]*"', "", text)
            for value, name in (
                *((value, name) for name, value in self.ids.items()),
                (self.organization, "ORGANIZATION"),
                (self.algorithm, "ALGORITHM"),
                (self.user, "USER"),
            ):
                text = text.replace(value, name.upper())
            return text

        headers = {name: clean(value) for name, value in answer.headers.items() if name not in {"date", "x-request-id"}}
        return answer.status, clean(answer.body.decode("latin-1")).encode(), headers


def nowhere(organization: str, algorithm: str) -> Place:
    ids = dict.fromkeys(
        ("deployment_id", "publisher_id", "secret_id", "key_id"), "0" * 8 + "-0000-4000-8000-" + "0" * 12
    )
    ids |= {"id": "1" * 8 + "-1111-4111-8111-" + "1" * 12, "upload_id": "2" * 8 + "-2222-4222-8222-" + "2" * 12}
    ids |= {"build_id": "3" * 8 + "-3333-4333-8333-" + "3" * 12, "commit": "4" * 40}
    return Place(organization, algorithm, "eves", ids)


@dataclass
class World:
    """Two tenants, each an organization with an owner; the walker is of the first."""

    platform: Platform
    keys: dict[str, str]
    theirs_key: str
    ours: Place
    sibling: Place
    theirs: Place
    asked: Counter[str] = field(default_factory=Counter)
    connection: http.client.HTTPConnection | None = None

    def send(self, role: str, method: str, pattern: str, place: Place, more: Mapping[str, str] | None = None) -> Answer:
        path = place.path(pattern)
        headers, body = dict(JSON), b""
        if method in {"POST", "PUT"}:
            body = json.dumps({"name": place.algorithm, "deploy_id": "walk", "version": "0.1.0"}).encode()
        if pattern.startswith("/git/") and method == "POST":
            service = path.rpartition("/")[2]
            headers, body = {"content-type": f"application/x-{service}-request"}, b"0000"
        if pattern.startswith("/v1/uploads"):
            target = base64.b64encode(f"data://{place.organization}/{place.algorithm}/part.txt".encode()).decode()
            headers = {"tus-resumable": "1.0.0", "upload-length": "9", "upload-metadata": f"path {target}"}
            headers |= {"upload-offset": "0", "content-type": "application/offset+octet-stream"}
            body = b""
        if key := self.keys.get(role):
            headers["authorization"] = key
        return self._exchange(method, path, body, headers | dict(more or {}))

    def _exchange(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        for attempt in range(2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection(*address(self.platform), timeout=60)
            try:
                self.connection.request(method, path, body=body, headers=headers)
                answer = self.connection.getresponse()
                found = {name.lower(): value for name, value in answer.getheaders()}
                content = answer.read()
            except (http.client.HTTPException, ConnectionError):  # it was closed since the last one
                self.connection.close()
                self.connection = None
                if attempt:
                    raise
                continue
            if answer.will_close:
                self.connection.close()
                self.connection = None
            self.asked[path.split("/")[1]] += 1
            return Answer(answer.status, found, content, answer.reason)
        raise AssertionError

    def prepare(self, method: str, pattern: str) -> Place:
        """Have something there that may be deleted."""
        doomed = Place(self.ours.organization, "doomed", self.ours.user, self.ours.ids)
        headers = JSON | {"authorization": self.keys[OWNER]}
        if method == "DELETE" and pattern in {ALGORITHM, "/v1/algorithms/{id}"}:
            path, body = "/v1/algorithms/team", b'{"name": "doomed"}'
            self._exchange("POST", path, body, headers)
            shown = json.loads(self._exchange("GET", f"{path}/doomed", b"", headers).body)
            return Place(doomed.organization, doomed.algorithm, doomed.user, {**self.ours.ids, "id": shown["id"]})
        if method == "DELETE" and "{collection}" in pattern:
            self._exchange("POST", "/v1/data/team", b'{"name": "doomed"}', headers)
            self._exchange("PUT", "/v1/data/team/doomed/file.txt", b"doomed", headers)
            return doomed
        return self.ours


def settle(platform: Platform, organization: str, algorithm: str, user: str, key: str) -> Place:
    """Make one of everything for a tenant."""

    def made(method: str, path: str, body: Mapping[str, object], **headers: str) -> Any:
        answer = ask(platform, method, path, json.dumps(body).encode(), key=key, headers=JSON | headers)
        assert answer.status < 300, (path, answer.body)
        return answer

    name = f"{organization}/{algorithm}"
    commit = serve(platform, name, CODE, key=key)
    root = f"/v1/algorithms/{name}"
    made("POST", f"/v1/data/{organization}", {"name": algorithm})
    assert ask(platform, "PUT", f"/v1/data/{name}/file.txt", algorithm.encode(), key=key).status == 200
    target = base64.b64encode(f"data://{name}/part.txt".encode()).decode()
    headers = {"tus-resumable": "1.0.0", "upload-length": "9", "upload-metadata": f"path {target}"}
    upload = ask(platform, "POST", "/v1/uploads", b"", key=key, headers=headers).headers["location"].rpartition("/")[2]
    assert ask(platform, "POST", f"/v1/algo/{name}", b'"fail"', key=key, headers=JSON).json["error"]
    deadline = time.monotonic() + 20
    while not made("GET", f"{root}/errors", {}).json and time.monotonic() < deadline:
        time.sleep(0.1)
    issuer = {"issuer": "https://token.actions.githubusercontent.com", "repository": "acme/x"}
    return Place(
        organization,
        algorithm,
        user,
        {
            "id": made("GET", root, {}).json["id"],
            "commit": commit,
            "build_id": made("GET", f"{root}/builds", {}).json["results"][0]["build_id"],
            "deployment_id": made("GET", f"{root}/deployments", {}).json["results"][0]["id"],
            "publisher_id": made("POST", f"{root}/publishers", issuer | {"ref": "refs/heads/main"}).json["id"],
            "secret_id": made("POST", f"{root}/secrets", {"secret_key": "TOKEN", "secret_value": "hush"}).json["id"],
            "key_id": made("POST", f"/v1/organizations/{organization}/keys", {"key_label": "x"}).json["id"],
            "upload_id": upload,
        },
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    platform = start_platform(tmp_path_factory.mktemp("home"), account="anna")
    admin = (platform.home / "admin-key").read_text().strip()
    people = {"anna": platform.key, **{name: issue_key(platform, name) for name in ("bert", "zoey")}}

    def done(method: str, path: str, body: bytes = b"{}") -> None:
        assert ask(platform, method, path, body, key=admin, headers=JSON).status < 300, path

    for organization, owner in (("team", "anna"), ("riva", "zoey")):
        done("POST", "/v1/organizations", json.dumps({"org_name": organization}).encode())
        done("PUT", f"/v1/organizations/{organization}/members/{owner}", b'{"is_owner": true}')
    done("PUT", "/v1/organizations/team/members/bert")
    done("DELETE", "/v1/organizations/riva/members/anna")
    ours = settle(platform, "team", "walked", "anna", people["anna"])
    theirs = settle(platform, "riva", "hidden", "zoey", people["zoey"])
    sibling = settle(platform, "team", "sister", "anna", people["anna"])
    with database(platform) as found:
        team, actor = accounts.find(found, "team"), keys.authenticate(found, platform.key)
        algorithm = algorithms.lookup(found, AlgorithmName("team", "walked"))
        assert actor
        assert algorithm
        publisher = publishers.add(  # not the one that is deleted on the way, with the keys of its runs
            found, actor, algorithm, issuer="https://ci.example", repository="acme/y", ref="refs/heads/main"
        )
        limit = Limit(algorithm_id=algorithm.id, algorithm=algorithm.name, collection="walked", run="run 1")
        with writing(found) as connection:
            deployer = keys.issue_limited(connection, team.id, publisher, limit, now=datetime.now(UTC))
        revoked, made = keys.issue(found, actor.account, label="x")
        keys.revoke(found, actor.account, made.id, actor=actor)
    walking = World(
        platform,
        {
            REVOKED: revoked,
            READER: issue_key(platform, "anna", "view", "read"),
            CALLER: issue_key(platform, "anna", "call"),
            DEPLOYER: deployer,
            MEMBER: people["bert"],
            OWNER: people["anna"],
            ADMIN: admin,
        },
        people["zoey"],
        ours,
        sibling,
        theirs,
    )
    try:
        yield walking
    finally:
        if walking.connection:
            walking.connection.close()
        stop_platform(platform)


@dataclass(frozen=True)
class Step:
    """A role asked; `absent` is what it gets for the same where nothing is."""

    role: str
    method: str
    pattern: str
    scope: str
    answer: tuple[int, bytes, dict[str, str]]
    absent: tuple[int, bytes, dict[str, str]] | None = None

    @property
    def outcome(self) -> str:
        status = self.answer[0]
        if status == 401:
            return "unknown"
        if status == 403 or (self.method == "HEAD" and status in {400, 404}):  # which have no body to tell them apart
            return "refused"
        empty = (self.method, self.pattern) in LISTS and status == 200
        return "absent" if (status == 404 or empty) and self.answer == self.absent else "answered"

    def __str__(self) -> str:
        return f"{self.method} {self.pattern} by {self.role}: {self.outcome}, {self.answer[:2]}; {self.absent}"


@pytest.fixture(scope="module")
def own(world: World) -> list[Step]:
    """All routes, asked for what is the role's own tenant's."""
    steps = []
    for method, pattern, scope in ROWS:
        for role in ROLES:
            place = world.prepare(method, pattern) if may(role, method, pattern, scope) else world.ours
            answer, absent = place.seen(world.send(role, method, pattern, place)), None
            if TENANT.search(pattern):
                none = nowhere("nada", "vacant")
                absent = none.seen(world.send(role, method, pattern, none))
            steps.append(Step(role, method, pattern, scope, answer, absent))
    return steps


@pytest.fixture(scope="module")
def foreign(world: World) -> list[Step]:
    """All routes that lead to somebody's things, asked for those of another tenant."""
    steps = []
    for method, pattern, scope in ROWS:
        if not TENANT.search(pattern):
            continue
        for role in ROLES:
            pairs = [(world.theirs, nowhere("nada", "vacant"))]
            if role == OWNER and ("{name}" in pattern or "{collection}" in pattern):
                pairs.append((world.theirs, nowhere("riva", "vacant")))
            if role == DEPLOYER:
                pairs.append((world.sibling, nowhere("team", "vacant")))
            for place, none in pairs:
                answer = place.seen(world.send(role, method, pattern, place))
                absent = none.seen(world.send(role, method, pattern, none))
                steps.append(Step(role, method, pattern, scope, answer, absent))
    return steps


def test_the_tables_have_every_route() -> None:
    routes = {
        (str(method), re.sub(r":\w+}", "}", path), str(handler.opt["scope"]))
        for handler in ROUTES
        for path in handler.paths
        for method in handler.http_methods
    }
    assert {(method, path) for method, path, scope in routes if scope == guards.OPEN} == OPEN
    assert {one for one in routes if one[2] != guards.OPEN} == set(MANAGEMENT + UNOFFERED)
    deploying = {
        (str(method), re.sub(r":\w+}", "}", path))
        for handler in ROUTES
        for path in handler.paths
        for method in handler.http_methods
        if handler.opt.get("deploys")
    }
    assert deploying == {(method, path) for method, path, _ in MANAGEMENT} & DEPLOYS.keys()
    for prefix in web.MOUNTED:
        assert [pattern for _, pattern, _ in RAW if pattern.startswith(prefix)], prefix
    assert all(pattern.startswith(tuple(prefix.rstrip("/") for prefix in web.MOUNTED)) for _, pattern, _ in RAW)


def test_a_route_without_a_scope_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    @get("/forgotten", sync_to_thread=False)
    def forgotten() -> None: ...

    @get("/misspelt", opt={"scope": "mangae"}, sync_to_thread=False)
    def misspelt() -> None: ...

    for handler in (forgotten, misspelt):
        monkeypatch.setattr(web, "ROUTES", [handler])
        with pytest.raises(LookupError, match=r"/(forgotten|misspelt) declares no scope"):
            web.create_app(cast("Services", None))


@pytest.mark.parametrize("status", [200, 204, 302, 404, 405])
def test_a_raw_application_that_asks_nobody_answers_nobody(status: int) -> None:
    async def forgetful(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})

    sent: list[object] = []

    async def send(message: object) -> None:
        sent.append(message)

    async def answered() -> None:
        await guards.insisting(forgetful)(cast("Scope", {"path": "/v1/forgotten"}), cast("Receive", None), send)

    with pytest.raises(LookupError, match="/v1/forgotten answers without asking who is there"):
        asyncio.run(answered())
    assert sent == []


def test_without_a_valid_key_nothing_is_told(own: list[Step], foreign: list[Step]) -> None:
    steps = [step for step in own + foreign if step.role in {NOBODY, REVOKED}]
    assert len(steps) > 3 * len(ROWS)
    for step in steps:
        status, body, headers = step.answer
        assert (status, step.absent or step.answer) == (401, step.answer), step
        assert headers["www-authenticate"].startswith("Basic " if step.pattern.startswith("/git/") else "Simple ")
        if step.method != "HEAD":
            error = json.loads(body.replace(b"{,", b"{"))["error"]
            said = "authorization required" + (WRONG if step.role == REVOKED else "")
            assert error == {"code": 2002, "message": said, "error_type": "Unauthenticated"}, step


def test_each_role_does_what_the_table_says_and_nothing_else(own: list[Step]) -> None:
    wrong = [
        str(step)
        for step in own
        if (step.outcome == "answered") != may(step.role, step.method, step.pattern, step.scope)
    ]
    assert wrong == [], "\n".join(map(str, wrong))
    assert [str(step) for step in own if step.answer[0] >= 500 and step.answer[0] != 501] == []


def test_a_deploy_gets_what_it_asks_for(own: list[Step]) -> None:
    steps = {(step.method, step.pattern): step.answer for step in own if step.role == DEPLOYER}
    wrong = [
        (method, pattern, status, steps[method, named(pattern)])
        for (method, pattern), status in DEPLOYS.items()
        if steps[method, named(pattern)][0] != status
    ]
    assert wrong == [], "\n".join(map(str, wrong))


def test_a_refusal_for_the_scope_says_which_one_is_needed(own: list[Step]) -> None:
    for step in own:
        if (
            step.role in SCOPES
            and SCOPES[step.role].isdisjoint(step.scope.split(" or "))
            and step.scope != guards.KNOWN
        ):
            assert step.answer[0] == 403, step
            if step.method != "HEAD":
                said = lacking(step.scope.split(" or "), "anna")
                assert said.encode() in step.answer[1].replace(b"USER", b"anna") or step.role == MEMBER
                assert b'"code":2001' in step.answer[1]


def test_what_is_another_tenants_looks_absent(foreign: list[Step]) -> None:
    wrong = []
    for step in foreign:
        if step.role == ADMIN and "admin" in step.scope:
            if step.outcome != "answered":  # it is for the accounts of all tenants
                wrong.append(str(step))
            continue
        told = step.answer[0] in {401, 403, 404} or (step.method, step.pattern) in LISTS
        untold = step.answer[0] in {400, 501} or step.method == "OPTIONS"  # the same for everything there is and is not
        if step.answer != step.absent or not (told or untold):
            wrong.append(str(step))
    assert wrong == [], "\n".join(map(str, wrong))


@dataclass
class Elsewise:
    """Requests with methods that a path does not have: how many, and those that were let in or told apart."""

    made: int = 0
    wrong: list[object] = field(default_factory=list)


@pytest.fixture(scope="module")
def elsewise(world: World) -> Elsewise:
    found, none = Elsewise(), nowhere("nada", "vacant")
    paths = {pattern.partition("?")[0] for _, pattern, _ in ROWS}
    for pattern in sorted(paths | {"/", "/v1", "/v1/secrets", "/v1/users/{username}/x"}):
        there = {method for method, other, _ in ROWS if other.partition("?")[0] == pattern}
        for method in sorted(set(METHODS) - there):
            for role in (NOBODY, REVOKED, CALLER, DEPLOYER, OWNER, ADMIN):
                is_known = role not in {NOBODY, REVOKED}
                told = {400, 403, 404, 405, 501} if is_known else {401, 404, 405}
                told |= {204} if is_known and method == "OPTIONS" else set()
                places = (world.ours, world.theirs, none) if TENANT.search(pattern) else (none,)
                answers = [place.seen(world.send(role, method, pattern, place)) for place in places]
                found.made += len(answers)
                for status, _, headers in answers:
                    if status not in told or (status in {204, 405} and "allow" not in headers):
                        found.wrong.append((method, pattern, role, answers))
                if answers[1:] not in ([], [answers[-1]] * 2):
                    found.wrong.append((method, pattern, role, answers))
    return found


def test_no_other_method_is_a_way_in(elsewise: Elsewise) -> None:
    assert elsewise.wrong == [], "\n".join(map(str, elsewise.wrong))
    assert elsewise.made > 6000


def test_an_upgrade_is_no_way_in(world: World) -> None:
    """Nothing here speaks another protocol; who asks for one is answered as if they had not."""
    made = 0
    upgrades = [
        {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": "eA=="},
        {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABk"},
    ]
    for method, pattern, _ in ROWS:
        if method != "GET":
            continue
        for role in (NOBODY, REVOKED, CALLER, DEPLOYER, OWNER, ADMIN):
            for place in (world.ours, world.theirs):
                plain = world.send(role, method, pattern, place)
                upgraded = world.send(role, method, pattern, place, upgrades[made % 2])
                made += 1
                assert upgraded.status == plain.status, (pattern, role)
                assert upgraded.status != 101
    assert made > 500


def test_what_is_another_tenants_takes_as_long_as_what_is_nowhere(world: World) -> None:
    """Medians of turns, and generously: a look at git, a file or a worker before the refusal would be seen."""
    none, slow = nowhere("nada", "vacant"), []
    for method, pattern, _ in ROWS:
        if method not in {"GET", "HEAD"} or not TENANT.search(pattern):
            continue
        for _ in range(3):  # a neighbour may have been at it
            seconds: dict[str, list[float]] = {"theirs": [], "none": []}
            for _ in range(9):
                for name, place in (("theirs", world.theirs), ("none", none)):
                    began = time.perf_counter()
                    world.send(OWNER, method, pattern, place)
                    seconds[name].append(time.perf_counter() - began)
            theirs, absent = median(seconds["theirs"]), median(seconds["none"])
            if max(theirs, absent) < 2 * min(theirs, absent) + 0.003:
                break
        else:
            slow.append((method, pattern, theirs, absent))
    assert slow == []


def test_nothing_of_the_above_changed_what_is_anothers(world: World) -> None:
    key = world.theirs_key
    for path, expected in (
        ("/v1/data/riva/hidden/file.txt", b"hidden"),
        ("/v1/data/riva", b'{"folders":[{"name":"hidden"}]}'),
    ):
        assert ask(world.platform, "GET", path, key=key).body == expected
    root = "/v1/algorithms/riva/hidden"
    for path, count in (("versions", 1), ("deployments", 1), ("builds", 1)):
        assert len(ask(world.platform, "GET", f"{root}/{path}", key=key).json["results"]) == count
    for path in ("secrets", "publishers"):
        assert (
            world.theirs.ids[f"{path[:-1]}_id"] in ask(world.platform, "GET", f"{root}/{path}", key=key).body.decode()
        )
    members = ask(world.platform, "GET", "/v1/organizations/riva/members", key=key).json["results"]
    assert [one["username"] for one in members] == ["zoey"]


@pytest.mark.usefixtures("elsewise")
def test_the_walk_was_long_enough(world: World, own: list[Step], foreign: list[Step]) -> None:
    assert len(own) == len(ROWS) * len(ROLES)
    assert len(foreign) >= len(ROLES) * sum(bool(TENANT.search(pattern)) for _, pattern, _ in ROWS)
    let_in = [step for step in own if step.outcome == "answered"]
    assert len(let_in) > 400, "most of what is allowed was tried, too"
    assert {step.role for step in let_in} == {READER, CALLER, DEPLOYER, MEMBER, OWNER, ADMIN}
    assert len({step.pattern for step in own}) > 100
    assert world.asked["v1"] > 8000, world.asked
    assert world.asked["git"] > 100, world.asked
