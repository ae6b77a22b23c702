"""The /v1 API as methods, but for files."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec

from pushpoint import errors, wire
from pushpoint.client.accounts import Accounts
from pushpoint.client.files import Files
from pushpoint.names import AlgorithmName, Reference

FETCH = 330.0
"""Seconds to wait for an answer that the platform must fetch for; it gives up after 300 itself."""
_START = 630.0
"""Seconds to wait while workers start; the platform gives them 600."""
_GIT_MARGIN = 120.0
"""Seconds that a key must still have when git gets it, which cannot ask for another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a call answered.

    Attributes:
        value: The result: text, bytes or what JSON holds.
        metadata: `content_type`, `duration` in seconds, perhaps `stdout`.
        lineage: What answered: algorithm, version, commit, model digest.
        error: The algorithm's own error, where it failed.
    """

    value: Any
    metadata: Mapping[str, Any]
    lineage: Mapping[str, str]
    error: Mapping[str, Any] | None


class Client(Files):
    """A platform, seen with one key. Close it when done; it is a context manager too."""

    @property
    def accounts(self) -> Accounts:
        """Users, organizations, keys and secrets."""
        return Accounts(self)

    # -- accounts and algorithms ----------------------------------------------------------------------------

    def account(self) -> wire.AccountView:
        """Look up whose key this is.

        Returns:
            The account.
        """
        return self._ask("GET", "/v1/account", kind=wire.AccountView)

    def exists(self, name: AlgorithmName) -> bool:
        """Say whether an algorithm exists that this key may see.

        Returns:
            True if it does.
        """
        try:
            self._ask("GET", f"/v1/algorithms/{name}")
        except errors.NotFound:
            return False
        return True

    def create(self, name: AlgorithmName) -> None:
        """Create an algorithm, unless it is there."""
        settings = {"source_visibility": "closed", "license": "apl", "network_access": "isolated"}
        body = {"name": name.name, "details": {"label": name.name}, "settings": settings}
        with contextlib.suppress(errors.AlreadyExists):
            self._ask("POST", f"/v1/algorithms/{name.owner}", json=body)

    def settings(self, name: AlgorithmName) -> dict[str, Any]:
        """Look up an algorithm's settings.

        Returns:
            Those of the old platform, and what the owner has said of workers.
        """
        found: dict[str, dict[str, Any]] = self._ask("GET", f"/v1/algorithms/{name}")
        return found["settings"]

    def change_settings(self, name: AlgorithmName, settings: Mapping[str, object]) -> None:
        """Change some of an algorithm's settings; returns when its workers have them.

        Args:
            name: The algorithm.
            settings: The new values; others stay.

        Raises:
            Conflict: They are kept, but the workers do not start with them.
        """
        self._ask("PUT", f"/v1/algorithms/{name}", json={"settings": settings}, timeout=_START)

    def workers(self, name: AlgorithmName) -> wire.WorkersView:
        """Look up what holds for an algorithm's workers, and how many there are.

        Returns:
            Its owner's wishes within the platform's bounds.
        """
        return self._ask("GET", f"/v1/algorithms/{name}/workers", kind=wire.WorkersView)

    def repository(self, name: AlgorithmName) -> tuple[str, str, str]:
        """Say how git reaches an algorithm's repository.

        Returns:
            Its address without a credential, the user name, and the password: this key.
        """
        self._renew_before(_GIT_MARGIN)
        return f"{self.url}/git/{name}.git", name.owner, self._key

    def source(self, name: AlgorithmName) -> wire.SourceView | None:
        """Look up the repository on a git host that an algorithm is built from.

        Returns:
            Where it is, or none where the platform hosts the algorithm, or where there is no such algorithm.
        """
        try:
            return self._ask("GET", f"/v1/algorithms/{name}/source", kind=wire.SourceView)
        except errors.NotFound:
            return None

    def set_source(self, name: AlgorithmName, source: wire.SetSource) -> wire.SourceView:
        """Have an algorithm built from a repository on a git host; what was said before is replaced.

        Returns:
            What it is now, with the webhook's secret if that is new.
        """
        return self._ask("PUT", f"/v1/algorithms/{name}/source", json=source, kind=wire.SourceView)

    def remove_source(self, name: AlgorithmName) -> None:
        """Have an algorithm hosted on the platform again."""
        self._checked(self._send("DELETE", f"/v1/algorithms/{name}/source"))

    def renew_secret(self, name: AlgorithmName) -> wire.SourceView:
        """Replace the secret of an algorithm's webhook.

        Returns:
            The source, with the new secret.
        """
        return self._ask("POST", f"/v1/algorithms/{name}/source/secret", kind=wire.SourceView)

    def reset_source(self, name: AlgorithmName) -> str:
        """Have the host's branch taken as it is, although its history was rewritten.

        Returns:
            Its commit.
        """
        path = f"/v1/algorithms/{name}/source/reset"
        found: wire.Commit = self._ask("POST", path, kind=wire.Commit, timeout=FETCH)
        return found.commit

    def source_status(self, name: AlgorithmName) -> wire.SourceStatus:
        """Have the platform look whether it can fetch an algorithm's source.

        Returns:
            What it found.
        """
        return self._ask("GET", f"/v1/algorithms/{name}/scm/status", kind=wire.SourceStatus)

    # -- builds ---------------------------------------------------------------------------------------------

    def build(self, name: AlgorithmName, commit: str) -> wire.BuildView:
        """Look up the newest build of a commit.

        Returns:
            The build.
        """
        return self._ask("GET", f"/v1/algorithms/{name}/builds/{commit}", kind=wire.BuildView)

    def builds(self, name: AlgorithmName, *, limit: int = 50) -> list[wire.BuildView]:
        """List the newest builds.

        Returns:
            At most `limit` builds.
        """
        kind = wire.Page[wire.BuildView]
        found: list[wire.BuildView] = self._ask("GET", f"/v1/algorithms/{name}/builds?limit={limit}", kind=kind).results
        return found

    def compile(self, name: AlgorithmName, commit: str) -> None:
        """Begin to build a commit, unless that was done or is being done; from a git host it is fetched first."""
        self._ask("POST", f"/v1/algorithms/{name}/compile?wait=false", json={"commitSha": commit}, timeout=FETCH)

    def build_log(self, name: AlgorithmName, build_id: str, *, offset: int = 0) -> wire.LogView:
        """Read a build's log from an offset in bytes on; it may still grow.

        Returns:
            The text, the next offset, and whether that is all.
        """
        path = f"/v1/algorithms/{name}/builds/{build_id}/logs?offset={offset}"
        return self._ask("GET", path, kind=wire.LogView)

    def output(self, name: AlgorithmName, build_id: str) -> str:
        """Read the end of what the workers of a build printed.

        Returns:
            The text.
        """
        return self.output_log(name, build_id, offset=-1).logs

    def output_log(self, name: AlgorithmName, build_id: str, *, offset: int) -> wire.LogView:
        """Read what the workers of a build printed, from an offset in bytes on; below 0, the end of it.

        Returns:
            The text, the next offset, and whether that is all for now.
        """
        path = f"/v1/algorithms/{name}/builds/{build_id}/output?offset={offset}"
        return self._ask("GET", path, kind=wire.LogView)

    # -- releases and deployments ---------------------------------------------------------------------------

    def publish(
        self,
        name: AlgorithmName,
        commit: str,
        *,
        part: str,
        sample_input: str | None,
        notes: str,
        is_public: bool | None = None,
    ) -> str:
        """Publish a commit's build, unless it is published; it gets no traffic by that.

        Args:
            name: The algorithm.
            commit: The commit.
            part: Part of the version that grows.
            sample_input: JSON text for the smoke test.
            notes: What to say of the release.
            is_public: Whether others may call it; none for what the algorithm's settings say.

        Returns:
            Its version.
        """
        info = {"git_hash": commit, "version_type": part, "release_notes": notes}
        if sample_input is not None:
            info["sample_input"] = sample_input
        settings = {} if is_public is None else {"algorithm_callability": "public" if is_public else "private"}
        try:
            path = f"/v1/algorithms/{name}/versions?roll_out=false"
            shown = self._ask("POST", path, json={"version_info": info, "settings": settings})
        except errors.AlreadyExists:
            shown = self._ask("GET", f"/v1/algorithms/{name}/versions/{commit}")
        return str(shown["version_info"]["semantic_version"])

    def releases(self, name: AlgorithmName) -> Iterator[wire.ReleaseView]:
        """List the releases, highest version first.

        Yields:
            Each release.
        """
        yield from self._pages(f"/v1/algorithms/{name}/releases", wire.ReleaseView)

    def deployments(self, name: AlgorithmName) -> Iterator[wire.DeploymentView]:
        """List the deployments, newest first.

        Yields:
            Each deployment.
        """
        yield from self._pages(f"/v1/algorithms/{name}/deployments", wire.DeploymentView)

    def live(self, name: AlgorithmName) -> wire.DeploymentView | None:
        """Look up what has the traffic.

        Returns:
            The live deployment, or none.
        """
        try:
            return self._ask("GET", f"/v1/algorithms/{name}/live", kind=wire.DeploymentView)
        except errors.NotFound:
            return None

    def roll_out(
        self, name: AlgorithmName, version: str, *, deploy_id: str, is_rollback: bool = False
    ) -> wire.DeploymentView:
        """Begin to make a release live; the same deploy again is the same deployment.

        Returns:
            The deployment; look at it again until it ends.
        """
        asked = wire.RollOut(version=version, deploy_id=deploy_id, is_rollback=is_rollback)
        path = f"/v1/algorithms/{name}/deployments"
        return self._ask("POST", path, json=asked, kind=wire.DeploymentView)

    def deployment(self, name: AlgorithmName, deployment_id: str) -> wire.DeploymentView:
        """Look at a deployment.

        Returns:
            The deployment.
        """
        return self._ask("GET", f"/v1/algorithms/{name}/deployments/{deployment_id}", kind=wire.DeploymentView)

    # -- trust ----------------------------------------------------------------------------------------------

    def trust(self, name: AlgorithmName, publisher: wire.NewPublisher) -> wire.PublisherView:
        """Let runs of CI deploy an algorithm without a key; the same again is the same publisher.

        Returns:
            The publisher.
        """
        return self._ask("POST", f"/v1/algorithms/{name}/publishers", json=publisher, kind=wire.PublisherView)

    def publishers(self, name: AlgorithmName) -> list[wire.PublisherView]:
        """List who may deploy an algorithm without a key.

        Returns:
            The publishers, oldest first.
        """
        found: list[wire.PublisherView] = self._ask(
            "GET", f"/v1/algorithms/{name}/publishers", kind=list[wire.PublisherView]
        )
        return found

    def distrust(self, name: AlgorithmName, publisher_id: str) -> None:
        """Trust a publisher no longer."""
        path = f"/v1/algorithms/{name}/publishers/{quote(publisher_id, safe='')}"
        self._checked(self._send("DELETE", path))

    # -- calls ----------------------------------------------------------------------------------------------

    def call(
        self, reference: Reference, body: bytes, *, content_type: str, timeout: float = 300.0, stdout: bool = False
    ) -> Result:
        """Call an algorithm. Not repeated: whether it ran is not known when the connection breaks.

        Args:
            reference: What to call.
            body: The input.
            content_type: `application/json`, `text/plain` or `application/octet-stream`.
            timeout: Seconds that the algorithm may take.
            stdout: Whether to ask for what it prints.

        Returns:
            Its result, or its own error.
        """
        request = self._call(reference, body, content_type, timeout, stdout=stdout)
        try:
            answer = self._with_key(lambda: self._http.send(request()))
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        self._checked(answer)
        try:
            found = msgspec.json.decode(answer.content)
            value = _value(found.get("result"), found["metadata"].get("content_type"))
            return Result(
                value=value, metadata=found["metadata"], lineage=_lineage(answer.headers), error=found.get("error")
            )
        except (msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._strange() from error

    def generate(
        self, reference: Reference, body: bytes, *, content_type: str, timeout: float = 300.0, stdout: bool = False
    ) -> Generator[Any, None, Result]:
        """Call an algorithm as `call` does, and take what it generates item by item.

        Whoever closes the generator before its end ends the call.

        Args:
            reference: What to call.
            body: The input.
            content_type: `application/json`, `text/plain` or `application/octet-stream`.
            timeout: Seconds that the algorithm may take, for all items together.
            stdout: Whether to ask for what it prints.

        Yields:
            Each item: text, bytes or what JSON holds.

        Returns:
            A result without a value; with the algorithm's own error, where it failed.
        """
        request = self._call(reference, body, content_type, timeout, stdout=stdout, accept="application/x-ndjson")
        try:
            answer = self._with_key(lambda: self._http.send(request(), stream=True))
            with contextlib.closing(answer):
                if not answer.is_success:
                    answer.read()
                    self._checked(answer)
                for line in _lines(answer.iter_bytes()):
                    found = msgspec.json.decode(line)
                    if "metadata" in found:
                        metadata, error = found["metadata"], found.get("error")
                        return Result(value=None, metadata=metadata, lineage=_lineage(answer.headers), error=error)
                    yield _value(found["item"], found["content_type"])
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise self._strange() from error
        raise self._strange()

    def _call(
        self, reference: Reference, body: bytes, content_type: str, timeout: float, *, stdout: bool, accept: str = "*/*"
    ) -> Callable[[], httpx2.Request]:
        path = f"/v1/algo/{reference.algorithm}" + (f"/{quote(reference.selector)}" if reference.selector else "")
        return lambda: self._http.build_request(
            "POST",
            path,
            content=body,
            params={"timeout": f"{timeout:g}"} | ({"stdout": "true"} if stdout else {}),
            headers={"content-type": content_type, "accept": accept},
            timeout=timeout + 630.0,
        )


def _value(value: Any, content_type: str) -> Any:
    return base64.b64decode(value, validate=True) if content_type == "binary" else value


def _lineage(headers: Mapping[str, str]) -> dict[str, str]:
    return {k.removeprefix("x-pushpoint-"): v for k, v in headers.items() if k.startswith("x-pushpoint-")}


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    for piece in pieces:
        first, *more = piece.split(b"\n")
        held.append(first)
        if more:
            yield b"".join(held)
            yield from more[:-1]
            held = more[-1:]
