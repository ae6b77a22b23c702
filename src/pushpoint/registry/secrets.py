"""Secrets of an algorithm: environment variables of its workers, sealed at rest; their values never come back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from pushpoint.databases import Database, reading, writing
from pushpoint.databases.tables import secrets
from pushpoint.errors import AlreadyExists, Conflict, InvalidRequest, NotFound
from pushpoint.records import Actor, Algorithm, Secret
from pushpoint.registry.history import record
from pushpoint.registry.vault import Vault

MOST = 100
"""Secrets of one algorithm."""
LARGEST = 32 << 10
"""Bytes of a value."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_TAKEN = re.compile(
    r"PATH|HOME|TMPDIR|USER|LOGNAME|LANG|VIRTUAL_ENV|(PYTHON|PUSHPOINT_|ALGORITHMIA_|LD_|BASH_FUNC|GLIBC_)\w*"
)


def put(
    database: Database,
    vault: Vault,
    actor: Actor,
    algorithm: Algorithm,
    *,
    variable: str,
    value: str,
    label: str = "",
    description: str = "",
) -> Secret:
    """Add a secret.

    Returns:
        The secret, without its value.

    Raises:
        AlreadyExists: The algorithm has one of that name.
        Conflict: The algorithm has too many.
    """
    _check(variable, value)
    now = datetime.now(UTC)
    row = {"id": str(uuid4()), "algorithm_id": algorithm.id, "variable": variable, "created": now, "modified": now}
    row |= {"label": (label or variable)[:100], "description": description[:1000]}
    sealed = vault.seal(value, _row(str(row["id"])))
    try:
        with writing(database) as connection:
            count = select(func.count()).where(secrets.c.algorithm_id == algorithm.id)
            if connection.execute(count).scalar_one() >= MOST:
                raise Conflict(f"algo://{algorithm.name} has {MOST} secrets; delete some first")
            connection.execute(insert(secrets).values(**row, value=sealed))
            record(connection, actor.account.name, "secret.put", str(algorithm.name), variable)
    except IntegrityError as error:
        raise AlreadyExists(f"algo://{algorithm.name} has a secret {variable}; change or delete that one") from error
    return find(database, algorithm, str(row["id"]))


def change(
    database: Database, vault: Vault, actor: Actor, secret: Secret, *, value: str | None, description: str | None
) -> None:
    """Replace the value of a secret, its description, or both."""
    values: dict[str, object] = {"modified": datetime.now(UTC)}
    if value is not None:
        _check(secret.variable, value)
        values["value"] = vault.seal(value, _row(secret.id))
    if description is not None:
        values["description"] = description[:1000]
    with writing(database) as connection:
        connection.execute(update(secrets).where(secrets.c.id == secret.id).values(**values))
        record(connection, actor.account.name, "secret.change", secret.id, secret.variable)


def remove(database: Database, actor: Actor, secret: Secret) -> None:
    """Delete a secret; workers that run keep it until they end."""
    with writing(database) as connection:
        connection.execute(delete(secrets).where(secrets.c.id == secret.id))
        record(connection, actor.account.name, "secret.delete", secret.id, secret.variable)


def find(database: Database, algorithm: Algorithm, secret_id: str) -> Secret:
    """Look up a secret of an algorithm.

    Returns:
        The secret, without its value.

    Raises:
        NotFound: It has none of that id.
    """
    found = next((one for one in of_algorithm(database, algorithm) if one.id == secret_id), None)
    if found is None:
        raise NotFound(f"algo://{algorithm.name} has no such secret; list them")
    return found


def of_algorithm(database: Database, algorithm: Algorithm) -> list[Secret]:
    """List the secrets of an algorithm.

    Returns:
        The secrets, without their values, by the name of their variable.
    """
    return [_secret(row) for row in _rows(database, algorithm)]


def opened(database: Database, vault: Vault, algorithm: Algorithm) -> dict[str, str]:
    """Open the secrets of an algorithm, for its workers.

    Returns:
        Environment variables.
    """
    return {row["variable"]: vault.open(row["value"], _row(row["id"])) for row in _rows(database, algorithm)}


def _rows(database: Database, algorithm: Algorithm) -> list[RowMapping]:
    with reading(database) as connection:
        return list(
            connection.execute(
                select(secrets).where(secrets.c.algorithm_id == algorithm.id).order_by(secrets.c.variable)
            ).mappings()
        )


def _check(variable: str, value: str) -> None:
    if not _VARIABLE.fullmatch(variable) or _TAKEN.fullmatch(variable):
        raise InvalidRequest(
            f"{variable[:100]!r} cannot be the environment variable of a secret; use letters, digits and underscores, "
            "and none that Python or the platform reads itself"
        )
    if "\0" in value or len(value.encode("utf-8", "surrogatepass")) > LARGEST:
        raise InvalidRequest(f"a secret is a text of at most {LARGEST} bytes without NUL; store larger ones as a file")


def _row(secret_id: str) -> str:
    return f"secrets/{secret_id}/value"


def _secret(row: RowMapping) -> Secret:
    return Secret(
        id=row["id"],
        algorithm_id=row["algorithm_id"],
        label=row["label"],
        variable=row["variable"],
        description=row["description"],
        created=row["created"],
        modified=row["modified"],
    )
