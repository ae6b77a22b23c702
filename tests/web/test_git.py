"""`/git/OWNER/NAME.git` with the git program as it is."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import address, ask, commit_and_push, compile_head, create, issue_key, push, remote, run_git


@dataclass(frozen=True)
class Git:
    platform: Platform
    bob: str

    def url(self, name: str, key: str | None = "", *, user: str = "ann") -> str:
        """Write an address as users do: with the key as the password."""
        if key is None:
            return f"{self.platform.url}/git/{name}.git"
        host = self.platform.url.removeprefix("http://")
        return f"http://{user}:{quote(key or self.platform.key, safe='')}@{host}/git/{name}.git"

    def clone(self, name: str, folder: Path) -> Path:
        done = run_git("clone", "--quiet", self.url(name), str(folder))
        assert done.returncode == 0, done.stderr
        return folder

    def bare(self, name: str) -> Path:
        identity = ask(self.platform, "GET", f"/v1/algorithms/{name}").json["id"]
        return self.platform.home / "repositories" / f"{identity}.git"

    def head(self, name: str) -> str:
        return subprocess.run(
            ["git", "rev-parse", "refs/heads/master"], cwd=self.bare(name), capture_output=True, text=True, check=True
        ).stdout.strip()

    def builds(self, name: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = ask(self.platform, "GET", f"/v1/algorithms/{name}/builds").json["results"]
        return found


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Git]:
    platform = start_platform(tmp_path_factory.mktemp("home"))
    create(platform, "ann/shared")
    yield Git(platform, issue_key(platform, "bob"))
    stop_platform(platform)


def commit(clone: Path, **files: str) -> str:
    named = {name.replace("__", "/"): content for name, content in files.items()} or {"README": str(time.time())}
    return commit_and_push(clone, named, None)


def test_a_new_algorithm_is_cloned_with_its_template(git: Git, tmp_path: Path) -> None:
    create(git.platform, "ann/fresh")
    clone = git.clone("ann/fresh", tmp_path / "clone")
    listed = run_git("ls-files", cwd=clone).stdout.split()
    assert listed == ["algorithmia.conf", "requirements.txt", "src/__init__.py", "src/fresh.py"]
    assert run_git("symbolic-ref", "HEAD", cwd=clone).stdout.strip() == "refs/heads/master"
    assert git.builds("ann/fresh") == [], "the template is never built unasked"


def test_clone_push_and_fetch(git: Git, tmp_path: Path) -> None:
    create(git.platform, "ann/work")
    one, two = git.clone("ann/work", tmp_path / "one"), git.clone("ann/work", tmp_path / "two")
    made = commit(one, src__work="x")
    pushed = run_git("push", "origin", "master", cwd=one)
    assert pushed.returncode == 0, pushed.stderr
    assert git.head("ann/work") == made
    assert run_git("pull", "--quiet", cwd=two).returncode == 0
    assert run_git("rev-parse", "HEAD", cwd=two).stdout.strip() == made
    assert git.builds("ann/work")[0]["commit_sha"] == made


def test_the_suffix_may_be_left_out_and_a_large_push_comes_through(git: Git, tmp_path: Path) -> None:
    create(git.platform, "ann/large")
    address = git.url("ann/large").removesuffix(".git")
    assert run_git("clone", "--quiet", address, str(tmp_path / "clone")).returncode == 0
    # over http.postBuffer, so git sends it chunked
    (tmp_path / "clone" / "weights").write_bytes(os.urandom(3 << 20))
    made = commit(tmp_path / "clone")
    done = run_git("push", "--quiet", "origin", "master", cwd=tmp_path / "clone")
    assert done.returncode == 0, done.stderr
    assert git.head("ann/large") == made


@pytest.mark.parametrize("protocol", ["0", "1", "2"])
def test_every_version_of_the_protocol(git: Git, tmp_path: Path, protocol: str) -> None:
    done = run_git("-c", f"protocol.version={protocol}", "clone", "--quiet", git.url("ann/shared"), str(tmp_path / "c"))
    assert done.returncode == 0, done.stderr
    listed = run_git("-c", f"protocol.version={protocol}", "ls-remote", git.url("ann/shared"), GIT_TRACE_PACKET="1")
    assert ("version 2" in listed.stderr) is (protocol == "2")


@pytest.mark.parametrize("act", ["ls-remote", "push"])
def test_only_a_key_opens_a_repository(git: Git, tmp_path: Path, act: str) -> None:
    clone = git.clone("ann/shared", tmp_path / "clone")
    commit(clone)
    before = git.head("ann/shared")
    arguments = ["ls-remote"] if act == "ls-remote" else ["push"]
    for key, said in (
        (None, "could not read Username"),
        ("sim" + "x" * 25, "Authentication failed"),
        (git.bob, "not found"),
        (issue_key(git.platform, "ann", "call", "data"), "403"),
    ):
        done = run_git(*arguments, git.url("ann/shared", key), *(["HEAD:master"] if act == "push" else []), cwd=clone)
        assert done.returncode == 128
        assert said in done.stderr
    assert git.head("ann/shared") == before


def test_the_user_name_does_not_matter_the_key_does(git: Git) -> None:
    assert run_git("ls-remote", git.url("ann/shared", user="whoever")).returncode == 0


def test_history_is_never_rewritten(git: Git, tmp_path: Path) -> None:
    create(git.platform, "ann/keeps")
    clone = git.clone("ann/keeps", tmp_path / "clone")
    made = commit(clone)
    assert run_git("push", "--quiet", "origin", "HEAD:master", "HEAD:refs/heads/other", cwd=clone).returncode == 0
    run_git("reset", "--hard", "HEAD~1", cwd=clone)
    commit(clone, other="history")
    for arguments in (
        ["--force", "origin", "HEAD:master"],
        ["origin", "+HEAD:master"],
        ["origin", "HEAD:master"],
        ["origin", ":master"],
        ["--delete", "origin", "master"],
        ["--delete", "origin", "other"],
        ["--mirror", "origin"],
    ):
        done = run_git("push", *arguments, cwd=clone)
        assert done.returncode == 1, arguments
        assert "rejected" in done.stderr
        assert git.head("ann/keeps") == made
    assert git.builds("ann/keeps")[0]["commit_sha"] == made


def test_what_is_broken_or_dangerous_is_not_taken(git: Git, tmp_path: Path) -> None:
    create(git.platform, "ann/clean")
    clone = git.clone("ann/clean", tmp_path / "clone")
    before = git.head("ann/clean")
    blob = run_git("rev-parse", "HEAD:requirements.txt", cwd=clone).stdout.strip()
    for name in (".git", "..", ".GIT"):
        entry = f"100644 blob {blob}\t{name}\n"
        made = subprocess.run(["git", "mktree"], cwd=clone, input=entry, capture_output=True, text=True, check=True)
        who = {f"GIT_{one}_{what}": "x@y" for one in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        evil = run_git("commit-tree", made.stdout.strip(), "-p", "HEAD", "-m", "evil", cwd=clone, **who).stdout.strip()
        done = run_git("push", "origin", f"{evil}:master", cwd=clone)
        assert done.returncode == 1, name
    assert git.head("ann/clean") == before


def test_hooks_never_run(git: Git, tmp_path: Path) -> None:
    create(git.platform, "ann/hooked")
    marker = tmp_path / "ran"
    hooks = git.bare("ann/hooked") / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("pre-receive", "update", "post-receive", "post-update", "reference-transaction", "proc-receive"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (hooks / name).chmod(0o755)
    push(git.platform, "ann/hooked", {"README": "x"})
    assert not marker.exists()


def test_every_repository_passes_a_strict_check(git: Git) -> None:
    create(git.platform, "ann/checked")
    push(git.platform, "ann/checked", {"src/a.py": "1", "\u00e9 '\"": "x"})
    repositories = list((git.platform.home / "repositories").iterdir())
    assert repositories
    for repository in repositories:
        done = run_git("fsck", "--strict", "--full", "--no-dangling", cwd=repository)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_of_racing_pushes_one_wins_and_the_others_hear_of_it(git: Git, tmp_path: Path) -> None:
    create(git.platform, "ann/raced")
    clones = [git.clone("ann/raced", tmp_path / str(number)) for number in range(6)]
    made = [commit(clone, race=str(number)) for number, clone in enumerate(clones)]

    def go(clone: Path) -> subprocess.CompletedProcess[str]:
        return run_git("push", "origin", "HEAD:master", cwd=clone)

    with ThreadPoolExecutor(6) as threads:
        done = list(threads.map(go, clones))
    winners = [number for number, one in enumerate(done) if one.returncode == 0]
    assert len(winners) == 1
    assert git.head("ann/raced") == made[winners[0]]
    assert all("rejected" in one.stderr for one in done if one.returncode)
    assert [build["commit_sha"] for build in git.builds("ann/raced")] == [made[winners[0]]]


def test_a_push_builds_the_head_and_only_that_and_once(git: Git, tmp_path: Path) -> None:
    create(git.platform, "ann/built")
    clone = git.clone("ann/built", tmp_path / "clone")
    commit(clone)
    head = commit(clone)
    assert run_git("push", "--quiet", "origin", "HEAD:master", cwd=clone).returncode == 0
    assert [build["commit_sha"] for build in git.builds("ann/built")] == [head], "begun before the push is answered"
    assert run_git("push", "origin", "HEAD:master", cwd=clone).returncode == 0
    assert run_git("push", "--quiet", "origin", "HEAD:refs/heads/other", "HEAD:refs/tags/v1", cwd=clone).returncode == 0
    commit(clone)
    assert run_git("push", "--quiet", "origin", "HEAD:refs/heads/other", cwd=clone).returncode == 0
    compiled = compile_head(git.platform, "ann/built")
    assert compiled["version_info"]["git_hash"] == head
    assert [build["commit_sha"] for build in git.builds("ann/built")] == [head]


def test_a_push_that_breaks_off_changes_nothing(git: Git) -> None:
    before, builds = git.head("ann/shared"), git.builds("ann/shared")
    line = f"{before} {'b' * 40} refs/heads/master\0 report-status\n"
    half = f"{len(line) + 4:04x}{line}0000PACK".encode()
    answer = ask(
        git.platform,
        "POST",
        "/git/ann/shared.git/git-receive-pack",
        half,
        headers={"content-type": "application/x-git-receive-pack-request"},
    )
    assert b"unpack ok" not in answer.body
    assert git.head("ann/shared") == before
    assert git.builds("ann/shared") == builds


@pytest.mark.parametrize(
    "path",
    [
        "ann/absent.git/info/refs",
        "ann/shared.git/HEAD",
        "ann/shared.git/config",
        "ann/shared.git/objects/info/packs",
        "ann/shared.git/info/../config",
        "ann/shared.git/",
        "ann/shared.git",
        "ann/..%2F..%2Fplatform.db/info/refs",
        "ann/%2e%2e/info/refs",
        "../../etc/info/refs",
        "ann/shared%00.git/info/refs",
        "ann/shared.git%0a/info/refs",
        "ann%2Fshared/x/info/refs",
        "ann/shared.git.git/info/refs",
        "ann/' OR '1'='1/info/refs".replace(" ", "%20"),
        "/ann/shared.git/info/refs",
        "",
    ],
)
def test_there_is_no_other_way_into_the_repositories(git: Git, path: str) -> None:
    for method in ("GET", "POST"):
        answer = ask(git.platform, method, f"/git/{path}?service=git-upload-pack")
        assert answer.status == 404
        assert answer.json["error"]["error_type"] == "NotFound"


def test_the_name_in_the_address_may_be_encoded(git: Git) -> None:
    assert ask(git.platform, "GET", "/git/ann/sha%72ed.git/info/refs?service=git-upload-pack").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"git-protocol": "version=2:" + "x" * 30_000},
        {"git-protocol": "version=2; rm -rf /"},
        {"content-encoding": "gzip"},
        {"content-encoding": "evil\\n"},
        {"content-type": "$(touch /tmp/evil)"},
    ],
)
def test_odd_headers_and_bodies_do_not_hang_it(git: Git, headers: dict[str, str]) -> None:
    kind = {"content-type": "application/x-git-upload-pack-request"} | headers
    for body in (b"", b"garbage", b"ffff" + b"x" * 70_000, b"0000"):
        answer = ask(git.platform, "POST", "/git/ann/shared.git/git-upload-pack", body, headers=kind, timeout=20)
        assert answer.status in {200, 400, 404, 415, 500}
    assert ask(git.platform, "GET", "/git/ann/shared.git/info/refs?service=git-upload-pack").status == 200
    assert '"bug"' not in (git.platform.home / "platform.log").read_text()


def processes(git: Git) -> dict[int, bytes]:
    """Find the gits that work for this platform: their arguments and variables."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (folder / "cmdline").read_bytes()
            variables = (folder / "environ").read_bytes()
            if (
                arguments.startswith((b"git\0", b"/usr/lib/git-core/git"))
                and str(git.platform.home).encode() in variables
            ):
                found[int(folder.name)] = arguments + variables
    return found


