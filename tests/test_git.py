"""The git program's ways to fail become our errors, and the credential is nowhere to be read."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pushpoint import git
from pushpoint.errors import ConfigError, PushRejected, Unavailable

WHO = {f"GIT_{role}_{what}": "ann@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def commit(clone: Path, message: str) -> None:
    git.run(["commit", "--quiet", "--allow-empty", "-m", message], directory=clone, variables=WHO)


def test_a_push_that_came_second_is_rejected_and_the_first_one_stays(tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git.run(["init", "--quiet", "--bare", "--initial-branch=master", str(bare)])
    remote = git.Remote(str(bare), "ann", "secret-key")
    clones = [tmp_path / "first", tmp_path / "second"]
    for clone in clones:
        git.run(["clone", "--quiet", "--", str(bare), str(clone)], remote=remote)
        git.run(["checkout", "--quiet", "-B", "master"], directory=clone)
        commit(clone, clone.name)
    git.run(["push", "--quiet", "origin", "HEAD:refs/heads/master"], directory=clones[0], remote=remote)
    with pytest.raises(PushRejected, match="fetch and push again") as caught:
        git.run(["push", "--quiet", "origin", "HEAD:refs/heads/master"], directory=clones[1], remote=remote)
    assert "secret-key" not in str(caught.value)
    assert git.text(["log", "--format=%s", "master"], directory=bare) == "first"


def test_a_remote_that_cannot_be_reached_may_be_there_later(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        remote = git.Remote(f"http://127.0.0.1:{taken.getsockname()[1]}/git/ann/iris.git", "ann", "secret-key")
        with pytest.raises(Unavailable, match="try again later") as caught:
            git.run(["ls-remote", "--", remote.url], remote=remote)
    assert "secret-key" not in str(caught.value)


def test_what_git_refuses_here_is_ours_to_correct(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="git rev-parse failed"):
        git.run(["rev-parse", "HEAD"], directory=tmp_path)


def test_without_git_the_advice_is_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="install git"):
        git.run(["--version"])
