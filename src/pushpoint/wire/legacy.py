"""The old platform's shapes, as plain dictionaries.

What is absent must be absent, and each oddity names the client that needs it.
"""

from __future__ import annotations

from datetime import UTC, datetime
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
from pushpoint.wire.codec import JSON, encode


def moment(value: datetime) -> str:
    """Print a time as the old API did.

    Returns:
        ISO 8601 in UTC with three digits of milliseconds; Go's and Python's clients parse exactly that.

    Example:
        >>> moment(datetime(2026, 1, 2, tzinfo=UTC))
        '2026-01-02T00:00:00.000Z'
    """
    return value.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


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


SECRET_PROVIDER: dict[str, JSON] = {
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


def secret_object(secret: Secret) -> dict[str, JSON]:
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


def error_object(failed: FailedCall) -> dict[str, JSON]:
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


def language_object(name: str, display_name: str) -> dict[str, JSON]:
    """Show a language (platform API, section 2.9).

    Returns:
        Its shape on the wire; `configuration` is JSON as text.
    """
    told = {
        "display_name": display_name,
        "req_files": ["requirements.txt"],
        "artifacts": [],
    }
    return {"name": name, "display_name": display_name, "configuration": encode(told).decode()}


def environment_object(
    *, id: str, name: str, description: str, created: datetime, language: dict[str, JSON]
) -> dict[str, JSON]:
    """Show an environment (platform API, section 2.9).

    Returns:
        Its shape on the wire; it is its own specification.
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
