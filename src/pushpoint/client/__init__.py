"""The /v1 API as methods.

What may be repeated is repeated when the connection fails or the platform is busy: reading, and writing that names its
result. Every answer that is not a success becomes an error of our own tree, by the class the platform names.
"""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx2
import msgspec
import stamina

from pushpoint import errors, wire
from pushpoint.client.accounts import Accounts
from pushpoint.digests import OCTETS, Descriptor, Digest
from pushpoint.names import AlgorithmName, DataPath, Reference

T = TypeVar("T")
PIECE = 1 << 20
FETCH = 330.0
"""Seconds to wait for an answer that the platform must fetch for; it gives up after 300 itself."""
EXCHANGE = "/v1/keys/exchange"
_GIT_MARGIN = 120.0
"""Seconds that a key must still have when git gets it, which cannot ask for another."""
_PLAIN = {
    cls.__name__: cls
    for cls in (
        errors.ConfigError,
        errors.InvalidRequest,
        errors.IntegrityError,
        errors.Unauthenticated,
        errors.Refused,
        errors.RolloutFailed,
        errors.Conflict,
        errors.AlreadyExists,
        errors.Superseded,
        errors.NotFound,
        errors.Unavailable,
        errors.Overloaded,
    )
}
_BY_STATUS: dict[int, type[errors.Error]] = {
    401: errors.Unauthenticated,
    403: errors.Refused,
    404: errors.NotFound,
    409: errors.Conflict,
    422: errors.IntegrityError,
    429: errors.Overloaded,
}


class _Again(Exception):
    """Worth another try."""


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


