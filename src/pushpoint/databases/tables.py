"""Every table, once. The migrations under `migrations/` must arrive at the same schema; a test compares them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)


class Moment(TypeDecorator[datetime]):
    """An aware UTC time, on databases with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times; store UTC.

        Returns:
            The time in UTC.

        Raises:
            ValueError: The time has no zone.
        """
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back to databases that forget it.

        Returns:
            The time, aware.
        """
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


metadata = MetaData()


def _id() -> Column[Any]:
    return Column("id", String(36), primary_key=True)


def _of(table: str) -> Column[Any]:
    return Column(f"{table.removesuffix('s')}_id", String(36), ForeignKey(f"{table}.id"), nullable=False)


accounts = Table(
    "accounts",
    metadata,
    _id(),
    Column("name", String(30), nullable=False, unique=True),
    Column("created", Moment, nullable=False),
    Column("is_organization", Boolean, nullable=False, server_default=false()),
    Column("details", JSON, nullable=False, server_default="{}"),
    Column("password", Text),  # salt and scrypt hash
)

members = Table(
    "members",
    metadata,
    Column("organization_id", String(36), ForeignKey("accounts.id"), primary_key=True),
    Column("account_id", String(36), ForeignKey("accounts.id"), primary_key=True),
    Column("is_owner", Boolean, nullable=False),
    Index("members_by_account", "account_id"),
)

keys = Table(
    "keys",
    metadata,
    _id(),
    _of("accounts"),
    Column("hash", String(64), nullable=False, unique=True),
    Column("label", String(100), nullable=False),
    Column("scopes", String(100), nullable=False),
    Column("created", Moment, nullable=False),
    Column("revoked", Moment),
    # of a key that CI got for its identity: when it ends, all that it is good for, and who holds it
    Column("expires", Moment),
    Column("algorithm_id", String(36), ForeignKey("algorithms.id")),
    Column("collection", String(30)),
    Column("publisher_id", String(36)),
    Column("run", Text),
    Column("mask", String(20), nullable=False, server_default="sim..."),
    Column("patterns", JSON, nullable=False, server_default='["algo://*"]'),
    Column("last_used", Moment),
    Index("keys_of_account", "account_id", "publisher_id"),  # keys of runs pile up; lists leave them out
)

