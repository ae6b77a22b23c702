"""Builds: of one commit there is one that did not fail."""

from __future__ import annotations

import pytest

from pushpoint.errors import IllegalTransition
from pushpoint.lifecycle import BuildState
from pushpoint.records import Build
from pushpoint.registry import builds
from tests.registry.conftest import Registry, race

COMMIT = "a" * 40


def test_sixteen_who_begin_one_commit_begin_one_build(registry: Registry) -> None:
    found = race(16, lambda _: builds.begin(registry.database, registry.algorithm, COMMIT, manifest=None))
    answers = [one for one in found if not isinstance(one, Exception)]
    assert len(answers) == 16
    assert len({build.id for build, _ in answers}) == 1
    assert sum(is_new for _, is_new in answers) == 1


@pytest.mark.parametrize(("state", "is_new"), [(BuildState.SUCCEEDED, False), (BuildState.FAILED, True)])
def test_only_a_failed_build_may_be_tried_again(registry: Registry, state: BuildState, is_new: bool) -> None:
    first, _ = builds.begin(registry.database, registry.algorithm, COMMIT, manifest=None)
    builds.finish(registry.database, first, state, environment="e", sandbox="s")
    again, new = builds.begin(registry.database, registry.algorithm, COMMIT, manifest=None)
    assert new is is_new
    assert (again.id == first.id) is not is_new
    newest = builds.of_commit(registry.database, registry.algorithm, COMMIT)
    assert newest
    assert newest.id == again.id


def test_a_build_that_is_over_stays_as_it_ended(registry: Registry) -> None:
    build, _ = builds.begin(registry.database, registry.algorithm, COMMIT, manifest=None)
    builds.finish(registry.database, build, BuildState.SUCCEEDED, environment="e", sandbox="s")
    builds.finish(registry.database, build, BuildState.FAILED)
    found = builds.find(registry.database, registry.algorithm, build.id)
    assert (found.state, found.environment, found.sandbox) == (BuildState.SUCCEEDED, "e", "s")
    assert found.finished is not None
    assert found.finished >= found.started
    with pytest.raises(IllegalTransition):
        builds.finish(registry.database, found, BuildState.FAILED)


def test_the_newest_come_first_in_pages(registry: Registry) -> None:
    made = [registry.build(state=state) for state in (BuildState.FAILED, BuildState.SUCCEEDED, BuildState.IN_PROGRESS)]
    listed = builds.newest_first(registry.database, registry.algorithm, limit=10, offset=0)
    assert listed == made[::-1]
    assert builds.newest_first(registry.database, registry.algorithm, limit=1, offset=1) == [made[1]]
    assert builds.last_succeeded(registry.database, registry.algorithm) == made[1]
    assert builds.unfinished(registry.database) == [made[2]]


@pytest.mark.parametrize("manifest", [None, "", "{", "[]", '{"manifest_version": 2}', "\x00", "[" * 100_000])
def test_a_manifest_nobody_can_read_is_none(registry: Registry, manifest: str | None) -> None:
    build: Build = registry.build(manifest=manifest)
    assert build.manifest is None
