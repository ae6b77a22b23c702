"""Fetching into a bare repository: what is too large or too slow leaves nothing, and the operator's logins stay his."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pushpoint import git
from pushpoint.errors import ConfigError, Unauthenticated, Unavailable
from pushpoint.names import AlgorithmName
from pushpoint.records import Algorithm
from pushpoint.registry import repositories
from tests.githost import Fault, GitHost


@pytest.fixture
def host(tmp_path: Path) -> Iterator[GitHost]:
    with GitHost(tmp_path / "host") as found:
        yield found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    made = Algorithm(
        id="1",
        name=AlgorithmName("ann", "x"),
        label="",
        summary="",
        tagline="",
        settings={},
        sample_input=None,
        created=datetime.now(UTC),
        generation=0,
        live=None,
    )
    repositories.create(tmp_path, made)
    return repositories.path(tmp_path, made)


def remote(host: GitHost, token: str = "ghp_may-read") -> git.Remote:
    return git.Remote(host.url("team/code"), "ann", token)


def files(repository: Path) -> list[Path]:
    return sorted((repository / "objects").rglob("*"))


def test_what_is_too_large_is_not_taken_and_leaves_nothing(
    host: GitHost, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.create("team/code", {"small": "1"})
    before, head = files(repository), repositories.head(repository)
    blob = host.git("team/code", "hash-object", "-w", "--stdin", stdin=os.urandom(3 << 20))
    tree = host.git("team/code", "mktree", stdin=f"100644 blob {blob}\tlarge\n".encode())
    large = host.git("team/code", "commit-tree", tree, "-p", "main", "-m", "large")
    host.git("team/code", "update-ref", "refs/heads/main", large)
    monkeypatch.setattr(repositories, "LARGEST_FETCH", 1 << 20)
    with pytest.raises(ConfigError, match="larger than is taken"):
        repositories.fetch(repository, remote(host), None)
    assert files(repository) == before
    assert repositories.head(repository) == head
    monkeypatch.setattr(repositories, "LARGEST_FETCH", 8 << 20)
    assert repositories.fetch(repository, remote(host), "main") == large


def test_a_host_that_hangs_is_given_up(host: GitHost, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.create("team/code", {"small": "1"})
    host.fault = Fault(200, seconds=5)
    monkeypatch.setattr(repositories, "FETCH_TIMEOUT", 0.5)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"stopped after 0\.5 s"):
        repositories.fetch(repository, remote(host), None)
    assert time.monotonic() - began < 4


def test_the_operators_own_login_is_not_used_for_a_tenant(
    host: GitHost, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.create("team/code", {"small": "1"})
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password ghp_may-write\n")
    (tmp_path / ".git-credentials").write_text(f"http://ann:ghp_may-write@{host.address}\n")
    (tmp_path / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    git.run(["ls-remote", host.url("team/code")], remote=remote(host, ""), variables={"HOME": str(tmp_path)})
    with pytest.raises(Unauthenticated):
        repositories.fetch(repository, remote(host, ""), None)


def test_the_template_gives_way_and_what_was_pushed_does_not(host: GitHost, repository: Path) -> None:
    first = host.create("team/code", {"small": "1"})
    template = repositories.head(repository)
    assert template
    assert repositories.is_template(repository, template)
    repositories.follow(repository, repositories.fetch(repository, remote(host), None))
    assert repositories.head(repository) == first
    assert not repositories.is_template(repository, first)
    assert not repositories.holds(repository, template)
