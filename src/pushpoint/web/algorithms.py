"""Algorithms: create, show, update."""

from __future__ import annotations

from typing import Any

from litestar import get, post, put

from pushpoint import wire
from pushpoint.errors import InvalidRequest, NotFound
from pushpoint.names import AlgorithmName, check_name
from pushpoint.records import Actor, Algorithm
from pushpoint.registry import algorithms, builds, releases, repositories
from pushpoint.serving import Services
from pushpoint.web.errors import NoSuchAlgorithm

ROOT = "/v1/algorithms/{owner:str}/{name:str}"


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
        return find(services.database, actor, AlgorithmName(owner, name))
    except NotFound as error:
        raise NoSuchAlgorithm from error


@post("/v1/algorithms/{owner:str}", opt={"scope": "manage"}, sync_to_thread=True, status_code=201)
def create(services: Services, actor: Actor, owner: str, body: bytes) -> dict[str, Any]:
    """Create an algorithm, with a repository that holds the template."""
    asked = wire.lenient(body)
    name, details, info = asked.get("name"), asked.get("details") or {}, asked.get("version_info") or {}
    settings = asked.get("settings") or {}
    if not isinstance(name, str) or not all(isinstance(part, dict) for part in (details, info, settings)):
        raise InvalidRequest("an algorithm needs a `name`, and `details` and `settings` that are objects")
    algorithm = algorithms.create(
        services.database,
        actor,
        AlgorithmName(owner, check_name("algorithm", name)),
        label=str(details.get("label") or ""),
        summary=str(details.get("summary") or ""),
        tagline=str(details.get("tagline") or ""),
        settings=settings | {"algorithm_callability": "private"},
        sample_input=sample_input(info),
    )
    repositories.create(services.repositories, algorithm)
    return wire.algorithm_object(algorithm)


@get(ROOT, opt={"scope": "call", "deploys": True}, sync_to_thread=True)
def show(services: Services, actor: Actor, owner: str, name: str) -> dict[str, Any]:
    """Show an algorithm at its newest release, else at its newest build."""
    algorithm = seen(services, actor, owner, name)
    is_owner = algorithms.owns(actor, algorithm)
    newest = releases.newest_first(
        services.database, algorithm, limit=1, offset=0, is_public=None if is_owner else True
    )
    if newest:
        return wire.algorithm_object(algorithm, build=newest[0].build, release=newest[0])
    build = builds.last_succeeded(services.database, algorithm) if is_owner else None
    return wire.algorithm_object(algorithm, build=build)


@put(ROOT, opt={"scope": "manage"}, sync_to_thread=True)
def update(services: Services, actor: Actor, owner: str, name: str, body: bytes) -> dict[str, Any]:
    """Change settings and sample input; what old clients form-encode changes nothing."""
    algorithm = seen(services, actor, owner, name, own=True)
    asked = wire.lenient(body)
    settings, info = asked.get("settings") or {}, asked.get("version_info") or {}
    if not isinstance(settings, dict) or not isinstance(info, dict):
        raise InvalidRequest("`settings` and `version_info` are objects; see the HTTP reference")
    callability(settings)
    algorithms.change(services.database, algorithm, settings=settings, sample_input=sample_input(info))
    return wire.algorithm_object(seen(services, actor, owner, name))
