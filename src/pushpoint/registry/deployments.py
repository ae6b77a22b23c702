"""Deployments: releases made live. The pointer to the live one moves only by compare-and-set, and is counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, RowMapping, Select, insert, select, update

from pushpoint.databases import Change, Database, reading, writing
from pushpoint.databases.tables import algorithms, deployments
from pushpoint.errors import NotFound, Superseded
from pushpoint.lifecycle import DeploymentState, advance
from pushpoint.records import Actor, Algorithm, Deployment, Release
from pushpoint.registry import releases
from pushpoint.registry.history import record

_OPEN = (DeploymentState.STARTING, DeploymentState.VERIFYING)


def begin(
    database: Database,
    actor: Actor,
    algorithm: Algorithm,
    release: Release,
    *,
    deploy_id: str,
    is_rollback: bool,
) -> tuple[Deployment, bool]:
    """Begin to make a release live, unless this deploy did so before and did not fail.

    Returns:
        The deployment, and whether it is new.
    """
    values = {
        "id": str(uuid4()),
        "algorithm_id": algorithm.id,
        "release_id": release.id,
        "deploy_id": deploy_id,
        "state": DeploymentState.STARTING,
        "is_rollback": is_rollback,
        "reason": "",
        "actor": actor.account.name,
        "run": actor.run,
        "created": datetime.now(UTC),
    }
    same = (
        (deployments.c.algorithm_id == algorithm.id)
        & (deployments.c.deploy_id == deploy_id)
        & deployments.c.state.not_in((DeploymentState.FAILED, DeploymentState.SUPERSEDED))
    )
    with writing(database, change=Change.WORK) as connection:
        # in one transaction: what is found cannot fail before it is answered
        there = connection.execute(select(deployments.c.id).where(same)).scalar()
        if there is None:
            connection.execute(insert(deployments).values(**values))
    return _get(database, there or str(values["id"])), there is None


def move(database: Database, deployment: Deployment, to: DeploymentState, *, reason: str = "") -> Deployment:
    """Take a deployment one step along its lifecycle.

    Returns:
        The deployment in its new state.

    Raises:
        Superseded: Someone else moved it meanwhile.
    """
    with writing(database, change=Change.WORK) as connection:
        moved = connection.execute(
            update(deployments)
            .where(deployments.c.id == deployment.id, deployments.c.state == deployment.state)
            .values(state=advance(deployment.state, to), reason=reason)
        )
        if moved.rowcount != 1:
            raise Superseded(f"deployment {deployment.id} is no longer {deployment.state}; look at it again")
        if to in {DeploymentState.FAILED, DeploymentState.SUPERSEDED}:
            record(connection, deployment.actor, f"deployment.{to}", deployment.id, reason, run=deployment.run)
    return _get(database, deployment.id)


def switch(database: Database, algorithm: Algorithm, deployment: Deployment) -> Deployment:
    """Give a verified deployment the traffic: compare the generation, count it up, move the pointer.

    Args:
        database: Where to write.
        algorithm: As it was when the decision was taken; its generation is compared.
        deployment: In state verifying.

    Returns:
        The deployment, live.

    Raises:
        Superseded: Another deployment went live since `algorithm` was read.
    """
    now = datetime.now(UTC)
    with writing(database, change=Change.CALLED) as connection:
        moved = connection.execute(
            update(algorithms)
            .where(algorithms.c.id == algorithm.id, algorithms.c.generation == algorithm.generation)
            .values(generation=algorithm.generation + 1, live=deployment.id)
        )
        if moved.rowcount != 1:
            raise Superseded(f"another deployment of algo://{algorithm.name} went live meanwhile; look at it first")
        connection.execute(
            update(deployments)
            .where(deployments.c.id == algorithm.live, deployments.c.state == DeploymentState.LIVE)
            .values(state=advance(DeploymentState.LIVE, DeploymentState.DRAINING))
        )
        changed = connection.execute(
            update(deployments)
            .where(deployments.c.id == deployment.id, deployments.c.state == deployment.state)
            .values(
                state=advance(deployment.state, DeploymentState.LIVE),
                generation=algorithm.generation + 1,
                live_since=now,
            )
        )
        if changed.rowcount != 1:
            raise Superseded(f"deployment {deployment.id} is no longer {deployment.state}; look at it again")
        record(
            connection,
            deployment.actor,
            "deployment.rollback" if deployment.is_rollback else "deployment.live",
            f"{algorithm.name}/{deployment.release.version}",
            f"generation {algorithm.generation + 1}",
            run=deployment.run,
        )
    return _get(database, deployment.id)


def find(database: Database, algorithm: Algorithm, deployment_id: str) -> Deployment:
    """Look up a deployment of an algorithm.

    Returns:
        The deployment.

    Raises:
        NotFound: The algorithm has no such deployment.
    """
    found = _first(database, (deployments.c.algorithm_id == algorithm.id) & (deployments.c.id == deployment_id))
    if found is None:
        raise NotFound(f"algo://{algorithm.name} has no deployment {deployment_id}; list its deployments")
    return found


def live(database: Database, algorithm: Algorithm) -> Deployment | None:
    """Look up what has the traffic of an algorithm.

    Returns:
        The live deployment, or none.
    """
    return _first(database, deployments.c.id == algorithm.live) if algorithm.live else None


def newest_first(database: Database, algorithm: Algorithm, *, limit: int, offset: int) -> list[Deployment]:
    """List the deployments of an algorithm.

    Returns:
        At most `limit` deployments.
    """
    order = deployments.c.created.desc(), deployments.c.id.desc()
    whose = deployments.c.algorithm_id == algorithm.id
    page = select(deployments.c.id).where(whose).order_by(*order).limit(limit).offset(offset)
    return _read(database, select(deployments).where(deployments.c.id.in_(page)).order_by(*order))


def states(database: Database, found: Sequence[Release]) -> dict[str, DeploymentState]:
    """Look up how the latest deployment of each release went.

    Returns:
        State by release id; releases that were never deployed are absent.
    """
    with reading(database) as connection:
        rows = connection.execute(
            select(deployments.c.release_id, deployments.c.state)
            .where(deployments.c.release_id.in_([one.id for one in found]))
            .order_by(deployments.c.created)
        )
        return {release_id: DeploymentState(state) for release_id, state in rows}


def waiting(database: Database) -> list[Deployment]:
    """List the deployments, of all algorithms, that are written down and whose workers are not ready.

    Returns:
        The deployments, oldest first.
    """
    which = select(deployments).where(deployments.c.state == DeploymentState.STARTING)
    return _read(database, which.order_by(deployments.c.created))


def recover(database: Database) -> None:
    """Close what was cut off when the platform last ended: what was not live failed, what drained is retired."""
    with writing(database, change=Change.CALLED) as connection:
        connection.execute(
            update(deployments)
            .where(deployments.c.state.in_(_OPEN))
            .values(state=DeploymentState.FAILED, reason="the platform was stopped meanwhile; deploy again")
        )
        connection.execute(
            update(deployments)
            .where(deployments.c.state == DeploymentState.DRAINING)
            .values(state=advance(DeploymentState.DRAINING, DeploymentState.RETIRED))
        )


def _first(database: Database, which: ColumnElement[bool]) -> Deployment | None:
    return next(iter(_read(database, select(deployments).where(which).limit(1))), None)


def _get(database: Database, deployment_id: str) -> Deployment:
    found = _first(database, deployments.c.id == deployment_id)
    assert found  # noqa: S101 - rows are never deleted
    return found


def _read(database: Database, selected: Select[Any]) -> list[Deployment]:
    with reading(database) as connection:
        rows = list(connection.execute(selected).mappings())
    of = releases.by_id(database, {row["release_id"] for row in rows}) if rows else {}
    # an algorithm that is deleted meanwhile takes its releases along
    return [_deployment(row, of[row["release_id"]]) for row in rows if row["release_id"] in of]


def _deployment(row: RowMapping, release: Release) -> Deployment:
    return Deployment(
        id=row["id"],
        deploy_id=row["deploy_id"],
        algorithm_id=row["algorithm_id"],
        release=release,
        state=DeploymentState(row["state"]),
        generation=row["generation"],
        is_rollback=row["is_rollback"],
        reason=row["reason"],
        actor=row["actor"],
        run=row["run"],
        created=row["created"],
        live_since=row["live_since"],
    )
