"""The git host of the tests is one: git clones from it, pushes to it, and is told no by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.githost import Fault, GitHost
from tests.web.support import run_git


@pytest.fixture
def host(tmp_path: Path) -> Iterator[GitHost]:
    with GitHost(tmp_path / "host") as found:
        yield found


def with_token(host: GitHost, name: str, token: str) -> str:
    return host.url(name).replace("//", f"//anybody:{token}@")


def test_it_is_cloned_from_and_pushed_to(host: GitHost, tmp_path: Path) -> None:
    first = host.create("team/code", {"a": "1"})
    url = with_token(host, "team/code", "ghp_may-write")
    assert run_git("clone", "--quiet", url, str(tmp_path / "clone")).returncode == 0
    (tmp_path / "clone" / "large").write_bytes(b"\0x" * (1 << 20))
    who = ["-c", "user.name=x", "-c", "user.email=x@y"]
    assert run_git("add", "--all", cwd=tmp_path / "clone").returncode == 0
    assert run_git(*who, "commit", "--quiet", "-m", "more", cwd=tmp_path / "clone").returncode == 0
    done = run_git("-c", "http.postBuffer=1000", "push", "--quiet", "origin", "main", cwd=tmp_path / "clone")
    assert done.returncode == 0, done.stderr
    assert host.tip("team/code") == run_git("rev-parse", "HEAD", cwd=tmp_path / "clone").stdout.strip() != first
    assert {request.status for request in host.requests} <= {200, 401}


@pytest.mark.parametrize(
    ("token", "act", "said"),
    [
        ("", "ls-remote", "could not read Username"),
        ("wrong", "ls-remote", "Authentication failed"),
        ("ghp_may-read", "ls-remote", ""),
        ("ghp_may-read", "push", "403"),
    ],
)
def test_its_tokens_open_what_they_should(host: GitHost, token: str, act: str, said: str) -> None:
    host.create("team/code", {"a": "1"})
    url = with_token(host, "team/code", token) if token else host.url("team/code")
    more = ["main:other"] if act == "push" else []
    done = run_git(act, url, *more, cwd=host.path("team/code"))
    assert (done.returncode == 0) is not bool(said), done.stderr
    assert said in done.stderr


def test_its_faults_are_faults(host: GitHost) -> None:
    host.create("team/code", {"a": "1"}, public=True)
    host.fault = Fault(500, times=1)
    assert "500" in run_git("ls-remote", host.url("team/code")).stderr
    assert run_git("ls-remote", host.url("team/code")).returncode == 0
    host.fault = Fault(302, {"Location": "http://127.0.0.1:1/elsewhere.git/info/refs"})
    assert "port 1 after" in run_git("ls-remote", host.url("team/code")).stderr
