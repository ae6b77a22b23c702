"""The lifecycles' tables hold together, and nothing moves beside them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpoint.errors import IllegalTransition
from pushpoint.lifecycle import (
    BUILD,
    DEPLOYMENT,
    REPLICA,
    BuildState,
    DeploymentState,
    ReplicaState,
    advance,
)

TABLES: dict[type[StrEnum], Mapping[Any, frozenset[Any]]] = {
    BuildState: BUILD,
    DeploymentState: DEPLOYMENT,
    ReplicaState: REPLICA,
}
FIRST: dict[type[StrEnum], StrEnum] = {
    BuildState: BuildState.IN_PROGRESS,
    DeploymentState: DeploymentState.STARTING,
    ReplicaState: ReplicaState.STARTING,
}
LAST: dict[type[StrEnum], set[str]] = {
    BuildState: {"succeeded", "failed"},
    DeploymentState: {"retired", "failed", "superseded"},
    ReplicaState: {"stopped", "lost", "failed"},
}
kinds = pytest.mark.parametrize("kind", TABLES)


@kinds
def test_every_state_has_a_row_and_every_step_leads_to_a_state(kind: type[StrEnum]) -> None:
    assert set(TABLES[kind]) == set(kind)
    assert {to for steps in TABLES[kind].values() for to in steps} <= set(kind)


@kinds
def test_every_state_is_reached_from_the_first_one(kind: type[StrEnum]) -> None:
    seen, waiting = {FIRST[kind]}, [FIRST[kind]]
    while waiting:
        for to in TABLES[kind][waiting.pop()] - seen:
            seen.add(to)
            waiting.append(to)
    assert seen == set(kind)
    assert not any(FIRST[kind] in steps for steps in TABLES[kind].values()), "nothing returns to the beginning"


@kinds
def test_the_last_states_are_the_ones_we_say(kind: type[StrEnum]) -> None:
    assert {str(state) for state, steps in TABLES[kind].items() if not steps} == LAST[kind]


@kinds
def test_every_state_can_still_come_to_an_end(kind: type[StrEnum]) -> None:
    for start in kind:
        seen, waiting = {start}, [start]
        while waiting:
            for to in TABLES[kind][waiting.pop()] - seen:
                seen.add(to)
                waiting.append(to)
        assert {str(state) for state in seen} & LAST[kind]


@kinds
def test_exactly_the_steps_of_the_table_are_allowed(kind: type[Any]) -> None:
    for now in kind:
        for to in kind:
            if to in TABLES[kind][now]:
                assert advance(now, to) is to
            else:
                with pytest.raises(IllegalTransition) as caught:
                    advance(now, to)
                assert (caught.value.now, caught.value.to) == (now, to)
                assert f"{now} cannot become {to}" in str(caught.value)


def test_only_one_state_has_the_traffic_and_it_is_left_by_draining() -> None:
    assert DEPLOYMENT[DeploymentState.LIVE] == {DeploymentState.DRAINING}
    assert [state for state, steps in DEPLOYMENT.items() if DeploymentState.LIVE in steps] == [
        DeploymentState.VERIFYING
    ]


def test_a_state_of_another_lifecycle_is_no_step() -> None:
    with pytest.raises(IllegalTransition):
        advance(DeploymentState.VERIFYING, ReplicaState.READY)  # type: ignore[type-var]


def test_the_tables_cannot_be_changed() -> None:
    for table in TABLES.values():
        with pytest.raises(TypeError):
            table[next(iter(table))] = frozenset()  # type: ignore[index]


@given(st.lists(st.sampled_from(DeploymentState), max_size=30))
def test_a_deployment_that_was_retired_never_comes_back(wishes: list[DeploymentState]) -> None:
    now, ended = DeploymentState.STARTING, False
    for wish in wishes:
        try:
            now = advance(now, wish)
        except IllegalTransition:
            continue
        assert not ended
        ended = now in LAST[DeploymentState]
