"""Collections and files: names for blobs. Writing is the owner's alone.

A name may be given other bytes, as the old data API allows, unless the writer asks to create only, or a release needs
the bytes that are there. What the asker may not read looks absent.

Collections whose name begins with a dot are the platform's: what a call keeps while it lasts (`.session`), and what an
algorithm keeps for each of its callers (`.algo`). They belong to the caller, exist when something is in them, and have
ids that follow from what they are for.
"""

from __future__ import annotations

from collections.abc import Set
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4, uuid5

from sqlalchemy import Connection, RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from pushpoint.databases import Change, Database, reading, writing
from pushpoint.databases.tables import accounts, collections, files
from pushpoint.digests import Descriptor, Digest, describe
from pushpoint.errors import AlreadyExists, InUse, InvalidRequest, ModelMissing, NotFound, Refused
from pushpoint.names import SESSION, DataPath, check_name
from pushpoint.records import OWN_ALGORITHMS, PRIVATE, PUBLIC, READERS, Actor, Collection, File
from pushpoint.registry import algorithms
from pushpoint.registry.history import record
from pushpoint.registry.releases import needing
from pushpoint.stores.local import LocalStore

PAGE = 1000
TEMPORARY = timedelta(days=1)
"""How long a file in `.algo/OWNER/NAME/temp` stays."""
_AT_ONCE = 500  # collections that are removed in one transaction
_HIDDEN = UUID("7f0c6a1e-6a0e-4a53-9d0c-5a3f4c1d2e90")


def create_collection(database: Database, actor: Actor, path: DataPath, *, read: str = OWN_ALGORITHMS) -> None:
    """Make a collection of the actor's, or of an organization's.

    Raises:
        AlreadyExists: There is one of that name.
        InvalidRequest: `path` is not one of a collection, or `read` is no kind of reader.
        Refused: The key is limited and asks for other readers.
    """
    _own(actor, path)
    if (actor.limit or actor.through) and read != OWN_ALGORITHMS:
        raise Refused(f"this key may not say who may read {path}; leave the access list out")
    if not path.collection or path.file:
        raise InvalidRequest(f"{path} is not a collection; name it data://OWNER/COLLECTION")
    _check_readers(read)
    check_name("collection", path.collection)
    try:
        with writing(database, change=Change.NOTHING) as connection:
            connection.execute(
                insert(collections).values(
                    id=str(uuid4()),
                    account_id=select(accounts.c.id).where(accounts.c.name == path.owner).scalar_subquery(),
                    name=path.collection,
                    read=read,
                    created=datetime.now(UTC),
                )
            )
            record(connection, actor.account.name, "collection.create", str(path), run=actor.run)
    except IntegrityError as error:
        raise AlreadyExists(f"{path} exists; use it, or choose another name") from error


def share(database: Database, actor: Actor, path: DataPath, read: str) -> None:
    """Say anew who else may read a collection of the actor's.

    Raises:
        InvalidRequest: `path` is not one of a collection that can be shared, or `read` is no kind of reader.
        Refused: The key is limited, or it is an algorithm that asks: what it opened would stay open after its call.
    """
    _own(actor, path)
    if actor.limit or actor.through:
        raise Refused(f"this key may not say who may read {path}; use a key of {path.owner}'s")
    if not path.collection or path.file or _is_hidden(path):
        raise InvalidRequest(f"{path} has no access list; name a collection, data://OWNER/COLLECTION")
    _check_readers(read)
    inside = collection(database, actor, path)
    with writing(database, change=Change.NOTHING) as connection:
        connection.execute(update(collections).where(collections.c.id == inside.id).values(read=read))
        record(connection, actor.account.name, "collection.share", str(path), read, run=actor.run)


