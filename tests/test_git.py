"""The thin functions over git, against the git program."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pushpoint import git
from pushpoint.errors import ConfigError, NotFound, PushRejected, Refused, Unauthenticated, Unavailable
from tests.conftest import Platform
from tests.web.support import commit_and_push, create, issue_key, remote

SECRET = "sim/+@:" + "x" * 21


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    git.run(["init", "--quiet", "--initial-branch=master", str(path)])
    commit_and_push(path, {"README": "1"}, None)
    return path


def test_a_message_and_a_time_of_a_commit(repository: Path) -> None:
    message = 'a "title"\n\nwith lines,\x01 umlauts: \u00e4\u00f6\u00fc \U0001f600\nand a tail'
    who = {f"GIT_{one}_{what}": "x@y" for one in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    when = {"GIT_COMMITTER_DATE": "2026-01-02T03:04:05+0500"}
    git.run(
        ["commit", "--quiet", "--allow-empty", "-F", "-"],
        directory=repository,
        variables=who | when,
        stdin=message.encode(),
    )
    found = git.commit_of(repository)
    assert found.message == message
    assert found.committed.isoformat() == "2026-01-01T22:04:05+00:00"
    assert found.id == git.text(["rev-parse", "HEAD"], directory=repository)
    assert git.commit_of(repository, found.id) == found


@pytest.mark.parametrize("revision", ["nothing", "--help", "-1", "", "HEAD..HEAD~1", "\n"])
def test_a_revision_that_is_none_is_a_setting_to_change(repository: Path, revision: str) -> None:
    with pytest.raises((ConfigError, ValueError)):
        git.commit_of(repository, revision)


def test_which_commit_is_there_and_which_comes_first(repository: Path) -> None:
    first = git.text(["rev-parse", "HEAD"], directory=repository)
    second = commit_and_push(repository, {"README": "2"}, None)
    assert git.has_commit(repository, second)
    assert not git.has_commit(repository, "f" * 40)
    assert git.is_ancestor(repository, first, second)
    assert git.is_ancestor(repository, first, first)
    assert not git.is_ancestor(repository, second, first)
    assert not git.is_ancestor(repository, "f" * 40, first)


def test_paths_are_taken_to_the_letter(repository: Path) -> None:
    odd = ["sp ace", "um\u00e4", "*", "-n", "a\tb", 'quo"te', "[x]"]
    commit = commit_and_push(repository, {f"folder/{name}": name for name in odd}, None)
    found = dict(git.entries(repository, commit, ["folder"]))
    assert set(found) == {f"folder/{name}" for name in odd}
    assert [path for path, _ in git.entries(repository, commit, ["folder/*"])] == ["folder/*"]
    assert list(git.entries(repository, commit, ["absent", ":(top)"])) == []

    assert git.changed(repository, ["folder"]) == []
    (repository / "folder" / "*").write_text("changed")
    (repository / "folder" / "new file").write_text("untracked")
    (repository / "elsewhere").write_text("not asked for")
    assert sorted(git.changed(repository, ["folder"])) == ["folder/*", "folder/new file"]
    assert git.changed(repository, ["README"]) == []


def test_the_users_configuration_stays_out(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "user"
    home.mkdir()
    (home / ".gitconfig").write_text("[alias]\n  mine = version\n[credential]\n  helper = !echo password=evil\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert git.run(["mine"], directory=repository, isolated=False).startswith(b"git version")
    with pytest.raises(ConfigError, match="git mine failed"):
        git.run(["mine"], directory=repository)
    assert git.run(["config", "--get-all", "credential.helper"], directory=repository) == b"\n"


def test_variables_that_would_lead_git_elsewhere_are_left_behind(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CONFIG_PARAMETERS", "GIT_SSH_COMMAND"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("PUSHPOINT_API_KEY", SECRET)
    assert git.text(["rev-parse", "--show-toplevel"], directory=repository) == str(repository.resolve())
    assert SECRET not in str(git.environment())
    assert not [name for name in git.environment() if name.startswith("PUSHPOINT_")]


def test_a_hook_in_a_checkout_does_not_run(repository: Path, tmp_path: Path) -> None:
    for name in ("pre-commit", "post-commit", "commit-msg"):
        hook = repository / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
        hook.chmod(0o755)
    commit_and_push(repository, {"README": "3"}, None)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("url", ["ext::sh -c 'touch ran'", "git://127.0.0.1/x", "ssh://127.0.0.1/x", "fd::3"])
def test_only_http_leaves_the_machine(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="not allowed"):
        git.run(["ls-remote", "--", url], directory=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_git_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="install git"):
        git.run(["version"])


def test_the_credential_is_neither_in_an_argument_nor_in_a_file(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A git in front of the real one notes what it was started with."""
    create(platform, "ann/noted")
    real = next(Path(folder) / "git" for folder in os.environ["PATH"].split(":") if (Path(folder) / "git").exists())
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    notes = tmp_path / "notes"
    wrapper.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {notes}\nexec {real} "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    where = remote(platform, "ann/noted")
    clone = tmp_path / "clone"
    git.run(["clone", "--quiet", where.url, str(clone)], remote=where)
    commit_and_push(clone, {"README": "x"}, where)
    assert "clone" in notes.read_text()
    assert "push" in notes.read_text()
    for path in (notes, *(path for path in clone.rglob("*") if path.is_file())):
        content = path.read_bytes()
        assert platform.key.encode() not in content, path
        assert b"Authorization" not in content, path
    assert platform.key not in repr(where)


