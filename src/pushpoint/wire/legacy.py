"""The old platform's shapes, as plain dictionaries, each beside the function that builds it.

What is absent must be absent, and each oddity names the client that needs it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Generic, Literal, NotRequired, TypedDict, TypeVar, cast
from uuid import NAMESPACE_URL, uuid5

from pushpoint.lifecycle import BuildState
from pushpoint.records import (
    Algorithm,
    AlgorithmSource,
    Build,
    FailedCall,
    File,
    Release,
    Secret,
)
from pushpoint.wire.asked import AskedDetails, AskedSettings
from pushpoint.wire.codec import encode

One = TypeVar("One")


class PageObject(TypedDict, Generic[One]):
    """One page of a list."""

    marker: str | None
    next_link: str | None
    results: list[One]


def moment(value: datetime) -> str:
    """Print a time as the old API did.

    Returns:
        ISO 8601 in UTC with three digits of milliseconds; Go's and Python's clients parse exactly that.

    Example:
        >>> moment(datetime(2026, 1, 2, tzinfo=UTC))
        '2026-01-02T00:00:00.000Z'
    """
    return value.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class BuildVersion(TypedDict):
    """The version that a build was published as."""

    semantic_version: str


class BuildObject(TypedDict):
    """A build."""

    build_id: str
    status: BuildState
    commit_sha: str
    started_at: str
    finished_at: NotRequired[str]
    resource_type: Literal["algorithm_build"]
    sandbox: NotRequired[str]
    version_info: NotRequired[BuildVersion]


def build_object(build: Build) -> BuildObject:
    """Show a build (platform API, section 2.5).

    Returns:
        Its shape on the wire.
    """
    found: BuildObject = {
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


_SETTINGS: AskedSettings = {
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


class ScmObject(TypedDict):
    """A git host."""

    id: str
    name: str
    provider: str
    default: bool
    enabled: bool


def scm_object(name: str) -> ScmObject:
    """Show a git host (platform API, section 2.11).

    Returns:
        Its shape on the wire.
    """
    return {"id": name, "name": name, "provider": name, "default": name == "internal", "enabled": True}


class SourceObject(TypedDict):
    """Where an algorithm is built from; the webhook's secret is there once, when it was made."""

    scm: ScmObject
    repository_url: NotRequired[str]
    branch: NotRequired[str]
    repository_webhook_secret: NotRequired[str]


def source_object(source: AlgorithmSource | None) -> SourceObject:
    """Show where an algorithm is built from, inside its object.

    Returns:
        Its shape on the wire; what hosts the old platform did not know are `git`.
    """
    if source is None:
        return {"scm": scm_object("internal")}
    name = next((name for name, url in SCMS.items() if url == f"https://{source.url.host}"), "git")
    found: SourceObject = {"scm": scm_object(name), "repository_url": str(source.url)}
    if source.branch:
        found["branch"] = source.branch
    return found


class VersionInfo(TypedDict):
    """What is said of a version."""

    git_hash: str
    version_uuid: str
    semantic_version: NotRequired[str]
    release_notes: NotRequired[str]
    sample_input: NotRequired[str]


class Compilation(TypedDict):
    """What came of a build."""

    successful: bool
    output: str


class AlgorithmObject(TypedDict):
    """An algorithm, or one version of it."""

    id: str
    name: str
    details: AskedDetails
    settings: AskedSettings
    source: SourceObject
    resource_type: Literal["algorithm"]
    self_link: str
    build: NotRequired[BuildObject]
    version_info: NotRequired[VersionInfo]
    compilation: NotRequired[Compilation]


def algorithm_object(
    algorithm: Algorithm,
    *,
    build: Build | None = None,
    release: Release | None = None,
    log: str | None = None,
    source: AlgorithmSource | None = None,
) -> AlgorithmObject:
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
    found: AlgorithmObject = {
        "id": algorithm.id,
        "name": algorithm.name.name,
        "details": {"label": algorithm.label, "summary": algorithm.summary, "tagline": algorithm.tagline},
        "settings": cast("AskedSettings", _SETTINGS | algorithm.settings),
        "source": source_object(source),
        "resource_type": "algorithm",
        "self_link": f"/v1/algorithms/{algorithm.name}",
    }
    if build:
        found["build"] = build_object(build)
        found["self_link"] += f"/versions/{build.commit}"
        info: VersionInfo = {"git_hash": build.commit, "version_uuid": build.id}
        if algorithm.sample_input:
            info["sample_input"] = algorithm.sample_input
        if release:
            info["semantic_version"], info["release_notes"] = str(release.version), release.notes
            found["build"]["version_info"] = {"semantic_version": str(release.version)}
        found["version_info"] = info
    if build and log is not None:
        found["compilation"] = {"successful": build.state is BuildState.SUCCEEDED, "output": log}
    return found


