"""A runner's machine with secrets everywhere a real one has them, and the Action run on it as `action.yml` runs it."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import Platform
from tests.repositories import Repository

TOP = Path(__file__).parents[2]
NOBODY = 65534
OTHERS = Path("/var/tmp/pushpoint-tests-of-nobody")
"""Where an unprivileged user has the Action's environment and caches: made once, used again."""
_SIBLING = "import mmap, sys, time; held = sys.stdin.readline(); print('ready', flush=True); time.sleep(600)"
FILES = ("env", "path", "output", "step_summary", "state")
"""Of the runner: what later steps take over."""
_KEYRING = """\
import ctypes, os, sys
call = ctypes.CDLL(None).syscall
call(250, 1, None, 0, 0, 0)
call(248, b"user", b"pushpoint", sys.argv[1].encode(), len(sys.argv[1]), -3)
os.execvp(sys.argv[2], sys.argv[2:])
"""
_HANDING = "import json, os, sys; os.execvpe(sys.argv[1], sys.argv[1:], json.load(sys.stdin))"
_PARTS = ("action.yml", "action.lock", "scripts/action-environment", "src")


def shared_memory() -> Path:
    """Say where this process's tests put files in shared memory; `conftest.py` removes it."""
    return Path("/dev/shm") / f"pushpoint-tests-{os.getpid()}"


