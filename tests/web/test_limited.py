"""A key that CI got for its identity deploys one algorithm, and does nothing else on any route there is."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pushpoint import git
from pushpoint.errors import NotFound
from pushpoint.web import ROUTES
from tests.conftest import Platform, start_platform, stop_platform
from tests.issuer import issuing
from tests.web.support import JSON, TEXT, Answer, ask, create, push, remote, serve
from tests.web.test_auth import ALL
from tests.web.test_exchange import Deal

ECHO = "def apply(input):\n    return input\n"
CURIOUS = """
import http.client, os
from urllib.parse import urlsplit

def apply(input):
    there = urlsplit(os.environ["ALGORITHMIA_API"])
    connection = http.client.HTTPConnection(there.hostname, there.port, timeout=10)
    connection.request("POST", there.path + input, body="x", headers={"content-type": "text/plain"})
    return connection.getresponse().status
"""
# what a deploy asks for, and what its own algorithm answers; everything else is refused
DEPLOYS = {
    ("GET", "/v1/account"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}"): 200,
    ("POST", "/v1/algorithms/{owner}/{name}/compile"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/builds"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/builds/{build_id}"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/builds/{build_id}/logs"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/builds/{build_id}/output"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/log"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/source"): 404,  # the platform hosts it
    ("GET", "/v1/algorithms/{owner}/{name}/scm/status"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/versions"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/versions/{selector}"): 200,
    ("POST", "/v1/algorithms/{owner}/{name}/versions"): 409,  # published already
    ("POST", "/v1/algorithms/{owner}/{name}/version"): 409,
    ("GET", "/v1/algorithms/{owner}/{name}/releases"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/live"): 200,
    ("GET", "/v1/algorithms/{owner}/{name}/deployments"): 200,
    ("POST", "/v1/algorithms/{owner}/{name}/deployments"): 202,
    ("GET", "/v1/algorithms/{owner}/{name}/deployments/{deployment_id}"): 404,  # there is no x
    ("POST", "/v1/algo/{owner}/{name}"): 200,
    ("POST", "/v1/algo/{owner}/{name}/latest"): 200,
    ("POST", "/v1/algo/{owner}/{name}/{commit}"): 200,
    ("POST", "/v1/algo/{owner}/{name}?output=raw"): 200,
    ("POST", "/v1/algo/{owner}/{name}?output=void"): 200,
    ("POST", "/v1/data/{owner}"): 409,  # its own collection is there
    ("HEAD", "/v1/data/{owner}/{collection}/file.txt"): 200,
    ("PUT", "/v1/data/{owner}/{collection}/file.txt"): 409,  # it holds other bytes, and a deploy only adds
    ("GET", "/git/{owner}/{name}.git/info/refs?service=git-upload-pack"): 200,
    ("GET", "/git/{owner}/{name}.git/info/refs?service=git-receive-pack"): 200,
    ("GET", "/git/{owner}/{name}.git/info/refs"): 200,
    ("POST", "/git/{owner}/{name}.git/git-upload-pack"): 200,
    ("POST", "/git/{owner}/{name}.git/git-receive-pack"): 200,
}


@dataclass(frozen=True)
class Limited:
    platform: Platform
    deal: Deal
    key: str
    commits: dict[str, str]

    def ask(self, method: str, pattern: str, name: str, *, collection: str = "", key: str | None = None) -> Answer:
        path = pattern.format(
            owner="ann",
            name=name,
            collection=collection or name,
            commit=self.commits.get(name, "c" * 40),
            build_id=self.commits.get(name, "x"),
            selector="0.1.0",
            deployment_id="x",
            publisher_id="x",
            secret_id="x",
            key_id="x",
            scm_id="github",
            rest="x",
            username="ann",
            account="ann",
            organization="team",
        )
        body = b""
        if method in {"POST", "PUT"}:
            wanted = {
                "name": collection or name,
                "deploy_id": "d",
                "version": "0.1.0",
                "repository": "a/b",
                "issuer": "x",
            }
            body = json.dumps(wanted).encode()
        if "/logs" in path or "/output" in path:
            path = path.replace(self.commits.get(name, "x"), self.build(name))
        headers = dict(JSON)
        if path.startswith("/git/") and method == "POST":
            service = path.rpartition("/")[2]
            headers, body = {"content-type": f"application/x-{service}-request"}, b"0000"
        return ask(self.platform, method, path, body, key=key or self.key, headers=headers)

    def build(self, name: str) -> str:
        found = ask(self.platform, "GET", f"/v1/algorithms/ann/{name}/builds")
        return str(found.json["results"][0]["build_id"]) if found.status == 200 else "x"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    with issuing() as issuer:
        platform = start_platform(tmp_path_factory.mktemp("home"), "--private-issuer", issuer.url)
        commits = {name: serve(platform, f"ann/{name}", ECHO) for name in ("mine", "other")}
        commits["curious"] = serve(platform, "ann/curious", CURIOUS)
        for name in ("mine", "other"):
            assert ask(platform, "POST", "/v1/data/ann", json.dumps({"name": name}).encode()).status == 200
            assert ask(platform, "PUT", f"/v1/data/ann/{name}/file.txt", name.encode()).status == 200
        deal = Deal(platform, issuer)
        for name in ("mine", "curious"):
            assert deal.trust(f"ann/{name}").status == 201
        key = deal.exchange(deal.github(), "ann/mine").json["key"]
        yield Limited(platform, deal, key, commits)
        stop_platform(platform)


def test_every_route_is_walked() -> None:
    routes = {
        (method, re.sub(r":\w+}", "}", path)) for one in ROUTES for path in one.paths for method in one.http_methods
    }
    opened = {("GET", "/live"), ("GET", "/ready"), ("POST", "/v1/keys/exchange")}
    opened.add(("POST", "/v1/algorithms/{owner}/{name}/scm/webhook"))
    assert routes - opened <= {(method, pattern) for method, pattern, _ in ALL}
    assert {key for key in DEPLOYS if key in routes} == {
        (method, re.sub(r":\w+}", "}", path))
        for one in ROUTES
        for path in one.paths
        for method in one.http_methods
        if one.opt.get("deploys")
    }


@pytest.mark.parametrize(("method", "pattern", "scope"), ALL)
def test_a_limited_key_does_what_a_deploy_does_and_nothing_else(
    limited: Limited, method: str, pattern: str, scope: str
) -> None:
    if (method, pattern) == ("POST", "/v1/data/{owner}"):
        assert limited.ask(method, pattern, "mine", collection="mine2").status == 403, "another collection"
    answer = limited.ask(method, pattern, "mine")
    expected = DEPLOYS.get((method, pattern))
    if expected is not None:
        assert answer.status == expected, answer.body
    elif method == "HEAD":
        assert answer.status in {400, 403, 404}
    else:
        assert answer.status == 403, answer.body
        assert answer.message == "this key may do no more than deploy algo://ann/mine; use a key of ann's"


@pytest.mark.parametrize(("method", "pattern", "scope"), [one for one in ALL if "{" in one[1]])
def test_another_algorithm_of_the_same_owner_looks_absent(
    limited: Limited, method: str, pattern: str, scope: str
) -> None:
    there, absent = (limited.ask(method, pattern, name) for name in ("other", "absent"))
    assert there.status in {403, 404}, there.body
    assert there.status == absent.status
    clean = [re.sub(rb'"id":"[^"]*"', b"", one.body).replace(b"other", b"absent") for one in (there, absent)]
    assert clean[0] == clean[1]


def test_no_method_is_a_way_around_the_limit(limited: Limited) -> None:
    for pattern in sorted({pattern for _, pattern, _ in ALL}):
        for method in ("OPTIONS", "PATCH", "TRACE", "DELETE", "PUT"):
            answer = limited.ask(method, pattern, "other")
            assert answer.status in {403, 404, 405}, (method, pattern)


def test_nothing_of_the_above_changed_anything_of_the_others(limited: Limited) -> None:
    assert ask(limited.platform, "GET", "/v1/data/ann/other/file.txt").body == b"other"
    assert ask(limited.platform, "GET", "/v1/data/ann/mine/file.txt").body == b"mine"
    folders = ask(limited.platform, "GET", "/v1/data/ann").json["folders"]
    assert [one["name"] for one in folders] == ["mine", "other"]
    assert len(ask(limited.platform, "GET", "/v1/algorithms/ann/other/deployments").json["results"]) == 1
    assert [one["repository"] for one in ask(limited.platform, "GET", "/v1/algorithms/ann/mine/publishers").json] == [
        "acme/reviews"
    ]


def test_it_stores_models_and_links_only_to_what_its_own_collection_holds(limited: Limited) -> None:
    platform, key = limited.platform, limited.key
    for name, status in (("mine", 200), ("other", 404)):
        digest = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
        headers = {"pushpoint-link": digest}
        answer = ask(platform, "PUT", f"/v1/data/ann/mine/linked-{name}", b"", key=key, headers=headers)
        assert answer.status == status, "bytes that another collection holds look absent"
    assert ask(platform, "PUT", "/v1/data/ann/mine/new", b"new", key=key).status == 200
    assert ask(platform, "PUT", "/v1/data/ann/other/new", b"new", key=key).status == 403
    for path in ("/v1/data/ann/mine/new", "/v1/data/ann/mine", "/v1/data/ann", "/v1/data/"):
        assert ask(platform, "GET", path, key=key).status == 403, "it need not read them"
    acl = json.dumps({"name": "mine", "acl": {"read": ["user://*"]}}).encode()
    assert ask(platform, "POST", "/v1/data/ann", acl, key=key).status == 403


def test_its_uploads_go_to_its_own_collection_and_others_look_absent(limited: Limited) -> None:
    platform, tus = limited.platform, {"tus-resumable": "1.0.0", "upload-length": "4"}

    def begin(path: str, *, key: str = "", **more: str) -> Answer:
        said = "path " + base64.b64encode(f"data://ann/{path}".encode()).decode()
        return ask(platform, "POST", "/v1/uploads", key=key, headers=tus | {"upload-metadata": said} | more)

    def send(upload: str, key: str) -> int:
        headers = tus | {"content-type": "application/offset+octet-stream", "upload-offset": "0"}
        return ask(platform, "PATCH", upload, b"data", key=key, headers=headers).status

    assert begin("other/uploaded", key=limited.key).status == 403
    mine = begin("mine/uploaded", key=limited.key).headers["location"]
    whole = begin("mine/whole").headers["location"]
    assert send(whole, limited.key) == 404, "begun with another key"
    assert ask(platform, "GET", "/v1/uploads?path=data://ann/other/uploaded", key=limited.key).status == 403
    assert ask(platform, "GET", "/v1/uploads?path=data://ann/mine/whole", key=limited.key).json == {"uploads": []}
    renewed = limited.deal.exchange(limited.deal.github(), "ann/mine").json["key"]
    assert send(mine, renewed) == 204, "a key lives for 15 minutes, an upload may take longer"
    replaces = begin("mine/file.txt", key=limited.key).headers["location"]
    assert send(replaces, limited.key) == 409, "a deploy only adds"
    assert send(whole, platform.key) == 204


def test_it_does_not_decide_who_may_call(limited: Limited) -> None:
    body = json.dumps({"settings": {"algorithm_callability": "public"}}).encode()
    path = "/v1/algorithms/ann/mine/versions"
    answer = ask(limited.platform, "POST", path, body, key=limited.key, headers=JSON)
    assert (answer.status, answer.message) == (
        403,
        "this key may not say who may call algo://ann/mine; use a key of ann's",
    )


def test_it_pushes_to_its_own_repository_alone(limited: Limited) -> None:
    push(limited.platform, "ann/mine", {"README": "new"}, key=limited.key)
    theirs = remote(limited.platform, "ann/other", key=limited.key)
    with pytest.raises(NotFound, match="does not exist"):
        git.run(["ls-remote", theirs.url], remote=theirs)


def test_what_it_calls_acts_with_the_same_limit(limited: Limited) -> None:
    """The algorithm may act for its caller; through it the key reaches no further than itself."""
    key = limited.deal.exchange(limited.deal.github(), "ann/curious").json["key"]
    for caller, status in ((limited.platform.key, 200), (key, 404)):
        answer = ask(limited.platform, "POST", "/v1/algo/ann/curious", b"/v1/algo/ann/other", key=caller, headers=TEXT)
        assert answer.json["result"] == status


def test_what_it_did_is_in_the_history_with_its_run(limited: Limited) -> None:
    create(limited.platform, "ann/told")
    limited.deal.trust("ann/told")
    key = limited.deal.exchange(limited.deal.github(run_id="4242"), "ann/told").json["key"]
    assert ask(limited.platform, "POST", "/v1/data/ann", b'{"name": "told"}', key=key).status == 200
    assert ask(limited.platform, "PUT", "/v1/data/ann/told/model", b"model", key=key).status == 200
    push(limited.platform, "ann/told", {"src/told.py": ECHO}, key=key)
    assert ask(limited.platform, "POST", "/v1/algorithms/ann/told/compile", b"", key=key).status == 200
    assert ask(limited.platform, "POST", "/v1/algorithms/ann/told/versions", b"{}", key=key, headers=JSON).status == 200
    connection = sqlite3.connect(limited.platform.home / "platform.db")
    rows = connection.execute("select actor, action, run from history where run like '%4242%' order by id").fetchall()
    connection.close()
    assert {(actor, run) for actor, _, run in rows} == {
        ("ann", f"acme/reviews run 4242 at refs/heads/main, vouched for by {limited.deal.issuer.url}")
    }
    actions = [action for _, action, _ in rows]
    assert actions == ["key.exchange", "collection.create", "file.put", "release.publish", "deployment.live"]
    listed = ask(limited.platform, "GET", "/v1/algorithms/ann/told/deployments").json["results"]
    assert "run 4242" in listed[0]["run"]