class SecretProvider(TypedDict):
    """What keeps secrets."""

    id: str
    name: str
    description: str
    moduleName: str
    factoryClassName: str
    interfaceVersion: str
    isEnabled: bool
    isDefault: bool
    created: str
    modified: str


SECRET_PROVIDER: SecretProvider = {
    "id": str(uuid5(NAMESPACE_URL, "pushpoint:secret-provider")),
    "name": "internal",
    "description": "Sealed by the platform itself",
    "moduleName": "pushpoint",
    "factoryClassName": "pushpoint",
    "interfaceVersion": "1.0",
    "isEnabled": True,
    "isDefault": True,
    "created": "1970-01-01T00:00:00.000Z",
    "modified": "1970-01-01T00:00:00.000Z",
}
"""The one thing that keeps secrets, in the shape that the Python client takes the first id of."""


class SecretObject(TypedDict):
    """A secret, without its value."""

    id: str
    short_name: str
    description: str
    secret_key: str
    owner_type: Literal["algorithm"]
    owner_id: str
    provider_id: str
    created: str
    modified: str


class Secrets(TypedDict):
    """The secrets of an algorithm, twice: the specification says `results`, the Python client reads `secrets`."""

    marker: None
    next_link: None
    results: list[SecretObject]
    secrets: list[SecretObject]


def secret_object(secret: Secret) -> SecretObject:
    """Show a secret, without its value (platform API, section 2.7).

    Returns:
        Its shape on the wire.
    """
    return {
        "id": secret.id,
        "short_name": secret.label,
        "description": secret.description,
        "secret_key": secret.variable,
        "owner_type": "algorithm",
        "owner_id": secret.algorithm_id,
        "provider_id": SECRET_PROVIDER["id"],
        "created": moment(secret.created),
        "modified": moment(secret.modified),
    }


class ErrorObject(TypedDict):
    """A failed call; the time is in milliseconds since 1970."""

    created_at: int
    request_id: str
    username: str
    algoname: str
    algoversion: str
    input: str
    error: str
    error_type: str
    billable_to: str
    worker: str


class CommitObject(TypedDict):
    """A commit of the branch that is built (platform API, section 2.1)."""

    id: str
    short_message: str
    message: str
    author: str


class Commits(TypedDict):
    """Commits, newest first."""

    commits: list[CommitObject]


def error_object(failed: FailedCall) -> ErrorObject:
    """Show a failed call (platform API, section 2.8).

    Returns:
        Its shape on the wire.
    """
    return {
        "created_at": int(failed.created.timestamp() * 1000),
        "request_id": failed.request_id,
        "username": failed.caller,
        "algoname": failed.algorithm.name,
        "algoversion": failed.version,
        "input": failed.input,
        "error": failed.message,
        "error_type": failed.error_type,
        "billable_to": failed.caller,
        "worker": "",
    }


class LanguageObject(TypedDict):
    """A language; `configuration` is JSON as text."""

    name: str
    display_name: str
    configuration: str


def language_object(name: str, display_name: str) -> LanguageObject:
    """Show a language (platform API, section 2.9).

    Returns:
        Its shape on the wire.
    """
    told = {
        "display_name": display_name,
        "req_files": ["requirements.txt"],
        "artifacts": [],
    }
    return {"name": name, "display_name": display_name, "configuration": encode(told).decode()}


class EnvironmentObject(TypedDict):
    """An environment, which is its own specification."""

    id: str
    environment_specification_id: str
    display_name: str
    description: str
    created_at: str
    language: LanguageObject
    machine_type: Literal["CPU"]


class Environments(TypedDict):
    """The environments of a language."""

    environments: list[EnvironmentObject]


def environment_object(
    *, id: str, name: str, description: str, created: datetime, language: LanguageObject
) -> EnvironmentObject:
    """Show an environment (platform API, section 2.9).

    Returns:
        Its shape on the wire.
    """
    return {
        "id": id,
        "environment_specification_id": id,
        "display_name": name,
        "description": description,
        "created_at": moment(created),
        "language": language,
        "machine_type": "CPU",
    }


class FileObject(TypedDict):
    """A file in a listing."""

    filename: str
    last_modified: str
    size: int


def file_object(file: File) -> FileObject:
    """Show a file in a listing (platform API, section 3.2).

    Returns:
        Its shape on the wire.
    """
    return {"filename": file.name, "last_modified": moment(file.modified), "size": file.blob.size}


def page(results: list[One], *, marker: str | None, link: str | None) -> PageObject[One]:
    """Show one page of a list.

    Returns:
        Its shape on the wire.
    """
    return {"marker": marker, "next_link": link, "results": results}