def names(database: Database, actor: Actor, owner: str) -> list[str]:
    """List the collections of an owner that the actor may act for.

    Returns:
        Their names, sorted.

    Raises:
        NotFound: The actor may not.
    """
    if owner not in actor.owners:
        raise NotFound(f"data://{owner} not found; list data://{actor.account.name}")
    with reading(database) as connection:
        return list(
            connection.execute(
                select(collections.c.name)
                .join(accounts, accounts.c.id == collections.c.account_id)
                .where(accounts.c.name == owner, ~collections.c.name.startswith("."))
                .order_by(collections.c.name)
            ).scalars()
        )


def collection(database: Database, actor: Actor, path: DataPath) -> Collection:
    """Look up a collection that the actor may read.

    Returns:
        The collection.

    Raises:
        NotFound: There is none that the actor may read.
    """
    if _is_hidden(path):
        return _hidden(database, actor, path)
    with reading(database) as connection:
        row = (
            connection.execute(
                select(collections)
                .join(accounts, accounts.c.id == collections.c.account_id)
                .where(accounts.c.name == path.owner, collections.c.name == path.collection)
            )
            .mappings()
            .first()
        )
    allowed = (
        row is not None
        and _is_within(actor, path)
        and (
            path.owner in actor.owners
            or row["read"] == PUBLIC
            or (row["read"] == OWN_ALGORITHMS and actor.through is not None and actor.through.owner == path.owner)
        )
    )
    if row is None or not allowed:
        raise NotFound(f"{path} not found; check its name and whose key you use")
    return Collection(id=row["id"], owner=path.owner, name=row["name"], read=row["read"])


def _hidden(database: Database, actor: Actor, path: DataPath) -> Collection:
    absent = f"{path} not found; check its name and whose key you use"
    if actor.limit:
        raise NotFound(absent)
    name, of = path.collection, actor.session
    if path.algorithm:  # an algorithm sees what it keeps itself, nobody else's
        if actor.through and actor.through != path.algorithm:
            raise NotFound(absent)
        known = algorithms.lookup(database, path.algorithm) if actor.through else None
        name, of = f".{path.collection}", (known or algorithms.find(database, actor, path.algorithm)).id
    if of is None:
        raise InvalidRequest(f"{path} is there during a call alone; use it inside an algorithm, or use data://.my")
    found = _hidden_id(actor.account.id, name, of)
    return Collection(id=str(found), owner=path.owner, name=f"{name}{found.hex}"[:30], read=PRIVATE)


def listing(database: Database, inside: Collection, *, after: str = "") -> tuple[list[File], str | None]:
    """List a page of a collection's files.

    Args:
        database: Where to look.
        inside: The collection.
        after: The marker of the page before.

    Returns:
        At most 1,000 files by name, and the marker of the next page if there is more.
    """
    with reading(database) as connection:
        rows = list(
            connection.execute(
                select(files)
                .where(files.c.collection_id == inside.id, files.c.name > after)
                .order_by(files.c.name)
                .limit(PAGE + 1)
            ).mappings()
        )
    found = [_file(row) for row in rows[:PAGE]]
    return found, found[-1].name if len(rows) > PAGE else None


def file(database: Database, actor: Actor, path: DataPath) -> File:
    """Look up a file that the actor may read.

    Returns:
        The file.

    Raises:
        NotFound: There is none that the actor may read.
    """
    inside = collection(database, actor, path)
    with reading(database) as connection:
        row = (
            connection.execute(select(files).where(files.c.collection_id == inside.id, files.c.name == path.file))
            .mappings()
            .first()
        )
    if row is None:
        raise NotFound(f"{path} not found; list data://{path.owner}/{path.collection}")
    return _file(row)


def writable(database: Database, actor: Actor, path: DataPath) -> Collection:
    """Look up a collection that the actor may write to, before a byte is read.

    Returns:
        The collection.

    Raises:
        InvalidRequest: `path` does not name a file.
    """
    _own(actor, path)
    if not path.file:
        raise InvalidRequest(f"{path} is not a file; name it data://OWNER/COLLECTION/FILE")
    return collection(database, actor, path)


