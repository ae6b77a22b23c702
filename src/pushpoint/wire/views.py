"""Our own shapes: written by the server and read by the client with one definition."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Annotated, Any, Generic, TypedDict

import msgspec

from pushpoint import manifest as manifests
from pushpoint.lifecycle import BuildState, DeploymentState
from pushpoint.limits import WorkerLimits
from pushpoint.records import (
    Deployment,
    Publisher,
    Release,
    Upload,
)
from pushpoint.scaling import Scaling
from pushpoint.wire.codec import T


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
    deploy_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
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
    algorithm: Annotated[
        str, msgspec.Meta(pattern=r"^(algo://)?[a-zA-Z][a-zA-Z0-9_]{0,29}/[a-zA-Z][a-zA-Z0-9_]{0,29}$")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangedKey:
    """A key for deploying one algorithm; `expires` is in seconds from now."""

    key: str
    expires: float
    scopes: list[str]
    algorithm: str
    collection: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInsight:
    """What an algorithm reports of a call."""

    insight_key: str
    insight_value: Any


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
    repository_webhook_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersView:
    """What holds for the workers of an algorithm, its owner's wishes within the platform's bounds; sizes are bytes.

    Attributes:
        limits: What each may use.
        scaling: How many there may be.
        allow: Hosts that they may reach.
        replicas: How many of the live release can answer now.
        calls_in_flight: Calls of the live release that are not answered yet.
        calls_queued: Those of them that no worker has.
    """

    limits: WorkerLimits
    scaling: Scaling
    allow: list[str]
    replicas: int = 0
    calls_in_flight: int = 0
    calls_queued: int = 0


class Ignored(TypedDict):
    """Why a delivery of a git host changed nothing."""

    ignored: str


class Status(TypedDict):
    """How it is, in a word."""

    status: str


class InsightObject(TypedDict):
    """What an algorithm reported of a call."""

    created_at: str
    request_id: str
    insight_key: str
    insight_value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit of an algorithm's repository."""

    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """A part of a log, from an offset in bytes on."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadView:
    """An upload that is under way.

    Attributes:
        size: Bytes that it will have.
        offset: Bytes that are safe.
        metadata: Its Upload-Metadata, decoded.
    """

    id: str
    size: int
    offset: int
    concat: str
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadsView:
    """The uploads that are under way to a file."""

    uploads: list[UploadView]


def upload_view(upload: Upload, metadata: dict[str, str]) -> UploadView:
    """Show an upload.

    Returns:
        Its shape on the wire.
    """
    return UploadView(id=upload.id, size=upload.size, offset=upload.offset, concat=upload.concat, metadata=metadata)


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