algorithms = Table(
    "algorithms",
    metadata,
    _id(),
    _of("accounts"),
    Column("name", String(30), nullable=False),
    Column("label", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("tagline", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("sample_input", Text),
    Column("created", Moment, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("live", String(36)),
    Column("is_public", Boolean, nullable=False, server_default=false()),  # as its settings say
    UniqueConstraint("account_id", "name"),
    Index("algorithms_by_callability", "account_id", "is_public", "name"),
)

publishers = Table(
    "publishers",
    metadata,
    _id(),
    _of("algorithms"),
    Column("issuer", String(255), nullable=False),
    Column("repository", String(255), nullable=False),
    Column("repository_id", String(40)),
    Column("ref", String(255), nullable=False),
    Column("workflow", String(255)),
    Column("environment", String(255)),
    Column("collection", String(30), nullable=False),
    Column("created", Moment, nullable=False),
    Index("publishers_of_issuer", "issuer"),
    Index("publishers_of_algorithm", "algorithm_id"),
)

used_tokens = Table(
    "used_tokens",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("expires", Moment, nullable=False),
    Index("used_tokens_by_end", "expires"),
)

builds = Table(
    "builds",
    metadata,
    _id(),
    _of("algorithms"),
    Column("commit", String(40), nullable=False),
    Column("state", String(20), nullable=False),
    Column("manifest", Text),
    Column("environment", Text),
    Column("sandbox", Text),
    Column("started", Moment, nullable=False),
    Column("finished", Moment),
    # one build of a commit at a time; a failed one may be tried again
    Index(
        "builds_of_commit",
        "algorithm_id",
        "commit",
        unique=True,
        sqlite_where=text("state != 'failed'"),
        postgresql_where=text("state != 'failed'"),
    ),
    Index("builds_by_commit", "algorithm_id", "commit", "started"),
    # with the id, so that the pages before one are skipped without a look at their rows
    Index("builds_by_time", "algorithm_id", "started", "id"),
    Index("builds_by_state", "algorithm_id", "state", "started", "id"),
)

releases = Table(
    "releases",
    metadata,
    _id(),
    _of("algorithms"),
    Column("build_id", String(36), ForeignKey("builds.id"), nullable=False, unique=True),
    Column("major", Integer, nullable=False),
    Column("minor", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("is_public", Boolean, nullable=False),
    Column("notes", Text, nullable=False),
    Column("sample_input", Text),
    Column("model_uri", Text),
    Column("published", Moment, nullable=False),
    UniqueConstraint("algorithm_id", "major", "minor", "revision"),
    Index("releases_of_model", "model_uri"),
)

deployments = Table(
    "deployments",
    metadata,
    _id(),
    _of("algorithms"),
    Column("release_id", String(36), ForeignKey("releases.id"), nullable=False),
    Column("deploy_id", String(100), nullable=False),
    Column("state", String(20), nullable=False),
    Column("generation", Integer),
    Column("is_rollback", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String(30), nullable=False),
    Column("run", Text),
    Column("created", Moment, nullable=False),
    Column("live_since", Moment),
    UniqueConstraint("algorithm_id", "generation"),
    Index(
        "deployments_once",
        "algorithm_id",
        "deploy_id",
        unique=True,
        sqlite_where=text("state NOT IN ('failed', 'superseded')"),
        postgresql_where=text("state NOT IN ('failed', 'superseded')"),
    ),
    Index("deployments_by_time", "algorithm_id", "created", "id"),
    Index("deployments_of_release", "release_id", "created"),
)

collections = Table(
    "collections",
    metadata,
    _id(),
    _of("accounts"),
    Column("name", String(30), nullable=False),
    Column("read", String(40), nullable=False),
    Column("created", Moment, nullable=False),
    UniqueConstraint("account_id", "name"),
)

files = Table(
    "files",
    metadata,
    Column("collection_id", String(36), ForeignKey("collections.id"), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("digest", String(71), nullable=False),
    Column("md5", String(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("media_type", String(200), nullable=False),
    Column("modified", Moment, nullable=False),
    Index("files_of_blob", "digest"),
)

uploads = Table(
    "uploads",
    metadata,
    _id(),
    _of("accounts"),
    Column("limited_to", String(30)),
    Column("path", Text),
    Column("size", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("digest", String(71)),
    Column("create_only", Boolean, nullable=False),
    Column("concat", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("expires", Moment, nullable=False),
    Index("uploads_of_account", "account_id", "path"),
    Index("uploads_by_end", "expires"),
)

sources = Table(
    "sources",
    metadata,
    Column("algorithm_id", String(36), ForeignKey("algorithms.id"), primary_key=True),
    Column("url", Text, nullable=False),
    Column("branch", Text),
    Column("username", Text),
    Column("token", Text),  # sealed
    Column("webhook_secret", Text, nullable=False),  # sealed
    Column("created", Moment, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("algorithm_id", String(36), ForeignKey("algorithms.id"), primary_key=True),
    Column("delivery", String(64), primary_key=True),
    Column("received", Moment, nullable=False),
    Index("deliveries_by_time", "received"),
)

secrets = Table(
    "secrets",
    metadata,
    _id(),
    _of("algorithms"),
    Column("label", String(100), nullable=False),
    Column("variable", String(100), nullable=False),
    Column("value", Text, nullable=False),  # sealed
    Column("description", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("modified", Moment, nullable=False),
    UniqueConstraint("algorithm_id", "variable"),
)

failures = Table(
    "failures",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    _of("algorithms"),
    Column("created", Moment, nullable=False),
    Column("request_id", String(40), nullable=False),
    Column("caller", String(30), nullable=False),
    Column("version", String(40), nullable=False),
    Column("input", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("error_type", String(60), nullable=False),
    Column("account_id", String(36)),  # the algorithm's, for the report of all of an owner's
    Index("failures_of_algorithm", "algorithm_id", "created"),
    Index("failures_of_account", "account_id", "created"),
)

insights = Table(
    "insights",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    _of("algorithms"),
    Column("created", Moment, nullable=False),
    Column("request_id", String(40), nullable=False),
    Column("key", String(100), nullable=False),
    Column("value", Text, nullable=False),
    Index("insights_of_algorithm", "algorithm_id", "created"),
)

history = Table(
    "history",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("actor", String(30), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("run", Text),
)
