"""Algorithms that are built from a git host: registered, fetched, built; with a host that is real and may misbehave."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pushpoint import git, wire
from pushpoint.web.algorithms import source_url
from tests.conftest import Platform, start_platform, stop_platform
from tests.githost import Delivery, Fault, GitHost, github, github_push, gitlab_push
from tests.web.support import JSON, Answer, address, ask, create, issue_key, remote, run_git

TOKEN = "ghp_may-read"


def code(text: str) -> dict[str, str]:
    """Inference code that answers a text."""
    return {"src/NAME.py": f"def apply(input):\n    return {text!r}\n", "src/__init__.py": ""}


@dataclass(frozen=True)
class Hosted:
    """A platform and a git host."""

    platform: Platform
    host: GitHost

    def ask(self, method: str, path: str, body: object = None, *, key: str = "", timeout: float = 60.0) -> Answer:
        sent = b"" if body is None else json.dumps(body).encode()
        return ask(self.platform, method, f"/v1/algorithms/ann/{path}", sent, key=key, headers=JSON, timeout=timeout)

    def commit(self, name: str, text: str, **more: Any) -> str:
        files = {path.replace("NAME", name): content for path, content in code(text).items()}
        return self.host.commit(f"team/{name}", files, **more)

    def make(self, name: str, *, text: str = "", public: bool = False, **source: object) -> str:
        """Make an algorithm with a source, whose repository holds code that answers `text`.

        Returns:
            The webhook's secret.
        """
        self.host.create(f"team/{name}", public=public)
        if text:
            self.commit(name, text)
        create(self.platform, f"ann/{name}")
        asked: Mapping[str, object] = {"url": self.host.url(f"team/{name}")}
        if not public:
            asked = {**asked, "user": "ann", "token": TOKEN}
        answer = self.ask("PUT", f"{name}/source", {**asked, **source})
        assert answer.status == 200, answer.body
        return str(answer.json["webhook_secret"])

    def builds(self, name: str) -> list[str]:
        return [build["commit_sha"] for build in self.ask("GET", f"{name}/builds").json["results"]]

    def call(self, name: str, version: str) -> Any:
        answer = ask(self.platform, "POST", f"/v1/algo/ann/{name}/{version}", b'"x"', headers=JSON)
        return answer.json["result"]


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    with GitHost(tmp_path_factory.mktemp("host")) as host:
        platform = start_platform(tmp_path_factory.mktemp("home"), "--git-host", host.address)
        yield Hosted(platform, host)
        stop_platform(platform)


@pytest.fixture(autouse=True)
def healthy(hosted: Hosted) -> Iterator[None]:
    yield
    hosted.host.fault = None


def test_compile_fetches_and_builds_what_the_host_has(hosted: Hosted) -> None:
    secret = hosted.make("line", text="first")
    assert len(secret) == 64
    first = hosted.host.tip("team/line")
    compiled = hosted.ask("POST", "line/compile")
    assert compiled.status == 200, compiled.body
    assert compiled.json["compilation"]["successful"], compiled.json["compilation"]["output"]
    assert compiled.json["version_info"]["git_hash"] == first
    assert hosted.call("line", first) == "first"

    second = hosted.commit("line", "second")
    compiled = hosted.ask("POST", "line/compile", {"commitSha": second})
    assert compiled.json["version_info"]["git_hash"] == second
    assert hosted.call("line", second) == "second"
    assert hosted.builds("line") == [second, first]


# -- what is said of a source -------------------------------------------------------------------------------


def test_the_webhooks_secret_is_shown_when_it_is_made_and_never_again(hosted: Hosted) -> None:
    secret = hosted.make("shown", text="x")
    url = f"{hosted.platform.url}/v1/algorithms/ann/shown/scm/webhook"
    same = {"url": hosted.host.url("team/shown"), "branch": "main", "token": TOKEN}
    for method, path, body in (
        ("GET", "shown/source", None),
        ("PUT", "shown/source", same),
        ("GET", "shown/scm/status", None),
        ("GET", "shown", None),
    ):
        answer = hosted.ask(method, path, body)
        assert answer.status == 200, answer.body
        assert secret.encode() not in answer.body
        assert TOKEN.encode() not in answer.body
    assert hosted.ask("GET", "shown/source").json == {
        "url": hosted.host.url("team/shown"),
        "branch": "main",
        "user": None,
        "webhook_url": url,
        "webhook_secret": None,
    }
    renewed = hosted.ask("POST", "shown/source/secret").json["webhook_secret"]
    assert len(renewed) == 64
    assert renewed != secret
    assert github_push(hosted.host, "team/shown", secret).send(url)[0] == 401, "the old one is over"
    assert github_push(hosted.host, "team/shown", renewed).send(url)[0] == 204
    other = hosted.ask("PUT", "shown/source", {"url": hosted.host.url("team/other")}).json
    assert other["webhook_secret"] not in {None, renewed}, "another repository has another secret"


def test_an_algorithm_says_where_it_is_built_from_to_its_owner_alone(hosted: Hosted) -> None:
    hosted.make("told", text="x")
    assert hosted.ask("PUT", "told", {"settings": {"algorithm_callability": "public"}}).status == 200
    assert hosted.ask("GET", "told").json["source"] == {
        "scm": {"id": "git", "name": "git", "provider": "git", "default": False, "enabled": True},
        "repository_url": hosted.host.url("team/told"),
    }
    bob = issue_key(hosted.platform, "bob")
    assert hosted.ask("GET", "told", key=bob).json["source"]["scm"]["id"] == "internal"
    for method, path in (("GET", "source"), ("PUT", "source"), ("GET", "scm/status"), ("POST", "source/reset")):
        assert hosted.ask(method, f"told/{path}", {"url": "https://x.example/a/b"}, key=bob).status == 403


def test_the_old_platforms_way_to_name_a_host(hosted: Hosted) -> None:
    for scm, host in (("github", "github.com"), ("gitlab", "gitlab.com"), ("bitbucket", "bitbucket.org")):
        named = wire.AskedSource(scm=scm, repository_owner="team", repository_name="code")
        assert str(source_url(named)) == f"https://{host}/team/code.git"
    sources: tuple[object, ...] = (
        {"scm": "subversion", "repository_owner": "team", "repository_name": "code"},
        {"scm": "github"},
        {"scm": "github", "repository_owner": "..", "repository_name": "code"},
        {"scm": "github", "repository_owner": "team@127.0.0.1", "repository_name": "?x"},
        {"scm": {}},
        "github",
        [1],
    )
    for source in sources:
        wrong = json.dumps({"name": "by_nothing", "source": source}).encode()
        answer = ask(hosted.platform, "POST", "/v1/algorithms/ann", wrong, headers=JSON)
        assert answer.status == 400, source
        assert hosted.ask("GET", "by_nothing").status == 404
    inside = json.dumps({"name": "inside", "source": {"scm": "internal"}}).encode()
    assert ask(hosted.platform, "POST", "/v1/algorithms/ann", inside, headers=JSON).status == 201


@pytest.mark.parametrize(
    ("fault", "token", "status"),
    [
        (None, TOKEN, "active"),
        (None, "wrong", "deploy_key_error"),
        (None, "", "deploy_key_error"),
        (Fault(403), TOKEN, "deploy_key_error"),
        (Fault(404), TOKEN, "deploy_key_error"),
        (Fault(500), TOKEN, "provider_internal_error"),
        (Fault(302, {"Location": "http://127.0.0.1:1/"}), TOKEN, "provider_internal_error"),
    ],
)
def test_the_status_tells_what_the_host_says(hosted: Hosted, fault: Fault | None, token: str, status: str) -> None:
    if not hosted.host.path("team/status").exists():
        hosted.make("status", text="x")
    hosted.ask("PUT", "status/source", {"url": hosted.host.url("team/status"), "token": token or None})
    hosted.host.fault = fault
    answer = hosted.ask("GET", "status/scm/status").json
    assert answer["scm_connection_status"] == status, answer
    compiled = hosted.ask("POST", "status/compile")
    assert (compiled.status == 200) is (status == "active"), compiled.body
    if status != "active":
        assert compiled.message


def test_a_token_is_not_kept_for_another_address(hosted: Hosted) -> None:
    hosted.make("kept", text="x")
    hosted.ask("PUT", "kept/source", {"url": hosted.host.url("team/line")})
    hosted.host.requests.clear()
    assert hosted.ask("GET", "kept/scm/status").json["scm_connection_status"] == "deploy_key_error"
    assert hosted.host.requests
    assert not [request for request in hosted.host.requests if "authorization" in request.headers]


def test_a_push_to_the_platform_is_refused_and_says_where_to_push(hosted: Hosted, tmp_path: Path) -> None:
    hosted.make("elsewhere", text="x")
    assert hosted.ask("POST", "elsewhere/compile").status == 200
    where = remote(hosted.platform, "ann/elsewhere")
    git.run(["clone", "--quiet", where.url, str(tmp_path / "clone")], remote=where)  # reading is fine
    host = hosted.platform.url.removeprefix("http://")
    url = f"http://ann:{hosted.platform.key}@{host}/git/ann/elsewhere.git"
    done = run_git("push", url, "HEAD:refs/heads/master", cwd=tmp_path / "clone")
    assert done.returncode != 0
    assert f"is built from {hosted.host.url('team/elsewhere')}; push there" in done.stderr
    body = b"0000"
    answer = ask(hosted.platform, "POST", "/git/ann/elsewhere.git/git-receive-pack", body)
    assert answer.status == 403
    assert hosted.ask("DELETE", "elsewhere/source").status == 204
    assert run_git("push", url, "HEAD:refs/heads/other", cwd=tmp_path / "clone").returncode == 0


# -- histories ----------------------------------------------------------------------------------------------


def test_a_rewritten_history_is_refused_until_the_owner_takes_it(hosted: Hosted) -> None:
    hosted.make("rewritten", text="first")
    first = hosted.ask("POST", "rewritten/compile").json["version_info"]["git_hash"]
    second = hosted.commit("rewritten", "second", parent="")
    for _ in range(2):
        answer = hosted.ask("POST", "rewritten/compile")
        assert answer.status == 409
        assert "rewritten" in answer.message
        assert answer.message.endswith("pushpoint source reset")
    assert hosted.ask("POST", "rewritten/compile", {"commitSha": second}).status == 409
    assert hosted.builds("rewritten") == [first]
    assert hosted.ask("POST", "rewritten/compile", {"commitSha": first}).status == 200, "what is here may be built"

    assert hosted.ask("POST", "rewritten/source/reset").json == {"commit": second}
    compiled = hosted.ask("POST", "rewritten/compile")
    assert compiled.json["version_info"]["git_hash"] == second
    assert hosted.call("rewritten", second) == "second"
    assert hosted.call("rewritten", first) == "first", "and what was built before still is"
    rewound = hosted.commit("rewritten", "third")
    assert hosted.ask("POST", "rewritten/compile").json["version_info"]["git_hash"] == rewound
    hosted.host.git("team/rewritten", "update-ref", "refs/heads/main", second)
    assert hosted.ask("POST", "rewritten/compile").status == 409, "back is a rewriting too"


def test_a_single_fetched_commit_is_not_taken_for_the_template(hosted: Hosted) -> None:
    secret = hosted.make("single", text="x")
    url = f"{hosted.platform.url}/v1/algorithms/ann/single/scm/webhook"
    assert github_push(hosted.host, "team/single", secret).send(url)[0] == 204
    assert hosted.builds("single") == [hosted.host.tip("team/single")]


def test_an_empty_repository_and_a_branch_that_is_not_there_are_said_so(hosted: Hosted) -> None:
    hosted.make("empty")
    answer = hosted.ask("POST", "empty/compile")
    assert answer.status == 400
    assert answer.message.endswith("push a first one there")
    hosted.commit("empty", "x")
    hosted.ask("PUT", "empty/source", {"url": hosted.host.url("team/empty"), "token": TOKEN, "branch": "gone"})
    assert "no such branch" in hosted.ask("POST", "empty/compile").message
    assert hosted.builds("empty") == []


def test_a_branch_other_than_the_hosts_head(hosted: Hosted) -> None:
    hosted.make("branch", text="main", branch="live/now")
    live = hosted.commit("branch", "live", branch="live/now")
    assert hosted.ask("POST", "branch/compile").json["version_info"]["git_hash"] == live


@pytest.mark.parametrize(
    "branch", ["-x", "a..b", "a b", "a~1", "a:b", "refs/heads/../x", "a.lock", "/a", "a\n", "@{0}"]
)
def test_a_branch_that_cannot_be_one_is_refused(hosted: Hosted, branch: str) -> None:
    if hosted.ask("GET", "odd_branch/builds").status == 404:
        create(hosted.platform, "ann/odd_branch")
    assert hosted.ask("PUT", "odd_branch/source", {"url": hosted.host.url("team/x"), "branch": branch}).status == 400


def test_what_git_calls_broken_is_not_taken(hosted: Hosted) -> None:
    hosted.make("broken", text="x")
    blob = hosted.host.git("team/broken", "hash-object", "-w", "--stdin", stdin=b"x")
    tree = hosted.host.git("team/broken", "mktree", stdin=f"100644 blob {blob}\t.git\n".encode())
    evil = hosted.host.git("team/broken", "commit-tree", tree, "-m", "evil")
    hosted.host.git("team/broken", "update-ref", "refs/heads/main", evil)
    answer = hosted.ask("POST", "broken/compile")
    assert answer.status == 400
    assert "broken" in answer.message


def test_submodules_are_not_followed_and_hooks_do_not_run(hosted: Hosted, tmp_path: Path) -> None:
    hosted.make("modules", text="x")
    inner = hosted.host.create("team/inner", {"canary": "x"}, public=True)
    tree = hosted.host.git("team/modules", "ls-tree", "main").encode()
    entry = f"\n160000 commit {inner}\tinner\n".encode()
    made = hosted.host.git("team/modules", "mktree", "--missing", stdin=tree + entry)
    commit = hosted.host.git("team/modules", "commit-tree", made, "-p", "main", "-m", "a submodule")
    hosted.host.git("team/modules", "update-ref", "refs/heads/main", commit)
    identity = hosted.ask("GET", "modules").json["id"]
    hooks = hosted.platform.home / "repositories" / f"{identity}.git" / "hooks"
    hooks.mkdir(exist_ok=True)
    marker = tmp_path / "ran"
    for name in ("reference-transaction", "post-checkout", "post-merge"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (hooks / name).chmod(0o755)
    hosted.host.requests.clear()
    compiled = hosted.ask("POST", "modules/compile")
    assert compiled.json["compilation"]["successful"], compiled.json
    assert not marker.exists()
    assert not [request for request in hosted.host.requests if "inner" in request.target]


# -- webhooks -----------------------------------------------------------------------------------------------


def test_a_push_is_fetched_and_built_when_its_delivery_is_answered(hosted: Hosted) -> None:
    secret = hosted.make("hooked", text="first")
    url = hosted.ask("GET", "hooked/source").json["webhook_url"]
    for deliver in (github_push, gitlab_push):
        commit = hosted.commit("hooked", deliver.__name__)
        assert deliver(hosted.host, "team/hooked", secret).send(url) == (204, b"")
        assert hosted.builds("hooked")[0] == commit, "begun before the delivery is answered"
    form = github_push(hosted.host, "team/hooked", secret)
    body = b"payload=" + quote(form.body.decode(), safe="").encode()
    signed = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {**form.headers, "content-type": "application/x-www-form-urlencoded", "x-hub-signature-256": signed}
    commit = hosted.commit("hooked", "as a form")
    assert Delivery(headers, body).send(url)[0] == 204
    assert hosted.builds("hooked")[0] == commit


def forged(hosted: Hosted, name: str, secret: str) -> dict[str, Delivery]:
    good = github_push(hosted.host, f"team/{name}", secret)
    lab = gitlab_push(hosted.host, f"team/{name}", secret)
    right = good.headers["x-hub-signature-256"]
    return {
        "no signature": good.with_headers(x_hub_signature_256=None, x_hub_signature=None),
        "SHA-1 alone": good.with_headers(x_hub_signature_256=None),
        "an empty one": good.with_headers(x_hub_signature_256=""),
        "a name alone": good.with_headers(x_hub_signature_256="sha256="),
        "a truncated one": good.with_headers(x_hub_signature_256=right[:-1]),
        "a longer one": good.with_headers(x_hub_signature_256=right + "0"),
        "without its name": good.with_headers(x_hub_signature_256=right.removeprefix("sha256=")),
        "in capitals": good.with_headers(x_hub_signature_256=right.upper()),
        "of SHA-1 by the other name": good.with_headers(
            x_hub_signature_256=good.headers["x-hub-signature"].replace("sha1", "sha256")
        ),
        "no text": good.with_headers(x_hub_signature_256="sha256=\xe9\xff"),
        "of another secret": github_push(hosted.host, f"team/{name}", "f" * 64),
        "of no secret": github_push(hosted.host, f"team/{name}", ""),
        "of another body": replace(good, body=good.body.replace(b"main", b"Main")),
        "of a body with a tail": replace(good, body=good.body + b" "),
        "a wrong one beside a right token": good.with_headers(x_hub_signature_256="sha256=0", x_gitlab_token=secret),
        "GitLab's without a token": lab.with_headers(x_gitlab_token=None),
        "GitLab's with a wrong token": lab.with_headers(x_gitlab_token="f" * 64),
        "GitLab's with a truncated token": lab.with_headers(x_gitlab_token=secret[:-1]),
        "GitLab's with an empty token": lab.with_headers(x_gitlab_token=""),
        "the platform's key instead": good.with_headers(
            x_hub_signature_256=None, authorization=f"Simple {hosted.platform.key}"
        ),
    }


def test_a_delivery_without_a_right_signature_does_nothing_and_tells_nothing(hosted: Hosted) -> None:
    secret = hosted.make("forged", text="x")
    create(hosted.platform, "ann/sourceless")
    root = f"{hosted.platform.url}/v1/algorithms/ann"
    deliveries = forged(hosted, "forged", secret)
    answers = {what: one.send(f"{root}/forged/scm/webhook") for what, one in deliveries.items()}
    good = github_push(hosted.host, "team/forged", secret)
    answers |= {"absent": good.send(f"{root}/absent/scm/webhook")}
    answers |= {"no source": good.send(f"{root}/sourceless/scm/webhook")}
    answers |= {"nobody's": good.send(f"{hosted.platform.url}/v1/algorithms/nobody/forged/scm/webhook")}
    bodies = {json.loads(body)["error"]["message"] for _, body in answers.values()}
    assert {what: status for what, (status, _) in answers.items() if status != 401} == {}
    assert len(bodies) == 1
    assert hosted.builds("forged") == []
    assert '"bug"' not in (hosted.platform.home / "platform.log").read_text()
    assert good.send(f"{root}/forged/scm/webhook")[0] == 204, "and the right one still works"


def test_a_delivery_that_is_no_push_to_the_branch_is_ignored(hosted: Hosted) -> None:
    secret = hosted.make("ignoring", text="x")
    url = hosted.ask("GET", "ignoring/source").json["webhook_url"]
    push = {"ref": "refs/heads/main", "repository": {"default_branch": "main"}}
    for what, delivery in {
        "ping": github("ping", {"zen": "x"}, secret),
        "another event": github("workflow_run", push, secret),
        "another branch": github_push(hosted.host, "team/ignoring", secret, branch="other"),
        "a tag": github("push", {**push, "ref": "refs/tags/main"}, secret),
        "a branch that was deleted": github("push", {**push, "after": "0" * 40}, secret),
        "a list": github("push", push, secret).with_headers(x_github_event="x"),
        "GitLab's tag": gitlab_push(hosted.host, "team/ignoring", secret).with_headers(x_gitlab_event="Tag Push Hook"),
    }.items():
        status, body = delivery.send(url)
        assert status == 202, what
        assert json.loads(body)["ignored"]
    assert hosted.builds("ignoring") == []


@pytest.mark.parametrize("deliver", [github_push, gitlab_push])
def test_a_delivery_that_was_seen_before_does_nothing(hosted: Hosted, deliver: Any) -> None:
    name = f"replayed_{deliver.__name__[:6]}"
    secret = hosted.make(name, text="first")
    url = hosted.ask("GET", f"{name}/source").json["webhook_url"]
    first = deliver(hosted.host, f"team/{name}", secret, delivery="one")
    assert first.send(url)[0] == 204
    hosted.commit(name, "second")
    hosted.host.requests.clear()
    for _ in range(3):
        status, body = first.send(url)
        assert (status, json.loads(body)) == (202, {"ignored": "this delivery was seen before"})
    assert hosted.host.requests == [], "it was not even fetched"
    assert len(hosted.builds(name)) == 1
    # under a name that was not seen, an old delivery fetches what is there now, never what was there then
    replayed = deliver(hosted.host, f"team/{name}", secret, delivery="two")
    assert replace(first, headers=replayed.headers | signatures(first)).send(url)[0] == 204
    assert hosted.builds(name)[0] == hosted.host.tip(f"team/{name}")


def signatures(delivery: Delivery) -> dict[str, str]:
    return {name: value for name, value in delivery.headers.items() if "signature" in name or "token" in name}


def test_of_deliveries_at_once_one_counts_and_one_build_is_made(hosted: Hosted) -> None:
    secret = hosted.make("crowd", text="x")
    url = hosted.ask("GET", "crowd/source").json["webhook_url"]
    same = github_push(hosted.host, "team/crowd", secret)
    others = [github_push(hosted.host, "team/crowd", secret) for _ in range(4)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda one: one.send(url)[0], [same, same, same, same, *others]))
    assert sorted(answers[:4]) == [202, 202, 202, 204]
    assert answers[4:] == [204] * 4
    assert hosted.builds("crowd") == [hosted.host.tip("team/crowd")]


def test_a_delivery_that_led_to_nothing_may_come_again(hosted: Hosted) -> None:
    secret = hosted.make("again", text="x")
    url = hosted.ask("GET", "again/source").json["webhook_url"]
    delivery = github_push(hosted.host, "team/again", secret)
    hosted.host.fault = Fault(500)
    status, body = delivery.send(url)
    assert status == 503
    assert json.loads(body)["error"]["message"].endswith("try again later")
    hosted.host.fault = None
    assert delivery.send(url)[0] == 204
    assert hosted.builds("again") == [hosted.host.tip("team/again")]


def test_a_slow_host_does_not_make_the_delivery_late(hosted: Hosted) -> None:
    """GitHub waits for 10 seconds."""
    secret = hosted.make("slow", text="x")
    url = hosted.ask("GET", "slow/source").json["webhook_url"]
    hosted.host.fault = Fault(503, seconds=12, times=1)
    began = time.monotonic()
    assert github_push(hosted.host, "team/slow", secret).send(url)[0] == 204
    assert time.monotonic() - began < 9.5
    assert ask(hosted.platform, "GET", "/live").status == 200
    deadline = time.monotonic() + 20
    while not (
        b"a fetch failed" in (log := (hosted.platform.home / "platform.log").read_bytes()) and b"ann/slow" in log
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def peak(platform: Platform) -> int:
    """Return the most memory the platform ever had, in bytes."""
    status = Path(f"/proc/{platform.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_huge_delivery_is_refused_and_fills_no_memory(hosted: Hosted, is_chunked: bool) -> None:
    path = "/v1/algorithms/ann/line/scm/webhook"
    before = peak(hosted.platform)
    if is_chunked:
        with contextlib.suppress(ConnectionError):  # or it closes in the middle
            pieces = iter([b"x" * (1 << 20)] * 200)
            assert ask(hosted.platform, "POST", path, pieces, key=None).status == 413
    else:
        with socket.create_connection(address(hosted.platform), timeout=10) as connection:
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {200 << 20}\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    assert peak(hosted.platform) - before < 40 << 20
    assert ask(hosted.platform, "GET", "/live").status == 200


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"ref": 1}', b'{"ref": {"a": []}}', b"[" * 100_000]
)
def test_a_signed_delivery_that_is_odd_is_no_bug(hosted: Hosted, body: bytes) -> None:
    if not hosted.host.path("team/odd").exists():
        hosted.make("odd", text="x", branch="main")
    secret = hosted.ask("POST", "odd/source/secret").json["webhook_secret"]
    signed = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    for kind in ("application/json", "application/x-www-form-urlencoded", ""):
        headers = {"content-type": kind, "x-github-event": "push", "x-hub-signature-256": signed}
        status, answer = Delivery(headers, body).send(hosted.ask("GET", "odd/source").json["webhook_url"])
        assert status in {202, 400}, answer


# -- whom the platform may speak to -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def canary() -> Iterator[tuple[int, list[str]]]:
    """Something on this machine that must not be spoken to."""
    met: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.1)
    done = threading.Event()

    def accept() -> None:
        while not done.is_set():
            with contextlib.suppress(TimeoutError):
                connection, who = listening.accept()
                met.append(str(who))
                connection.close()

    thread = threading.Thread(target=accept)
    thread.start()
    yield listening.getsockname()[1], met
    done.set()
    thread.join()
    listening.close()


HOSTS = [
    "127.0.0.1", "localhost", "LOCALHOST", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1",
    "127.0.0.1.", "localhost.", "0.0.0.0", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[::127.0.0.1]", "[fe80::1]",
    "[fe80::1%25lo]", "[fd00:ec2::254]", "169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.100.100.200",
    "168.63.129.16", "192.0.0.192", "224.0.0.1", "255.255.255.255", "127.0.0.1%00", "127.0.0.1%2f", "a@127.0.0.1",
    "a:b@127.0.0.1", "127.0.0.1\\@github.com", "github.com#@127.0.0.1", "github.com?@127.0.0.1", "127。0。0。1",
    "①②⑦.0.0.1", "ⓛocalhost", "127.0.0.1\t", "127.0.0.1\n", " 127.0.0.1", "", "-", "host..name", "[127.0.0.1]",
    "metadata.google.internal", "nowhere.invalid",
]  # fmt: skip


def test_a_source_is_no_way_into_the_platforms_own_network(hosted: Hosted, canary: tuple[int, list[str]]) -> None:
    port, met = canary
    create(hosted.platform, "ann/reaching")
    for host in HOSTS:
        for scheme in ("https", "http"):
            url = f"{scheme}://{host}:{port}/team/code.git"
            answer = hosted.ask("PUT", "reaching/source", {"url": url, "token": "canary-token"})
            assert answer.status in {400, 403}, (url, answer.body)
            assert b"canary-token" not in answer.body
            assert hosted.ask("GET", "reaching/source").status == 404
    for url in (
        "file:///etc/passwd",
        "git://127.0.0.1/x",
        "ssh://127.0.0.1/x",
        "ext::sh -c id",
        "https:/127.0.0.1/x",
        "x",
    ):
        assert hosted.ask("PUT", "reaching/source", {"url": url}).status == 400
    assert met == []


def test_a_listed_host_that_redirects_leads_nowhere(hosted: Hosted, canary: tuple[int, list[str]]) -> None:
    port, met = canary
    hosted.make("redirected", text="x")
    for status in (301, 302, 303, 307, 308):
        location = f"http://127.0.0.1:{port}/team/redirected.git/info/refs?service=git-upload-pack"
        hosted.host.fault = Fault(status, {"Location": location})
        assert hosted.ask("POST", "redirected/compile").status == 400
    assert met == []


def test_a_listed_host_that_speaks_the_dumb_protocol_names_no_other_place(
    hosted: Hosted, canary: tuple[int, list[str]]
) -> None:
    port, met = canary
    hosted.make("dumb", text="x", branch="main")
    asked: list[str] = []

    def said(path: str) -> bytes | None:
        asked.append(path)
        if "info/refs" in path:
            return f"{'a' * 40}\trefs/heads/main\n".encode()
        return f"http://127.0.0.1:{port}/x.git/objects\n".encode() if path.endswith("alternates") else None

    hosted.host.fault = Fault(200, {"Content-Type": "text/plain"}, said)
    assert hosted.ask("POST", "dumb/compile").status == 503
    assert any("objects/aa" in path for path in asked), "it did look for the commit"
    assert met == []
