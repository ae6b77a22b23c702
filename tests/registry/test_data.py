"""Collections and files, on a real database and a real store."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from pushpoint.databases import reading
from pushpoint.databases.tables import files
from pushpoint.digests import Descriptor, Digest, describe
from pushpoint.errors import AlreadyExists, Error, InvalidName, InvalidRequest, NotFound, Refused
from pushpoint.names import AlgorithmName, DataPath, data_path
from pushpoint.records import OWN_ALGORITHMS, PRIVATE, PUBLIC, Actor, Upload
from pushpoint.registry import accounts, data, uploads
from pushpoint.stores.local import LocalStore
from tests.registry import conftest
from tests.registry.conftest import Registry, race

HERE = data_path("ann/c")


def put(registry: Registry, store: LocalStore, path: str, content: bytes, *, create_only: bool = False) -> Descriptor:
    draft = store.draft()
    draft.write_bytes(content)
    blob = Descriptor(
        media_type="application/octet-stream",
        digest=Digest(f"sha256:{hashlib.sha256(content).hexdigest()}"),
        size=len(content),
        md5=hashlib.md5(content).hexdigest(),
    )
    data.put(registry.database, store, registry.ann, data_path(path), draft, blob, create_only=create_only)
    return blob


@pytest.fixture
def store(registry: Registry, tmp_path: Path) -> LocalStore:
    data.create_collection(registry.database, registry.ann, HERE)
    return LocalStore(tmp_path / "store")


@pytest.mark.parametrize(
    ("read", "as_bob", "through_ann", "through_bob"),
    [(PRIVATE, False, False, False), (OWN_ALGORITHMS, False, True, False), (PUBLIC, True, True, True)],
)
def test_who_may_read(registry: Registry, read: str, as_bob: bool, through_ann: bool, through_bob: bool) -> None:
    data.create_collection(registry.database, registry.ann, HERE, read=read)
    account, scopes = registry.bob.account, registry.bob.scopes
    for actor, allowed in (
        (registry.ann, True),
        (registry.bob, as_bob),
        (Actor(account=account, scopes=scopes, through=AlgorithmName("ann", "x")), through_ann),
        (Actor(account=account, scopes=scopes, through=AlgorithmName("bob", "x")), through_bob),
        (Actor(account=registry.ann.account, scopes=scopes, through=AlgorithmName("bob", "x")), True),
    ):
        if allowed:
            assert data.collection(registry.database, actor, HERE).name == "c"
        else:
            with pytest.raises(NotFound) as there:
                data.collection(registry.database, actor, HERE)
            with pytest.raises(NotFound) as absent:
                data.collection(registry.database, actor, data_path("ann/d"))
            assert str(there.value).replace("ann/c", "ann/d") == str(absent.value)


def test_writing_is_the_owners_alone(registry: Registry, store: LocalStore) -> None:
    for act in (
        lambda: data.create_collection(registry.database, registry.bob, data_path("ann/d")),
        lambda: data.writable(registry.database, registry.bob, data_path("ann/c/f")),
        lambda: data.delete_file(registry.database, registry.bob, data_path("ann/c/f")),
        lambda: data.delete_collection(registry.database, registry.bob, HERE, force=True),
    ):
        with pytest.raises(Refused):
            act()
    assert store.drafts.is_dir()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (DataPath("ann", "", ""), InvalidRequest),
        (DataPath("ann", "c", "f"), InvalidRequest),
        (DataPath("ann", "a-b", ""), InvalidName),
        (DataPath("ann", "x" * 31, ""), InvalidName),
        (DataPath("ann", "x'; drop table files; --", ""), InvalidName),
        (DataPath("", "c", ""), Refused),
    ],
)
def test_what_is_no_collection_is_not_made(registry: Registry, path: DataPath, error: type[Error]) -> None:
    with pytest.raises(error):
        data.create_collection(registry.database, registry.ann, path)
    assert data.names(registry.database, registry.ann, "ann") == []


def test_an_unknown_reader_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidRequest, match="not an access list"):
        data.create_collection(registry.database, registry.ann, HERE, read="everybody")


def test_sixteen_who_create_one_collection_create_one(registry: Registry) -> None:
    found = race(16, lambda _: data.create_collection(registry.database, registry.ann, HERE))
    assert sum(one is None for one in found) == 1
    assert sum(isinstance(one, AlreadyExists) for one in found) == 15


def test_sixteen_create_only_writers_have_one_winner(registry: Registry, store: LocalStore) -> None:
    found = race(16, lambda number: put(registry, store, "ann/c/f", b"%d" % number, create_only=True))
    winners = [one for one in found if isinstance(one, Descriptor)]
    assert len(winners) == 1
    assert sum(isinstance(one, AlreadyExists) for one in found) == 15
    assert data.file(registry.database, registry.ann, data_path("ann/c/f")).blob == winners[0]


def test_a_collection_deleted_under_its_writers_leaves_no_file(registry: Registry, store: LocalStore) -> None:
    def act(number: int) -> object:
        if number % 4:
            return put(registry, store, f"ann/c/f{number}", b"x")
        return data.delete_collection(registry.database, registry.ann, HERE, force=True)

    found = race(16, act)
    assert all(isinstance(one, (Descriptor, int, NotFound)) for one in found), found
    with reading(registry.database) as connection:
        assert connection.execute(select(files)).first() is None
    with pytest.raises(NotFound):
        data.collection(registry.database, registry.ann, HERE)


def test_a_collection_that_holds_files_goes_only_by_force(registry: Registry, store: LocalStore) -> None:
    put(registry, store, "ann/c/f", b"x")
    with pytest.raises(InvalidRequest, match="holds 1 files"):
        data.delete_collection(registry.database, registry.ann, HERE, force=False)
    assert data.delete_collection(registry.database, registry.ann, HERE, force=True) == 1


def test_bytes_are_known_to_their_owner_alone(registry: Registry, store: LocalStore) -> None:
    blob = put(registry, store, "ann/c/f", b"x")
    assert data.stored(registry.database, store, registry.ann, blob.digest) == blob
    for digest in (blob.digest, Digest("sha256:" + "0" * 64), Digest("' OR 1=1 --")):
        with pytest.raises(NotFound):
            data.stored(registry.database, store, registry.bob, digest)


def test_what_algorithms_keep_for_an_account_goes_with_it(registry: Registry, store: LocalStore) -> None:
    cy = conftest.actor(accounts.create(registry.database, "cy"))
    path = data_path("data://.session/f", me="cy")
    draft = store.draft()
    draft.write_bytes(b"x")
    data.put(registry.database, store, replace(cy, session="s"), path, draft, describe(draft))
    new = Upload(
        id="",
        path=str(path),
        size=1,
        offset=0,
        digest=None,
        create_only=False,
        concat="",
        metadata="",
        expires=uploads.end(),
    )
    uploads.begin(registry.database, cy, new)
    accounts.remove(registry.database, cy.account, actor="ann")
    with pytest.raises(NotFound):
        accounts.find(registry.database, "cy")