def test_each_refusal_of_a_remote_is_its_own_error(platform: Platform, tmp_path: Path) -> None:
    create(platform, "ann/errors")
    good = remote(platform, "ann/errors")
    clones = [tmp_path / "one", tmp_path / "two"]
    for clone in clones:
        git.run(["clone", "--quiet", good.url, str(clone)], remote=good)
    commit_and_push(clones[0], {"README": "first"}, good)
    with pytest.raises(PushRejected, match="moved meanwhile"):
        commit_and_push(clones[1], {"README": "second"}, good)

    for key, kind in (
        ("sim" + "x" * 25, Unauthenticated),
        (issue_key(platform, "ann", "call", "data"), Refused),
        (issue_key(platform, "bob"), NotFound),
        ("", Unauthenticated),
        ("\u043a\u043b\u044e\u0447 \n", Unauthenticated),
    ):
        with pytest.raises(kind) as caught:
            git.run(["ls-remote", good.url], remote=git.Remote(good.url, "ann", key))
        if key.strip():
            assert key not in str(caught.value)


@pytest.mark.parametrize("digits", ["401", "403"])
def test_a_port_that_looks_like_a_status_is_still_a_port(digits: str) -> None:
    """Nobody listens there: that is no refusal of a key."""
    for port in (f"{digits}{rest:02}" for rest in range(100)):
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", int(port)))
            except OSError:
                continue
        where = git.Remote(f"http://127.0.0.1:{port}/git/ann/x.git", "ann", SECRET)
        with pytest.raises(Unavailable) as caught:
            git.run(["ls-remote", where.url], remote=where)
        assert digits in str(caught.value)
        assert SECRET not in str(caught.value)
        return
    pytest.fail("no free port")


@pytest.fixture
def thief() -> Iterator[tuple[str, list[str]]]:
    """A host that writes down the credentials it is handed."""
    handed: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            handed.append(self.headers.get("authorization") or "")
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/stolen.git", handed
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_credential_is_for_its_remote_alone(thief: tuple[str, list[str]]) -> None:
    url, handed = thief
    where = git.Remote("http://127.0.0.1:1/git/ann/x.git", "ann", SECRET)
    with pytest.raises(NotFound):
        git.run(["ls-remote", url], remote=where)
    assert handed == [""]


def test_a_redirect_does_not_hand_the_credential_on(thief: tuple[str, list[str]]) -> None:
    url, handed = thief

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("location", url + "/info/refs?service=git-upload-pack")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        where = git.Remote(f"http://127.0.0.1:{server.server_address[1]}/git/ann/x.git", "ann", SECRET)
        with pytest.raises(ConfigError, match="redirection"):
            git.run(["ls-remote", where.url], remote=where)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [one for one in handed if one] == []


def test_settings_without_credentials_still_describe_the_repository(repository: Path, tmp_path: Path) -> None:
    kept = {
        "remote.origin.url": "https://github.com/ann/x",
        "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
        'branch.odd "name\\.remote': "origin",
        "user.name": 'Ann "Quoted" \\ Other',
        "extensions.partialclone": "origin",
    }
    dropped = {
        "http.https://github.com/.extraheader": "AUTHORIZATION: basic c2VjcmV0",
        "http.proxy": "http://ann:secret@proxy",
        "credential.helper": "!echo password=secret",
        "url.https://ann:secret@github.com/.insteadof": "https://github.com/",
        "include.path": str(tmp_path / "secret"),
        "includeif.gitdir:/.path": str(tmp_path / "secret"),
        "core.sshcommand": "ssh -i secret",
        "core.fsmonitor": "./secret",
        "filter.x.smudge": "secret",
        "alias.x": "!secret",
        "remote.origin.proxy": "http://secret",
        "branch.main.description": "secret",
        "unheard.of": "secret",
    }
    (tmp_path / "secret").write_text("[user]\n\temail = secret\n")
    given = kept | dropped | {"remote.origin.url": "https://ann:secret@github.com/ann/x"}
    for key, value in given.items():
        git.run(["config", key, value], directory=repository)
    cleaned = git.harmless_settings(repository / ".git" / "config")
    assert "secret" not in cleaned
    (repository / ".git" / "config").write_text(cleaned)
    for key, value in kept.items():
        assert git.text(["config", "--get", key], directory=repository) == value
    assert git.text(["config", "--get", "core.bare"], directory=repository) == "false"
    assert git.commit_of(repository).id
