"""Releases: immutable published builds. Publish; resolve `1.2.*`, `latest`, a commit."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, exists, insert, select
from sqlalchemy.exc import IntegrityError

from pushpoint.databases import Change, Database, reading, writing
from pushpoint.databases.tables import accounts, algorithms, builds, deployments, releases
from pushpoint.errors import AlreadyExists, InvalidRequest, NotFound
from pushpoint.lifecycle import BuildState
from pushpoint.names import Version, data_path, is_commit, version, version_prefix
from pushpoint.records import Actor, Algorithm, Build, Release
from pushpoint.registry.builds import build_of, of_commit
from pushpoint.registry.history import record

FIRST = Version(0, 0, 0)
_VERSION = (releases.c.major, releases.c.minor, releases.c.revision)
_COLUMNS = (
    builds,
    releases.c.id.label("release_id"),
    *_VERSION,
    releases.c.is_public,
    releases.c.notes,
    releases.c.sample_input,
    releases.c.published,
)
_HIGHEST_FIRST = (releases.c.major.desc(), releases.c.minor.desc(), releases.c.revision.desc())


def publish(
    database: Database,
    actor: Actor,
    algorithm: Algorithm,
    build: Build,
    *,
    part: str = "minor",
    is_public: bool = False,
    notes: str = "",
    sample_input: str | None = None,
) -> Release:
    """Give a build the next version.

    Args:
        database: Where to write.
        actor: Who publishes.
        algorithm: Whose build it is.
        build: A build that succeeded.
        part: `major`, `minor` or `revision`: which part of the newest version grows.
        is_public: Whether others may call it.
        notes: Release notes.
        sample_input: JSON text that the smoke test calls it with.

    Returns:
        The release.

    Raises:
        AlreadyExists: The build has a version already.
        InvalidRequest: The build did not succeed.
    """
    if build.state is not BuildState.SUCCEEDED:
        raise InvalidRequest(f"build {build.id} is {build.state}; publish one that succeeded")
    try:
        with writing(database, change=Change.CALLED) as connection:
            release = Release(
                id=str(uuid4()),
                algorithm_id=algorithm.id,
                version=_newest_version(connection, algorithm).bump(part),
                build=build,
                is_public=is_public,
                notes=notes,
                sample_input=sample_input,
                published=datetime.now(UTC),
            )
            connection.execute(
                insert(releases).values(
                    id=release.id,
                    algorithm_id=algorithm.id,
                    build_id=build.id,
                    major=release.version.major,
                    minor=release.version.minor,
                    revision=release.version.revision,
                    is_public=is_public,
                    notes=notes,
                    sample_input=sample_input,
                    model_uri=str(data_path(build.manifest.uri)) if build.manifest else None,
                    published=release.published,
                )
            )
            record(
                connection, actor.account.name, "release.publish", f"{algorithm.name}/{release.version}", run=actor.run
            )
    except IntegrityError as error:
        raise AlreadyExists(
            f"commit {build.commit} of algo://{algorithm.name} is published already; push a new commit first"
        ) from error
    return release


def of_build(database: Database, build: Build) -> Release | None:
    """Look up the release of a build.

    Returns:
        The release, or none if the build is not published.
    """
    return _first(database, releases.c.build_id == build.id)


def by_id(database: Database, ids: Collection[str]) -> dict[str, Release]:
    """Look up releases by their ids.

    Returns:
        Those that there are, by id.
    """
    with reading(database) as connection:
        rows = connection.execute(_select().where(releases.c.id.in_(ids))).mappings()
        return {row["release_id"]: release_of(row) for row in rows}


def names(database: Database, build_ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """Say what builds are called.

    Returns:
        `owner/name` and version of those that there are, by id; the commit where nothing is published.
    """
    asked = (
        select(builds.c.id, builds.c.commit, accounts.c.name.label("owner"), algorithms.c.name, *_VERSION)
        .join_from(builds, algorithms, builds.c.algorithm_id == algorithms.c.id)
        .join(accounts, algorithms.c.account_id == accounts.c.id)
        .outerjoin(releases, releases.c.build_id == builds.c.id)
        .where(builds.c.id.in_(build_ids))
    )
    with reading(database) as connection:
        return {
            row.id: (
                f"{row.owner}/{row.name}",
                row.commit if row.major is None else str(Version(row.major, row.minor, row.revision)),
            )
            for row in connection.execute(asked)
        }


def resolve(database: Database, algorithm: Algorithm, selector: str, *, is_owner: bool) -> Build:
    """Find what a version selector stands for.

    Args:
        database: Where to look.
        algorithm: Whose version.
        selector: `1.2.3`, `1.2`, `1.2.*`, `latest`, `latestPrivate` or a commit of 40 digits.
        is_owner: Whether private versions and commits are the asker's to see.

    Returns:
        The build to run.

    Raises:
        NotFound: It stands for nothing that the asker may see.
    """
    whose = releases.c.algorithm_id == algorithm.id
    if not is_owner:
        whose &= releases.c.is_public.is_(True)
    found: Release | None = None
    if is_commit(selector) and is_owner:
        build = of_commit(database, algorithm, selector)
        if build and build.state is BuildState.SUCCEEDED:
            return build
        why = f"is {build.state}" if build else "is unknown"
        raise NotFound(f"version hash {selector} of algo://{algorithm.name} {why}; wait for its build or push it")
    if selector == "latest":
        found = _first(database, whose & _is_sound())
    elif selector == "latestPrivate" and is_owner:
        found = _first(database, whose & releases.c.is_public.is_(False))
    elif prefix := version_prefix(selector):
        for column, number in zip((releases.c.major, releases.c.minor), prefix, strict=False):
            whose &= column == number
        found = _first(database, whose & _is_sound())
    elif selector.count(".") == 2:
        exact = version(selector)
        found = _first(
            database,
            whose
            & (releases.c.major == exact.major)
            & (releases.c.minor == exact.minor)
            & (releases.c.revision == exact.revision),
        )
    if found is None:
        raise NotFound(f"algorithm algo://{algorithm.name}/{selector} not found; `pushpoint releases` lists versions")
    return found.build


def newest_first(
    database: Database, algorithm: Algorithm, *, limit: int, offset: int, is_public: bool | None = None
) -> list[Release]:
    """List the releases of an algorithm.

    Returns:
        At most `limit` releases, highest version first.
    """
    which: ColumnElement[bool] = releases.c.algorithm_id == algorithm.id
    if is_public is not None:
        which &= releases.c.is_public.is_(is_public)
    page = select(releases.c.id).where(which).order_by(*_HIGHEST_FIRST).limit(limit).offset(offset)
    with reading(database) as connection:
        rows = connection.execute(_select().where(releases.c.id.in_(page))).mappings()
        return [release_of(row) for row in rows]


def builds_and_releases(
    database: Database, algorithm: Algorithm, *, limit: int, offset: int
) -> list[tuple[Build, Release | None]]:
    """List the builds that can start, newest first, each with its release if it has one.

    Returns:
        At most `limit` of them.
    """
    which = (builds.c.algorithm_id == algorithm.id) & (builds.c.state == BuildState.SUCCEEDED)
    order = builds.c.started.desc(), builds.c.id.desc()
    page = select(builds.c.id).where(which).order_by(*order).limit(limit).offset(offset)
    with reading(database) as connection:
        rows = connection.execute(
            select(*_COLUMNS)
            .outerjoin(releases, releases.c.build_id == builds.c.id)
            .where(builds.c.id.in_(page))
            .order_by(*order)
        ).mappings()
        return [(build_of(row), release_of(row) if row["release_id"] else None) for row in rows]


def needing(connection: Connection, uri: str) -> list[Version]:
    """List the releases whose model is at `uri`; while there are any, those bytes stay.

    Returns:
        Their versions.
    """
    rows = connection.execute(
        select(releases.c.major, releases.c.minor, releases.c.revision).where(releases.c.model_uri == uri)
    )
    return [Version(*row) for row in rows]


def release_of(row: RowMapping) -> Release:
    """Read a release from a row of its table joined with its build's.

    Returns:
        The release.
    """
    return Release(
        id=row["release_id"],
        algorithm_id=row["algorithm_id"],
        version=Version(row["major"], row["minor"], row["revision"]),
        build=build_of(row),
        is_public=row["is_public"],
        notes=row["notes"],
        sample_input=row["sample_input"],
        published=row["published"],
    )


def _select() -> Select[tuple[object, ...]]:
    return select(*_COLUMNS).join(releases, releases.c.build_id == builds.c.id).order_by(*_HIGHEST_FIRST)


def _first(database: Database, which: ColumnElement[bool]) -> Release | None:
    with reading(database) as connection:
        row = connection.execute(_select().where(which).limit(1)).mappings().first()
    return release_of(row) if row else None


def _is_sound() -> ColumnElement[bool]:
    # what was tried and never became live failed its load or its smoke test
    tried = select(deployments.c.id).where(deployments.c.release_id == releases.c.id)
    return ~exists(tried) | exists(tried.where(deployments.c.live_since.is_not(None)))


def _newest_version(connection: Connection, algorithm: Algorithm) -> Version:
    row = connection.execute(
        select(releases.c.major, releases.c.minor, releases.c.revision)
        .where(releases.c.algorithm_id == algorithm.id)
        .order_by(*_HIGHEST_FIRST)
        .limit(1)
    ).first()
    return Version(*row) if row else FIRST
