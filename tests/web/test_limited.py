"""A key that CI got for its identity deploys one algorithm; that it does nothing else, promise 49 has walked."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pushpoint import git
from pushpoint.errors import NotFound
from tests.conftest import Platform, start_platform, stop_platform
from tests.issuer import issuing
from tests.web.support import JSON, TEXT, Answer, ask, create, push, remote, serve
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


@dataclass(frozen=True)
class Limited:
    platform: Platform
    deal: Deal
    key: str


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    with issuing() as issuer:
        platform = start_platform(tmp_path_factory.mktemp("home"), "--private-issuer", issuer.url)
        for name, code in (("mine", ECHO), ("other", ECHO), ("curious", CURIOUS)):
            serve(platform, f"ann/{name}", code)
        for name in ("mine", "other"):
            assert ask(platform, "POST", "/v1/data/ann", json.dumps({"name": name}).encode()).status == 200
            assert ask(platform, "PUT", f"/v1/data/ann/{name}/file.txt", name.encode()).status == 200
        deal = Deal(platform, issuer)
        for name in ("mine", "curious"):
            assert deal.trust(f"ann/{name}").status == 201
        key = deal.exchange(deal.github(), "ann/mine").json["key"]
        yield Limited(platform, deal, key)
        stop_platform(platform)


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
    assert ask(platform, "POST", "/v1/data/ann", b'{"name": "mine2"}', key=key).status == 403, "another collection"
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
