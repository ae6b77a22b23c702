"""Versions, as old clients know them; releases and deployments, as ours does."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import uuid4

from litestar import get, post

from pushpoint import wire
from pushpoint.errors import AlreadyExists, InvalidRequest, NotFound, Refused
from pushpoint.lifecycle import BuildState, DeploymentState
from pushpoint.records import Actor, Algorithm, Build, Release
from pushpoint.registry import algorithms, builds, deployments, releases
from pushpoint.serving import Services
from pushpoint.web.algorithms import ROOT, sample_input, seen
from pushpoint.web.paging import paged


@get(f"{ROOT}/versions", opt={"scope": "call or view", "deploys": True}, sync_to_thread=True)
def list_versions(
    services: Services,
    actor: Actor,
    owner: str,
    name: str,
    limit: int = 50,
    marker: str | None = None,
    callable: str | None = None,
    published: str | None = None,
) -> wire.PageObject[wire.AlgorithmObject]:
    """List versions: to the owner all builds that succeeded, else what is published.

    `callable=false` means what is published privately, `callable=true` publicly, and `published=true` either (Node
    client).
    """
    algorithm = seen(services, actor, owner, name)
    is_public = None if callable is None else callable.lower() == "true"
    is_owner = algorithms.owns(actor, algorithm)
    path = f"/v1/algorithms/{algorithm.name}/versions"
    if is_owner and is_public is None and (published or "").lower() != "true":

        def find_all(limit: int, offset: int) -> list[tuple[Build, Release | None]]:
            return releases.builds_and_releases(services.database, algorithm, limit=limit, offset=offset)

        return paged(
            path,
            limit,
            marker,
            find_all,
            lambda one: wire.algorithm_object(algorithm, build=one[0], release=one[1]),
        )

    def find(limit: int, offset: int) -> list[Release]:
        wanted = is_public if is_owner else True
        return releases.newest_first(services.database, algorithm, limit=limit, offset=offset, is_public=wanted)

    return paged(path, limit, marker, find, lambda one: wire.algorithm_object(algorithm, build=one.build, release=one))


@get(f"{ROOT}/versions/{{selector:str}}", opt={"scope": "call or view", "deploys": True}, sync_to_thread=True)
def show_version(services: Services, actor: Actor, owner: str, name: str, selector: str) -> wire.AlgorithmObject:
    """Show one version, by commit or by number."""
    algorithm = seen(services, actor, owner, name)
    is_owner = algorithms.owns(actor, algorithm)
    build = releases.resolve(services.database, algorithm, selector, is_owner=is_owner)
    return wire.algorithm_object(algorithm, build=build, release=releases.of_build(services.database, build))


@post(
    [f"{ROOT}/versions", f"{ROOT}/version"],
    opt={"scope": "manage", "deploys": True},
    sync_to_thread=True,
    status_code=200,
)
def publish(
    services: Services,
    actor: Actor,
    owner: str,
    name: str,
    body: Annotated[bytes, wire.Publish],
    roll_out: bool = True,
) -> wire.AlgorithmObject:
    """Publish the last successful build, or that of `git_hash`, and make it live unless told not to.

    The singular path is the Node and Java clients'. Old clients know no rollout: what they publish is live.
    """
    algorithm = seen(services, actor, owner, name, own=True)
    asked = wire.asked(body, wire.Publish)
    info = asked.get("version_info") or {}
    asked_for = (asked.get("settings") or {}).get("algorithm_callability")
    if asked_for and actor.limit:
        raise Refused(f"this key may not say who may call algo://{algorithm.name}; use a key of {owner}'s")
    build = _build_to_publish(services, algorithm, info.get("git_hash"))
    sample = sample_input(info)
    release = releases.publish(
        services.database,
        actor,
        algorithm,
        build,
        part=(info.get("version_type") or "minor").lower(),
        is_public=(asked_for or algorithm.settings.get("algorithm_callability")) == "public",
        notes=info.get("release_notes") or "",
        sample_input=sample if sample is not None else algorithm.sample_input,
    )
    if asked_for:
        algorithms.change(services.database, algorithm, settings={"algorithm_callability": asked_for})
    if roll_out:
        services.rollouts.make_live(actor, algorithm, release, deploy_id=f"publish-{uuid4()}")
    return wire.algorithm_object(algorithm, build=build, release=release)


@get(f"{ROOT}/releases", opt={"scope": "view", "deploys": True}, sync_to_thread=True)
def list_releases(
    services: Services, actor: Actor, owner: str, name: str, limit: int = 50, marker: str | None = None
) -> wire.PageObject[wire.ReleaseView]:
    """List the releases, highest version first."""
    algorithm = seen(services, actor, owner, name, own=True)
    live = deployments.live(services.database, algorithm)

    def find(limit: int, offset: int) -> list[tuple[Release, DeploymentState | None]]:
        found = releases.newest_first(services.database, algorithm, limit=limit, offset=offset)
        states = deployments.states(services.database, found)
        return [(one, states.get(one.id)) for one in found]

    return paged(
        f"/v1/algorithms/{algorithm.name}/releases",
        limit,
        marker,
        find,
        lambda one: wire.release_view(one[0], live=live, state=one[1]),
    )


@get(f"{ROOT}/live", opt={"scope": "view", "deploys": True}, sync_to_thread=True)
def live(services: Services, actor: Actor, owner: str, name: str) -> wire.DeploymentView:
    """Show what has the traffic."""
    algorithm = seen(services, actor, owner, name, own=True)
    found = deployments.live(services.database, algorithm)
    if found is None:
        raise NotFound(f"algo://{algorithm.name} has no live version; deploy or publish one")
    return wire.deployment_view(found, live=found)


@get(f"{ROOT}/deployments", opt={"scope": "view", "deploys": True}, sync_to_thread=True)
def list_deployments(
    services: Services, actor: Actor, owner: str, name: str, limit: int = 50, marker: str | None = None
) -> wire.PageObject[wire.DeploymentView]:
    """List the deployments, newest first: what was live when, and who put it there."""
    algorithm = seen(services, actor, owner, name, own=True)
    live = deployments.live(services.database, algorithm)

    def find(limit: int, offset: int) -> list[Any]:
        return deployments.newest_first(services.database, algorithm, limit=limit, offset=offset)

    return paged(
        f"/v1/algorithms/{algorithm.name}/deployments",
        limit,
        marker,
        find,
        lambda deployment: wire.deployment_view(deployment, live=live),
    )


@post(f"{ROOT}/deployments", opt={"scope": "manage", "deploys": True}, sync_to_thread=True, status_code=202)
def roll_out(
    services: Services, actor: Actor, owner: str, name: str, body: Annotated[bytes, wire.RollOut]
) -> wire.DeploymentView:
    """Begin to make a release live; the same `deploy_id` again answers the same deployment."""
    algorithm = seen(services, actor, owner, name, own=True)
    asked = wire.decode(body, wire.RollOut)
    build = releases.resolve(services.database, algorithm, asked.version, is_owner=True)
    release = releases.of_build(services.database, build)
    if release is None:
        raise InvalidRequest(f"{asked.version} is not published; publish it first")
    begun = services.rollouts.begin(actor, algorithm, release, deploy_id=asked.deploy_id, is_rollback=asked.is_rollback)
    return wire.deployment_view(begun, live=deployments.live(services.database, algorithm))


@get(f"{ROOT}/deployments/{{deployment_id:str}}", opt={"scope": "view", "deploys": True}, sync_to_thread=True)
def show_deployment(services: Services, actor: Actor, owner: str, name: str, deployment_id: str) -> wire.DeploymentView:
    """Show a deployment."""
    algorithm = seen(services, actor, owner, name, own=True)
    found = deployments.find(services.database, algorithm, deployment_id)
    return wire.deployment_view(found, live=deployments.live(services.database, algorithm))


def _build_to_publish(services: Services, algorithm: Algorithm, commit: str | None) -> Build:
    if commit is None:
        build = builds.last_succeeded(services.database, algorithm)
        if build is None:
            raise InvalidRequest(f"algo://{algorithm.name} has no successful build; compile it first")
    else:
        build = builds.of_commit(services.database, algorithm, commit)
        if build is None or build.state is not BuildState.SUCCEEDED:
            raise InvalidRequest(f"commit {commit} has no successful build; compile it first")
    if releases.of_build(services.database, build):
        raise AlreadyExists(f"commit {build.commit} of algo://{algorithm.name} is published already; push a new one")
    return build
