"""Trusted publishers: which runs of CI may deploy an algorithm without a key, and the exchange of an identity for one.

A repository's name can change hands: whoever takes a name that became free would be trusted next. So the repository's
number is kept too, from its first deploy on at the latest, and a repository with another number is another one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import RowMapping, delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from pushpoint.databases import Database, reading, writing
from pushpoint.databases.tables import accounts, algorithms, publishers, used_tokens
from pushpoint.errors import Conflict, InvalidRequest, NotFound
from pushpoint.names import AlgorithmName, check_name
from pushpoint.oidc import LEEWAY, Rejected, Run
from pushpoint.records import Actor, Algorithm, Limit, Publisher
from pushpoint.registry import keys
from pushpoint.registry.history import record

MOST = 50
"""Publishers of one algorithm."""
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+")
_REF = re.compile(r"refs/(heads|tags)/[!-~]+")
_WORKFLOW = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_./-]*")
_NUMBER = re.compile(r"[0-9]{1,40}")
_LONGEST = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """A key that a run of CI got, and what it is good for."""

    key: str
    expires: datetime
    limit: Limit


def add(
    database: Database,
    actor: Actor,
    algorithm: Algorithm,
    *,
    issuer: str,
    repository: str,
    ref: str,
    workflow: str | None = None,
    environment: str | None = None,
    repository_id: str | None = None,
    collection: str | None = None,
) -> Publisher:
    """Trust runs of CI to deploy an algorithm; the same publisher again is the same one.

    Args:
        database: Where to write.
        actor: Owner of the algorithm.
        algorithm: What may be deployed.
        issuer: Who vouches for the runs, checked by `oidc.Issuers`.
        repository: `OWNER/NAME`, in the issuer's own spelling.
        ref: Full ref; `*` stands for anything but a slash.
        workflow: File that must define the run; none for any.
        environment: Environment that the job must be in; none for any.
        repository_id: The repository's number at the issuer; none to take that of the first run.
        collection: Where the models go; none for the one named like the algorithm.

    Returns:
        The publisher.

    Raises:
        Conflict: The algorithm has too many.
        InvalidRequest: A value is none that a token could hold.
    """
    _check("repository", repository, _REPOSITORY, "write it as OWNER/NAME")
    _check("ref", ref, _REF, "write it in full, such as refs/heads/main or refs/tags/v*")
    _check("workflow", workflow, _WORKFLOW, "write the file's name, such as deploy.yml")
    _check("environment", environment, re.compile(r".+"), "write its name, or leave it out")
    _check("repository_id", repository_id, _NUMBER, "it is a number; leave it out to keep that of the first run")
    values = {
        "algorithm_id": algorithm.id,
        "issuer": issuer,
        "repository": repository,
        "ref": ref,
        "workflow": workflow,
        "environment": environment,
        "collection": check_name("collection", collection or algorithm.name.name),
    }
    same = [
        publishers.c[name].is_(None) if value is None else publishers.c[name] == value for name, value in values.items()
    ]
    if repository_id is not None:
        same.append(publishers.c.repository_id == repository_id)
    made = {"id": str(uuid4()), "repository_id": repository_id, "created": datetime.now(UTC)} | values
    with writing(database) as connection:
        if there := connection.execute(select(publishers).where(*same)).mappings().first():
            return _publisher(there)
        of_algorithm = select(func.count()).where(publishers.c.algorithm_id == algorithm.id)
        if connection.execute(of_algorithm).scalar_one() >= MOST:
            raise Conflict(f"algo://{algorithm.name} has {MOST} publishers; remove some, or use a pattern as ref")
        if repository_id is None:  # a name that is pinned stays pinned
            known = (publishers.c.algorithm_id == algorithm.id) & (publishers.c.issuer == issuer)
            known &= publishers.c.repository == repository
            made["repository_id"] = connection.execute(
                select(func.max(publishers.c.repository_id)).where(known)
            ).scalar()
        connection.execute(insert(publishers).values(**made))
        detail = f"{repository} at {ref}, vouched for by {issuer}"
        record(connection, actor.account.name, "publisher.add", str(algorithm.name), detail, run=actor.run)
        return _publisher(connection.execute(select(publishers).where(publishers.c.id == made["id"])).mappings().one())


def of_algorithm(database: Database, algorithm: Algorithm) -> list[Publisher]:
    """List the publishers of an algorithm.

    Returns:
        The publishers, oldest first.
    """
    with reading(database) as connection:
        rows = connection.execute(
            select(publishers).where(publishers.c.algorithm_id == algorithm.id).order_by(publishers.c.created)
        ).mappings()
        return [_publisher(row) for row in rows]


def remove(database: Database, actor: Actor, algorithm: Algorithm, publisher_id: str) -> None:
    """Trust a publisher no longer; the keys that its runs hold end at once.

    Raises:
        NotFound: The algorithm has no such publisher.
    """
    with writing(database) as connection:
        gone = connection.execute(
            delete(publishers).where(publishers.c.algorithm_id == algorithm.id, publishers.c.id == publisher_id)
        )
        if gone.rowcount != 1:
            raise NotFound(
                f"algo://{algorithm.name} has no publisher {publisher_id[:40]}; list them: pushpoint trust list"
            )
        keys.revoke_of_publisher(connection, publisher_id)
        record(connection, actor.account.name, "publisher.remove", str(algorithm.name), publisher_id, run=actor.run)


def is_trusted(database: Database, issuer: str) -> bool:
    """Say whether any publisher of any algorithm names an issuer.

    Returns:
        True if one does.
    """
    with reading(database) as connection:
        return bool(connection.execute(select(exists().where(publishers.c.issuer == issuer))).scalar())


def exchange(database: Database, name: AlgorithmName, run: Run, *, now: datetime) -> Exchanged:
    """Give a run of CI a key for an algorithm, once for each token: all in one transaction, so also across restarts.

    Args:
        database: Where to look and write.
        name: The algorithm; one that does not exist looks like one that trusts nobody.
        run: From a token that was verified.
        now: The time.

    Returns:
        The key and its limits.

    Raises:
        Rejected: No publisher of the algorithm is this run, or its token was used before.
    """
    with writing(database) as connection:
        # read to the end: a statement that is still open would keep this connection's picture of the database
        rows = list(
            connection.execute(
                select(publishers, algorithms.c.account_id)
                .join(algorithms, algorithms.c.id == publishers.c.algorithm_id)
                .join(accounts, accounts.c.id == algorithms.c.account_id)
                .where(accounts.c.name == name.owner, algorithms.c.name == name.name)
                .order_by(publishers.c.created)
            ).mappings()
        )
        found = next(((row, one) for row in rows if matches(one := _publisher(row), run)), None)
        if found is None:
            raise Rejected(f"no trusted publisher of algo://{name} is {run}", is_signed=True)
        row, publisher = found
        connection.execute(delete(used_tokens).where(used_tokens.c.expires < now))
        token = hashlib.sha256(f"{run.issuer}\0{run.token_id}".encode()).hexdigest()
        until = run.expires + timedelta(seconds=2 * LEEWAY)
        try:
            connection.execute(insert(used_tokens).values(hash=token, expires=until))
        except IntegrityError as error:
            raise Rejected("it was used before", is_signed=True) from error
        pinned = (
            (publishers.c.algorithm_id == publisher.algorithm_id)
            & (publishers.c.issuer == run.issuer)
            & (publishers.c.repository == run.repository)
            & publishers.c.repository_id.is_(None)
        )
        connection.execute(update(publishers).where(pinned).values(repository_id=run.repository_id))
        limit = Limit(
            algorithm_id=publisher.algorithm_id,
            algorithm=name,
            collection=publisher.collection,
            run=f"{run.repository} run {run.number} at {run.ref}, vouched for by {run.issuer}",
        )
        key = keys.issue_limited(connection, row["account_id"], publisher, limit, now=now)
        record(connection, name.owner, "key.exchange", str(name), publisher.id, run=limit.run)
    return Exchanged(key=key, expires=now + keys.EXCHANGED_LIFE, limit=limit)


def matches(publisher: Publisher, run: Run) -> bool:
    """Say whether a run is one of a publisher's. Everything is compared to the letter.

    Returns:
        True if it is.
    """
    pattern = "[^/]*".join(re.escape(part) for part in publisher.ref.split("*"))
    return (
        publisher.issuer == run.issuer
        and publisher.repository == run.repository
        and publisher.repository_id in {None, run.repository_id}
        and re.fullmatch(pattern, run.ref) is not None
        and publisher.workflow in {None, run.workflow}
        and publisher.environment in {None, run.environment}
    )


def _check(name: str, value: str | None, pattern: re.Pattern[str], rule: str) -> None:
    if value is None:
        return
    if len(value) > _LONGEST or not pattern.fullmatch(value) or not value.isprintable():
        raise InvalidRequest(f"{value[:_LONGEST]!r} is not a {name}: {rule}")


def _publisher(row: RowMapping) -> Publisher:
    return Publisher(
        id=row["id"],
        algorithm_id=row["algorithm_id"],
        issuer=row["issuer"],
        repository=row["repository"],
        repository_id=row["repository_id"],
        ref=row["ref"],
        workflow=row["workflow"],
        environment=row["environment"],
        collection=row["collection"],
        created=row["created"],
    )
