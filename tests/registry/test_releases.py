"""Publishing and resolving, on a real database."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from pushpoint import manifest as manifests
from pushpoint.databases import reading
from pushpoint.databases.tables import history
from pushpoint.databases.tables import releases as table
from pushpoint.errors import AlreadyExists, InvalidName, InvalidRequest, NotFound
from pushpoint.lifecycle import BuildState
from pushpoint.names import AlgorithmName, Version
from pushpoint.records import Release
from pushpoint.registry import algorithms, builds, releases
from tests.registry.conftest import Registry, race
from tests.web.support import manifest_of


@pytest.mark.parametrize(
    ("parts", "version"),
    [
        (["minor"], "0.1.0"),
        (["revision"], "0.0.1"),
        (["patch"], "0.0.1"),
        (["major"], "1.0.0"),
        (["minor", "revision", "revision", "minor"], "0.2.0"),
        (["major", "minor", "revision", "major"], "2.0.0"),
    ],
)
def test_versions_grow_by_the_part_that_is_asked_for(registry: Registry, parts: list[str], version: str) -> None:
    assert [str(registry.release(part=part).version) for part in parts][-1] == version


def test_ten_comes_after_nine(registry: Registry) -> None:
    for _ in range(11):
        newest = registry.release()
    assert str(newest.version) == "0.11.0"
    found = releases.newest_first(registry.database, registry.algorithm, limit=3, offset=1)
    assert [str(release.version) for release in found] == ["0.10.0", "0.9.0", "0.8.0"]


def test_sixteen_racing_publishers_get_sixteen_versions(registry: Registry) -> None:
    made = [registry.build() for _ in range(16)]

    def publish(number: int) -> Release:
        return releases.publish(registry.database, registry.ann, registry.algorithm, made[number])

    found = race(16, publish)
    versions = sorted(release.version for release in found if isinstance(release, Release))
    assert versions == [Version(0, number, 0) for number in range(1, 17)]
    with reading(registry.database) as connection:
        published = connection.execute(select(func.count()).where(history.c.action == "release.publish")).scalar()
    assert published == 16


def test_of_sixteen_who_publish_one_build_one_does(registry: Registry) -> None:
    build = registry.build()
    found = race(16, lambda _: releases.publish(registry.database, registry.ann, registry.algorithm, build))
    assert sum(isinstance(one, Release) for one in found) == 1
    assert sum(isinstance(one, AlreadyExists) for one in found) == 15
    with reading(registry.database) as connection:
        assert connection.execute(select(func.count()).select_from(table)).scalar() == 1
        assert connection.execute(select(func.count()).where(history.c.action == "release.publish")).scalar() == 1


@pytest.mark.parametrize("state", [BuildState.FAILED, BuildState.IN_PROGRESS])
def test_only_a_build_that_succeeded_is_published(registry: Registry, state: BuildState) -> None:
    with pytest.raises(InvalidRequest, match=f"is {state}"):
        releases.publish(registry.database, registry.ann, registry.algorithm, registry.build(state=state))


def test_an_unknown_part_publishes_nothing(registry: Registry) -> None:
    with pytest.raises(InvalidName, match="'huge' is not a valid version type"):
        releases.publish(registry.database, registry.ann, registry.algorithm, registry.build(), part="huge")
    assert releases.newest_first(registry.database, registry.algorithm, limit=1, offset=0) == []


@pytest.mark.parametrize(
    ("selector", "owner", "other"),
    [
        ("latest", "2.0.0", "1.2.0"),
        ("latestPrivate", "2.0.0", NotFound),
        ("1.0.0", "1.0.0", "1.0.0"),
        ("1.1.0", "1.1.0", NotFound),
        ("1.1", "1.1.1", "1.1.1"),
        ("1.1.*", "1.1.1", "1.1.1"),
        ("1.1.x", "1.1.1", "1.1.1"),
        ("1", "1.2.0", "1.2.0"),
        ("1.*", "1.2.0", "1.2.0"),
        ("1.x", "1.2.0", "1.2.0"),
        ("2", "2.0.0", NotFound),
        ("2.0.0", "2.0.0", NotFound),
        ("3", NotFound, NotFound),
        ("1.3", NotFound, NotFound),
        ("1.0.1", NotFound, NotFound),
        ("*", NotFound, NotFound),
        ("", NotFound, NotFound),
        ("v1.0.0", InvalidName, InvalidName),
        ("1.0.0-beta", InvalidName, InvalidName),
        ("01.0.0", InvalidName, InvalidName),
        ("1..0", InvalidName, InvalidName),
        ("1.0.0.0", NotFound, NotFound),
        ("LATEST", NotFound, NotFound),
        ("\u0661.0.0", InvalidName, InvalidName),
        ("\u0661", NotFound, NotFound),
        ("9999999999", NotFound, NotFound),
        ("' OR 1=1 --", NotFound, NotFound),
        ("1.0.0\x00", InvalidName, InvalidName),
        ("1.0\n", NotFound, NotFound),
    ],
)
def test_what_a_selector_stands_for(
    registry: Registry, selector: str, owner: str | type[Exception], other: str | type[Exception]
) -> None:
    made = {}
    for part, is_public in (
        ("major", True),
        ("minor", False),
        ("revision", True),
        ("minor", True),
        ("major", False),
    ):
        release = registry.release(part=part, is_public=is_public)
        made[str(release.version)] = release.build
    assert list(made) == ["1.0.0", "1.1.0", "1.1.1", "1.2.0", "2.0.0"]
    for is_owner, expected in ((True, owner), (False, other)):
        if isinstance(expected, str):
            found = releases.resolve(registry.database, registry.algorithm, selector, is_owner=is_owner)
            assert found == made[expected]
        else:
            with pytest.raises(expected):
                releases.resolve(registry.database, registry.algorithm, selector, is_owner=is_owner)


def test_a_commit_stands_for_its_build_once_it_succeeded(registry: Registry) -> None:
    for state in BuildState:
        build = registry.build(state=state)
        if state is BuildState.SUCCEEDED:
            assert releases.resolve(registry.database, registry.algorithm, build.commit, is_owner=True) == build
        else:
            with pytest.raises(NotFound, match=f"version hash {build.commit} .* is {state}"):
                releases.resolve(registry.database, registry.algorithm, build.commit, is_owner=True)
        with pytest.raises(NotFound):
            releases.resolve(registry.database, registry.algorithm, build.commit, is_owner=False)
    with pytest.raises(NotFound, match="is unknown"):
        releases.resolve(registry.database, registry.algorithm, "f" * 40, is_owner=True)


def test_another_algorithms_release_is_not_found(registry: Registry) -> None:
    release = registry.release()
    other = algorithms.create(registry.database, registry.ann, AlgorithmName("ann", "other"), settings={})
    for selector in ("latest", "0.1.0", "0", release.build.commit):
        with pytest.raises(NotFound):
            releases.resolve(registry.database, other, selector, is_owner=True)
    with pytest.raises(NotFound):
        builds.find(registry.database, other, release.build.id)


@pytest.mark.parametrize("uri", ["data://ann/m/f", "ann/m/f", "data://ann/m/f/", "/ann/m/f"])
def test_the_model_of_a_release_is_known_however_its_place_is_written(registry: Registry, uri: str) -> None:
    text = manifests.write(manifest_of("ann/sentiment", uri, b"m"))
    release = registry.release(manifest=text)
    assert release.build.manifest
    with reading(registry.database) as connection:
        assert releases.needing(connection, "data://ann/m/f") == [release.version]
        assert releases.needing(connection, "data://ann/m/g") == []
