"""What requests look up goes by an index, and pages follow each other; how fast, `scripts/bench registry` tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import event, update

from pushpoint.databases import Database, reading, writing
from pushpoint.databases.tables import builds as builds_table
from pushpoint.databases.tables import deployments as deployments_table
from pushpoint.errors import NotFound
from pushpoint.lifecycle import DeploymentState
from pushpoint.names import AlgorithmName, Reference
from pushpoint.records import Deployment
from pushpoint.registry import (
    accounts,
    algorithms,
    builds,
    deployments,
    keys,
    organizations,
    publishers,
    releases,
    reports,
    secrets,
    sources,
)
from pushpoint.serving.lookups import Lookups
from tests.registry.conftest import Registry

LOOKUPS: dict[str, Callable[[Registry], object]] = {
    "a key": lambda it: keys.authenticate(it.database, "sim" + "x" * 25),
    "keys of an account": lambda it: keys.of_account(it.database, it.ann.account),
    "an account": lambda it: accounts.find(it.database, "ann"),
    "organizations of an account": lambda it: organizations.of_account(it.database, it.ann.account),
    "members": lambda it: organizations.every_member(it.database, it.ann.account),
    "an algorithm by name": lambda it: algorithms.lookup(it.database, it.algorithm.name),
    "an algorithm by id": lambda it: algorithms.lookup(it.database, UUID(it.algorithm.id)),
    "algorithms of an owner": lambda it: algorithms.of_owner(it.database, it.ann, "ann", limit=2, offset=2),
    "algorithms of another": lambda it: algorithms.of_owner(it.database, it.bob, "ann", limit=2, offset=2),
    "what a call is for": lambda it: Lookups(it.database).target(it.ann, Reference(it.algorithm.name, None)),
    "version latest": lambda it: releases.resolve(it.database, it.algorithm, "latest", is_owner=True),
    "version latest of others": lambda it: releases.resolve(it.database, it.algorithm, "latest", is_owner=False),
    "version 0.*": lambda it: releases.resolve(it.database, it.algorithm, "0.*", is_owner=True),
    "version 0.1.0": lambda it: releases.resolve(it.database, it.algorithm, "0.1.0", is_owner=True),
    "version of a commit": lambda it: releases.resolve(it.database, it.algorithm, "a" * 40, is_owner=True),
    "what is live": lambda it: deployments.live(it.database, it.now()),
    "a deployment": lambda it: deployments.find(it.database, it.algorithm, "x"),
    "deployments": lambda it: deployments.newest_first(it.database, it.algorithm, limit=2, offset=2),
    "states": lambda it: deployments.states(it.database, [it.release()]),
    "a build": lambda it: builds.find(it.database, it.algorithm, "x"),
    "builds": lambda it: builds.newest_first(it.database, it.algorithm, limit=2, offset=2),
    "builds by id alone": lambda it: builds.ids(it.database, it.algorithm),
    "the last build that succeeded": lambda it: builds.last_succeeded(it.database, it.algorithm),
    "the release of a build": lambda it: releases.of_build(it.database, it.build()),
    "releases": lambda it: releases.newest_first(it.database, it.algorithm, limit=2, offset=2),
    "public releases": lambda it: releases.newest_first(it.database, it.algorithm, limit=2, offset=2, is_public=True),
    "versions": lambda it: releases.builds_and_releases(it.database, it.algorithm, limit=2, offset=2),
    "secrets": lambda it: secrets.of_algorithm(it.database, it.algorithm),
    "failed calls": lambda it: reports.failed_calls(it.database, "ann"),
    "failed calls of one": lambda it: reports.failed_calls(it.database, "ann", algorithm_id=it.algorithm.id),
    "insights": lambda it: reports.insights_of(it.database, it.algorithm.id),
    "publishers": lambda it: publishers.of_algorithm(it.database, it.algorithm),
    "a source": lambda it: sources.find(it.database, it.algorithm),
}


@contextmanager
def listening(database: Database) -> Iterator[list[tuple[str, object]]]:
    """Hear every statement that a block sends to the database, with what it is given."""
    said: list[tuple[str, object]] = []

    def hear(*told: object) -> None:
        said.append((str(told[2]), told[3]))

    event.listen(database, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        event.remove(database, "before_cursor_execute", hear)


def deploy(registry: Registry) -> Deployment:
    release = registry.release()
    begun, _ = deployments.begin(
        registry.database, registry.ann, registry.algorithm, release, deploy_id=release.id, is_rollback=False
    )
    verifying = deployments.move(registry.database, begun, DeploymentState.VERIFYING)
    return deployments.switch(registry.database, registry.now(), verifying)


@pytest.mark.parametrize("name", LOOKUPS)
def test_no_lookup_of_a_request_reads_a_whole_table(registry: Registry, name: str) -> None:
    for _ in range(3):
        deploy(registry)
    with listening(registry.database) as said, suppress(NotFound):
        LOOKUPS[name](registry)
    selects = [one for one in said if one[0].startswith("SELECT")]
    assert selects
    with reading(registry.database) as connection:
        for statement, given in selects:
            plan = [
                row[3]
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)  # type: ignore[arg-type]
            ]
            assert plan
            assert not [step for step in plan if re.match(r"SCAN \w+", step)], (statement, plan)


def test_a_scan_would_be_seen(registry: Registry) -> None:
    with listening(registry.database) as said:
        builds.unfinished(registry.database)
    ((statement, given),) = [one for one in said if one[0].startswith("SELECT")]
    with reading(registry.database) as connection:
        (plan,) = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)  # type: ignore[arg-type]
    assert plan[3] == "SCAN builds"


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_follow_each_other_without_gaps(registry: Registry, limit: int) -> None:
    """Also where all have the same time, which a coarse clock may give them."""
    for _ in range(8):
        same = deploy(registry).created
    with writing(registry.database) as connection:
        connection.execute(update(builds_table).values(started=same))
        connection.execute(update(deployments_table).values(created=same))
    database, algorithm = registry.database, registry.algorithm
    lists: dict[str, Callable[[int, int], list[str]]] = {
        "builds": lambda limit, offset: [
            one.id for one in builds.newest_first(database, algorithm, limit=limit, offset=offset)
        ],
        "releases": lambda limit, offset: [
            one.id for one in releases.newest_first(database, algorithm, limit=limit, offset=offset)
        ],
        "versions": lambda limit, offset: [
            one.id for one, _ in releases.builds_and_releases(database, algorithm, limit=limit, offset=offset)
        ],
        "deployments": lambda limit, offset: [
            one.id for one in deployments.newest_first(database, algorithm, limit=limit, offset=offset)
        ],
    }
    for name, page in lists.items():
        paged = [one for offset in range(0, 8, limit) for one in page(limit, offset)]
        assert paged == page(100, 0), name
        assert len(paged) == len(set(paged)) == 8, name


def test_what_went_live_last_comes_first(registry: Registry) -> None:
    assert algorithms.live(registry.database, limit=9) == []
    deploy(registry)
    for name in ("later", "never"):
        made = algorithms.create(registry.database, registry.ann, AlgorithmName("ann", name), settings={})
        if name == "later":
            deploy(replace(registry, algorithm=made))
    assert [one.name.name for one in algorithms.live(registry.database, limit=9)] == ["later", "sentiment"]
    assert [one.name.name for one in algorithms.live(registry.database, limit=1)] == ["later"]
