"""Who did what: rows are only ever added, in the transaction of the thing they tell of."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, insert

from pushpoint.databases.tables import history


def record(
    connection: Connection, actor: str, action: str, subject: str, detail: str = "", *, run: str | None = None
) -> None:
    """Add a row, inside the caller's transaction; `run` is the run of CI that acted for the actor."""
    connection.execute(
        insert(history).values(
            at=datetime.now(UTC), actor=actor, action=action, subject=subject, detail=detail, run=run
        )
    )
