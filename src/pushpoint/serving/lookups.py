"""What a reference stands for, remembered until anything changes: no call need ask the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from pushpoint.databases import Change, Database, changes
from pushpoint.errors import NotFound
from pushpoint.names import AlgorithmName, Reference
from pushpoint.records import Actor, Algorithm, Build
from pushpoint.registry import algorithms, deployments, releases

_MOST = 100_000
"""Remembered references and ids; when there are more, all are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a reference stands for now.

    Attributes:
        algorithm: The algorithm.
        build: What is run.
        version: Of its release; empty for a build that has none.
        lineage: Where an answer comes from, as the headers that every answer has.
    """

    algorithm: Algorithm
    build: Build
    version: str
    lineage: Mapping[str, str]

    @classmethod
    def of(cls, algorithm: Algorithm, build: Build, version: str) -> Target:
        """Join the parts.

        Returns:
            The target with its lineage.
        """
        lineage = {"x-pushpoint-algorithm": str(algorithm.name), "x-pushpoint-commit": build.commit}
        if version:
            lineage["x-pushpoint-version"] = version
        if build.manifest:
            lineage["x-pushpoint-model-sha256"] = build.manifest.model.hex
            if build.manifest.source:
                lineage["x-pushpoint-source-commit"] = build.manifest.source.commit
        return cls(algorithm=algorithm, build=build, version=version, lineage=lineage)


@dataclass(frozen=True, slots=True)
class _Remembered:
    """What was found in one state of the database, by account, key and what was asked for."""

    state: int
    targets: dict[tuple[str, str, Reference], Target] = field(default_factory=dict)
    names: dict[tuple[str, str, UUID], AlgorithmName] = field(default_factory=dict)


class Lookups:
    """Finds what a call is for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered = _Remembered(changes(database, Change.CALLED))

    def name(self, actor: Actor, identifier: UUID) -> AlgorithmName:
        """Find which algorithm an id stands for.

        Returns:
            Its name.

        Raises:
            NotFound: There is none that the actor may call.
        """
        names, asked = self._now().names, (actor.account.name, actor.key_id, identifier)
        name = names.get(asked)
        if name is None:
            name = names[asked] = algorithms.find(self._database, actor, identifier).name
        return name

    def target(self, actor: Actor, reference: Reference) -> Target:
        """Find what a call is for. Without a selector that is the live release.

        Returns:
            The algorithm and the build to run.

        Raises:
            NotFound: There is nothing that the actor may call.
        """
        targets, asked = self._now().targets, (actor.account.name, actor.key_id, reference)
        target = targets.get(asked)
        if target is None:
            # into the dictionary of the state that it was read in, or of one before
            target = targets[asked] = _look_up(self._database, actor, reference)
        return target

    def remembered(self, actor: Actor, reference: Reference) -> Target | None:
        """Find what a call is for, if that is in memory; nothing is asked of the database.

        Returns:
            What `target` does, or none.
        """
        return self._now().targets.get((actor.account.name, actor.key_id, reference))

    def _now(self) -> _Remembered:
        state, remembered = changes(self._database, Change.CALLED), self._remembered
        if state != remembered.state or len(remembered.targets) + len(remembered.names) >= _MOST:
            self._remembered = remembered = _Remembered(state)
        return remembered


def _look_up(database: Database, actor: Actor, reference: Reference) -> Target:
    algorithm = algorithms.find(database, actor, reference.algorithm)
    is_owner = algorithms.owns(actor, algorithm)
    if reference.selector is not None:
        build = releases.resolve(database, algorithm, reference.selector, is_owner=is_owner)
        release = releases.of_build(database, build)
        return Target.of(algorithm, build, str(release.version) if release else "")
    live = deployments.live(database, algorithm)
    if live is None or not (is_owner or live.release.is_public):
        raise NotFound(f"algorithm algo://{algorithm.name} has no live version; deploy or publish one")
    return Target.of(algorithm, live.release.build, str(live.release.version))
