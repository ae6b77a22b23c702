"""The pointer to what is live: moved by compare-and-set, and counted."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from pushpoint.databases import Change, changes, reading
from pushpoint.databases.tables import deployments as table
from pushpoint.databases.tables import history
from pushpoint.errors import IllegalTransition, NotFound, Superseded
from pushpoint.lifecycle import DEPLOYMENT, DeploymentState
from pushpoint.names import AlgorithmName
from pushpoint.records import Deployment, Release
from pushpoint.registry import accounts, algorithms, deployments
from tests.registry.conftest import Registry, race


def begin(registry: Registry, release: Release, deploy_id: str = "d") -> Deployment:
    deployment, _ = deployments.begin(
        registry.database, registry.ann, registry.algorithm, release, deploy_id=deploy_id, is_rollback=False
    )
    return deployment


def verified(registry: Registry, release: Release, deploy_id: str) -> Deployment:
    return deployments.move(registry.database, begin(registry, release, deploy_id), DeploymentState.VERIFYING)


def states(registry: Registry) -> list[str]:
    with reading(registry.database) as connection:
        return list(connection.execute(select(table.c.state).order_by(table.c.generation)).scalars())


def test_a_deployment_begins_once_for_each_deploy(registry: Registry) -> None:
    release = registry.release()
    first, is_new = deployments.begin(
        registry.database, registry.ann, registry.algorithm, release, deploy_id="d", is_rollback=False
    )
    again, is_new_again = deployments.begin(
        registry.database, registry.bob, registry.algorithm, release, deploy_id="d", is_rollback=True
    )
    assert (is_new, is_new_again) == (True, False)
    assert again == first
    assert first.state is DeploymentState.STARTING
    assert first.generation is None
    assert first.actor == "ann"


def test_sixteen_who_begin_one_deploy_begin_one(registry: Registry) -> None:
    release = registry.release()
    found = race(
        16,
        lambda _: deployments.begin(
            registry.database, registry.ann, registry.algorithm, release, deploy_id="d", is_rollback=False
        ),
    )
    assert not [one for one in found if isinstance(one, Exception)]
    answers = [one for one in found if not isinstance(one, Exception)]
    assert len({deployment.id for deployment, _ in answers}) == 1
    assert sum(is_new for _, is_new in answers) == 1
    assert len(states(registry)) == 1


def test_a_deploy_that_failed_may_begin_again_and_meanwhile_is_no_bug(registry: Registry) -> None:
    """Some fail it while others begin it: each gets a deployment, and at most one is open at any time."""
    release = registry.release()

    def act(number: int) -> Deployment:
        deployment = begin(registry, release)
        if number % 2:
            deployments.move(registry.database, deployment, DeploymentState.FAILED, reason="no")
        return deployment

    for _ in range(5):
        found = race(16, act)
        assert all(isinstance(one, (Deployment, Superseded, IllegalTransition)) for one in found), found
    last = begin(registry, release)
    open_ = [state for state in states(registry) if state == DeploymentState.STARTING]
    assert len(open_) == 1
    assert last.state is DeploymentState.STARTING


@pytest.mark.parametrize("ended", [DeploymentState.FAILED, DeploymentState.SUPERSEDED])
def test_after_its_end_the_same_deploy_is_a_new_deployment(registry: Registry, ended: DeploymentState) -> None:
    release = registry.release()
    first = verified(registry, release, "d")
    ended_one = deployments.move(registry.database, first, ended, reason="because")
    assert (ended_one.state, ended_one.reason) == (ended, "because")
    second = begin(registry, release)
    assert second.id != first.id
    assert second.state is DeploymentState.STARTING
    assert deployments.find(registry.database, registry.algorithm, first.id).state is ended


def test_a_switch_moves_the_pointer_and_counts(registry: Registry) -> None:
    one, two = registry.release(), registry.release()
    first = deployments.switch(registry.database, registry.now(), verified(registry, one, "a"))
    assert (first.state, first.generation) == (DeploymentState.LIVE, 1)
    assert first.live_since is not None
    assert deployments.live(registry.database, registry.now()) == first

    second = deployments.switch(registry.database, registry.now(), verified(registry, two, "b"))
    assert (second.state, second.generation) == (DeploymentState.LIVE, 2)
    assert deployments.live(registry.database, registry.now()) == second
    before = deployments.find(registry.database, registry.algorithm, first.id)
    assert (before.state, before.generation) == (DeploymentState.DRAINING, 1)
    assert registry.now().generation == 2
    with reading(registry.database) as connection:
        told = connection.execute(select(history.c.detail).where(history.c.action == "deployment.live")).scalars()
        assert list(told) == ["generation 1", "generation 2"]


def test_of_sixteen_switches_of_one_generation_one_wins(registry: Registry) -> None:
    for generation in range(1, 4):
        ready = [verified(registry, registry.release(), f"{generation}-{number}") for number in range(16)]
        seen = registry.now()
        assert seen.generation == generation - 1

        def switch(number: int, ready: list[Deployment] = ready, seen: object = seen) -> Deployment:
            return deployments.switch(registry.database, seen, ready[number])  # type: ignore[arg-type]

        found = race(16, switch)
        winners = [one for one in found if isinstance(one, Deployment)]
        assert len(winners) == 1
        assert sum(isinstance(one, Superseded) for one in found) == 15
        assert winners[0].generation == generation
        assert registry.now().live == winners[0].id
    assert states(registry).count("live") == 1
    assert states(registry).count("draining") == 2
    assert states(registry).count("verifying") == 45


def test_a_switch_that_comes_too_late_changes_nothing(registry: Registry) -> None:
    old = registry.now()
    late = verified(registry, registry.release(), "late")
    winner = deployments.switch(registry.database, old, verified(registry, registry.release(), "winner"))
    with pytest.raises(Superseded):
        deployments.switch(registry.database, old, late)
    assert deployments.live(registry.database, registry.now()) == winner
    assert deployments.find(registry.database, registry.algorithm, late.id) == late


def test_a_deployment_that_ended_meanwhile_does_not_go_live(registry: Registry) -> None:
    deployment = verified(registry, registry.release(), "d")
    deployments.move(registry.database, deployment, DeploymentState.FAILED, reason="smoke test")
    with pytest.raises(Superseded):
        deployments.switch(registry.database, registry.now(), deployment)
    assert registry.now().live is None
    assert registry.now().generation == 0, "the whole transaction is undone"


@pytest.mark.parametrize("now", list(DeploymentState))
@pytest.mark.parametrize("to", list(DeploymentState))
def test_no_row_takes_a_step_that_the_table_has_not(
    registry: Registry, now: DeploymentState, to: DeploymentState
) -> None:
    from dataclasses import replace

    from sqlalchemy import update

    from pushpoint.databases import writing

    deployment = begin(registry, registry.release())
    with writing(registry.database) as connection:
        connection.execute(update(table).values(state=now))
    deployment = replace(deployment, state=now)
    if to in DEPLOYMENT[now]:
        assert deployments.move(registry.database, deployment, to).state is to
    else:
        with pytest.raises(IllegalTransition):
            deployments.move(registry.database, deployment, to)
        assert states(registry) == [now]


def test_of_two_who_move_it_the_second_hears_of_it(registry: Registry) -> None:
    deployment = begin(registry, registry.release())
    deployments.move(registry.database, deployment, DeploymentState.VERIFYING)
    with pytest.raises(Superseded, match="is no longer starting"):
        deployments.move(registry.database, deployment, DeploymentState.FAILED, reason="late")
    assert states(registry) == ["verifying"]


def test_a_restart_closes_what_was_cut_off(registry: Registry) -> None:
    starting = begin(registry, registry.release(), "starting")
    verifying = verified(registry, registry.release(), "verifying")
    old = deployments.switch(registry.database, registry.now(), verified(registry, registry.release(), "old"))
    live = deployments.switch(registry.database, registry.now(), verified(registry, registry.release(), "live"))

    for _ in range(2):  # and again: nothing more
        deployments.recover(registry.database)
        found = {
            name: deployments.find(registry.database, registry.algorithm, one.id)
            for name, one in (("starting", starting), ("verifying", verifying), ("old", old), ("live", live))
        }
        assert {name: one.state for name, one in found.items()} == {
            "starting": DeploymentState.FAILED,
            "verifying": DeploymentState.FAILED,
            "old": DeploymentState.RETIRED,
            "live": DeploymentState.LIVE,
        }
        assert "deploy again" in found["starting"].reason
        assert deployments.live(registry.database, registry.now()) == found["live"] == live
    again, is_new = deployments.begin(
        registry.database, registry.ann, registry.algorithm, starting.release, deploy_id="starting", is_rollback=False
    )
    assert is_new
    assert again.id != starting.id


def test_another_algorithms_deployment_is_not_found(registry: Registry) -> None:
    deployment = begin(registry, registry.release())
    other = algorithms.create(registry.database, registry.ann, AlgorithmName("ann", "other"), settings={})
    with pytest.raises(NotFound):
        deployments.find(registry.database, other, deployment.id)
    assert deployments.newest_first(registry.database, other, limit=10, offset=0) == []


def test_a_rollout_has_callers_looked_up_anew_when_it_goes_live_and_nobodys_key(registry: Registry) -> None:
    def changed() -> set[Change]:
        before, states[:] = list(states), [changes(registry.database, kind) for kind in kinds]
        return {kind for kind, old, new in zip(kinds, before, states, strict=True) if old != new}

    kinds = [Change.WORK, Change.CALLED, Change.ACTORS]
    release = registry.release()
    states = [changes(registry.database, kind) for kind in kinds]
    deployment = begin(registry, release)
    assert changed() == {Change.WORK}
    deployment = deployments.move(registry.database, deployment, DeploymentState.VERIFYING)
    assert changed() == {Change.WORK}
    deployments.switch(registry.database, registry.algorithm, deployment)
    assert changed() == {Change.WORK, Change.CALLED}
    accounts.create(registry.database, "carol")
    assert changed() == set(kinds)
