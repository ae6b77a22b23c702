"""Speaking to a platform without any client: bytes as they are sent, and other people's accounts."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pushpoint import git
from pushpoint.databases import Database, open_database
from pushpoint.digests import OCTETS, Descriptor, Digest
from pushpoint.errors import NotFound
from pushpoint.manifest import Manifest, Provenance, Source
from pushpoint.records import EVERYDAY
from pushpoint.registry import accounts, keys
from tests.conftest import Platform

JSON = {"content-type": "application/json"}
TEXT = {"content-type": "text/plain"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    reason: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


def address(platform: Platform) -> tuple[str, int]:
    parts = urlsplit(platform.url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def ask(
    platform: Platform,
    method: str,
    path: str,
    body: bytes | Iterator[bytes] = b"",
    *,
    key: str | None = "",
    headers: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Answer:
    """Send one request. The key is the first account's unless another is given; none sends none."""
    sent = dict(headers or {})
    if key is not None:
        sent.setdefault("authorization", key or platform.key)
    connection = http.client.HTTPConnection(*address(platform), timeout=timeout)
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers=sent, encode_chunked=not isinstance(body, bytes))
        answer = connection.getresponse()
        got = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, got, answer.read(), answer.reason)


def send_bytes(platform: Platform, request: bytes, *, timeout: float = 20.0) -> bytes:
    """Send bytes as they are (`Connection: close` should be among them), and read until the platform closes."""
    with socket.create_connection(address(platform), timeout=timeout) as connection:
        connection.sendall(request)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(1 << 16):
                found += piece
    return found


@contextlib.contextmanager
def database(platform: Platform) -> Iterator[Database]:
    found = open_database(platform.home / "platform.db")
    try:
        yield found
    finally:
        found.dispose()


def issue_key(platform: Platform, account: str, *scopes: str) -> str:
    """Make a key for an account, which is made too if need be, beside the running platform."""
    with database(platform) as found:
        try:
            owner = accounts.find(found, account)
        except NotFound:
            owner = accounts.create(found, account)
        return keys.issue(found, owner, label="test", scopes=frozenset(scopes) or EVERYDAY)[0]


def create(platform: Platform, name: str, *, key: str = "") -> None:
    owner, _, short = name.partition("/")
    body = json.dumps({"name": short, "details": {"label": short}, "settings": {}}).encode()
    answer = ask(platform, "POST", f"/v1/algorithms/{owner}", body, key=key, headers=JSON)
    assert answer.status == 201, answer.body


def remote(platform: Platform, name: str, *, key: str = "") -> git.Remote:
    return git.Remote(f"{platform.url}/git/{name}.git", name.partition("/")[0], key or platform.key)


def push(platform: Platform, name: str, files: Mapping[str, str | bytes], *, key: str = "") -> str:
    """Put a commit on top of the algorithm's branch."""
    where = remote(platform, name, key=key)
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        git.run(["clone", "--quiet", where.url, str(clone)], remote=where)
        return commit_and_push(clone, files, where)


def commit_and_push(clone: Path, files: Mapping[str, str | bytes], where: git.Remote | None) -> str:
    for path, content in files.items():
        target = clone / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    git.run(["add", "--all"], directory=clone)
    author = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    git.run(["commit", "--quiet", "--allow-empty", "-m", "a change"], directory=clone, variables=author)
    if where:
        git.run(["push", "--quiet", "origin", "HEAD:master"], directory=clone, remote=where)
    return git.text(["rev-parse", "HEAD"], directory=clone)


def compile_head(platform: Platform, name: str, *, key: str = "") -> dict[str, Any]:
    answer = ask(platform, "POST", f"/v1/algorithms/{name}/compile", key=key)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


def publish(platform: Platform, name: str, *, key: str = "", **settings: str) -> str:
    body = json.dumps({"settings": settings}).encode()
    answer = ask(platform, "POST", f"/v1/algorithms/{name}/versions", body, key=key, headers=JSON)
    assert answer.status == 200, answer.body
    return str(answer.json["version_info"]["semantic_version"])


def serve(platform: Platform, name: str, code: str, *, key: str = "", **settings: str) -> str:
    """Create an algorithm, push its code, build and publish it.

    Returns the commit.
    """
    create(platform, name, key=key)
    commit = push(platform, name, {f"src/{name.partition('/')[2]}.py": code}, key=key)
    built = compile_head(platform, name, key=key)
    assert built["compilation"]["successful"], built["compilation"]["output"]
    publish(platform, name, key=key, **settings)
    return commit


def manifest_of(algorithm: str, uri: str, content: bytes, *, trained_at: str = "c" * 40) -> Manifest:
    """Say of a stored model what a deploy would."""
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    model = Descriptor(
        media_type=OCTETS,
        digest=Digest(f"sha256:{hashlib.sha256(content).hexdigest()}"),
        size=len(content),
        md5=hashlib.md5(content).hexdigest(),
    )
    return Manifest(
        algorithm=algorithm,
        deploy_id="d",
        model=model,
        format="bytes",
        uri=uri,
        source=Source(repository="r", ref="refs/heads/main", commit=trained_at, message="m", committed=now),
        created=now,
        inputs=Digest("sha256:" + "d" * 64),
        provenance=Provenance(builder="local"),
    )


def stored(platform: Platform) -> tuple[set[str], set[str]]:
    """List the drafts and the blobs that are in the store."""
    root = platform.home / "store"
    drafts = {path.name for path in (root / "drafts").iterdir()}
    return drafts, {path.parent.name + path.name for path in (root / "sha256").glob("*/*")}


def run_git(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run git as a user would who knows nothing of ours."""
    settings = git.environment() | {"GIT_CONFIG_COUNT": "0"} | variables
    return subprocess.run(["git", *arguments], cwd=cwd, env=settings, capture_output=True, text=True, check=False)
