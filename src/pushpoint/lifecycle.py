"""The lifecycles, as tables. No state changes anywhere but through `advance`.

A database update repeats the old state in its `where`, so that of two writers one wins and the other hears of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from pushpoint.errors import IllegalTransition


class BuildState(StrEnum):
    """Of a commit on its way to something that can start; the words are the /v1 API's."""

    IN_PROGRESS = "in-progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class DeploymentState(StrEnum):
    """Of a release on its way to traffic, and out of it."""

    STARTING = "starting"
    VERIFYING = "verifying"
    LIVE = "live"
    DRAINING = "draining"
    RETIRED = "retired"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class ReplicaState(StrEnum):
    """Of one worker process."""

    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    STOPPING = "stopping"
    STOPPED = "stopped"
    LOST = "lost"
    FAILED = "failed"


State = TypeVar("State", BuildState, DeploymentState, ReplicaState)
Table = Mapping[State, frozenset[State]]

BUILD: Table[BuildState] = MappingProxyType(
    {
        BuildState.IN_PROGRESS: frozenset({BuildState.SUCCEEDED, BuildState.FAILED}),
        BuildState.SUCCEEDED: frozenset(),
        BuildState.FAILED: frozenset(),
    }
)

DEPLOYMENT: Table[DeploymentState] = MappingProxyType(
    {
        DeploymentState.STARTING: frozenset({DeploymentState.VERIFYING, DeploymentState.FAILED}),
        DeploymentState.VERIFYING: frozenset(
            {DeploymentState.LIVE, DeploymentState.FAILED, DeploymentState.SUPERSEDED}
        ),
        DeploymentState.LIVE: frozenset({DeploymentState.DRAINING}),
        DeploymentState.DRAINING: frozenset({DeploymentState.RETIRED}),
        DeploymentState.RETIRED: frozenset(),
        DeploymentState.FAILED: frozenset(),
        DeploymentState.SUPERSEDED: frozenset(),
    }
)

REPLICA: Table[ReplicaState] = MappingProxyType(
    {
        ReplicaState.STARTING: frozenset({ReplicaState.READY, ReplicaState.FAILED}),
        ReplicaState.READY: frozenset({ReplicaState.BUSY, ReplicaState.STOPPING, ReplicaState.LOST}),
        ReplicaState.BUSY: frozenset({ReplicaState.READY, ReplicaState.STOPPING, ReplicaState.LOST}),
        ReplicaState.STOPPING: frozenset({ReplicaState.STOPPED}),
        ReplicaState.STOPPED: frozenset(),
        ReplicaState.LOST: frozenset(),
        ReplicaState.FAILED: frozenset(),
    }
)


def advance(now: State, to: State) -> State:
    """Allow the step from `now` to `to`, or refuse it.

    Returns:
        `to`.

    Raises:
        IllegalTransition: The table has no such step.

    Example:
        >>> advance(BuildState.IN_PROGRESS, BuildState.SUCCEEDED)
        <BuildState.SUCCEEDED: 'succeeded'>
    """
    table: Mapping[State, frozenset[State]]
    match now:
        case BuildState():
            table = BUILD
        case DeploymentState():
            table = DEPLOYMENT
        case ReplicaState():
            table = REPLICA
    if to not in table[now]:
        raise IllegalTransition(now, to)
    return to
