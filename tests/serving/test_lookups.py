"""A call's lookups cost no database read when nothing changed, and are right when something did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from pushpoint.errors import NotFound
from pushpoint.names import Reference, data_path
from pushpoint.registry import algorithms, data, keys, reports
from pushpoint.serving import identities
from pushpoint.serving.identities import Identities
from pushpoint.serving.lookups import Lookups
from pushpoint.serving.tokens import Tokens
from tests.conftest import Platform, start_platform, stop_platform
from tests.registry.conftest import Registry
from tests.registry.conftest import registry as registry
from tests.registry.test_speed import deploy, listening
from tests.web.support import TEXT, ask, serve

SELECTORS = (None, "latest", "0.1.*", "0.1.0", "a" * 40)


def test_what_a_call_is_for_is_read_once(registry: Registry) -> None:
    deploy(registry)
    lookups = Lookups(registry.database)
    asked = [Reference(registry.algorithm.name, selector) for selector in SELECTORS[:-1]]
    with listening(registry.database) as said:
        first = [lookups.target(registry.ann, one) for one in asked]
        name = lookups.name(registry.ann, UUID(registry.algorithm.id))
    assert said
    with listening(registry.database) as said:
        for _ in range(100):
            assert [lookups.target(registry.ann, one) for one in asked] == first
            assert lookups.name(registry.ann, UUID(registry.algorithm.id)) == name
    assert not said
    reports.keep(registry.database, [])  # quiet writes, which no call is waiting for
    path = data_path("data://ann/models")
    data.create_collection(registry.database, registry.ann, path)
    data.delete_collection(registry.database, registry.ann, path, force=False)
    with listening(registry.database) as said:
        assert lookups.target(registry.ann, asked[0]) == first[0]
    assert not said


def test_what_changed_is_seen_by_the_next_call(registry: Registry) -> None:
    lookups, live = Lookups(registry.database), Reference(registry.algorithm.name, None)
    with pytest.raises(NotFound):
        lookups.target(registry.ann, live)
    for version in ("0.1.0", "0.2.0"):
        deploy(registry)
        assert lookups.target(registry.ann, live).version == version
    identifier = UUID(registry.algorithm.id)
    assert lookups.name(registry.ann, identifier) == registry.algorithm.name
    algorithms.remove(registry.database, registry.ann, registry.algorithm)
    for look in (lambda: lookups.target(registry.ann, live), lambda: lookups.name(registry.ann, identifier)):
        with pytest.raises(NotFound):
            look()


def test_what_one_may_call_is_not_remembered_for_another(registry: Registry) -> None:
    deploy(registry)
    lookups = Lookups(registry.database)
    lookups.target(registry.ann, Reference(registry.algorithm.name, None))
    lookups.name(registry.ann, UUID(registry.algorithm.id))
    with pytest.raises(NotFound):
        lookups.target(registry.bob, Reference(registry.algorithm.name, None))
    with pytest.raises(NotFound):
        lookups.name(registry.bob, UUID(registry.algorithm.id))


def test_a_key_is_looked_up_once_in_half_a_second(registry: Registry) -> None:
    key, _ = keys.issue(registry.database, registry.ann.account, label="x")
    found = Identities(registry.database, Tokens())
    try:
        with listening(registry.database) as said:
            assert found.of_key(key)
            once = len(said)
            began = time.monotonic()
            while time.monotonic() - began < 1.2:
                assert found.of_key(key)
                time.sleep(0.001)
        assert once > 0
        assert once < len(said) <= 4 * once
        assert identities.AGE <= 0.5
    finally:
        found.close()


COUNTING = """
import sys
from sqlalchemy import Engine, event
log = open({path!r}, "a", buffering=1)
event.listen(Engine, "before_cursor_execute", lambda *told: log.write(" ".join(told[2].split()) + chr(10)))
from pushpoint.cli import main
main()
"""


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, Path]]:
    """A platform that writes down each statement that it sends to its database."""
    home = tmp_path_factory.mktemp("home")
    log = home / "statements"
    platform = start_platform(home, program=("-c", COUNTING.format(path=str(log))))
    yield platform, log
    stop_platform(platform)


def test_a_running_platform_answers_calls_without_its_database(counted: tuple[Platform, Path]) -> None:
    platform, log = counted
    commit = serve(platform, "ann/asked", "def apply(input):\n    return input\n")
    shown = ask(platform, "GET", "/v1/algorithms/ann/asked").json
    paths = [f"/v1/algo/ann/asked{selector}" for selector in ("", "/latest", "/0.1.*", "/0.1.0", f"/{commit}")]
    paths += [f"/v1/algo/{shown['id']}", f"/v1/algo/{shown['id']}/0.1.0"]
    for path in paths:
        assert ask(platform, "POST", path, b"x", headers=TEXT).json["result"] == "x"
    before, began, made = len(log.read_text().splitlines()), time.monotonic(), 0
    while time.monotonic() - began < 3 or made < 100:
        for path in paths:
            assert ask(platform, "POST", path, b"x", headers=TEXT).json["result"] == "x"
            made += 1
    halves = 2 * (time.monotonic() - began) + 2
    said = log.read_text().splitlines()[before:]
    assert all("keys.hash" in one or "members" in one or one == "BEGIN" for one in said if "UPDATE keys" not in one)
    assert 0 < sum("keys.hash" in one for one in said) <= halves
    assert made >= 100
