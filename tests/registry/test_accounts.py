"""Accounts, keys and algorithms: who is who."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import select, text

from pushpoint.databases import reading
from pushpoint.databases.tables import keys as table
from pushpoint.errors import AlreadyExists, InvalidName, NotFound, Refused
from pushpoint.names import AlgorithmName
from pushpoint.records import Algorithm
from pushpoint.registry import accounts, algorithms, keys
from tests.registry.conftest import Registry, race


def test_a_key_is_known_by_its_hash_alone(registry: Registry) -> None:
    made = [keys.issue(registry.database, registry.ann.account, label="x")[0] for _ in range(20)]
    assert len(set(made)) == 20
    assert all(len(key) == 28 and key.startswith("sim") and key.isalnum() for key in made)
    with reading(registry.database) as connection:
        kept = str(connection.execute(select(table)).all())
    assert not [key for key in made if key in kept]
    for key in made:
        found = keys.authenticate(registry.database, key)
        assert found
        assert replace(found, key_id="") == registry.ann
    for wrong in ("", "sim", made[0][:-1], made[0] + "x", made[0].upper(), "' OR 1=1 --", "\x00", "\u00e9" * 28):
        assert keys.authenticate(registry.database, wrong) is None


def test_a_key_has_the_scopes_it_was_given(registry: Registry) -> None:
    key, _ = keys.issue(registry.database, registry.bob.account, label="x", scopes={"data"})
    found = keys.authenticate(registry.database, key)
    assert found
    assert (found.account.name, found.scopes, found.through) == ("bob", frozenset({"data", "read"}), None)
    key, _ = keys.issue(registry.database, registry.bob.account, label="x", scopes=set())
    none = keys.authenticate(registry.database, key)
    assert none
    assert none.scopes == set()


@pytest.mark.parametrize("name", ["", "a-b", "1a", "a" * 31, "a b", "\u00e9", "a\n", ".my", "a'b"])
def test_an_account_has_a_name_of_the_grammar(registry: Registry, name: str) -> None:
    with pytest.raises(InvalidName):
        accounts.create(registry.database, name)


def test_names_are_taken_once(registry: Registry) -> None:
    with pytest.raises(AlreadyExists):
        accounts.create(registry.database, "ann")
    found = race(
        16,
        lambda _: algorithms.create(registry.database, registry.ann, AlgorithmName("ann", "raced"), settings={}),
    )
    assert sum(isinstance(one, Algorithm) for one in found) == 1
    assert sum(isinstance(one, AlreadyExists) for one in found) == 15


def test_an_algorithm_is_made_by_its_owner(registry: Registry) -> None:
    with pytest.raises(Refused):
        algorithms.create(registry.database, registry.bob, AlgorithmName("ann", "x"), settings={})
    with pytest.raises(InvalidName):
        algorithms.create(registry.database, registry.ann, AlgorithmName("ann", "../x"), settings={})


def test_a_private_algorithm_looks_absent_and_a_public_one_may_not_be_changed(registry: Registry) -> None:
    name = registry.algorithm.name
    with pytest.raises(NotFound) as there:
        algorithms.find(registry.database, registry.bob, name)
    with pytest.raises(NotFound) as absent:
        algorithms.find(registry.database, registry.bob, AlgorithmName("ann", "nothing12"))
    assert str(there.value).replace("sentiment", "nothing12") == str(absent.value)
    with pytest.raises(NotFound):
        algorithms.find_own(registry.database, registry.bob, name)

    algorithms.change(registry.database, registry.algorithm, settings={"algorithm_callability": "public"})
    assert algorithms.find(registry.database, registry.bob, name).name == name
    with pytest.raises(Refused):
        algorithms.find_own(registry.database, registry.bob, name)
    assert algorithms.find(registry.database, registry.ann, UUID(registry.algorithm.id)).name == name


def test_hostile_names_find_nothing_and_break_nothing(registry: Registry) -> None:
    for odd in ("'; DROP TABLE accounts; --", "\x00", "%", "_entiment", "sentiment\x00", "\U0001f600", "a" * 100_000):
        assert algorithms.lookup(registry.database, AlgorithmName("ann", odd)) is None
        assert algorithms.lookup(registry.database, AlgorithmName(odd, "sentiment")) is None
    with reading(registry.database) as connection:
        assert connection.execute(text("select count(*) from accounts")).scalar() == 2
