"""Algorithms: create, show, update, delete."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from litestar import delete, get, post, put

from pushpoint import wire
from pushpoint.errors import InvalidRequest, NotFound
from pushpoint.interpreters import named
from pushpoint.names import AlgorithmName, RepositoryUrl, check_name, repository_url
from pushpoint.records import Actor, Algorithm
from pushpoint.registry import algorithms, builds, releases, repositories, sources
from pushpoint.serving import Services
from pushpoint.web.errors import NoSuchAlgorithm

ROOT = "/v1/algorithms/{owner:str}/{name:str}"
_LONGEST = 10_000
BY_ID = "~"
"""The owner's place in a path where the name is an algorithm's id; no owner is called so."""


def callability(settings: dict[str, Any]) -> str | None:
    """Read who may call, from the settings of a request.

    Args:
        settings: As the wire gave them.

    Returns:
        `public`, `private`, or none if they do not say.

    Raises:
        InvalidRequest: They say something else.
    """
    found = settings.get("algorithm_callability")
    if found not in (None, "public", "private"):
        raise InvalidRequest("`algorithm_callability` is `public` or `private`; leave it out to keep what it is")
    return found


def sample_input(info: dict[str, Any]) -> str | None:
    """Read the sample input of a request.

    Args:
        info: Its `version_info`.

    Returns:
        JSON text, or none.
    """
    found = info.get("sample_input")
    return found if found is None or isinstance(found, str) else wire.encode(found).decode()


def source_url(asked: object) -> RepositoryUrl | None:
    """Read the `source` of a request as old clients write it (platform API, section 2.3).

    Args:
        asked: As the wire gave it.

    Returns:
        Where the repository is; none where the platform is to host it.

    Raises:
        InvalidRequest: It names no repository, or a host that is not known by such a name.
    """
    if not asked:
        return None
    scm = asked.get("scm", "internal") if isinstance(asked, dict) else None
    if not isinstance(asked, dict) or not isinstance(scm, str) or scm not in wire.SCMS:
        raise InvalidRequest(f"`source.scm` is one of {', '.join(wire.SCMS)}; for other hosts PUT the source's url")
    if scm == "internal":
        return None
    owner = asked.get("repository_owner")
    name = asked.get("existing_repository_name") or asked.get("repository_name")
    if not isinstance(owner, str) or not isinstance(name, str):
        raise InvalidRequest("`source` needs a `repository_owner` and a `repository_name`; add them")
    return repository_url(f"{wire.SCMS[scm]}/{owner}/{name.removesuffix('.git')}.git")


def seen(services: Services, actor: Actor, owner: str, name: str, *, own: bool = False) -> Algorithm:
    """Find the algorithm that a path names.

    Args:
        services: The platform.
        actor: Who is asking.
        owner: First segment.
        name: Second segment.
        own: Whether it must be the actor's.

    Returns:
        The algorithm.

    Raises:
        NoSuchAlgorithm: There is none that the actor may see.
    """
    find = algorithms.find_own if own else algorithms.find
    try:
        return find(services.database, actor, UUID(name) if owner == BY_ID else AlgorithmName(owner, name))
    except (NotFound, ValueError) as error:
        raise NoSuchAlgorithm from error


def details(asked: dict[str, Any]) -> dict[str, str]:
    """Read what people are told of an algorithm, from a request.

    Args:
        asked: The whole request.

    Returns:
        What is there of `label`, `summary` and `tagline`.

    Raises:
        InvalidRequest: It is no object, or one of them is no text, or is too long.
    """
    found = asked.get("details") or {}
    if not isinstance(found, dict):
        raise InvalidRequest("`details` is an object; see the HTTP reference")
    told = {name: found[name] for name in ("label", "summary", "tagline") if found.get(name) is not None}
    for name, value in told.items():
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise InvalidRequest(f"`{name}` is a text of at most {_LONGEST} characters; shorten it")
    return told


@post("/v1/algorithms/{owner:str}", opt={"scope": "manage"}, sync_to_thread=True, status_code=201)
def create(services: Services, actor: Actor, owner: str, body: bytes) -> dict[str, Any]:
    """Create an algorithm, with a repository that holds the template."""
    asked = wire.lenient(body)
    name, info, settings = asked.get("name"), asked.get("version_info") or {}, asked.get("settings") or {}
    if not isinstance(name, str) or not isinstance(info, dict) or not isinstance(settings, dict):
        raise InvalidRequest("an algorithm needs a `name`, and `details` and `settings` that are objects")
    url = source_url(asked.get("source"))
    if url:
        services.fetcher.check(url)
    environment = named(settings, services.interpreters) or services.interpreters[0]
    algorithm = algorithms.create(
        services.database,
        actor,
        AlgorithmName(owner, check_name("algorithm", name)),
        **details(asked),
        settings=settings | {"algorithm_callability": "private", "algorithm_environment": environment.id},
        sample_input=sample_input(info),
    )
    repositories.create(services.repositories, algorithm)
    if url is None:
        return wire.algorithm_object(algorithm)
    secret = sources.put(services.database, services.vault, actor, algorithm, url)
    found = wire.algorithm_object(algorithm, source=sources.find(services.database, algorithm))
    found["source"] |= {"repository_webhook_secret": secret}
    return found


@get(ROOT, opt={"scope": "call or view", "deploys": True}, sync_to_thread=True)
def show(services: Services, actor: Actor, owner: str, name: str) -> dict[str, Any]:
    """Show an algorithm at its newest release, else at its newest build."""
    return _shown(services, actor, seen(services, actor, owner, name))


@put(ROOT, opt={"scope": "manage"}, sync_to_thread=True)
def update(services: Services, actor: Actor, owner: str, name: str, body: bytes) -> dict[str, Any]:
    """Change details, settings and sample input; what old clients form-encode changes nothing."""
    algorithm = seen(services, actor, owner, name, own=True)
    asked = wire.lenient(body)
    settings, info = asked.get("settings") or {}, asked.get("version_info") or {}
    if not isinstance(settings, dict) or not isinstance(info, dict):
        raise InvalidRequest("`settings` and `version_info` are objects; see the HTTP reference")
    callability(settings)
    environment = named(settings, services.interpreters)
    settings.pop("algorithm_environment", None)  # one that is not here changes nothing
    settings |= {"algorithm_environment": environment.id} if environment else {}
    algorithms.change(
        services.database, algorithm, settings=settings, details=details(asked), sample_input=sample_input(info)
    )
    return _shown(services, actor, seen(services, actor, owner, name))


@delete(ROOT, opt={"scope": "manage"}, sync_to_thread=True, status_code=204)
def remove(services: Services, actor: Actor, owner: str, name: str) -> None:
    """Delete an algorithm: its repository, builds, releases and secrets; models stay in their collections."""
    services.builder.remove(actor, seen(services, actor, owner, name, own=True))


def _shown(services: Services, actor: Actor, algorithm: Algorithm) -> dict[str, Any]:
    is_owner = algorithms.owns(actor, algorithm)
    newest = releases.newest_first(
        services.database, algorithm, limit=1, offset=0, is_public=None if is_owner else True
    )
    source = sources.find(services.database, algorithm) if is_owner else None
    if newest:
        return wire.algorithm_object(algorithm, build=newest[0].build, release=newest[0], source=source)
    build = builds.last_succeeded(services.database, algorithm) if is_owner else None
    return wire.algorithm_object(algorithm, build=build, source=source)
