"""What calls left behind: errors, for who owns the algorithm; insights, which algorithms report of their calls.

Source:
    Platform API, sections 2.8 and 2.12.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

from litestar import get, post

from pushpoint import wire
from pushpoint.errors import InvalidRequest, NotFound, Refused
from pushpoint.names import check_name
from pushpoint.records import Actor, Insight
from pushpoint.registry import algorithms, reports
from pushpoint.serving import Services
from pushpoint.web.algorithms import ROOT, seen

MOST, LONGEST_KEY, LONGEST_VALUE = 100, 100, 1000
"""Insights of one request; characters of a key, and of a value."""


@get(f"{ROOT}/errors", opt={"scope": "view"}, sync_to_thread=True)
def of_algorithm(services: Services, actor: Actor, owner: str, name: str) -> list[wire.ErrorObject]:
    """List the calls of an algorithm that failed in the last 7 days, at most 200."""
    algorithm = seen(services, actor, owner, name, own=True)
    found = reports.failed_calls(services.database, algorithm.name.owner, algorithm_id=algorithm.id)
    return [wire.error_object(one) for one in found]


@get(
    ["/v1/users/{account:str}/errors", "/v1/organizations/{account:str}/errors"],
    opt={"scope": "view"},
    sync_to_thread=True,
)
def of_owner(services: Services, actor: Actor, account: str) -> list[wire.ErrorObject]:
    """List the failed calls of all of an owner's algorithms; those of others, and of nobody, are none."""
    # none, and no 404: the Python client's suite asks for names that nobody has
    if check_name("account", account) not in actor.owners or not actor.may_touch_all:
        return []
    return [wire.error_object(one) for one in reports.failed_calls(services.database, account)]


@get(f"{ROOT}/insights", opt={"scope": "view"}, sync_to_thread=True)
def insights(services: Services, actor: Actor, owner: str, name: str) -> list[wire.InsightObject]:
    """List what an algorithm reported of its calls in the last 30 days, at most 1,000."""
    algorithm = seen(services, actor, owner, name, own=True)
    return [
        {
            "created_at": wire.moment(one.created),
            "request_id": one.request_id,
            "insight_key": one.key,
            "insight_value": json.loads(one.value),
        }
        for one in reports.insights_of(services.database, algorithm.id)
    ]


@post("/v1/insights", opt={"scope": "call"}, sync_to_thread=True, status_code=200)
def report(services: Services, actor: Actor, body: Annotated[bytes, list[wire.NewInsight]]) -> wire.Status:
    """Take what an algorithm reports of its call: `[{"insight_key": ..., "insight_value": ...}]`."""
    if actor.through is None:
        raise Refused("only a running algorithm reports insights; call `report_insights` in its `apply`")
    algorithm = algorithms.lookup(services.database, actor.through)
    if algorithm is None:
        raise NotFound(f"algo://{actor.through} was deleted meanwhile; nothing is kept of it")
    found = wire.decode(body, list[wire.NewInsight])
    if len(found) > MOST:
        raise InvalidRequest(f"one request holds at most {MOST} insights; send several")
    told = []
    for one in found:
        value = wire.encode(one.insight_value).decode()
        if len(one.insight_key) > LONGEST_KEY or len(value) > LONGEST_VALUE:
            raise InvalidRequest(f"an insight has {LONGEST_KEY} characters of key and {LONGEST_VALUE} of value at most")
        told.append((one.insight_key, value))
    for key, value in told:
        services.reports.add(
            Insight(
                algorithm_id=algorithm.id,
                created=datetime.now(UTC),
                request_id=actor.session or "",
                key=key,
                value=value,
            )
        )
    return {"status": "ok"}
