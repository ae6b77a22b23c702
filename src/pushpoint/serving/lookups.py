"""What a reference stands for, remembered until this process changes anything: no call need ask the database."""

from __future__ import annotations

from dataclasses import dataclass

from pushpoint.databases import Database, changes
from pushpoint.errors import NotFound
from pushpoint.names import Reference
from pushpoint.records import Actor, Algorithm, Build
from pushpoint.registry import algorithms, deployments, releases

_MOST = 100_000
"""Remembered references; when there are more, all are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a reference stands for now."""

    algorithm: Algorithm
    build: Build
    version: str


class Lookups:
    """Finds what a call is for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: dict[tuple[str, str, Reference], Target] = {}
        self._state = 0

    def target(self, actor: Actor, reference: Reference) -> Target:
        """Find what a call is for. Without a selector that is the live release.

        Returns:
            The algorithm and the build to run.

        Raises:
            NotFound: There is nothing that the actor may call.
        """
        state = changes(self._database)
        if state != self._state or len(self._found) >= _MOST:
            self._found, self._state = {}, state
        remembered = self._found
        asked = (actor.account.name, actor.key_id, reference)
        target = remembered.get(asked)
        if target is None:
            # into the dictionary of the state that it was read in, or of one before
            target = remembered[asked] = _look_up(self._database, actor, reference)
        return target


def _look_up(database: Database, actor: Actor, reference: Reference) -> Target:
    algorithm = algorithms.find(database, actor, reference.algorithm)
    is_owner = algorithms.owns(actor, algorithm)
    if reference.selector is not None:
        build = releases.resolve(database, algorithm, reference.selector, is_owner=is_owner)
        release = releases.of_build(database, build)
        return Target(algorithm=algorithm, build=build, version=str(release.version) if release else "")
    live = deployments.live(database, algorithm)
    if live is None or not (is_owner or live.release.is_public):
        raise NotFound(f"algorithm algo://{algorithm.name} has no live version; deploy or publish one")
    return Target(algorithm=algorithm, build=live.release.build, version=str(live.release.version))