def encodings(secret: str) -> Iterator[bytes]:
    """List how a secret may be written down."""
    text = secret.encode()
    yield from (text, text[::-1], text.hex().encode(), text.hex().upper().encode(), quote(secret, safe="").encode())
    yield json.dumps(secret)[1:-1].encode()
    for before in range(3):  # what is certain of its base64, wherever in a longer text it begins
        whole = base64.b64encode(b"\0" * before + text + b"\0" * (-(before + len(text)) % 3))
        yield whole[(before * 8 + 5) // 6 : -4]


def unpacked(data: bytes) -> bytes:
    """Return data and what is compressed in it: by gzip anywhere, by zlib (git's objects) as a whole."""
    found, start = [data], data.find(b"\x1f\x8b\x08")
    while start >= 0:
        with suppress(zlib.error):
            found.append(zlib.decompressobj(31).decompress(data[start:]))
        start = data.find(b"\x1f\x8b\x08", start + 1)
    with suppress(zlib.error):
        found.append(zlib.decompress(data))
    return b"\n".join(found)


def leaks(data: bytes, canaries: Mapping[str, str]) -> set[str]:
    """Name the canaries that are in some data, in any encoding."""
    whole = unpacked(data)
    return {name for name, secret in canaries.items() if any(form in whole for form in encodings(secret))}


def commands(log: str) -> list[tuple[str, str]]:
    """Read a log as GitHub's runner does.

    Source:
        actions/runner, ActionCommandManager and ActionCommand: a line that begins, after spaces, with `::`, and any
        line that holds `##[`.
    """
    found = []
    for line in log.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        text = line.strip()
        if text.startswith("::") and "::" in text[2:]:
            head, _, value = text[2:].partition("::")
            found.append((head.partition(" ")[0], value))
        elif "##[" in text:
            found.append(("##[", text))
    return found


def python_of_others() -> str:
    """Return the interpreter of an unprivileged user, whose cache is `OTHERS`; skip where there is neither."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become somebody else; whoever else runs this suite is that unprivileged user")
    base, ready = "/usr/bin/python3", "import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))"
    if not os.path.exists(base) or subprocess.run([base, "-c", ready], check=False, capture_output=True).returncode:
        pytest.skip("no Python of the system from 3.11 on with venv; root's own is out of others' sight")
    (OTHERS / "cache").mkdir(parents=True, exist_ok=True)
    os.chown(OTHERS / "cache", NOBODY, NOBODY)
    return base


@dataclass
class Ran:
    """The Action's process after its end: what the runner has of it."""

    code: int
    log: str
    files: dict[str, str]
    argv: bytes = b""

    @property
    def seen(self) -> str:
        """The log as people see it: the runner takes the masks out."""
        return "\n".join(line for line in self.log.split("\n") if not line.startswith("::add-mask::"))


@dataclass
class Machine:
    """One job on a runner of one's own.

    Attributes:
        place: Everything is below it.
        user: The user's number; none for our own.
        canaries: What it is -> a secret like nothing else.
        siblings: Processes of the same user beside the job.
    """

    place: Path
    repository: Repository
    platform: Platform
    user: int | None = None
    canaries: dict[str, str] = field(default_factory=dict)
    siblings: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.place / "home"

    @property
    def runner(self) -> Path:
        return self.place / "runner"

    @property
    def temporary(self) -> Path:
        return self.runner / "_work" / "_temp"

    def canary(self, name: str) -> str:
        """Make one up, or say what it is."""
        return self.canaries.setdefault(name, f"cAnArY-{len(self.canaries):02}-{secrets.token_hex(12)}")

    def write(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return path

    def furnish(self) -> dict[str, str]:
        """Put a secret everywhere a runner may have one, and tell which files hold them."""
        own, secret = self.home, self.canary
        basic = base64.b64encode(f"x-access-token:{secret('persisted checkout')}".encode()).decode()
        included = base64.b64encode(f"x-access-token:{secret('included checkout')}".encode()).decode()
        personal = base64.b64encode(f"ann:{secret('gitconfig')}".encode()).decode()
        submodule = base64.b64encode(f"ann:{secret('submodule')}".encode()).decode()
        event = {"repository": {"full_name": "ann/thieving"}, "token": secret("event file")}
        helper = self.write(own / "helper.sh", f"#!/bin/sh\necho username=ann\necho password={secret('helper')}\n")
        helper.chmod(0o700)
        files = {
            "event": self.write(self.temporary / "_github_workflow" / "event.json", json.dumps(event)),
            "runner": self.write(self.runner / ".credentials", secret("runner's credentials")),
            "runner key": self.write(self.runner / ".credentials_rsaparams", secret("runner's key")),
            "netrc": self.write(own / ".netrc", f"machine github.com login ann password {secret('netrc')}\n"),
            "git store": self.write(own / ".git-credentials", f"https://ann:{secret('git store')}@github.com\n"),
            "gitconfig": self.write(
                own / ".gitconfig",
                f'[http "https://github.com/"]\n\textraheader = AUTHORIZATION: basic {personal}\n'
                f"[credential]\n\thelper = store\n\thelper = {helper}\n"
                f"[safe]\n\tdirectory = *\n",
            ),
            "helper": helper,
            "ssh": self.write(own / ".ssh" / "id_ed25519", secret("ssh")),
            "docker": self.write(own / ".docker" / "config.json", json.dumps({"auths": secret("docker")})),
            "profile": self.write(
                own / ".config" / "pushpoint" / "profile.toml", f'key-file = "{own}/key"\n# {secret("profile")}\n'
            ),
            "key file": self.write(own / "key", secret("key file")),
            "temporary": self.write(self.temporary / "notes", secret("runner's temporary file")),
            "tmp": self.write(self.place / "tmp" / "left-behind", secret("file in tmp")),
            "included": self.write(
                self.temporary / "git-credentials-1.config",
                f'[http "https://github.com/"]\n\textraheader = AUTHORIZATION: basic {included}\n',
            ),
            "submodule": self.write(
                self.repository.directory / ".git" / "modules" / "sub" / "config",
                f'[http "https://github.com/"]\n\textraheader = AUTHORIZATION: basic {submodule}\n',
            ),
            "shared memory": self.write(shared_memory() / secrets.token_hex(8), secret("shared memory")),
        }  # fmt: skip
        git = self.repository.git
        git("config", "http.https://github.com/.extraheader", f"AUTHORIZATION: basic {basic}")
        git("config", f"includeIf.gitdir:{self.repository.directory}/.git.path", str(files["included"]))
        git("remote", "add", "origin", f"https://ann:{secret('remote')}@github.com/ann/thieving")
        for name in FILES:
            self.write(self.temporary / "_runner_file_commands" / name, "")
        return {name: str(path) for name, path in files.items()}

    def inputs(self, **given: str) -> dict[str, str]:
        return {
            "url": self.platform.url,
            "api-key": self.platform.key,
            "git-user": "ann",
            "git-token": self.canary("git token"),
            "github-token": self.canary("github token"),
        } | given

    def environment(self, inputs: Mapping[str, str], **more: str) -> dict[str, str]:
        """Return the step's environment, as GitHub's runner and `action.yml` make it."""
        action = self.place / "action" if self.user is not None else TOP
        cache = OTHERS / "cache" if self.user is not None else Path(os.environ["XDG_CACHE_HOME"])
        commands = self.temporary / "_runner_file_commands"
        passed = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_", "LC_", "LANG"))}
        command_files = {f"GITHUB_{name.upper()}": str(commands / name) for name in FILES}
        return passed | command_files | {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": "http://127.0.0.1:9",  # nobody: the deployment's status is others' test
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_EVENT_PATH": str(self.temporary / "_github_workflow" / "event.json"),
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_REPOSITORY": "ann/thieving",
            "GITHUB_SHA": self.repository.git("rev-parse", "HEAD"),
            "GITHUB_WORKSPACE": str(self.repository.directory),
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "PUSHPOINT_INPUTS": json.dumps(inputs),
            "PYTHONPATH": str(action / "src"),
            "RUNNER_TEMP": str(self.temporary),
            "RUNNER_WORKSPACE": str(self.runner / "_work" / "thieving"),
            "XDG_CACHE_HOME": str(cache),
        } | more  # fmt: skip

    def python(self) -> str:
        return sys.executable if self.user is None else self.others

    def run(self, environment: Mapping[str, str], *, before: Sequence[str] = ()) -> Ran:
        """Run the Action to its end."""
        # as stdin, because of a program that stays, as `before` may, the environment would stay too
        handing = ["/usr/bin/python3", "-I", "-c", _HANDING]
        done = subprocess.run(
            [*self.whose, *before, *handing, *self.with_keyring, self.python(), "-P", "-m", "pushpoint.action"],
            cwd=self.repository.directory,
            env={},
            input=json.dumps(environment).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=180,
            check=False,
        )
        folder = self.temporary / "_runner_file_commands"
        files = {path.name: path.read_text() for path in sorted(folder.iterdir())} if folder.is_dir() else {}
        return Ran(done.returncode, done.stdout.decode("utf-8", "surrogateescape"), files)

    @property
    def with_keyring(self) -> list[str]:
        """How to start a program with a secret in the kernel's session keyring. Linux on x86-64."""
        return ["/usr/bin/python3", "-I", "-c", _KEYRING, self.canary("session keyring")]

    @property
    def whose(self) -> list[str]:
        """How to start a program as this machine's user."""
        number = str(self.user)
        return [] if self.user is None else ["setpriv", "--reuid", number, "--regid", number, "--clear-groups"]

    def give(self) -> None:
        """Make everything the user's."""
        for top in (self.place, shared_memory()) if self.user is not None else ():
            for path in (top, *top.rglob("*")):
                os.chown(path, self.user or 0, self.user or 0, follow_symlinks=False)

    @contextmanager
    def sibling(self) -> Iterator[int]:
        """Run a process of the same user beside the job: secrets in its environment, arguments and memory."""
        secret = self.canary
        with subprocess.Popen(
            [*self.whose, "/usr/bin/python3", "-c", _SIBLING, secret("sibling's argument")],
            env={"HELD": secret("sibling's environment")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdin
            assert process.stdout
            process.stdin.write(secret("sibling's memory").encode() + b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"ready\n"
            try:
                yield process.pid
            finally:
                process.kill()

    @cached_property
    def others(self) -> str:
        """The Action's interpreter for an unprivileged user, made by `action.yml`'s own script."""
        base, action, cache = python_of_others(), self.place / "action", OTHERS / "cache"
        for part in _PARTS:
            (action / part).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (TOP / part).is_dir() else shutil.copy
            copy(TOP / part, action / part)
        told = self.write(self.place / "told", "")
        os.chown(told, NOBODY, NOBODY)
        passed = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        for what in ("find", "make"):
            done = subprocess.run(
                [*self.whose, base, "-I", action / "scripts" / "action-environment", what],
                env=passed
                | {"HOME": str(cache), "XDG_CACHE_HOME": str(cache), "PATH": os.defpath, "GITHUB_OUTPUT": str(told)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        return dict(line.split("=", 1) for line in told.read_text().splitlines())["python"]
