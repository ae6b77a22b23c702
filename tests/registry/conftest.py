"""A real database in a file, and the things that stand in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest

from pushpoint.databases import Database, open_database
from pushpoint.lifecycle import BuildState
from pushpoint.names import AlgorithmName
from pushpoint.records import EVERYDAY, Account, Actor, Algorithm, Build, Release
from pushpoint.registry import accounts, algorithms, builds, releases

T = TypeVar("T")
_numbers = count(1)


@dataclass(frozen=True)
class Registry:
    database: Database
    ann: Actor
    bob: Actor
    algorithm: Algorithm

    def build(self, *, state: BuildState = BuildState.SUCCEEDED, manifest: str | None = None) -> Build:
        commit = f"{next(_numbers):040x}"
        build, is_new = builds.begin(self.database, self.algorithm, commit, manifest=manifest)
        assert is_new
        if state is not BuildState.IN_PROGRESS:
            builds.finish(self.database, build, state, environment="e", sandbox="none")
        return builds.find(self.database, self.algorithm, build.id)

    def release(self, *, part: str = "minor", is_public: bool = False, manifest: str | None = None) -> Release:
        build = self.build(manifest=manifest)
        return releases.publish(self.database, self.ann, self.algorithm, build, part=part, is_public=is_public)

    def now(self) -> Algorithm:
        found = algorithms.lookup(self.database, self.algorithm.name)
        assert found
        return found


def actor(account: Account) -> Actor:
    return Actor(account=account, scopes=EVERYDAY)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    database = open_database(tmp_path / "platform.db")
    ann, bob = actor(accounts.create(database, "ann")), actor(accounts.create(database, "bob"))
    algorithm = algorithms.create(database, ann, AlgorithmName("ann", "sentiment"), settings={})
    yield Registry(database, ann, bob, algorithm)
    database.dispose()


def race(count: int, act: Callable[[int], T]) -> list[T | Exception]:
    """Do it `count` times at the same moment.

    Returns what each returned or raised.
    """
    gate = threading.Barrier(count)

    def one(number: int) -> T | Exception:
        gate.wait()
        try:
            return act(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))
