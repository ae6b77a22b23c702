"""What calls left behind for owners to read: errors, and the insights that algorithms report. Old ones go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, delete, insert, select

from pushpoint.databases import Change, Database, reading, writing
from pushpoint.databases.tables import accounts, algorithms, failures, insights
from pushpoint.names import AlgorithmName
from pushpoint.records import FailedCall, Insight

KEPT, MOST = timedelta(days=7), 200
"""How long a failed call is kept, and how many are shown (platform API, section 2.8)."""
INPUT, MESSAGE = 128, 1000
"""Characters of an input, and of a message, that are kept."""
INSIGHTS_KEPT, MOST_INSIGHTS = timedelta(days=30), 1000


def keep(database: Database, found: Sequence[FailedCall | Insight]) -> None:
    """Write down what calls left behind, and forget what is too old."""
    now = datetime.now(UTC)
    theirs = {one.algorithm_id for one in found}
    with writing(database, change=Change.NOTHING) as connection:
        rows = connection.execute(select(algorithms.c.id, algorithms.c.account_id).where(algorithms.c.id.in_(theirs)))
        owners = {row.id: row.account_id for row in rows}
        left = [one for one in found if one.algorithm_id in owners]  # it may be deleted meanwhile
        connection.execute(delete(failures).where(failures.c.created < now - KEPT))
        connection.execute(delete(insights).where(insights.c.created < now - INSIGHTS_KEPT))
        if failed := [_failure(one, owners[one.algorithm_id]) for one in left if isinstance(one, FailedCall)]:
            connection.execute(insert(failures), failed)
        if told := [_insight(one) for one in left if isinstance(one, Insight)]:
            connection.execute(insert(insights), told)


def failed_calls(database: Database, owner: str, *, algorithm_id: str | None = None) -> list[FailedCall]:
    """List the failed calls of an owner's algorithms, or of one of them.

    Returns:
        At most 200 of the last 7 days, newest first.
    """
    theirs: ColumnElement[bool]
    if algorithm_id is not None:
        theirs = failures.c.algorithm_id == algorithm_id
    else:
        theirs = failures.c.account_id == select(accounts.c.id).where(accounts.c.name == owner).scalar_subquery()
    with reading(database) as connection:
        rows = connection.execute(
            select(failures, algorithms.c.name)
            .join(algorithms, algorithms.c.id == failures.c.algorithm_id)
            .where(theirs, failures.c.created > datetime.now(UTC) - KEPT)
            .order_by(failures.c.created.desc(), failures.c.id.desc())
            .limit(MOST)
        ).mappings()
        return [
            FailedCall(
                algorithm_id=row["algorithm_id"],
                algorithm=AlgorithmName(owner, row["name"]),
                created=row["created"],
                request_id=row["request_id"],
                caller=row["caller"],
                version=row["version"],
                input=row["input"],
                message=row["message"],
                error_type=row["error_type"],
            )
            for row in rows
        ]


def insights_of(database: Database, algorithm_id: str) -> list[Insight]:
    """List what an algorithm reported of its calls.

    Returns:
        At most 1,000 of the last 30 days, newest first.
    """
    with reading(database) as connection:
        rows = connection.execute(
            select(insights)
            .where(insights.c.algorithm_id == algorithm_id)
            .order_by(insights.c.created.desc(), insights.c.id.desc())
            .limit(MOST_INSIGHTS)
        ).mappings()
        return [Insight(**{name: value for name, value in row.items() if name != "id"}) for row in rows]


def _failure(one: FailedCall, account_id: str) -> dict[str, object]:
    return {
        "account_id": account_id,
        "algorithm_id": one.algorithm_id,
        "created": one.created,
        "request_id": one.request_id,
        "caller": one.caller,
        "version": one.version,
        "input": one.input[:INPUT],
        "message": one.message[:MESSAGE],
        "error_type": one.error_type[:60],
    }


def _insight(one: Insight) -> dict[str, object]:
    return {
        "algorithm_id": one.algorithm_id,
        "created": one.created,
        "request_id": one.request_id,
        "key": one.key,
        "value": one.value,
    }