def wait_for(git: Git, *, some: bool) -> dict[int, bytes]:
    deadline = time.monotonic() + 20
    while bool(found := processes(git)) is not some:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("service", ["git-upload-pack", "git-receive-pack"])
def test_a_client_that_goes_away_leaves_no_process_and_no_file(git: Git, service: str) -> None:
    """And while the git process is there, it is seen that no credential was handed to it."""
    head, repository = git.head("ann/shared"), git.bare("ann/shared")
    files = sorted(path for path in repository.rglob("*"))
    token = base64.b64encode(f"ann:{git.platform.key}".encode()).decode()
    line = f"{head} {'b' * 40} refs/heads/master\0 report-status\n"
    half = f"{len(line) + 4:04x}{line}0000PACK" if service == "git-receive-pack" else "0032want "
    request = (
        f"POST /git/ann/shared.git/{service} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        f"Content-Type: application/x-{service}-request\r\nAuthorization: Basic {token}\r\n\r\n{half}"
    )
    with socket.create_connection(address(git.platform)) as connection:
        connection.sendall(request.encode())
        seen = wait_for(git, some=True)
        time.sleep(0.3)  # the git it starts
        seen |= processes(git)
    for text in seen.values():
        assert git.platform.key.encode() not in text
        assert token.encode() not in text
    wait_for(git, some=False)
    assert git.head("ann/shared") == head
    assert sorted(path for path in repository.rglob("*")) == files


def test_what_a_remote_helper_object_says_of_the_key(git: Git) -> None:
    assert git.platform.key not in repr(remote(git.platform, "ann/shared"))
