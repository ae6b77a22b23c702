"""Sources: which repository on a git host an algorithm is built from, and which of that host's deliveries were seen.

Tokens and webhook secrets are sealed before they are written. A token is bound to its address, too: whoever changes the
address in the database does not get the token sent there.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from pushpoint.databases import Database, reading, writing
from pushpoint.databases.tables import deliveries, sources
from pushpoint.errors import NotFound
from pushpoint.names import RepositoryUrl, repository_url
from pushpoint.records import Actor, Algorithm, AlgorithmSource
from pushpoint.registry.history import record
from pushpoint.registry.vault import Vault

KEPT = timedelta(days=30)
"""How long a delivery is remembered; GitHub delivers again for 3 days, on demand."""


def put(
    database: Database,
    vault: Vault,
    actor: Actor,
    algorithm: Algorithm,
    url: RepositoryUrl,
    *,
    branch: str | None = None,
    username: str | None = None,
    token: str | None = None,
) -> str | None:
    """Have an algorithm built from a repository on a git host; what was said before is replaced.

    The webhook's secret stays while the address does. A token never does: one that was given for a host is not sent to
    another because somebody changed the address.

    Returns:
        The webhook's secret if it is new, else none; it cannot be had again.
    """
    values: dict[str, object] = {
        "url": str(url),
        "branch": branch,
        "username": username if token else None,
        "token": vault.seal(token, _token_row(algorithm.id, url)) if token else None,
    }
    with writing(database) as connection:
        before = connection.execute(select(sources.c.url).where(sources.c.algorithm_id == algorithm.id)).scalar()
        secret = None if before == str(url) else secrets.token_hex(32)
        if secret:
            values["webhook_secret"] = vault.seal(secret, _secret_row(algorithm.id))
        if before is None:
            values |= {"algorithm_id": algorithm.id, "created": datetime.now(UTC)}
            connection.execute(insert(sources).values(**values))
        else:
            connection.execute(update(sources).where(sources.c.algorithm_id == algorithm.id).values(**values))
        record(connection, actor.account.name, "source.put", str(algorithm.name), str(url))
    return secret


def find(database: Database, algorithm: Algorithm) -> AlgorithmSource | None:
    """Look up the source of an algorithm.

    Returns:
        The source, or none if the platform hosts the algorithm itself.
    """
    with reading(database) as connection:
        row = connection.execute(select(sources).where(sources.c.algorithm_id == algorithm.id)).mappings().one_or_none()
    return AlgorithmSource(**{**row, "url": repository_url(row["url"])}) if row else None


def need(database: Database, algorithm: Algorithm) -> AlgorithmSource:
    """Look up the source of an algorithm that must have one.

    Returns:
        The source.

    Raises:
        NotFound: The platform hosts the algorithm itself.
    """
    found = find(database, algorithm)
    if found is None:
        raise NotFound(f"algo://{algorithm.name} is hosted on the platform; push there, or set its source")
    return found


def remove(database: Database, actor: Actor, algorithm: Algorithm) -> None:
    """Have an algorithm hosted on the platform again; idempotent."""
    with writing(database) as connection:
        connection.execute(delete(sources).where(sources.c.algorithm_id == algorithm.id))
        record(connection, actor.account.name, "source.remove", str(algorithm.name))


def renew_secret(database: Database, vault: Vault, actor: Actor, algorithm: Algorithm) -> str:
    """Replace the webhook's secret.

    Returns:
        The new one; it cannot be had again.
    """
    need(database, algorithm)
    secret = secrets.token_hex(32)
    sealed = vault.seal(secret, _secret_row(algorithm.id))
    with writing(database) as connection:
        connection.execute(update(sources).where(sources.c.algorithm_id == algorithm.id).values(webhook_secret=sealed))
        record(connection, actor.account.name, "source.renew", str(algorithm.name))
    return secret


def token_of(vault: Vault, source: AlgorithmSource) -> str:
    """Open the token that the platform fetches with.

    Returns:
        The token; nothing where it fetches as nobody.
    """
    return vault.open(source.token, _token_row(source.algorithm_id, source.url)) if source.token else ""


def secret_of(vault: Vault, source: AlgorithmSource) -> str:
    """Open the webhook's secret.

    Returns:
        The secret.
    """
    return vault.open(source.webhook_secret, _secret_row(source.algorithm_id))


def is_first(database: Database, algorithm: Algorithm, delivery: str) -> bool:
    """Take note of a delivery; of two of the same name, one is the first, whatever happens at once.

    Returns:
        True if it was not seen in the last days.
    """
    now = datetime.now(UTC)
    try:
        with writing(database) as connection:
            connection.execute(delete(deliveries).where(deliveries.c.received < now - KEPT))
            connection.execute(
                insert(deliveries).values(algorithm_id=algorithm.id, delivery=_short(delivery), received=now)
            )
    except IntegrityError:
        return False
    return True


def forget(database: Database, algorithm: Algorithm, delivery: str) -> None:
    """Let a delivery that led to nothing be sent again."""
    with writing(database) as connection:
        connection.execute(
            delete(deliveries).where(
                deliveries.c.algorithm_id == algorithm.id, deliveries.c.delivery == _short(delivery)
            )
        )


def _token_row(algorithm_id: str, url: RepositoryUrl) -> str:
    return f"sources/{algorithm_id}/token/{url}"


def _secret_row(algorithm_id: str) -> str:
    return f"sources/{algorithm_id}/webhook_secret"


def _short(delivery: str) -> str:
    return hashlib.sha256(delivery.encode()).hexdigest()
