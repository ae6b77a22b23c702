"""A git host that really is one: `git http-backend` behind HTTP, with access tokens, webhooks and bad days.

What it does not have: users, pages, an API. A token is a password; the user name does not matter, as on GitHub. Every
request is recorded as it came in, so that a test can look where a secret was and where it was not.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit
from uuid import uuid4

WRITE, READ = "write", "read"
AUTHOR = {f"GIT_{who}_{what}": "Host" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@dataclass(frozen=True)
class Request:
    """A request as it came in, and what it was answered."""

    method: str
    target: str
    headers: dict[str, str]
    status: int


@dataclass
class Fault:
    """What the host does instead of its work.

    Attributes:
        status: What it answers.
        headers: With these headers; `Location` makes a redirection.
        body: And this text, or what is said of the path: none is a 404.
        seconds: After so long.
        times: So often; then it works again.
        service: Only for requests that name it: `git-upload-pack` or `git-receive-pack`.
    """

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[str], bytes | None] = b""
    seconds: float = 0.0
    times: int = 1 << 30
    service: str = ""


class GitHost:
    """A git host on a free port of this machine; a context manager."""

    def __init__(self, root: Path, *, write: str = "ghp_may-write", read: str = "ghp_may-read") -> None:
        self.root = root
        self.tokens = {write: WRITE, read: READ}
        self.requests: list[Request] = []
        self.public: set[str] = set()
        self.fault: Fault | None = None
        self.before_push: Callable[[], None] | None = None
        """Called once, when the next push has arrived and before git sees it."""
        host = self

        class Handler(_Handler):
            served = host

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        root.mkdir(parents=True, exist_ok=True)
        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self._server.server_port}"

    def url(self, name: str) -> str:
        """Say how git reaches the repository `OWNER/NAME`."""
        return f"http://{self.address}/{name}.git"

    def path(self, name: str) -> Path:
        """Say where it is on the disk."""
        return self.root / f"{name}.git"

    def create(
        self, name: str, files: Mapping[str, str] | None = None, *, branch: str = "main", public: bool = False
    ) -> str:
        """Make a repository; with files it has a commit.

        Returns:
            The commit, or nothing.
        """
        path = self.path(name)
        path.mkdir(parents=True)
        self.git(name, "init", "--quiet", "--bare", f"--initial-branch={branch}")
        self.git(name, "config", "http.receivepack", "true")
        if public:
            self.public.add(name)
        return self.commit(name, files, branch=branch) if files else ""

    def commit(
        self,
        name: str,
        files: Mapping[str, str],
        *,
        branch: str = "main",
        message: str = "A change",
        parent: str | None = None,
    ) -> str:
        """Move a branch as a colleague would who pushes: files are added to those of its tip.

        Args:
            name: Repository.
            files: Path to text.
            branch: Branch, which is made if need be.
            message: Of the commit.
            parent: What to commit on instead of the tip, which rewrites history; nothing begins a new one.

        Returns:
            The commit.
        """
        tip = self.tip(name, branch) if parent is None else parent
        lines = [f"commit refs/heads/{branch}\ncommitter Host <host@localhost> {int(time.time())} +0000\n"]
        lines.append(f"data {len(message.encode())}\n{message}\n" + (f"from {tip}\n" if tip else ""))
        for path, text in files.items():
            lines.append(f"M 100644 inline {json.dumps(path)}\ndata {len(text.encode())}\n{text}\n")
        self.git(name, "fast-import", "--quiet", "--force", stdin="".join(lines).encode())
        return self.tip(name, branch)

    def tip(self, name: str, branch: str = "main") -> str:
        """Look up a branch's commit; nothing if there is no such branch."""
        with contextlib.suppress(subprocess.CalledProcessError):
            return self.git(name, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")
        return ""

    def read(self, name: str, path: str, branch: str = "main") -> str:
        """Read a file of a branch's tip."""
        return self.git(name, "show", f"{branch}:{path}")

    def git(self, name: str, *arguments: str, stdin: bytes | None = None) -> str:
        """Run git in a repository."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path(name),
            env=_environment() | AUTHOR,
            input=stdin,
            capture_output=True,
            check=True,
        )
        return done.stdout.decode().rstrip("\n")

    def said(self) -> bytes:
        """Return all that clients sent in the clear: methods, targets, headers without `Authorization`."""
        lines = []
        for request in self.requests:
            headers = {name: value for name, value in request.headers.items() if name != "authorization"}
            lines.append(f"{request.method} {request.target} {headers}")
        return "\n".join(lines).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: ClassVar[GitHost]

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        host, body = self.served, self._body()
        fault = host.fault
        if fault and fault.times > 0 and fault.service in self.path:
            fault.times -= 1
            time.sleep(fault.seconds)
            said = fault.body(self.path) if callable(fault.body) else fault.body
            self._answer(404 if said is None else fault.status, dict(fault.headers), said or b"")
            return
        target = urlsplit(self.path)
        name = target.path.lstrip("/").partition(".git")[0]
        is_push = "git-receive-pack" in self.path
        status = self._allowed(name, is_push=is_push)
        if status != 200:
            challenge = {"WWW-Authenticate": 'Basic realm="host"'} if status == 401 else {}
            self._answer(status, challenge, b"")
            return
        if is_push and self.command == "POST" and (before := host.before_push):
            host.before_push = None
            before()
        self._answer(*self._backend(target.path, target.query, body))

    def _allowed(self, name: str, *, is_push: bool) -> int:
        host = self.served
        scheme, _, text = self.headers.get("Authorization", "").partition(" ")
        may = None
        if scheme:
            try:
                may = host.tokens.get(base64.b64decode(text, validate=True).decode().partition(":")[2])
            except ValueError:
                return 401
            if may is None:
                return 401
        if name not in host.public and may is None:
            return 401
        if not host.path(name).is_dir():
            return 404
        if is_push and may != WRITE:
            return 403 if may else 401
        return 200

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _backend(self, path: str, query: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        variables = _environment() | {
            "GIT_PROJECT_ROOT": str(self.served.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "REQUEST_METHOD": self.command,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "somebody",
        }
        done = subprocess.run(["git", "http-backend"], env=variables, input=body, capture_output=True, check=False)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n") if line)
        return int(headers.pop("Status", "200").partition(" ")[0]), headers, rest

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        sent = {name.lower(): value for name, value in self.headers.items()}
        self.served.requests.append(Request(self.command, self.path, sent, status))
        with contextlib.suppress(ConnectionError):  # it may have lost patience
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


# -- webhooks -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Delivery:
    """A webhook's request, before it is sent; `dataclasses.replace` makes a forged one."""

    headers: dict[str, str]
    body: bytes

    def with_headers(self, **changed: str | None) -> Delivery:
        """Change headers; underscores are dashes, and none takes one away."""
        headers = dict(self.headers)
        for name, value in changed.items():
            headers.pop(name.replace("_", "-"), None)
            if value is not None:
                headers[name.replace("_", "-")] = value
        return Delivery(headers, self.body)

    def send(self, url: str, *, timeout: float = 30.0) -> tuple[int, bytes]:
        """Send it.

        Returns:
            Status and body of the answer.
        """
        parts = urlsplit(url)
        assert parts.hostname
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request("POST", parts.path, body=self.body, headers=self.headers)
            answer = connection.getresponse()
            return answer.status, answer.read()


def github(event: str, payload: Mapping[str, Any], secret: str, *, delivery: str = "") -> Delivery:
    """Make a delivery as GitHub makes one.

    Source:
        GitHub documentation, "Webhook events and payloads" and "Validating webhook deliveries".
    """
    body = json.dumps(payload).encode()
    headers = {
        "content-type": "application/json",
        "user-agent": "GitHub-Hookshot/0000000",
        "x-github-event": event,
        "x-github-delivery": delivery or str(uuid4()),
        "x-hub-signature": "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest(),
        "x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }
    return Delivery(headers, body)


def github_push(host: GitHost, name: str, secret: str, *, branch: str = "main", delivery: str = "") -> Delivery:
    """Make GitHub's delivery of a push to a branch, which is where the repository has it now."""
    after = host.tip(name, branch) or "0" * 40
    payload = {
        "ref": f"refs/heads/{branch}",
        "before": "0" * 40,
        "after": after,
        "deleted": after == "0" * 40,
        "repository": {"full_name": name, "clone_url": host.url(name), "default_branch": "main"},
        "commits": [],
    }
    return github("push", payload, secret, delivery=delivery)


def gitlab_push(host: GitHost, name: str, secret: str, *, branch: str = "main", delivery: str = "") -> Delivery:
    """Make GitLab's delivery of a push.

    Source:
        GitLab documentation, "Webhooks" (`X-Gitlab-Token`) and "Webhook events", "Push events".
    """
    payload = {
        "object_kind": "push",
        "ref": f"refs/heads/{branch}",
        "before": "0" * 40,
        "after": host.tip(name, branch) or "0" * 40,
        "project": {"path_with_namespace": name, "default_branch": "main", "git_http_url": host.url(name)},
    }
    headers = {
        "content-type": "application/json",
        "x-gitlab-event": "Push Hook",
        "x-gitlab-event-uuid": delivery or str(uuid4()),
        "x-gitlab-token": secret,
    }
    return Delivery(headers, json.dumps(payload).encode())


# -- looking over git's shoulder ------------------------------------------------------------------------------


def spying_git(folder: Path) -> tuple[Path, Path]:
    """Put a `git` into a folder that notes its arguments and then is git.

    Returns:
        The folder, to stand first in PATH, and the file with every argument of every git.
    """
    folder.mkdir(parents=True, exist_ok=True)
    notes, real = folder / "arguments", shutil.which("git")
    program = folder / "git"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> "{notes}"\nexec "{real}" "$@"\n')
    program.chmod(0o755)
    return folder, notes
