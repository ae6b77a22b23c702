"""A platform with very many algorithms: one that was made as users make them, and copies of its rows.

What is copied is what the platform wrote of the first algorithm, under new ids and names. The copies share its
repository and the files of its build by links, so that each of them could be called.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Table, insert, select, update

from bench.harness import platform
from pushpoint.client import Client
from pushpoint.databases import Database, open_database, tables, writing
from pushpoint.digests import OCTETS, Descriptor, Digest, describe
from pushpoint.manifest import Manifest, Provenance, Source, write
from pushpoint.names import AlgorithmName, data_path
from pushpoint.records import Actor, Algorithm, FailedCall, Insight, Limit
from pushpoint.registry import algorithms, keys, publishers, reports, repositories, secrets
from pushpoint.registry.vault import KEY_FILE, Vault

OWNER, FIRST, LONG = "bench", AlgorithmName("bench", "first"), AlgorithmName("bench", "long")
_BATCH, _CALLS = 500, 5
_CONTENT, _MODEL = b"model", data_path("data://bench/models/model.pkl")
_OF_VERSIONS = (tables.builds, tables.releases, tables.deployments)
_OF_ALGORITHMS = (tables.publishers, tables.secrets, tables.failures, tables.insights)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A platform's database, and what to ask it for.

    Attributes:
        actor: The owner of everything.
        key: A key of theirs.
        some: Algorithms with equally many versions.
        long: One with many more.
    """

    database: Database
    actor: Actor
    key: str
    some: Sequence[Algorithm]
    long: Algorithm


def fill(home: Path, *, copies: int, each: int, long: int) -> Filled:
    """Make a platform with `copies` algorithms of `each` versions, and one of `long`.

    Returns:
        Its database, open.
    """
    with platform(home) as server, Client(server.url, server.key) as client:
        _deploy(client, server.home)
        key = server.key
    database = open_database(home / "platform.db")
    actor = keys.authenticate(database, key)
    first = algorithms.lookup(database, FIRST)
    assert actor
    assert first
    _surround(database, Vault(home / KEY_FILE), actor, first)
    _copy(database, home, first, copies=copies, each=each, long=long)
    _fail(database, first, reports.MOST)
    some = [one for one in algorithms.every(database) if one.name != LONG]
    found = algorithms.lookup(database, LONG)
    assert found
    return Filled(database=database, actor=actor, key=key, some=some, long=found)


def _deploy(client: Client, home: Path) -> None:
    client.create(FIRST)
    client.create_collection(replace(_MODEL, file=""))
    path = home / "model.pkl"
    path.write_bytes(_CONTENT)
    client.put(_MODEL, path, describe(path))
    (repository,) = (home / "repositories").glob("*.git")
    commit = repositories.head(repository)
    assert commit
    client.compile(FIRST, commit)
    while not client.build(FIRST, commit).finished_at:
        pass
    version = client.publish(FIRST, commit, part="minor", sample_input=None, notes="")
    deployment = client.roll_out(FIRST, version, deploy_id="first")
    while deployment.state not in {"live", "failed"}:
        deployment = client.deployment(FIRST, deployment.id)


def _surround(database: Database, vault: Vault, actor: Actor, first: Algorithm) -> None:
    """Give the first algorithm all else that algorithms have."""
    now = datetime.now(UTC)
    publisher = publishers.add(
        database, actor, first, issuer="https://ci.example", repository="acme/first", ref="refs/heads/main"
    )
    secrets.put(database, vault, actor, first, variable="TOKEN", value="secret")
    _fail(database, first, _CALLS)
    limit = Limit(algorithm_id=first.id, algorithm=first.name, collection=first.name.name, run="run 1")
    with writing(database) as connection:
        keys.issue_limited(connection, actor.account.id, publisher, limit, now=now - timedelta(days=1))
        text = write(_manifest())
        connection.execute(update(tables.builds).where(tables.builds.c.algorithm_id == first.id).values(manifest=text))


def _fail(database: Database, algorithm: Algorithm, times: int) -> None:
    now = datetime.now(UTC)
    failed = FailedCall(
        algorithm_id=algorithm.id,
        algorithm=algorithm.name,
        created=now,
        request_id=f"req-{uuid4()}",
        caller=OWNER,
        version="0.1.0",
        input="x" * reports.INPUT,
        message="division by zero",
        error_type="ZeroDivisionError",
    )
    insight = Insight(algorithm_id=algorithm.id, created=now, request_id=str(uuid4()), key="score", value="0.5")
    reports.keep(database, [failed, insight] * times)


