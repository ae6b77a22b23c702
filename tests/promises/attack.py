"""A platform that is watched by the kernel's trace while somebody attacks its git."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from uv import find_uv_bin

from tests.conftest import Platform, start_platform, stop_platform
from tests.promises.kernel import Call, Trace
from tests.web.support import Answer, ask, create, issue_key, run_git

GIT_MEMORY, PLATFORM_MEMORY = 1 << 30, 128 << 20
"""Bytes that one git may hold at most, and that the platform may grow by."""


SCRIPTS = ('"-c", "ulimit -', '"-c", "while [ \\"$1\\" != -- ]; do echo 0 >\\"$1\\" || exit 125;')
"""What a shell does here: it sets limits, and lets a worker enter its control groups."""


@dataclass
class Attack:
    """The attacker, ann, and what she did so far."""

    platform: Platform
    trace: Trace
    bob: str
    marker: Path
    requests: int = 0
    repositories: dict[str, Path] = field(default_factory=dict)

    def new(self, name: str) -> str:
        create(self.platform, f"ann/{name}")
        self.adopt(f"ann/{name}")
        self.repositories[name] = self.repositories.pop(f"ann/{name}")
        return name

    def ask(
        self,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        key: str = "",
        timeout: float = 60.0,
    ) -> Answer:
        """Send a request below `/git`: a POST where there is a body."""
        self.requests += 1
        service = path.rpartition("/")[2].partition("?")[0]
        sent = {"content-type": f"application/x-{service}-request"} | dict(headers or {})
        method, body = ("GET", b"") if body is None else ("POST", body)
        return ask(self.platform, method, f"/git/{path}", body, headers=sent, key=key, timeout=timeout)

    def adopt(self, name: str, key: str = "") -> None:
        """Count an algorithm's repository among those that may be written to."""
        identity = ask(self.platform, "GET", f"/v1/algorithms/{name}", key=key).json["id"]
        self.repositories[name] = self.platform.home / "repositories" / f"{identity}.git"

    def push(self, name: str, body: bytes | Iterator[bytes], **headers: str) -> Answer:
        return self.ask(f"ann/{name}.git/git-receive-pack", body, headers=headers)

    def head(self, name: str, ref: str = "refs/heads/master") -> str:
        return run_git("rev-parse", "--verify", ref, cwd=self.repositories[name]).stdout.strip()

    def built(self, name: str, commit: str) -> str:
        """Wait for the build of a commit, and return its log."""
        deadline = time.monotonic() + 200
        while True:
            found = ask(self.platform, "GET", f"/v1/algorithms/ann/{name}/builds").json["results"]
            (build,) = [build for build in found if build["commit_sha"] == commit]
            if build["status"] != "in-progress":
                path = f"/v1/algorithms/ann/{name}/builds/{build['build_id']}/logs"
                return str(ask(self.platform, "GET", path).json["logs"])
            assert time.monotonic() < deadline
            time.sleep(0.05)


@contextlib.contextmanager
def attacked(folder: Path) -> Iterator[Attack]:
    """Start a platform under the trace."""
    trace = Trace(folder / "trace")
    platform = start_platform(folder / "home", "--git-host", "127.0.0.1", under=trace.command())
    attack = Attack(platform, trace, issue_key(platform, "bob"), folder / "marker")
    try:
        attack.new("honest")
        yield attack
    finally:
        stop_platform(platform)


@contextlib.contextmanager
def watched(attack: Attack) -> Iterator[None]:
    """Let something happen, and insist on what must not have happened by it."""
    before, resident = attack.requests, _resident(attack.platform.process.pid)
    attack.trace.read()
    stop, peaks = threading.Event(), {"git": 0, "platform": 0}
    sampling = threading.Thread(target=_sample, args=(attack.platform.process.pid, stop, peaks))
    sampling.start()
    try:
        yield
    finally:
        stop.set()
        sampling.join()
    assert attack.requests > before, "nothing was tried"
    assert attack.platform.process.poll() is None
    assert run_git("ls-remote", f"{attack.platform.url}/git/ann/honest.git").returncode == 128
    assert attack.ask("ann/honest.git/info/refs?service=git-upload-pack").status == 200
    _no_git_left(attack.platform.process.pid)
    calls = attack.trace.read()
    assert any(call.name == "execve" and call.program.endswith("git-http-backend") for call in calls), "no trace"
    _nothing_ran(calls, attack)
    _nothing_outside(calls, attack)
    assert not attack.marker.exists()
    assert peaks["git"] <= GIT_MEMORY, peaks
    assert peaks["platform"] - resident <= PLATFORM_MEMORY, (peaks, resident)
    for repository in attack.repositories.values():
        assert not list((repository / "objects").glob("**/tmp_*")), repository
        assert not list(repository.glob("refs/**/*.lock")), repository


def _nothing_ran(calls: list[Call], attack: Attack) -> None:
    """No program but those the platform means to run; a shell only to set limits."""
    home, core = attack.platform.home, subprocess.check_output(["git", "--exec-path"], text=True).strip()
    own = {os.path.realpath(path) for path in (sys.executable, find_uv_bin())}
    for call in calls:
        if call.name != "execve" or call.result != 0:
            continue
        program = os.path.realpath(call.paths[0])
        assert not Path(program).is_relative_to(home), call
        name = Path(program).name
        if name in {"sh", "dash", "bash"}:
            assert any(script in call.arguments for script in SCRIPTS), call
        else:
            assert program in own or program.startswith(core) or name in {"git", "env", "bwrap"}, call
        assert str(attack.marker) not in call.arguments, call


def _nothing_outside(calls: list[Call], attack: Attack) -> None:
    """What git changed was in a repository, or in the folder of a build's files; what the platform changed, at home."""
    home = attack.platform.home
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"
    # a new repository is made under a name beside its own
    gits = [f"{repository.parent}/{repository.stem}." for repository in attack.repositories.values()]
    gits += [f"{home}/builds/", "/dev/null"]
    others = [
        f"{home}/{name}"
        for name in (
            "builds",
            "environments",
            "scratch",
            "runtime",
            "run/egress-",
            "repositories",
            "platform.",
            "vault-key",
        )
    ]
    others += [str(cache), "/dev/null", "/dev/shm/", "/sys/fs/cgroup/"]
    for call in calls:
        if call.changes:
            is_git = Path(call.program).name.startswith("git")
            for path in call.paths:
                assert path.startswith(tuple(gits if is_git else others)), call
                assert not Path(path).is_relative_to(attack.repositories["honest"]), call


def _children(process: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from _children(int(child))


def _is_git(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/comm").read_text().startswith("git")
    return False


def _resident(process: int, what: str = "VmRSS") -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) << 10
    return 0


def _sample(process: int, stop: threading.Event, peaks: dict[str, int]) -> None:
    while not stop.wait(0.03):
        peaks["platform"] = max(peaks["platform"], _resident(process))
        for child in _children(process):
            if _is_git(child):
                peaks["git"] = max(peaks["git"], _resident(child, "VmHWM"))


def _no_git_left(process: int) -> None:
    deadline = time.monotonic() + 20
    while left := [child for child in _children(process) if _is_git(child)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)