def stored(database: Database, store: LocalStore, actor: Actor, digest: Digest) -> Descriptor:
    """Look up a blob that one of the actor's own files holds; others' blobs look absent.

    Its bytes are read again, so that a blob that was damaged looks absent too, and is sent anew.

    Returns:
        The blob.

    Raises:
        NotFound: None of the actor's files holds it, or the store no longer does.
    """
    theirs = accounts.c.name.in_(actor.owners) & ~collections.c.name.startswith(".")
    if actor.limit:
        theirs &= collections.c.name == actor.limit.collection
    with reading(database) as connection:
        row = (
            connection.execute(
                select(files)
                .join(collections, collections.c.id == files.c.collection_id)
                .join(accounts, accounts.c.id == collections.c.account_id)
                .where(theirs, files.c.digest == digest)
            )
            .mappings()
            .first()
        )
    if row is None:
        raise NotFound(f"you have no file with the digest {digest}; send its bytes")
    blob = _file(row).blob
    try:
        found = describe(store.path(digest))
    except ModelMissing as error:
        raise NotFound(f"the store has lost {digest}; send its bytes") from error
    if found.digest != digest:
        raise NotFound(f"the store's copy of {digest} is damaged; send its bytes")
    return blob


def put(
    database: Database,
    store: LocalStore,
    actor: Actor,
    path: DataPath,
    draft: Path | None,
    blob: Descriptor,
    *,
    create_only: bool = False,
) -> None:
    """Make `path` name the bytes of a draft, or of a blob that is stored; durable when it returns.

    Args:
        database: Where to write.
        store: Where the draft becomes a blob.
        actor: Owner of the collection.
        path: A file.
        draft: Synced file from `store.draft()`; none where `blob` is in the store already.
        blob: What the file is to hold.
        create_only: Whether a file that is there already is left alone.

    Raises:
        AlreadyExists: `create_only`, and the file holds other bytes.
        InUse: A release needs the bytes that are there.
        NotFound: There is no such collection.
    """
    inside = writable(database, actor, path)
    if draft:
        store.put(draft, blob)
    values = {
        "digest": blob.digest,
        "md5": blob.md5,
        "size": blob.size,
        "media_type": blob.media_type,
        "modified": datetime.now(UTC),
    }
    with writing(database, change=Change.NOTHING) as connection:
        there = connection.execute(
            select(files.c.digest).where(files.c.collection_id == inside.id, files.c.name == path.file)
        ).scalar()
        if there is None:
            if connection.execute(select(collections.c.id).where(collections.c.id == inside.id)).scalar() is None:
                if not _is_hidden(path):
                    raise NotFound(f"data://{path.owner}/{path.collection} was deleted meanwhile; create it again")
                _open_hidden(connection, actor, inside)
            connection.execute(insert(files).values(collection_id=inside.id, name=path.file, **values))
        elif there == blob.digest:
            return
        elif create_only:
            raise AlreadyExists(f"{path} holds other bytes; delete it if no release needs it, then deploy again")
        elif referrers := needing(connection, str(path)):
            raise InUse(str(path), [f"release {version}" for version in referrers])
        else:
            connection.execute(
                update(files).where(files.c.collection_id == inside.id, files.c.name == path.file).values(**values)
            )
        record(connection, actor.account.name, "file.put", str(path), blob.digest, run=actor.run)


def _open_hidden(connection: Connection, actor: Actor, inside: Collection) -> None:
    row = {"id": inside.id, "account_id": actor.account.id, "name": inside.name, "read": inside.read}
    connection.execute(insert(collections).values(created=datetime.now(UTC), **row))


def delete_file(database: Database, actor: Actor, path: DataPath) -> None:
    """Delete a file that no release needs.

    Raises:
        InUse: A release needs it.
        NotFound: There is no such file.
    """
    inside = writable(database, actor, path)
    with writing(database, change=Change.NOTHING) as connection:
        if referrers := needing(connection, str(path)):
            raise InUse(str(path), [f"release {version}" for version in referrers])
        gone = connection.execute(delete(files).where(files.c.collection_id == inside.id, files.c.name == path.file))
        if gone.rowcount != 1:
            raise NotFound(f"{path} not found; list data://{path.owner}/{path.collection}")
        record(connection, actor.account.name, "file.delete", str(path), run=actor.run)


