"""Algorithms: create, show, update, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from litestar import delete, get, post, put
from litestar.params import Parameter

from pushpoint import wire
from pushpoint.errors import Conflict, InvalidRequest, NotFound, RolloutFailed
from pushpoint.interpreters import named
from pushpoint.names import AlgorithmName, RepositoryUrl, check_name, repository_url
from pushpoint.records import Actor, Algorithm
from pushpoint.registry import algorithms, builds, deployments, releases, repositories, sources
from pushpoint.serving import Services, reaching
from pushpoint.web.errors import NoSuchAlgorithm

ROOT = "/v1/algorithms/{owner:str}/{name:str}"
BY_ID = "~"
"""The owner's place in a path where the name is an algorithm's id; no owner is called so."""


def sample_input(info: wire.AskedVersion | None) -> str | None:
    """Read the sample input of a request.

    Args:
        info: Its `version_info`.

    Returns:
        JSON text, or none.
    """
    found = (info or {}).get("sample_input")
    return found if found is None or isinstance(found, str) else wire.encode(found).decode()


def source_url(asked: wire.AskedSource | None) -> RepositoryUrl | None:
    """Read the `source` of a request as old clients write it (platform API, section 2.3).

    Args:
        asked: As the wire gave it.

    Returns:
        Where the repository is; none where the platform is to host it.

    Raises:
        InvalidRequest: It names no repository, or a host that is not known by such a name.
    """
    asked = asked or {}
    scm = asked.get("scm") or "internal"
    if scm not in wire.SCMS:
        raise InvalidRequest(f"`source.scm` is one of {', '.join(wire.SCMS)}; for other hosts PUT the source's url")
    if scm == "internal":
        return None
    owner = asked.get("repository_owner")
    name = asked.get("existing_repository_name") or asked.get("repository_name")
    if not owner or not name:
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


def stated(asked: Mapping[str, object] | None) -> dict[str, Any]:
    """Read an object of a request, in which null counts as left out.

    Returns:
        What it states.
    """
    return {name: value for name, value in (asked or {}).items() if value is not None}


@post("/v1/algorithms/{owner:str}", opt={"scope": "manage"}, sync_to_thread=True, status_code=201)
def create(
    services: Services, actor: Actor, owner: str, body: Annotated[bytes, wire.NewAlgorithm]
) -> wire.AlgorithmObject:
    """Create an algorithm, with a repository that holds the template."""
    asked = wire.asked(body, wire.NewAlgorithm)
    url = source_url(asked.get("source"))
    if url:
        services.fetcher.check(url)
    settings = stated(asked.get("settings"))
    reaching.check(settings, services.egress.listed)
    environment = named(settings, services.interpreters) or services.interpreters[0]
    algorithm = algorithms.create(
        services.database,
        actor,
        AlgorithmName(owner, check_name("algorithm", asked["name"])),
        **stated(asked.get("details")),
        settings=settings | {"algorithm_callability": "private", "algorithm_environment": environment.id},
        sample_input=sample_input(asked.get("version_info")),
    )
    repositories.create(services.repositories, algorithm)
    if url is None:
        return wire.algorithm_object(algorithm)
    secret = sources.put(services.database, services.vault, actor, algorithm, url)
    found = wire.algorithm_object(algorithm, source=sources.find(services.database, algorithm))
    if secret:
        found["source"]["repository_webhook_secret"] = secret
    return found


@get(ROOT, opt={"scope": "call or view", "deploys": True}, sync_to_thread=True)
def show(services: Services, actor: Actor, owner: str, name: str) -> wire.AlgorithmObject:
    """Show an algorithm at its newest release, else at its newest build."""
    return _shown(services, actor, seen(services, actor, owner, name))


@put(ROOT, opt={"scope": "manage"}, sync_to_thread=True)
def update(
    services: Services,
    actor: Actor,
    owner: str,
    name: str,
    body: Annotated[bytes, wire.ChangeAlgorithm],
    content_type: Annotated[str, Parameter(header="content-type")] = "",
) -> wire.AlgorithmObject:
    """Change details, settings and sample input; what is form-encoded changes nothing.

    The Python client 2.0.5 form-encodes the names of keys alone in `Algorithm.update`; nothing can be read off it.
    """
    algorithm = seen(services, actor, owner, name, own=True)
    is_form = content_type.startswith("application/x-www-form-urlencoded")
    asked = wire.asked(b"" if is_form else body, wire.ChangeAlgorithm)
    settings = stated(asked.get("settings"))
    reaching.check(settings, services.egress.listed)
    environment = named(settings, services.interpreters)
    settings.pop("algorithm_environment", None)  # one that is not here changes nothing
    settings |= {"algorithm_environment": environment.id} if environment else {}
    algorithms.change(
        services.database,
        algorithm,
        settings=settings,
        details=stated(asked.get("details")),
        sample_input=sample_input(asked.get("version_info")),
    )
    changed = seen(services, actor, owner, name)
    wanted, before = reaching.asked(changed.settings), reaching.asked(algorithm.settings)
    if wanted != before or changed.settings.get("limits") != algorithm.settings.get("limits"):
        renew(services, changed)
    if changed.settings.get("scaling") != algorithm.settings.get("scaling"):
        services.pools.rescale(changed)
    return _shown(services, actor, changed)


@get(f"{ROOT}/workers", opt={"scope": "view"}, sync_to_thread=True)
def workers(services: Services, actor: Actor, owner: str, name: str) -> wire.WorkersView:
    """Show what holds for the workers of an algorithm, and how many there are of its live release."""
    algorithm = seen(services, actor, owner, name, own=True)
    limits, scaling, reach = services.pools.bounds(algorithm)
    live = deployments.live(services.database, algorithm)
    pool = services.pools.running(live.release.build) if live else None
    return wire.WorkersView(
        limits=limits,
        scaling=scaling,
        allow=reach.entries,
        replicas=pool.live_replicas if pool else 0,
        calls_in_flight=pool.in_flight if pool else 0,
        calls_queued=pool.waiting if pool else 0,
    )


@delete(ROOT, opt={"scope": "manage"}, sync_to_thread=True, status_code=204)
def remove(services: Services, actor: Actor, owner: str, name: str) -> None:
    """Delete an algorithm: its repository, builds, releases and secrets; models stay in their collections."""
    services.builder.remove(actor, seen(services, actor, owner, name, own=True))


def renew(services: Services, algorithm: Algorithm) -> None:
    """Start an algorithm's workers anew, with what its owner has just set.

    Raises:
        Conflict: They do not start with it.
    """
    try:
        services.pools.renew(algorithm)
    except RolloutFailed as error:
        raise Conflict(
            f"this is kept, but {algorithm.name} does not start with it: {error.reason}; its workers go on as they "
            "were until they end, so set another value, or mend the inference code"
        ) from error


def _shown(services: Services, actor: Actor, algorithm: Algorithm) -> wire.AlgorithmObject:
    is_owner = algorithms.owns(actor, algorithm)
    newest = releases.newest_first(
        services.database, algorithm, limit=1, offset=0, is_public=None if is_owner else True
    )
    source = sources.find(services.database, algorithm) if is_owner else None
    if newest:
        return wire.algorithm_object(algorithm, build=newest[0].build, release=newest[0], source=source)
    build = builds.last_succeeded(services.database, algorithm) if is_owner else None
    return wire.algorithm_object(algorithm, build=build, source=source)
