"""Trusted publishers of an algorithm, and the one door that opens without a key: an identity for a key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import structlog
from litestar import delete, get, post

from pushpoint import wire
from pushpoint.errors import Unauthenticated, Unavailable
from pushpoint.names import algorithm_name
from pushpoint.oidc import LARGEST_TOKEN, Rejected
from pushpoint.records import EVERYDAY, Actor
from pushpoint.registry import publishers
from pushpoint.serving import Services
from pushpoint.web.algorithms import ROOT, seen
from pushpoint.web.guards import OPEN

log = structlog.get_logger()


@get(f"{ROOT}/publishers", opt={"scope": "view"}, sync_to_thread=True)
def list_publishers(services: Services, actor: Actor, owner: str, name: str) -> list[wire.PublisherView]:
    """List who may deploy the algorithm without a key."""
    algorithm = seen(services, actor, owner, name, own=True)
    return [wire.publisher_view(one) for one in publishers.of_algorithm(services.database, algorithm)]


@post(f"{ROOT}/publishers", opt={"scope": "manage"}, sync_to_thread=True, status_code=201)
def add(
    services: Services, actor: Actor, owner: str, name: str, body: Annotated[bytes, wire.NewPublisher]
) -> wire.PublisherView:
    """Trust runs of CI to deploy the algorithm without a key; the same again is the same publisher."""
    algorithm = seen(services, actor, owner, name, own=True)
    asked = wire.decode(body, wire.NewPublisher)
    made = publishers.add(
        services.database,
        actor,
        algorithm,
        issuer=services.issuers.check(asked.issuer),
        repository=asked.repository,
        ref=asked.ref,
        workflow=asked.workflow,
        environment=asked.environment,
        repository_id=asked.repository_id,
        collection=asked.collection,
    )
    return wire.publisher_view(made)


@delete(f"{ROOT}/publishers/{{publisher_id:str}}", opt={"scope": "manage"}, sync_to_thread=True, status_code=204)
def remove(services: Services, actor: Actor, owner: str, name: str, publisher_id: str) -> None:
    """Trust a publisher no longer; the keys that its runs hold end at once."""
    algorithm = seen(services, actor, owner, name, own=True)
    publishers.remove(services.database, actor, algorithm, publisher_id)


@post(
    "/v1/keys/exchange",
    opt={"scope": OPEN},
    sync_to_thread=True,
    status_code=200,
    request_max_body_size=2 * LARGEST_TOKEN,
)
def exchange(services: Services, body: Annotated[bytes, wire.Exchange]) -> wire.ExchangedKey:
    """Give a run of CI, for its identity token, a key of 15 minutes that deploys one algorithm."""
    asked = wire.decode(body, wire.Exchange)
    name = algorithm_name(asked.algorithm)

    def is_trusted(issuer: str) -> bool:
        return publishers.is_trusted(services.database, issuer)

    try:
        run = services.issuers.identify(asked.token, is_trusted=is_trusted, audience=services.url)
        now = datetime.now(UTC)
        found = publishers.exchange(services.database, name, run, now=now)
    except Rejected as error:
        log.warning("token refused", algorithm=str(name), check=str(error))
        advice = "see the how-to on deploying without a key"
        if error.is_signed:
            raise Unauthenticated(f"this token is not accepted: {error}; {advice}") from error
        raise Unauthenticated(f"this token is not accepted; {advice}") from error
    except Unavailable as error:
        log.warning("an issuer does not answer", reason=str(error), cause=str(error.__cause__))
        raise
    return wire.ExchangedKey(
        key=found.key,
        expires=(found.expires - now).total_seconds(),
        scopes=sorted(EVERYDAY),
        algorithm=str(name),
        collection=f"data://{name.owner}/{found.limit.collection}",
    )
