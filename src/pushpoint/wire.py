"""The /v1 API's JSON, both ways, shared by the client and the web layer.

Two kinds of shapes stand here. Those of the old platform are built as plain dictionaries, because what is absent must
be absent, and each oddity names the client that needs it. Those of our own are dataclasses, written by the server and
read by the client with one definition. Neither the registry nor the deploy ever sees JSON.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec

from pushpoint import manifest as manifests
from pushpoint.errors import InvalidRequest, Unavailable
from pushpoint.lifecycle import BuildState, DeploymentState
from pushpoint.records import Algorithm, AlgorithmSource, Build, Deployment, File, Publisher, Release

T = TypeVar("T")
JSON = Any


def decode(body: bytes, kind: type[T]) -> T:
    """Read JSON as a value of one of the shapes below.

    Returns:
        The value.

    Raises:
        InvalidRequest: The body is not such JSON; the message names the place.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not what this route takes: {error}; see the HTTP reference") from error


def encode(value: object) -> bytes:
    """Write compact JSON.

    Returns:
        UTF-8 bytes.

    Source:
        The Node client's suite compares bodies as text.
    """
    return msgspec.json.encode(value)


def checked(text: bytes) -> bytes:
    """Insist that `text` is one JSON value, before it becomes part of another.

    Returns:
        The same text.

    Raises:
        Unavailable: It is not; only an algorithm that speaks to the platform itself can do that.
    """
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        raise Unavailable("the algorithm's answer is not JSON; tell its owner") from error
    return text


def lenient(body: bytes) -> dict[str, JSON]:
    """Read a management request's body as old clients send it: empty, form-encoded, or a JSON object.

    Returns:
        The object; empty where the body is not JSON.

    Raises:
        InvalidRequest: It is JSON, but no object.

    Source:
        The Python client 2.0.5 form-encodes the names of keys alone in `Algorithm.update`; nothing can be read off it.
    """
    if not body.lstrip().startswith((b"{", b"[", b'"')):
        return {}
    found = decode(body, object)
    if not isinstance(found, dict):
        raise InvalidRequest("the body is not a JSON object; see the HTTP reference")
    return found


# -- ours ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model of a release."""

    uri: str
    sha256: str
    md5: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The commit of the ML repository that a release was trained from."""

    repository: str
    ref: str
    commit: str
    message: str
    committed: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseView:
    """A release, as shown."""

    version: str
    commit: str
    build_id: str
    is_public: bool
    is_live: bool
    state: DeploymentState | None
    notes: str
    published: datetime
    sample_input: str | None
    model: Model | None
    source: Source | None
    inputs: str | None
    provenance: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentView:
    """A deployment, as shown."""

    id: str
    deploy_id: str
    state: DeploymentState
    generation: int | None
    is_rollback: bool
    reason: str
    actor: str
    created: datetime
    live_since: datetime | None
    release: ReleaseView
    run: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollOut:
    """Ask for a release to be made live."""

    version: str
    deploy_id: str
    is_rollback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPublisher:
    """Ask for runs of CI to be trusted."""

    repository: str
    issuer: str
    ref: str = "refs/heads/main"
    workflow: str | None = None
    environment: str | None = None
    repository_id: str | None = None
    collection: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherView:
    """A trusted publisher, as shown; without a `repository_id` until its first deploy."""

    id: str
    issuer: str
    repository: str
    repository_id: str | None
    ref: str
    workflow: str | None
    environment: str | None
    collection: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Ask for a key, with the identity that CI gave: a token, and the algorithm as OWNER/NAME."""

    token: str
    algorithm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangedKey:
    """A key for deploying one algorithm; `expires` is in seconds from now."""

    key: str
    expires: float
    scopes: list[str]
    algorithm: str
    collection: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """Whose key this is."""

    name: str
    scopes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSource:
    """Ask for an algorithm to be built from a repository on a git host."""

    url: str
    branch: str | None = None
    user: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceView:
    """Where an algorithm is built from; the secret is shown once, when it was made."""

    url: str
    branch: str | None
    user: str | None
    webhook_url: str
    webhook_secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """Whether the platform can fetch an algorithm's source."""

    scm_connection_status: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit of an algorithm's repository."""

    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """A part of a build's log, from an offset in bytes on."""

    logs: str
    next: int
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildView:
    """A build, as far as our client reads the old shape."""

    build_id: str
    status: BuildState
    commit_sha: str
    started_at: str = ""
    finished_at: str = ""
    sandbox: str = ""


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a list, as our client reads it."""

    results: list[T]
    marker: str | None = None


def release_view(release: Release, *, live: Deployment | None, state: DeploymentState | None = None) -> ReleaseView:
    """Show a release; `state` is that of its latest deployment, if it had one.

    Returns:
        Its shape on the wire.
    """
    manifest = release.build.manifest
    return ReleaseView(
        version=str(release.version),
        commit=release.build.commit,
        build_id=release.build.id,
        is_public=release.is_public,
        is_live=live is not None and live.release.id == release.id,
        state=state,
        notes=release.notes,
        published=release.published,
        sample_input=release.sample_input,
        model=_model(manifest),
        source=_source(manifest),
        inputs=manifest.inputs if manifest else None,
        provenance={name: value for name, value in asdict(manifest.provenance).items() if value} if manifest else {},
        metrics=dict(manifest.metrics) if manifest else {},
    )


def deployment_view(deployment: Deployment, *, live: Deployment | None) -> DeploymentView:
    """Show a deployment.

    Returns:
        Its shape on the wire.
    """
    return DeploymentView(
        id=deployment.id,
        deploy_id=deployment.deploy_id,
        state=deployment.state,
        generation=deployment.generation,
        is_rollback=deployment.is_rollback,
        reason=deployment.reason,
        actor=deployment.actor,
        run=deployment.run,
        created=deployment.created,
        live_since=deployment.live_since,
        release=release_view(deployment.release, live=live, state=deployment.state),
    )


def publisher_view(publisher: Publisher) -> PublisherView:
    """Show a trusted publisher.

    Returns:
        Its shape on the wire.
    """
    return PublisherView(
        id=publisher.id,
        issuer=publisher.issuer,
        repository=publisher.repository,
        repository_id=publisher.repository_id,
        ref=publisher.ref,
        workflow=publisher.workflow,
        environment=publisher.environment,
        collection=publisher.collection,
        created=publisher.created,
    )


def _model(manifest: manifests.Manifest | None) -> Model | None:
    if manifest is None:
        return None
    model = manifest.model
    return Model(uri=manifest.uri, sha256=model.hex, md5=model.md5, size=model.size)


def _source(manifest: manifests.Manifest | None) -> Source | None:
    if manifest is None or manifest.source is None:
        return None
    source = manifest.source
    return Source(
        repository=source.repository,
        ref=source.ref,
        commit=source.commit,
        message=source.message,
        committed=source.committed,
    )


# -- the old platform's -------------------------------------------------------------------------------------


def moment(value: datetime) -> str:
    """Print a time as the old API did.

    Returns:
        ISO 8601 in UTC with three digits of milliseconds; Go's and Python's clients parse exactly that.

    Example:
        >>> moment(datetime(2026, 1, 2, tzinfo=UTC))
        '2026-01-02T00:00:00.000Z'
    """
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"


def build_object(build: Build) -> dict[str, JSON]:
    """Show a build (platform API, section 2.5).

    Returns:
        Its shape on the wire.
    """
    found = {
        "build_id": build.id,
        "status": build.state,
        "commit_sha": build.commit,
        "started_at": moment(build.started),
        "resource_type": "algorithm_build",
    }
    if build.finished:
        found["finished_at"] = moment(build.finished)
    if build.sandbox:
        found["sandbox"] = build.sandbox
    return found


_SETTINGS: dict[str, JSON] = {
    "algorithm_callability": "private",
    "source_visibility": "closed",
    "license": "apl",
    "royalty_microcredits": 0,
    "network_access": "isolated",
    "pipeline_enabled": True,
    "insights_enabled": False,
    "environment": "cpu",
    "language": "python3",
}


SCMS = {
    "internal": "",
    "github": "https://github.com",
    "gitlab": "https://gitlab.com",
    "bitbucket": "https://bitbucket.org",
}
"""The old platform's names of git hosts, and where those are."""


