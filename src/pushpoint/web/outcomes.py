"""What becomes of the outcome of a call: looked at, counted, and written as an answer. A failure is an answer too."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime

from pushpoint import wire
from pushpoint.engines.jobs import UNAVAILABLE
from pushpoint.errors import Unavailable
from pushpoint.records import Actor, FailedCall
from pushpoint.registry.reports import INPUT
from pushpoint.runtime.messages import Answer, Call, Failure, Outcome
from pushpoint.serving import Services
from pushpoint.serving.lookups import Target
from pushpoint.serving.pools import RETRY
from pushpoint.web.errors import envelope

Response = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""

_RAW_TYPES = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "binary": "application/octet-stream",
    "void": "application/json",
}
JSON = {"content-type": "application/json"}


def noted(
    services: Services,
    actor: Actor,
    target: Target,
    request: Call,
    outcome: Outcome,
    *,
    seconds: float,
    request_id: str,
) -> Outcome:
    """Look at an outcome, and count it.

    Args:
        services: The platform.
        actor: Who called.
        target: What gave the outcome.
        request: What it was called with.
        outcome: What it gave.
        seconds: From the input to the outcome.
        request_id: What the answer is known by.

    Returns:
        The outcome; a failure in place of an answer that cannot be passed on.
    """
    if isinstance(outcome, Answer):
        outcome = _passable(outcome, services.limits.output)
    services.metrics.answered(target, outcome, seconds)
    if isinstance(outcome, Failure):
        services.call_log.failed(target, outcome, seconds, request_id)
        services.reports.add(_failed(actor, target, request, outcome, request_id))
    return outcome


def _passable(answer: Answer, largest: int) -> Outcome:
    if answer.content_type == "json" and not wire.is_json(answer.data):
        why = "the result holds text that JSON cannot: half a surrogate pair, or something odder"
        return Failure("AlgorithmError", why, "", answer.duration, answer.stdout)
    if len(answer.data) > largest:
        why = f"the result is over {largest} bytes; write it to a data:// file"
        return Failure("TooLargeError", why, "", answer.duration, answer.stdout)
    return answer


def _failed(actor: Actor, target: Target, request: Call, failure: Failure, request_id: str) -> FailedCall:
    return FailedCall(
        algorithm_id=target.algorithm.id,
        algorithm=target.algorithm.name,
        created=datetime.now(UTC),
        request_id=request_id,
        caller=actor.account.name,
        version=target.version or target.build.commit,
        input=request.data[: 4 * INPUT].decode("utf-8", "replace")[:INPUT],
        message=failure.message,
        error_type=failure.error_type,
    )


def shown(actor: Actor, target: Target, outcome: Outcome) -> Outcome:
    """Leave out what only those who may read the source may see.

    Returns:
        The outcome as the caller may see it.
    """
    if outcome.stdout is None and isinstance(outcome, Answer):
        return outcome
    if target.algorithm.name.owner in actor.owners:
        return outcome
    if isinstance(outcome, Failure):
        return replace(outcome, stdout=None, stacktrace="")
    return replace(outcome, stdout=None)


def response(actor: Actor, target: Target, outcome: Outcome, *, request_id: str, is_raw: bool) -> Response:
    """Write the answer to a call.

    Args:
        actor: Who called.
        target: What gave the outcome.
        outcome: What it gave.
        request_id: What the answer is known by.
        is_raw: Whether the caller wants the bare result.

    Returns:
        The answer.
    """
    headers = {**target.lineage, "x-request-id": request_id}
    outcome = shown(actor, target, outcome)
    if isinstance(outcome, Failure) and outcome.error_type == UNAVAILABLE:
        status, told, body = envelope(Unavailable(outcome.message, retry_after=RETRY), id=request_id)
        return status, told | headers, body
    return _raw(outcome, headers) if is_raw else (200, JSON | headers, _envelope(outcome))


def _envelope(outcome: Outcome) -> bytes:
    metadata: dict[str, object] = {"duration": round(outcome.duration, 9)}
    if outcome.stdout is not None:
        metadata["stdout"] = outcome.stdout
    if isinstance(outcome, Failure):
        # the Java client crashes where there is no `stacktrace`, and the Python client reads the second spelling
        trace = {"stacktrace": outcome.stacktrace, "stack_trace": outcome.stacktrace}
        error = {"message": outcome.message, "error_type": outcome.error_type} | trace
        return wire.encode({"error": error, "metadata": metadata})
    metadata = {"content_type": outcome.content_type} | metadata
    return b'{"result":' + _result(outcome) + b',"metadata":' + wire.encode(metadata) + b"}"


def _result(answer: Answer) -> bytes:
    match answer.content_type:
        case "json":
            return answer.data
        case "text":
            return wire.encode(answer.data.decode("utf-8", "replace"))
        case "binary":
            return b'"' + base64.b64encode(answer.data) + b'"'
    return b"null"


def _raw(outcome: Outcome, headers: dict[str, str]) -> Response:
    if isinstance(outcome, Failure):
        status = 504 if outcome.error_type == "TimeoutError" else 400
        error = {"message": outcome.message, "error_type": outcome.error_type}
        return status, JSON | headers, wire.encode({"error": error})
    return 200, {"content-type": _RAW_TYPES[outcome.content_type]} | headers, outcome.data