def _copy(database: Database, home: Path, first: Algorithm, *, copies: int, each: int, long: int) -> None:
    vault = Vault(home / KEY_FILE)
    rows: dict[Table, list[Row]] = defaultdict(list)
    with writing(database) as connection:
        live = tables.deployments.c.id == first.live
        connection.execute(update(tables.deployments).where(live).values(generation=each))
        connection.execute(update(tables.algorithms).where(tables.algorithms.c.id == first.id).values(generation=each))
        theirs = {table: _rows(connection, table, first.id) for table in (*_OF_VERSIONS, *_OF_ALGORITHMS, tables.keys)}
        (whole,) = connection.execute(select(tables.algorithms).where(tables.algorithms.c.id == first.id)).mappings()
        (build,) = theirs[tables.builds]
        for number in range(copies + 1):  # the first one gets its older versions, the last one is the long one
            versions = long if number == copies else each
            ids: dict[Any, str] = {}
            if number:
                name = LONG.name if number == copies else f"a{number:05d}"
                ids = {one["id"]: str(uuid4()) for table in (*_OF_VERSIONS, *_OF_ALGORITHMS) for one in theirs[table]}
                ids[first.id] = str(uuid4())
                rows[tables.algorithms].append(_moved(dict(whole), ids) | {"name": name, "generation": versions})
                for table in (*_OF_VERSIONS, *_OF_ALGORITHMS):
                    rows[table] += [_moved(one, ids) for one in theirs[table]]
                rows[tables.deployments][-1]["generation"] = versions
                rows[tables.builds][-1]["manifest"] = build["manifest"].replace(f'"{FIRST}"', f'"{OWNER}/{name}"')
                secret = rows[tables.secrets][-1]
                secret["value"] = vault.seal("secret", f"secrets/{secret['id']}/value")
                _link(home / "repositories", f"{first.id}.git", f"{ids[first.id]}.git")
                _link(home / "builds", build["id"], ids[build["id"]])
            for back in range(1, versions):
                for table, row in _older(theirs, ids, versions, back):
                    rows[table].append(row)
            for _ in range(versions):  # each was deployed by CI, with a key of its own
                key = _moved(theirs[tables.keys][0], ids)
                rows[tables.keys].append(key | {"id": str(uuid4()), "hash": uuid4().hex * 2})
            if number % _BATCH == 0 or number == copies:
                _write(connection, rows)


def _older(
    theirs: dict[Table, list[Row]], ids: dict[Any, str], versions: int, back: int
) -> Iterator[tuple[Table, Row]]:
    """Make the rows of a version that was live before."""
    fresh = dict(ids)
    for table in _OF_VERSIONS:
        (one,) = theirs[table]
        fresh[one["id"]] = str(uuid4())
        row = _moved(one, fresh)
        for column in ("started", "finished", "published", "created", "live_since"):
            if column in row:
                row[column] -= timedelta(hours=back)
        if table is tables.builds:
            row["commit"] = f"{versions - back:040x}"
        if table is tables.releases:
            row |= {"major": 0, "minor": 0, "revision": versions - back}
        if table is tables.deployments:
            row |= {"generation": versions - back, "state": "retired", "deploy_id": f"deploy-{versions - back}"}
        yield table, row


def _rows(connection: Connection, table: Table, algorithm_id: str) -> list[Row]:
    found = connection.execute(select(table).where(table.c.algorithm_id == algorithm_id)).mappings()
    return [dict(row) for row in found]


def _moved(row: Row, ids: dict[Any, str]) -> Row:
    """Copy a row under new ids; numbers that count rows are the database's to give."""
    return {
        name: ids.get(value, value) if isinstance(value, str) else value
        for name, value in row.items()
        if not (name == "id" and isinstance(value, int))
    }


def _write(connection: Connection, rows: dict[Table, list[Row]]) -> None:
    for table in (tables.algorithms, *_OF_VERSIONS, *_OF_ALGORITHMS, tables.keys):
        if rows[table]:
            connection.execute(insert(table), rows[table])
    rows.clear()


def _link(folder: Path, old: str, new: str) -> None:
    (folder / new).symlink_to(folder / old)


def _manifest() -> Manifest:
    now = datetime.now(UTC)
    sha, md5 = hashlib.sha256(_CONTENT).hexdigest(), hashlib.md5(_CONTENT, usedforsecurity=False).hexdigest()
    return Manifest(
        algorithm=str(FIRST),
        deploy_id="first",
        model=Descriptor(media_type=OCTETS, digest=Digest(f"sha256:{sha}"), size=5, md5=md5),
        format="pickle",
        uri=str(_MODEL),
        source=Source(
            repository="https://host.example/acme/first",
            ref="refs/heads/main",
            commit="c" * 40,
            message="Train on the newest data",
            committed=now,
        ),
        created=now,
        inputs=Digest(f"sha256:{sha}"),
        provenance=Provenance(builder="github-actions", event="push", notebook="train.ipynb"),
    )