def scm_object(name: str) -> dict[str, JSON]:
    """Show a git host (platform API, section 2.11).

    Returns:
        Its shape on the wire.
    """
    return {"id": name, "name": name, "provider": name, "default": name == "internal", "enabled": True}


def source_object(source: AlgorithmSource | None) -> dict[str, JSON]:
    """Show where an algorithm is built from, inside its object.

    Returns:
        Its shape on the wire; what hosts the old platform did not know are `git`.
    """
    if source is None:
        return {"scm": scm_object("internal")}
    name = next((name for name, url in SCMS.items() if url == f"https://{source.url.host}"), "git")
    found = {"scm": scm_object(name), "repository_url": str(source.url)}
    return found | ({"branch": source.branch} if source.branch else {})


def algorithm_object(
    algorithm: Algorithm,
    *,
    build: Build | None = None,
    release: Release | None = None,
    log: str | None = None,
    source: AlgorithmSource | None = None,
) -> dict[str, JSON]:
    """Show an algorithm, or one version of it (platform API, section 2.2).

    Args:
        algorithm: What to show.
        build: The build of the version that is meant.
        release: Its release, if it is published.
        log: Text of the build's log, where a compilation was asked for.
        source: The repository on a git host, where the reader may know of it.

    Returns:
        Its shape on the wire; what is unknown is left out.
    """
    found: dict[str, JSON] = {
        "id": algorithm.id,
        "name": algorithm.name.name,
        "details": {"label": algorithm.label, "summary": algorithm.summary, "tagline": algorithm.tagline},
        "settings": _SETTINGS | algorithm.settings,
        "source": source_object(source),
        "resource_type": "algorithm",
        "self_link": f"/v1/algorithms/{algorithm.name}",
    }
    if build:
        found["build"] = build_object(build)
        found["self_link"] += f"/versions/{build.commit}"
        info: dict[str, JSON] = {"git_hash": build.commit, "version_uuid": build.id}
        if algorithm.sample_input:
            info["sample_input"] = algorithm.sample_input
        if release:
            info |= {"semantic_version": str(release.version), "release_notes": release.notes}
            found["build"]["version_info"] = {"semantic_version": str(release.version)}
        found["version_info"] = info
    if build and log is not None:
        found["compilation"] = {"successful": build.state is BuildState.SUCCEEDED, "output": log}
    return found


def file_object(file: File) -> dict[str, JSON]:
    """Show a file in a listing (platform API, section 3.2).

    Returns:
        Its shape on the wire.
    """
    return {"filename": file.name, "last_modified": moment(file.modified), "size": file.blob.size}


def page(results: list[JSON], *, marker: str | None, link: str | None) -> dict[str, JSON]:
    """Show one page of a list.

    Returns:
        Its shape on the wire.
    """
    return {"marker": marker, "next_link": link, "results": results}
