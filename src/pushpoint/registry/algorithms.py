"""Algorithms: create, find, change, delete.

Another owner's private algorithm looks absent: the same error as for one that does not exist.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, RowMapping, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from pushpoint.databases import Database, reading, writing
from pushpoint.databases.tables import (
    accounts,
    algorithms,
    builds,
    deliveries,
    deployments,
    failures,
    insights,
    keys,
    publishers,
    releases,
    secrets,
    sources,
)
from pushpoint.errors import AlreadyExists, NotFound, Refused
from pushpoint.names import AlgorithmName, check_name
from pushpoint.records import ANY_ALGORITHM, Actor, Algorithm
from pushpoint.registry.history import record


def create(
    database: Database,
    actor: Actor,
    name: AlgorithmName,
    *,
    label: str = "",
    summary: str = "",
    tagline: str = "",
    settings: Mapping[str, object],
    sample_input: str | None = None,
) -> Algorithm:
    """Make an algorithm of the actor's.

    Returns:
        The algorithm, without any build.

    Raises:
        AlreadyExists: The owner has one of that name.
        Refused: The actor is not the owner.
    """
    if actor.limit:
        raise Refused(
            f"this key may do no more than deploy algo://{actor.limit.algorithm}; use a key of {name.owner}'s"
        )
    if name.owner not in actor.owners:
        raise Refused(f"{actor.account.name} may not create algorithms of {name.owner}; use {name.owner}'s key")
    if not actor.may_touch(name):
        raise Refused(f"this key is not for algo://{name}; use one whose patterns name it")
    check_name("algorithm", name.name)
    algorithm = Algorithm(
        id=str(uuid4()),
        name=name,
        label=label or name.name,
        summary=summary,
        tagline=tagline,
        settings=dict(settings),
        sample_input=sample_input,
        created=datetime.now(UTC),
        generation=0,
        live=None,
    )
    try:
        with writing(database) as connection:
            connection.execute(
                insert(algorithms).values(
                    id=algorithm.id,
                    account_id=select(accounts.c.id).where(accounts.c.name == name.owner).scalar_subquery(),
                    name=name.name,
                    label=algorithm.label,
                    summary=summary,
                    tagline=tagline,
                    settings=algorithm.settings,
                    sample_input=sample_input,
                    created=algorithm.created,
                    generation=0,
                    is_public=_is_public(algorithm.settings),
                )
            )
            record(connection, actor.account.name, "algorithm.create", str(name), run=actor.run)
    except IntegrityError as error:
        raise AlreadyExists(f"algorithm algo://{name} exists; choose another name") from error
    return algorithm


def find(database: Database, actor: Actor, name: AlgorithmName | UUID) -> Algorithm:
    """Look up an algorithm that the actor may see: their own, or one with a public release.

    Returns:
        The algorithm.

    Raises:
        NotFound: There is none that the actor may see.
    """
    found = lookup(database, name)
    if found and (not actor.may_touch(found.name) or (actor.limit and actor.limit.algorithm_id != found.id)):
        found = None
    if found is None or not (owns(actor, found) or _is_public(found.settings)):
        raise NotFound(f"algorithm algo://{name} not found; check its name and whose key you use")
    return found


def find_own(database: Database, actor: Actor, name: AlgorithmName | UUID) -> Algorithm:
    """Look up an algorithm that the actor may change.

    Returns:
        The algorithm.

    Raises:
        Refused: The actor may call it, no more.
    """
    found = find(database, actor, name)
    if not owns(actor, found):
        raise Refused(f"only {found.name.owner} may change algo://{found.name}; use {found.name.owner}'s key")
    return found


def owns(actor: Actor, algorithm: Algorithm) -> bool:
    """Say whether the algorithm is the actor's.

    Returns:
        True if it is.
    """
    return algorithm.name.owner in actor.owners


def lookup(database: Database, name: AlgorithmName | UUID) -> Algorithm | None:
    """Look up an algorithm, whoever asks.

    Returns:
        The algorithm, or none.
    """
    which: ColumnElement[bool]
    if isinstance(name, UUID):
        which = algorithms.c.id == str(name)
    else:
        which = (accounts.c.name == name.owner) & (algorithms.c.name == name.name)
    with reading(database) as connection:
        row = connection.execute(_select().where(which)).mappings().first()
    return _algorithm(row) if row else None


def of_owner(database: Database, actor: Actor, owner: str, *, limit: int, offset: int) -> list[Algorithm]:
    """List the algorithms of an owner that the actor may see, by name.

    Returns:
        At most `limit` algorithms.
    """
    whose = algorithms.c.account_id == select(accounts.c.id).where(accounts.c.name == owner).scalar_subquery()
    page = select(algorithms.c.name).where(whose).order_by(algorithms.c.name).limit(limit).offset(offset)
    if owner not in actor.owners:
        page = page.where(algorithms.c.is_public.is_(True))
    if not {ANY_ALGORITHM, f"algo://{owner}/*"} & set(actor.patterns):
        parts = (pattern.removeprefix("algo://").split("/") for pattern in actor.patterns)
        page = page.where(algorithms.c.name.in_([name for account, name, *_ in parts if account == owner]))
    if actor.limit:
        page = page.where(algorithms.c.id == actor.limit.algorithm_id)
    with reading(database) as connection:
        rows = connection.execute(_select().where(whose, algorithms.c.name.in_(page)).order_by(algorithms.c.name))
        return [_algorithm(row) for row in rows.mappings()]


def remove(database: Database, actor: Actor, algorithm: Algorithm) -> list[str]:
    """Delete an algorithm and all that is known of it; what its models are stored as stays.

    Returns:
        The ids of its builds, whose files are left.
    """
    with writing(database) as connection:
        theirs = list(connection.execute(select(builds.c.id).where(builds.c.algorithm_id == algorithm.id)).scalars())
        for table in (
            keys,
            deployments,
            releases,
            builds,
            publishers,
            sources,
            deliveries,
            secrets,
            failures,
            insights,
        ):
            connection.execute(delete(table).where(table.c.algorithm_id == algorithm.id))
        connection.execute(delete(algorithms).where(algorithms.c.id == algorithm.id))
        record(connection, actor.account.name, "algorithm.delete", str(algorithm.name), run=actor.run)
    return theirs


def change(
    database: Database,
    algorithm: Algorithm,
    *,
    settings: Mapping[str, object],
    details: Mapping[str, str] | None = None,
    sample_input: str | None = None,
) -> None:
    """Merge settings into those of an algorithm, and replace what is given of its details and its sample input.

    Args:
        database: Where to write.
        algorithm: Which.
        settings: As the wire gave them.
        details: Some of `label`, `summary` and `tagline`.
        sample_input: JSON text.
    """
    merged = algorithm.settings | dict(settings)
    values: dict[str, object] = {"settings": merged, "is_public": _is_public(merged), **(details or {})}
    if sample_input is not None:
        values["sample_input"] = sample_input
    with writing(database) as connection:
        connection.execute(update(algorithms).where(algorithms.c.id == algorithm.id).values(**values))


def every(database: Database) -> list[Algorithm]:
    """List all algorithms of all owners, for the platform itself.

    Returns:
        The algorithms, oldest first.
    """
    with reading(database) as connection:
        rows = connection.execute(_select().order_by(algorithms.c.created)).mappings()
        return [_algorithm(row) for row in rows]


def live(database: Database, *, limit: int) -> list[Algorithm]:
    """List the algorithms that have a live release, for the platform itself.

    Returns:
        At most `limit` algorithms, those first whose release went live last.
    """
    newest = deployments.c.live_since.desc()
    with reading(database) as connection:
        rows = connection.execute(
            _select().join(deployments, deployments.c.id == algorithms.c.live).order_by(newest).limit(limit)
        ).mappings()
        return [_algorithm(row) for row in rows]


def live_of(database: Database, build_ids: Collection[str]) -> list[Algorithm]:
    """List the algorithms whose live release is one of some builds, for the platform itself.

    Returns:
        Those.
    """
    live = _select().join(deployments, deployments.c.id == algorithms.c.live)
    which = live.join(releases, releases.c.id == deployments.c.release_id).where(releases.c.build_id.in_(build_ids))
    with reading(database) as connection:
        return [_algorithm(row) for row in connection.execute(which).mappings()]


def kept(database: Database) -> list[Algorithm]:
    """List the algorithms whose live release is to have workers although nobody calls, for the platform itself.

    Returns:
        All of them.
    """
    least = algorithms.c.settings["scaling"]["min_replicas"].as_integer()
    with reading(database) as connection:
        rows = connection.execute(_select().where(algorithms.c.live.is_not(None), least > 0)).mappings()
        return [_algorithm(row) for row in rows]


def _is_public(settings: Mapping[str, object]) -> bool:
    return settings.get("algorithm_callability") == "public"


def _select() -> Select[tuple[object, ...]]:
    return select(algorithms, accounts.c.name.label("owner")).join(accounts, accounts.c.id == algorithms.c.account_id)


def _algorithm(row: RowMapping) -> Algorithm:
    return Algorithm(
        id=row["id"],
        name=AlgorithmName(row["owner"], row["name"]),
        label=row["label"],
        summary=row["summary"],
        tagline=row["tagline"],
        settings=row["settings"],
        sample_input=row["sample_input"],
        created=row["created"],
        generation=row["generation"],
        live=row["live"],
    )