class Client:
    """A platform, seen with one key. Close it when done; it is a context manager too."""

    def __init__(
        self,
        url: str,
        key: str = "",
        *,
        renew: Callable[[], wire.ExchangedKey] | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Make a client.

        Args:
            url: The platform's address, without a path.
            key: API key.
            renew: Called for a key, instead of `key`, when there is none yet or the one before is over.
            transport: How to send; over the network by default.

        Raises:
            ConfigError: `url` is no address.
            Unauthenticated: `key` cannot be one; it is not shown, and not sent.
        """
        self.url = url.rstrip("/")
        self._key, self._renew = key, renew
        self._until = 0.0  # of the monotonic clock, in seconds; for a key that is renewed
        if not (key.isascii() and key.isprintable()):
            raise errors.Unauthenticated("the key holds characters that no key has; check PUSHPOINT_API_KEY")
        try:
            self._http = httpx2.Client(
                base_url=self.url,
                headers={"authorization": f"Simple {key}"} if key else {},
                timeout=httpx2.Timeout(60.0, connect=5.0),
                transport=transport,
            )
        except httpx2.InvalidURL as error:
            raise errors.ConfigError(f"{url} is not an address ({error}); check PUSHPOINT_URL") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

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
        found: wire.LogView = self._ask("GET", f"/v1/algorithms/{name}/builds/{build_id}/output", kind=wire.LogView)
        return found.logs

    # -- releases and deployments ---------------------------------------------------------------------------

    def publish(self, name: AlgorithmName, commit: str, *, part: str, sample_input: str | None, notes: str) -> str:
        """Publish a commit's build, unless it is published; it gets no traffic by that.

        Returns:
            Its version.
        """
        info = {"git_hash": commit, "version_type": part, "release_notes": notes}
        if sample_input is not None:
            info["sample_input"] = sample_input
        try:
            path = f"/v1/algorithms/{name}/versions?roll_out=false"
            shown = self._ask("POST", path, json={"version_info": info})
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

    # -- data -----------------------------------------------------------------------------------------------

    def create_collection(self, path: DataPath) -> None:
        """Create a collection, unless it is there."""
        with contextlib.suppress(errors.AlreadyExists):
            self._ask("POST", f"/v1/data/{path.owner}", json={"name": path.collection})

    def stat(self, path: DataPath) -> Descriptor | None:
        """Look up what a file holds.

        Returns:
            Its descriptor, or none if there is no such file.
        """
        answer = self._send("HEAD", _data(path))
        if answer.status_code == 404:
            return None
        self._checked(answer)
        try:
            digests = dict(part.split("=:", 1) for part in answer.headers["repr-digest"].split(", "))
            found = {name: base64.b64decode(value.rstrip(":")).hex() for name, value in digests.items()}
            return Descriptor(
                media_type=OCTETS,
                digest=Digest(f"sha256:{found['sha-256']}"),
                size=int(answer.headers["content-length"]),
                md5=found["md5"],
            )
        except (KeyError, ValueError) as error:
            raise self._strange() from error

    def link(self, path: DataPath, blob: Descriptor) -> bool:
        """Give bytes that the owner has stored before another name, without sending them.

        Returns:
            Whether the platform had them.
        """
        headers = _announce(blob) | {"if-none-match": "*", "pushpoint-link": blob.digest, "content-length": "0"}
        answer = self._send("PUT", _data(path), headers=headers, content=b"")
        if answer.status_code == 404:
            return False
        self._checked(answer)
        return True

    def put(
        self, path: DataPath, source: Path, blob: Descriptor, *, progress: Callable[[int], object] | None = None
    ) -> None:
        """Create a file from a local one, streaming; the platform checks the digests before it acknowledges.

        Args:
            path: A file that must not exist, or hold the same bytes.
            source: Local file.
            blob: What `source` holds.
            progress: Told the size of each piece, in bytes.

        Raises:
            AlreadyExists: The file holds other bytes.
            IntegrityError: What arrived is not `blob`.
        """

        def pieces() -> Iterator[bytes]:
            left = blob.size
            with source.open("rb", buffering=0) as file:
                while piece := file.read(PIECE):
                    left -= len(piece)
                    if left < 0:
                        break
                    yield piece
                    if progress:
                        progress(len(piece))
            if left:
                raise errors.IntegrityError(
                    f"{source.name} was changed while it was uploaded; run the same command again"
                )

        headers = _announce(blob) | {"if-none-match": "*", "content-length": str(blob.size)}
        self._checked(self._send("PUT", _data(path), headers=headers, content=pieces, timeout=3600.0))

    @contextlib.contextmanager
    def open(self, path: DataPath) -> Iterator[Iterator[bytes]]:
        """Read a file, streaming.

        Yields:
            Its pieces.
        """
        self._renew_before(0.0)
        try:
            with self._http.stream("GET", _data(path)) as answer:
                if not answer.is_success:
                    answer.read()
                self._checked(answer)
                yield answer.iter_bytes(PIECE)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

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
        path = f"/v1/algo/{reference.algorithm}" + (f"/{quote(reference.selector)}" if reference.selector else "")
        try:
            answer = self._with_key(
                lambda: self._http.post(
                    path,
                    content=body,
                    params={"timeout": f"{timeout:g}"} | ({"stdout": "true"} if stdout else {}),
                    headers={"content-type": content_type},
                    timeout=timeout + 630.0,
                )
            )
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        self._checked(answer)
        try:
            found = msgspec.json.decode(answer.content)
            value = found.get("result")
            if found["metadata"].get("content_type") == "binary":
                value = base64.b64decode(value, validate=True)
        except (msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._strange() from error
        lineage = {k.removeprefix("x-pushpoint-"): v for k, v in answer.headers.items() if k.startswith("x-pushpoint-")}
        return Result(value=value, metadata=found["metadata"], lineage=lineage, error=found.get("error"))

    # -- the one way out ------------------------------------------------------------------------------------

    def _ask(
        self, method: str, path: str, *, json: object = None, kind: type[T] | Any = dict, timeout: float = 60.0
    ) -> T | Any:
        headers = {} if json is None else {"content-type": "application/json"}
        content = b"" if json is None else wire.encode(json)
        answer = self._checked(self._send(method, path, headers=headers, content=content, timeout=timeout))
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            raise self._strange() from error

    def _do(self, method: str, path: str, *, json: object = None) -> None:
        headers = {} if json is None else {"content-type": "application/json"}
        content = b"" if json is None else wire.encode(json)
        self._checked(self._send(method, path, headers=headers, content=content))

    def _pages(self, path: str, kind: type[T]) -> Iterator[T]:
        following = f"{path}?limit=200"
        while following:
            page = self._ask("GET", following, kind=wire.Page[kind])  # type: ignore[valid-type]
            yield from page.results
            following = f"{path}?limit=200&marker={page.marker}" if page.marker else ""

    def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | Callable[[], Iterator[bytes]] = b"",
        timeout: float = 60.0,
    ) -> httpx2.Response:
        def send() -> httpx2.Response:
            return self._http.request(
                method,
                path,
                headers=headers,
                content=content() if callable(content) else content,
                timeout=httpx2.Timeout(timeout, connect=5.0),
            )

        try:
            return _patiently(lambda: self._with_key(send), httpx2.TransportError)
        except _Again as error:
            raise self._unreachable(error.__cause__) from error

    def _with_key(self, send: Callable[[], httpx2.Response]) -> httpx2.Response:
        self._renew_before(0.0)
        answer = send()
        if answer.status_code == 401 and self._renew:  # over, by the platform's clock, or revoked
            self._until = 0.0
            self._renew_before(0.0)
            answer = send()
        return answer

    def _renew_before(self, seconds: float) -> None:
        if self._renew and time.monotonic() + seconds >= self._until:
            began = time.monotonic()
            found = self._renew()
            self._key, self._until = found.key, began + found.expires
            self._http.headers["authorization"] = f"Simple {found.key}"

    def _checked(self, answer: httpx2.Response) -> httpx2.Response:
        if answer.is_success:
            return answer
        raise _error(answer)

    def _strange(self) -> errors.Unavailable:
        return errors.Unavailable(f"{self.url} does not answer as a platform does; check PUSHPOINT_URL")

    def _unreachable(self, cause: BaseException | None) -> errors.Unavailable:
        why = str(cause) or type(cause).__name__
        return errors.Unavailable(
            f"no answer from {self.url} ({why}); check PUSHPOINT_URL, or start the platform: pushpoint serve"
        )


def exchange(
    url: str, token: str, name: AlgorithmName, *, transport: httpx2.BaseTransport | None = None
) -> wire.ExchangedKey:
    """Exchange an identity that CI gave for a key. Repeated only where the platform cannot have used the token.

    Args:
        url: The platform's address.
        token: What CI gave; it can be exchanged once.
        name: The algorithm to deploy.
        transport: How to send; over the network by default.

    Returns:
        A key that is good for deploying that algorithm, for 15 minutes at most.

    Raises:
        ConfigError: `url` is no address.
        Unauthenticated: The platform does not accept the token, and says why as far as it may.
        Unavailable: The platform, or the issuer that it asks, does not answer.
    """
    body = wire.encode(wire.Exchange(token=token, algorithm=str(name)))
    try:
        with httpx2.Client(base_url=url, timeout=httpx2.Timeout(60.0, connect=5.0), transport=transport) as http:
            answer = _patiently(
                lambda: http.post(EXCHANGE, content=body, headers={"content-type": "application/json"}),
                httpx2.ConnectError,  # the others may mean that the platform has used the token
            )
        if answer.is_success:
            return msgspec.json.decode(answer.content, type=wire.ExchangedKey)
    except httpx2.InvalidURL as error:
        raise errors.ConfigError(f"{url} is not an address ({error}); check PUSHPOINT_URL") from error
    except (_Again, httpx2.TransportError, msgspec.DecodeError) as error:
        why = str(error.__cause__ or error) or type(error).__name__
        raise errors.Unavailable(f"{url} gives no key for the identity of this job ({why}); run it again") from error
    failure: errors.Error = _error(answer)
    raise failure


def _patiently(send: Callable[[], httpx2.Response], retried: type[Exception]) -> httpx2.Response:
    """Send a request again while the platform is busy, or fails in a way that allows it.

    Returns:
        The answer.

    Raises:
        _Again: It failed each time; the cause is the last failure.
    """
    for attempt in stamina.retry_context(on=_Again, attempts=5, timeout=15.0, wait_initial=0.2, wait_max=3.0):
        with attempt:
            try:
                answer = send()
            except retried as error:
                raise _Again from error
            if answer.status_code == 503 and attempt.num < 5:
                raise _Again
    return answer


def _data(path: DataPath) -> str:
    return "/v1/data/" + "/".join(quote(part, safe="") for part in (path.owner, path.collection, path.file) if part)


def _announce(blob: Descriptor) -> dict[str, str]:
    both = {"sha-256": blob.hex, "md5": blob.md5}
    parts = (f"{name}=:{base64.b64encode(bytes.fromhex(value)).decode()}:" for name, value in both.items())
    return {"content-digest": ", ".join(parts)}


def _error(answer: httpx2.Response) -> errors.Error:
    try:
        found = msgspec.json.decode(answer.content)["error"]
    except (msgspec.DecodeError, KeyError, TypeError):
        found = {}
    if isinstance(found, str):
        name = "/".join(answer.request.url.path.split("/")[3:5])
        found = {"message": f"algorithm {name} not found; check its name and whose key you use"}
    if not isinstance(found, dict):
        found = {}
    message = str(found.get("reason") or found.get("message") or f"{answer.request.url} answered {answer.status_code}")
    if answer.status_code == 401 and answer.request.url.path != EXCHANGE:
        message = f"{answer.request.url.host} does not accept this key; set PUSHPOINT_API_KEY to a valid one"
    kind = _PLAIN.get(str(found.get("error_type"))) or _BY_STATUS.get(answer.status_code)
    if kind is None:
        kind = errors.ConfigError if answer.status_code < 500 else errors.Unavailable
    return kind(message)