def delete_collection(database: Database, actor: Actor, path: DataPath, *, force: bool) -> int:
    """Delete a collection; with `force`, its files too.

    Returns:
        How many files were deleted.

    Raises:
        InUse: A release needs one of its files.
        InvalidRequest: It is not empty, and `force` was not given.
    """
    _own(actor, path)
    inside = collection(database, actor, path)
    with writing(database, change=Change.NOTHING) as connection:
        held = list(connection.execute(select(files.c.name).where(files.c.collection_id == inside.id)).scalars())
        if held and not force:
            raise InvalidRequest(f"{path} holds {len(held)} files; delete them first, or use force")
        for name in held:
            if referrers := needing(connection, f"{path}/{name}"):
                raise InUse(f"{path}/{name}", [f"release {version}" for version in referrers])
        connection.execute(delete(files).where(files.c.collection_id == inside.id))
        connection.execute(delete(collections).where(collections.c.id == inside.id))
        record(connection, actor.account.name, "collection.delete", str(path), f"{len(held)} files", run=actor.run)
    return len(held)


def sweep(database: Database, *, sessions: Set[tuple[str, str]], now: datetime | None = None) -> None:
    """Remove what calls kept that are over, and the temporary files whose time is.

    Args:
        database: Where to look.
        sessions: The calls that are not over: the caller's id and the session's.
        now: The time, if it is not that of the clock.
    """
    alive = {str(_hidden_id(account_id, SESSION, session)) for account_id, session in sessions}
    temporary = select(collections.c.id).where(collections.c.name.startswith(".temp"))
    old = files.c.collection_id.in_(temporary) & (files.c.modified < (now or datetime.now(UTC)) - TEMPORARY)
    with reading(database) as connection:
        kept = connection.execute(select(collections.c.id).where(collections.c.name.startswith(SESSION))).scalars()
        over = [id for id in kept if id not in alive]
        is_old = connection.execute(select(files.c.name).where(old).limit(1)).first() is not None
    if is_old:
        with writing(database, change=Change.NOTHING) as connection:
            connection.execute(delete(files).where(old))
    for start in range(0, len(over), _AT_ONCE):
        some = over[start : start + _AT_ONCE]
        with writing(database, change=Change.NOTHING) as connection:
            connection.execute(delete(files).where(files.c.collection_id.in_(some)))
            connection.execute(delete(collections).where(collections.c.id.in_(some)))


def _hidden_id(account_id: str, name: str, of: str) -> UUID:
    return uuid5(_HIDDEN, f"{account_id}/{name}/{of}")


def _is_hidden(path: DataPath) -> bool:
    return path.is_session or path.algorithm is not None


def _check_readers(read: str) -> None:
    if read not in READERS:
        raise InvalidRequest(f"{read!r} is not an access list; use one of {', '.join(sorted(READERS - {''}))}")


def _own(actor: Actor, path: DataPath) -> None:
    if path.owner not in actor.owners and not _is_hidden(path):
        raise Refused(f"only {path.owner or 'its owner'} may write to {path}; use {path.owner or 'the owner'}'s key")

    if not _is_within(actor, path):
        raise Refused(f"this key may not write to {path}; its models go to the collection that its publisher names")


def _is_within(actor: Actor, path: DataPath) -> bool:
    if actor.limit is None:
        return True
    return (path.owner, path.collection) == (actor.account.name, actor.limit.collection)


def _file(row: RowMapping) -> File:
    blob = Descriptor(media_type=row["media_type"], digest=Digest(row["digest"]), size=row["size"], md5=row["md5"])
    return File(name=row["name"], blob=blob, modified=row["modified"])
