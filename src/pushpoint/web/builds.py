"""Builds: start one, list them, read their logs while they grow."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, cast

from litestar import get, post

from pushpoint import wire
from pushpoint.errors import InvalidRequest, NotFound
from pushpoint.lifecycle import BuildState
from pushpoint.records import Actor
from pushpoint.registry import builds, releases, repositories, sources
from pushpoint.serving import Services
from pushpoint.web.algorithms import ROOT, seen
from pushpoint.web.paging import paged

LARGEST_OFFSET = 1 << 40
"""Bytes; no log is longer, and file systems take no offset that is much larger."""
LONGEST_CHARACTER = 4
"""Bytes; fewer at the end of an output are one that is not written to its end."""


@post(f"{ROOT}/compile", opt={"scope": "manage", "deploys": True}, sync_to_thread=True, status_code=200)
def compile_head(
    services: Services, actor: Actor, owner: str, name: str, body: Annotated[bytes, wire.Compile], wait: bool = True
) -> wire.AlgorithmObject:
    """Build the head of the branch, or `commitSha`, and wait for it unless told not to.

    What is hosted elsewhere is fetched first, unless the commit is here already. A failed build answers 200 as well:
    the Python client repeats a request that does not.
    """
    algorithm = seen(services, actor, owner, name, own=True)
    repository = repositories.path(services.repositories, algorithm)
    commit = wire.asked(body, wire.Compile).get("commitSha")
    source = sources.find(services.database, algorithm)
    if source and not (commit and repositories.holds(repository, commit)):
        fetched = services.fetcher.fetch(algorithm)
        commit = commit or fetched
    build = services.builder.submit(algorithm, commit or repositories.head(repository) or "")
    if wait:
        build = services.builder.wait(algorithm, build)
    log = services.builder.read_log(build).decode("utf-8", "replace")
    release = releases.of_build(services.database, build)
    return wire.algorithm_object(algorithm, build=build, release=release, log=log, source=source)


@get(f"{ROOT}/builds", opt={"scope": "view", "deploys": True}, sync_to_thread=True)
def list_builds(
    services: Services, actor: Actor, owner: str, name: str, limit: int = 50, marker: str | None = None
) -> wire.PageObject[wire.BuildObject]:
    """List the builds, newest first."""
    algorithm = seen(services, actor, owner, name, own=True)

    def find(limit: int, offset: int) -> list[Any]:
        return builds.newest_first(services.database, algorithm, limit=limit, offset=offset)

    return paged(f"/v1/algorithms/{algorithm.name}/builds", limit, marker, find, wire.build_object)


@get(f"{ROOT}/builds/{{build_id:str}}", opt={"scope": "view", "deploys": True}, sync_to_thread=True)
def show(services: Services, actor: Actor, owner: str, name: str, build_id: str) -> wire.BuildObject:
    """Show a build, named by its id or by its commit."""
    algorithm = seen(services, actor, owner, name, own=True)
    build = builds.of_commit(services.database, algorithm, build_id)
    return wire.build_object(build or builds.find(services.database, algorithm, build_id))


@get(f"{ROOT}/builds/{{build_id:str}}/logs", opt={"scope": "view", "deploys": True}, sync_to_thread=True)
def logs(services: Services, actor: Actor, owner: str, name: str, build_id: str, offset: int = -1) -> wire.LogView:
    """Read a build's log; with an offset in bytes, also while it grows."""
    algorithm = seen(services, actor, owner, name, own=True)
    build = builds.find(services.database, algorithm, build_id)
    finished = build.state is not BuildState.IN_PROGRESS
    if offset < 0 and not finished:
        raise NotFound(f"build {build_id} is not finished; wait, or give an offset to read what there is")
    begin = min(max(0, offset), LARGEST_OFFSET)
    text = services.builder.read_log(build, offset=begin)
    return wire.LogView(logs=text.decode("utf-8", "replace"), next=begin + len(text), finished=finished)


@get(f"{ROOT}/builds/{{build_id:str}}/output", opt={"scope": "view", "deploys": True}, sync_to_thread=True)
def output(services: Services, actor: Actor, owner: str, name: str, build_id: str, offset: int = -1) -> wire.LogView:
    """Read the end of what the workers of a build printed; with an offset in bytes, what comes after, 1 MiB at most.

    `finished` says that this is all for now. A log that grew too large is emptied: it is read from its beginning then.
    """
    algorithm = seen(services, actor, owner, name, own=True)
    build = builds.find(services.database, algorithm, build_id)
    text, end, size = services.builder.read_output(build, offset=offset)
    return wire.LogView(logs=text, next=end, finished=size - end < LONGEST_CHARACTER)


@get(f"{ROOT}/log", opt={"scope": "view", "deploys": True}, sync_to_thread=True)
def commits(
    services: Services, actor: Actor, owner: str, name: str, since: str | None = None, until: str | None = None
) -> wire.Commits:
    """List the commits of the branch that is built, newest first, at most 1,000; `since` and `until` are dates."""
    algorithm = seen(services, actor, owner, name, own=True)
    repository = repositories.path(services.repositories, algorithm)
    found = repositories.log(repository, since=_date(since), until=_date(until))
    return {"commits": cast("list[wire.CommitObject]", found)}


def _date(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text is not None else None
        return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"{text!r} is not a date; write it as 2026-01-31 or 2026-01-31T12:00:00Z") from error
