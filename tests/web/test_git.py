"""`/git/OWNER/NAME.git` with the git program as it is."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import (
    JSON,
    address,
    ask,
    commit_and_push,
    compile_head,
    create,
    issue_key,
    publish,
    push,
    remote,
    run_git,
)


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
        ["--force", "origin", "HEAD:refs/heads/master/below"],
    ):
        done = run_git("push", *arguments, cwd=clone)
        assert done.returncode == 1, arguments
        assert "rejected" in done.stderr or "is no branch and no tag" in done.stderr
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
        assert answer.status in ({404} if method == "GET" else {404, 405}), "405 says nothing of what is there"
        assert method == "POST" or answer.json["error"]["error_type"] == "NotFound"


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
def test_who_stops_reading_a_clone_and_goes_leaves_no_process(git: Git, tmp_path: Path) -> None:
    create(git.platform, "ann/heavy")
    head = push(git.platform, "ann/heavy", {"weights": os.urandom(8 << 20)})
    token = base64.b64encode(f"ann:{git.platform.key}".encode()).decode()
    body = b"".join(f"{len(line) + 4:04x}{line}".encode() for line in (f"want {head}\n",)) + b"00000009done\n"
    request = (
        f"POST /git/ann/heavy.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: application/x-git-upload-pack-request\r\nAuthorization: Basic {token}\r\n\r\n"
    )
    with socket.create_connection(address(git.platform)) as connection:
        connection.sendall(request.encode() + body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
        wait_for(git, some=True)
    wait_for(git, some=False)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_client_that_goes_away_leaves_no_process_and_no_file(git: Git) -> None:
    """And while the git process is there, it is seen that no credential was handed to it."""
    head, repository = git.head("ann/shared"), git.bare("ann/shared")
    files = sorted(path for path in repository.rglob("*"))
    token = base64.b64encode(f"ann:{git.platform.key}".encode()).decode()
    line = f"{head} {'b' * 40} refs/heads/master\0 report-status\n"
    request = (
        f"POST /git/ann/shared.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        f"Content-Type: application/x-git-receive-pack-request\r\nAuthorization: Basic {token}\r\n\r\n"
        f"{len(line) + 4:04x}{line}0000PACK"
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


def test_a_key_that_may_only_look_fetches_and_does_not_push(git: Git, tmp_path: Path) -> None:
    create(git.platform, "ann/looked_at")
    clone, before = git.clone("ann/looked_at", tmp_path / "clone"), git.head("ann/looked_at")
    looks = git.url("ann/looked_at", issue_key(git.platform, "ann", "view"))
    assert before in run_git("ls-remote", looks).stdout
    commit(clone)
    done = run_git("push", looks, "HEAD:master", cwd=clone)
    assert (done.returncode, "403" in done.stderr) == (128, True)
    for query in (
        "service=git-receive-pack",
        "service=git%2Dreceive-pack",
        "service=git-upload-pack&service=git-receive-pack",
    ):
        headers = {"authorization": issue_key(git.platform, "ann", "view")}
        answer = ask(git.platform, "GET", f"/git/ann/looked_at.git/info/refs?{query}", headers=headers)
        assert answer.status == 403, query
        assert answer.message == "this key lacks the scope `manage`; use a key of ann's that has it"
    assert git.head("ann/looked_at") == before


@pytest.mark.parametrize(
    "spelt",
    [lambda key: key, lambda key: quote(key, safe=""), lambda key: "".join(f"%{ord(char):02x}" for char in key)],
)
def test_a_key_in_an_address_may_be_written_raw_or_encoded(git: Git, spelt: Callable[[str], str]) -> None:
    host = git.platform.url.removeprefix("http://")
    assert run_git("ls-remote", f"http://ann:{spelt(git.platform.key)}@{host}/git/ann/shared.git").returncode == 0


@pytest.mark.parametrize(
    "ref",
    [
        "refs/replace/{head}",
        "refs/pushpoint/fetched",
        "refs/pushpoint/kept/x",
        "refs/notes/x",
        "refs/namespaces/x/HEAD",
    ],
)
def test_only_branches_and_tags_are_taken(git: Git, tmp_path: Path, ref: str) -> None:
    clone = git.clone("ann/shared", tmp_path / "clone")
    head = git.head("ann/shared")
    made = commit(clone)
    done = run_git("push", "origin", f"{made}:{ref.format(head=head)}", cwd=clone)
    assert done.returncode == 1
    assert "is no branch and no tag; push those alone" in done.stderr
    assert run_git("for-each-ref", ref.format(head=head), cwd=git.bare("ann/shared")).stdout == ""


def test_a_branch_that_is_called_like_a_commit_does_not_change_what_is_built(git: Git, tmp_path: Path) -> None:
    create(git.platform, "ann/named")
    clone = git.clone("ann/named", tmp_path / "clone")
    good = commit(clone, **{"src__named.py": "def apply(input):\n    return 'good'\n"})
    assert run_git("push", "--quiet", "origin", "HEAD:master", cwd=clone).returncode == 0
    evil = commit(clone, **{"src__named.py": "def apply(input):\n    return 'evil'\n"})
    taken = 0
    for ref in (good, good[:12], "refs/heads/master", "origin/master", "HEAD", "FETCH_HEAD", "pushpoint/fetched"):
        for kind in ("heads", "tags"):
            taken += run_git("push", "--quiet", "origin", f"{evil}:refs/{kind}/{ref}", cwd=clone).returncode == 0
    assert taken > 5
    assert compile_head(git.platform, "ann/named")["version_info"]["git_hash"] == good
    assert ask(git.platform, "POST", f"/v1/algo/ann/named/{good}", b"1", headers=JSON).json["result"] == "good"
    assert ask(git.platform, "POST", f"/v1/algo/ann/named/{evil}", b"1", headers=JSON).status == 404


def test_a_push_of_many_refs_is_refused_with_a_reason(git: Git, tmp_path: Path) -> None:
    create(git.platform, "ann/many")
    clone, head = git.clone("ann/many", tmp_path / "clone"), git.head("ann/many")
    wanted = "".join(f"update refs/heads/b{number} {head}\n" for number in range(1001))
    subprocess.run(["git", "update-ref", "--stdin"], cwd=clone, input=wanted, text=True, check=True)
    done = run_git("push", "--all", "origin", cwd=clone)
    assert (done.returncode, "more than 1000 branches and tags at once" in done.stderr) == (1, True)
    assert len(run_git("for-each-ref", "refs/heads", cwd=git.bare("ann/many")).stdout.splitlines()) == 1


@dataclass(frozen=True)
class Versions:
    first: str
    second: str
    secret: str


@pytest.fixture(scope="module")
def versions(git: Git) -> Versions:
    """A public first version, a private second one, and a branch that nobody published."""
    create(git.platform, "ann/versioned")
    first = push(git.platform, "ann/versioned", {"src/versioned.py": "def apply(input):\n    return 1\n"})
    compile_head(git.platform, "ann/versioned")
    publish(git.platform, "ann/versioned", algorithm_callability="public")
    second = push(git.platform, "ann/versioned", {"src/versioned.py": "def apply(input):\n    return 2\n"})
    compile_head(git.platform, "ann/versioned")
    publish(git.platform, "ann/versioned", algorithm_callability="private")
    secret = push(git.platform, "ann/versioned", {"secret": "not published"})
    return Versions(first, second, secret)


def test_a_version_is_cloned_with_its_commit_as_head_and_master(git: Git, versions: Versions, tmp_path: Path) -> None:
    for number, (selector, expected) in enumerate(
        {
            "0.1.0": versions.first,
            "0.1": versions.first,
            "0.1.*": versions.first,
            "0.2.0": versions.second,
            "latestPrivate": versions.second,
            versions.second: versions.second,
        }.items()
    ):
        clone = git.clone(f"ann/versioned/{selector}", tmp_path / str(number))
        assert run_git("rev-parse", "HEAD", "origin/master", cwd=clone).stdout.split() == [expected] * 2, selector
        assert run_git("symbolic-ref", "HEAD", cwd=clone).stdout.strip() == "refs/heads/master"
        assert len(run_git("for-each-ref", "refs/remotes", cwd=clone).stdout.splitlines()) == 2
    for selector in ("9.9.9", "1.x.y", "..", "nothing", "f" * 40, "0.1.0.git", "info"):
        assert ask(git.platform, "GET", f"/git/ann/versioned/{selector}.git/info/refs").status == 404, selector


@pytest.mark.parametrize("protocol", ["0", "2"])
def test_nothing_but_the_version_can_be_had_from_its_address(
    git: Git, versions: Versions, tmp_path: Path, protocol: str
) -> None:
    clone = git.clone("ann/versioned/0.1.0", tmp_path / "clone")
    wanted = ("-c", f"protocol.version={protocol}", "fetch", "origin")
    assert run_git(*wanted, versions.first, cwd=clone).returncode == 0
    for hidden in (versions.second, versions.secret):
        done = run_git(*wanted, hidden, cwd=clone)
        assert done.returncode != 0
        assert "not our ref" in done.stderr or "unadvertised" in done.stderr


def test_a_push_to_a_version_is_refused_with_the_address_to_push_to(
    git: Git, versions: Versions, tmp_path: Path
) -> None:
    clone = git.clone("ann/versioned/0.1.0", tmp_path / "clone")
    commit(clone)
    done = run_git("push", "origin", "HEAD:master", cwd=clone)
    assert done.returncode == 128
    assert f"a version never changes; push to {git.platform.url}/git/ann/versioned.git" in done.stderr
    kind = {"content-type": "application/x-git-receive-pack-request"}
    assert (
        ask(git.platform, "POST", "/git/ann/versioned/0.1.0.git/git-receive-pack", b"0000", headers=kind).status == 403
    )
    assert git.head("ann/versioned") == versions.secret


def test_who_may_clone_a_version(git: Git, versions: Versions) -> None:
    """Its owner all, everybody the public ones of an open source; what one may not call looks absent."""
    bobs = issue_key(git.platform, "bob")

    def asked(version: str, key: str | None = bobs) -> int:
        path = f"/git/ann/{version}.git/info/refs?service=git-upload-pack"
        return ask(git.platform, "GET", path, key=key).status

    assert asked("versioned/0.1.0", None) == 401
    assert asked("versioned/0.1.0", issue_key(git.platform, "ann", "call", "data")) == 403
    assert asked("shared/0.1.0") == asked("absent/0.1.0") == 404
    body = b'{"settings": {"algorithm_callability": "public", "source_visibility": "%s"}}'
    for visibility, public, private in (("closed", 403, 403), ("open", 200, 404)):
        changed = ask(git.platform, "PUT", "/v1/algorithms/ann/versioned", body % visibility.encode())
        assert changed.status == 200, changed.body
        assert asked("versioned/0.1.0") == asked("versioned/0.1.*") == public
        assert asked("versioned/0.2.0") == asked(f"versioned/{versions.second}") == private
        assert asked("versioned") == 403, "the repository itself stays its owner's"


def test_members_push_to_the_algorithms_of_their_organization(git: Git, tmp_path: Path) -> None:
    admin = (git.platform.home / "admin-key").read_text().strip()
    ask(git.platform, "POST", "/v1/organizations", b'{"org_name": "team", "org_label": "x"}', key=admin, headers=JSON)
    assert ask(git.platform, "PUT", "/v1/organizations/team/members/bob", key=admin).status == 200
    create(git.platform, "team/shared", key=git.bob)
    clone = tmp_path / "clone"
    assert run_git("clone", "--quiet", git.url("team/shared", git.bob, user="bob"), str(clone)).returncode == 0
    made = commit(clone)
    assert run_git("push", "--quiet", "origin", "HEAD:master", cwd=clone).returncode == 0
    assert made in run_git("ls-remote", git.url("team/shared", git.bob)).stdout
    carol = issue_key(git.platform, "carol")
    assert "not found" in run_git("ls-remote", git.url("team/shared", carol)).stderr
