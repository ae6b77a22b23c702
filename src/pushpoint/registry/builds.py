"""Builds: a commit on its way to something that can start. Of one commit there is one build that did not fail."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import ColumnElement, RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from pushpoint import manifest as manifests
from pushpoint.databases import Change, Database, reading, writing
from pushpoint.databases.tables import builds
from pushpoint.errors import ConfigError, NotFound
from pushpoint.lifecycle import BuildState, advance
from pushpoint.records import Algorithm, Build


def begin(database: Database, algorithm: Algorithm, commit: str, *, manifest: str | None) -> tuple[Build, bool]:
    """Begin to build a commit, unless that was done before and did not fail.

    Returns:
        The build, and whether it is new.
    """
    build = Build(
        id=str(uuid4()),
        algorithm_id=algorithm.id,
        commit=commit,
        state=BuildState.IN_PROGRESS,
        manifest=_manifest(manifest),
        environment=None,
        sandbox=None,
        started=datetime.now(UTC),
        finished=None,
    )
    try:
        with writing(database, change=Change.CALLED) as connection:
            connection.execute(
                insert(builds).values(
                    id=build.id,
                    algorithm_id=algorithm.id,
                    commit=commit,
                    state=build.state,
                    manifest=manifest,
                    started=build.started,
                )
            )
    except IntegrityError:
        found = of_commit(database, algorithm, commit)
        assert found  # noqa: S101 - the index just said so
        return found, False
    return build, True


def finish(
    database: Database,
    build: Build,
    state: BuildState,
    *,
    environment: str | None = None,
    sandbox: str | None = None,
) -> None:
    """Close a build as succeeded or failed."""
    with writing(database, change=Change.CALLED) as connection:
        connection.execute(
            update(builds)
            .where(builds.c.id == build.id, builds.c.state == build.state)
            .values(
                state=advance(build.state, state),
                environment=environment,
                sandbox=sandbox,
                finished=datetime.now(UTC),
            )
        )


def find(database: Database, algorithm: Algorithm, build_id: str) -> Build:
    """Look up a build of an algorithm.

    Returns:
        The build.

    Raises:
        NotFound: The algorithm has no such build.
    """
    found = _first(database, (builds.c.algorithm_id == algorithm.id) & (builds.c.id == build_id))
    if found is None:
        raise NotFound(f"algo://{algorithm.name} has no build {build_id}; list its builds")
    return found


def of_commit(database: Database, algorithm: Algorithm, commit: str) -> Build | None:
    """Look up the newest build of a commit.

    Returns:
        The build, or none.
    """
    return _first(database, (builds.c.algorithm_id == algorithm.id) & (builds.c.commit == commit))


def last_succeeded(database: Database, algorithm: Algorithm) -> Build | None:
    """Look up the newest build that can start.

    Returns:
        The build, or none.
    """
    return _first(database, (builds.c.algorithm_id == algorithm.id) & (builds.c.state == BuildState.SUCCEEDED))


def newest_first(database: Database, algorithm: Algorithm, *, limit: int, offset: int) -> list[Build]:
    """List the builds of an algorithm.

    Returns:
        At most `limit` builds.
    """
    order = builds.c.started.desc(), builds.c.id.desc()
    page = select(builds.c.id).where(builds.c.algorithm_id == algorithm.id).order_by(*order).limit(limit).offset(offset)
    with reading(database) as connection:
        rows = connection.execute(select(builds).where(builds.c.id.in_(page)).order_by(*order)).mappings()
        return [build_of(row) for row in rows]


def ids(database: Database, algorithm: Algorithm | None = None) -> set[str]:
    """List the builds of an algorithm, or of all, by id alone.

    Returns:
        The ids.
    """
    which = select(builds.c.id)
    if algorithm:
        which = which.where(builds.c.algorithm_id == algorithm.id)
    with reading(database) as connection:
        return set(connection.execute(which).scalars())


def commits(database: Database) -> set[tuple[str, str]]:
    """List what was built, or is being built, of all algorithms.

    Returns:
        Algorithm ids with commits.
    """
    with reading(database) as connection:
        return {
            (row.algorithm_id, row.commit) for row in connection.execute(select(builds.c.algorithm_id, builds.c.commit))
        }


def unfinished(database: Database) -> list[Build]:
    """List the builds that were cut off when the platform last ended.

    Returns:
        The builds.
    """
    with reading(database) as connection:
        rows = connection.execute(select(builds).where(builds.c.state == BuildState.IN_PROGRESS)).mappings()
        return [build_of(row) for row in rows]


def build_of(row: RowMapping) -> Build:
    """Read a build from a row of its table.

    Returns:
        The build.
    """
    return Build(
        id=row["id"],
        algorithm_id=row["algorithm_id"],
        commit=row["commit"],
        state=BuildState(row["state"]),
        manifest=_manifest(row["manifest"]),
        environment=row["environment"],
        sandbox=row["sandbox"],
        started=row["started"],
        finished=row["finished"],
    )


def _first(database: Database, which: ColumnElement[bool]) -> Build | None:
    with reading(database) as connection:
        row = (
            connection.execute(select(builds).where(which).order_by(builds.c.started.desc()).limit(1))
            .mappings()
            .first()
        )
    return build_of(row) if row else None


def _manifest(text: str | None) -> manifests.Manifest | None:
    try:
        return manifests.read(text) if text is not None else None
    except ConfigError:
        return None  # the worker refuses to start with it, and says so in the build's log
