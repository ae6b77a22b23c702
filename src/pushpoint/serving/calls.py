"""Calls: which release, which replica, with which identity. A failing algorithm is an answer, not an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from pushpoint.engines.streams import Stream
from pushpoint.errors import Overloaded, Unavailable
from pushpoint.names import Reference
from pushpoint.records import Actor
from pushpoint.runtime.messages import Call, Outcome
from pushpoint.serving import Services
from pushpoint.serving.lookups import Target
from pushpoint.serving.pools import START_TIMEOUT

_TRIES = 3


async def call(
    services: Services,
    actor: Actor,
    reference: Reference,
    request: Call,
    *,
    timeout: float,
    request_id: str,
    stream: Stream | None = None,
) -> tuple[Outcome, Target]:
    """Call an algorithm as the actor.

    Args:
        services: The platform.
        actor: Whose identity the algorithm's own calls carry.
        reference: What to call.
        request: The input; its token is made here.
        timeout: Seconds; the start of a pool that is not running has as many to itself.
        request_id: What the call's own requests are known by.
        stream: Where the items go, if they are to come one by one; it learns what gives them.

    Returns:
        The answer or the failure, and what gave it.

    Raises:
        Overloaded: As many calls are waiting for a worker as may.
        Unavailable: The pools were switched under the call again and again.
    """
    for _ in range(_TRIES):
        target = services.lookups.target(actor, reference)
        pool = services.pools.running(target.build)
        if pool is None or not pool.live_replicas:
            began = time.perf_counter()
            pool = await asyncio.to_thread(services.pools.acquire, target.algorithm, target.build)
            if failure := await pool.until_ready(min(timeout, START_TIMEOUT)):
                if failure.error_type != "TimeoutError":  # the cause may go away: the next call tries again
                    await asyncio.to_thread(services.pools.restart, target.build)
                return failure, target
            services.metrics.cold_start(target, time.perf_counter() - began)
        if pool.waiting >= services.limits.queue:
            raise Overloaded(_too_many(target, pool.waiting), retry_after=1)
        with services.tokens.during(actor, target.algorithm, session=request_id) as token:
            addressed = Call(request.content_type, request.data, token, request.stdout, request.trace, bool(stream))
            if stream:
                stream.lineage = target.lineage
            try:
                return await pool.call(addressed, timeout, stream), target
            except Unavailable:
                continue  # drained between the look and the call: look again
    raise Unavailable(f"algo://{reference.algorithm} is being switched; call again", retry_after=1)


def submit(
    services: Services,
    actor: Actor,
    target: Target,
    request: Call,
    *,
    timeout: float,
    request_id: str,
    take: Callable[[Outcome], None],
) -> bool:
    """Call what runs and has room, without waiting; the call has its place among those of its account meanwhile.

    Args:
        services: The platform.
        actor: Whose identity the algorithm's own calls carry.
        target: What to call.
        request: The input; its token is made here.
        timeout: Seconds.
        request_id: What the call's own requests are known by.
        take: Called once with the outcome; it must raise nothing.

    Returns:
        Whether it is under way; else `call` does it, or tells why not.

    Raises:
        Overloaded: The account has too many calls at once, or as many are waiting for a worker as may.
    """
    pool, limits, tokens = services.pools.running(target.build), services.limits, services.tokens
    if pool is None or not pool.is_serving:
        return False
    slot = limits.take(actor)
    if pool.waiting >= limits.queue:
        limits.leave(slot)
        raise Overloaded(_too_many(target, pool.waiting), retry_after=1)
    token = "" if pool.is_shared else tokens.issue(actor, target.algorithm, session=request_id)

    def over(outcome: Outcome) -> None:
        limits.leave(slot)
        tokens.revoke(token)
        take(outcome)

    if token:
        request = Call(request.content_type, request.data, token, request.stdout, request.trace)
    pool.submit(request, timeout, over)
    return True


def _too_many(target: Target, waiting: int) -> str:
    return f"algo://{target.algorithm.name} has {waiting} calls waiting; call again"
