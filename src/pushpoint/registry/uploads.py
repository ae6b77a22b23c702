"""Uploads that can be resumed: how far each is, whose it is, and what it becomes.

The bytes are in the store, in a file of the upload's id; what counts of them is the offset here, which moves after they
were synced. The row comes before the file, so a file without a row is of nobody.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from sqlalchemy import ColumnElement, RowMapping, delete, func, insert, select, update

from pushpoint.databases import Change, Database, reading, writing
from pushpoint.databases.tables import uploads
from pushpoint.errors import Conflict, NotFound
from pushpoint.names import DataPath
from pushpoint.records import Actor, Upload

LIFE = timedelta(days=1)
"""How long an upload stays that nobody goes on with."""
LARGEST = 1 << 40
"""Bytes of an upload, of whatever kind."""
MOST = 1000
"""Uploads that an account may have under way."""


def end() -> datetime:
    """Say when an upload ends that nobody goes on with from now on.

    Returns:
        The time.
    """
    return datetime.now(UTC) + LIFE


def begin(database: Database, actor: Actor, new: Upload) -> Upload:
    """Begin an upload of the actor's.

    Returns:
        The upload, with an id.

    Raises:
        Conflict: The actor has too many of them under way.
    """
    found = replace(new, id=str(uuid4()))
    with writing(database, change=Change.NOTHING) as connection:
        unfinished = (uploads.c.offset < uploads.c.size) | (uploads.c.concat == "partial")
        theirs = (uploads.c.account_id == actor.account.id) & unfinished
        if connection.execute(select(func.count()).select_from(uploads).where(theirs)).scalar_one() >= MOST:
            raise Conflict(f"{actor.account.name} has {MOST} uploads under way; finish or delete some of them")
        connection.execute(insert(uploads).values(_row(found, actor)))
    return found


def find(database: Database, folder: Path, actor: Actor, id: str) -> Upload:
    """Look up an upload that the actor may go on with.

    Args:
        database: Where to look.
        folder: Where the bytes are.
        actor: Who asks.
        id: Its id.

    Returns:
        The upload.

    Raises:
        NotFound: There is none of the actor's, or its bytes are lost.
    """
    with reading(database) as connection:
        row = connection.execute(select(uploads).where(uploads.c.id == id, _of(actor))).mappings().first()
    if row is None:
        raise NotFound(f"upload {id} not found; it is over, or another account's; begin a new one")
    found = _upload(row)
    if 0 < found.offset < found.size and _size(folder / id) < found.offset:
        remove(database, folder, [found])
        raise NotFound(f"the bytes of upload {id} are lost; begin a new one")
    return found


def under_way(database: Database, actor: Actor, path: DataPath) -> list[Upload]:
    """List the actor's uploads that are to become a file, and the parts of such.

    Returns:
        The uploads, in no order.
    """
    which = _of(actor) & (uploads.c.path == str(path)) & ~uploads.c.concat.startswith("final")
    with reading(database) as connection:
        return [_upload(row) for row in connection.execute(select(uploads).where(which)).mappings()]


def advance(database: Database, upload: Upload, offset: int) -> Upload:
    """Say how many bytes are safe now; that keeps the upload for another day.

    Returns:
        The upload.

    Raises:
        Conflict: It is no longer where it was.
    """
    now = replace(upload, offset=offset, expires=end())
    with writing(database, change=Change.NOTHING) as connection:
        changed = connection.execute(
            update(uploads)
            .where(uploads.c.id == upload.id, uploads.c.offset == upload.offset)
            .values(offset=now.offset, expires=now.expires)
        )
        if changed.rowcount != 1:
            raise Conflict(f"upload {upload.id} was changed meanwhile; ask for its offset")
    return now


def join(database: Database, actor: Actor, whole: Upload, parts: list[Upload]) -> Upload:
    """Write down that parts have become a file; they are over.

    Returns:
        The whole, with an id.
    """
    found = replace(whole, id=str(uuid4()))
    with writing(database, change=Change.NOTHING) as connection:
        connection.execute(insert(uploads).values(_row(found, actor)))
        connection.execute(delete(uploads).where(uploads.c.id.in_([part.id for part in parts])))
    return found


def remove(database: Database, folder: Path, gone: list[Upload]) -> None:
    """Forget uploads, and their bytes."""
    with writing(database, change=Change.NOTHING) as connection:
        connection.execute(delete(uploads).where(uploads.c.id.in_([upload.id for upload in gone])))
    discard(folder, gone)


def discard(folder: Path, gone: list[Upload]) -> None:
    """Remove the bytes of uploads that are over; what is left by a crash is swept."""
    for upload in gone:
        with contextlib.suppress(FileNotFoundError):
            (folder / upload.id).unlink()


def sweep(database: Database, folder: Path, *, now: datetime | None = None) -> None:
    """Remove the uploads that nobody went on with, and bytes that are nobody's.

    Args:
        database: Where to look.
        folder: Where the bytes are.
        now: The time, if it is not that of the clock.
    """
    old = uploads.c.expires < (now or datetime.now(UTC))
    with reading(database) as connection:
        is_old = connection.execute(select(uploads.c.id).where(old).limit(1)).first() is not None
    if is_old:
        with writing(database, change=Change.NOTHING) as connection:
            connection.execute(delete(uploads).where(old))
    files = list(folder.iterdir())  # before the rows are read: a file is made after its row
    with reading(database) as connection:
        known = set(connection.execute(select(uploads.c.id)).scalars())
    for file in files:
        if file.name not in known:
            file.unlink(missing_ok=True)


def _of(actor: Actor) -> ColumnElement[bool]:
    theirs = uploads.c.account_id == actor.account.id
    return theirs & (uploads.c.limited_to == actor.limit.collection) if actor.limit else theirs


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _row(upload: Upload, actor: Actor) -> dict[str, object]:
    names = (column.name for column in uploads.c if column.name not in {"account_id", "limited_to"})
    limited_to = actor.limit.collection if actor.limit else None
    return {name: getattr(upload, name) for name in names} | {
        "account_id": actor.account.id,
        "limited_to": limited_to,
    }


def _upload(row: RowMapping) -> Upload:
    return Upload(**{name: value for name, value in row.items() if name not in {"account_id", "limited_to"}})
