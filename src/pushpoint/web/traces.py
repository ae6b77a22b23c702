"""A span for each call, with what the answer says of its lineage; the worker sees the span as its parent."""

from __future__ import annotations

from typing import cast

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from pushpoint.serving import Services
from pushpoint.serving.tracing import TRACEPARENT, TRACESTATE, Tracing
from pushpoint.web import items, protocol, raw, refusals

NAME = "POST /v1/algo/{owner}/{name}"
_CONTEXT = (TRACEPARENT, TRACESTATE)
ATTRIBUTES = {
    b"x-request-id": "pushpoint.request_id",
    b"x-pushpoint-algorithm": "pushpoint.algorithm",
    b"x-pushpoint-version": "pushpoint.version",
    b"x-pushpoint-commit": "pushpoint.commit",
    b"x-pushpoint-model-sha256": "pushpoint.model_sha256",
}
"""Headers of an answer, and what the span calls them."""
_FAILED = b'{"error":'


def application(services: Services) -> ASGIApp:
    """Make the application for `/v1/algo`, traced if that was asked for.

    Returns:
        An ASGI application; without traces the very one that is within.
    """
    inner = refusals.application(services)
    return inner if services.tracing is None else _traced(services.tracing, inner)


def _traced(tracing: Tracing, inner: ASGIApp) -> ASGIApp:
    async def traced(scope: Scope, receive: Receive, send: Send) -> None:
        from opentelemetry.trace import StatusCode

        scope = cast("HTTPScope", scope)
        sent = {name: value for name in _CONTEXT if (value := raw.header(scope, name.encode())) is not None}
        span, context = tracing.begin(NAME, sent)
        headers = [(name, value) for name, value in scope["headers"] if name.decode("latin-1") not in _CONTEXT]
        headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in context.items()]
        span.set_attribute("http.request.method", scope["method"])
        status, is_bare = 0, raw.query(scope).get("output") == "raw"  # then a result may look like an error

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                span.set_attribute("http.response.status_code", status)
                for name, value in message["headers"]:
                    if called := ATTRIBUTES.get(name):
                        span.set_attribute(called, value.decode("latin-1"))
            elif message["type"] == "http.response.body":
                body = message["body"].removeprefix(items.ERROR_EVENT)
                if status >= 400 or (body.startswith(_FAILED) and not is_bare):
                    span.set_attribute("error.type", refusals.error_type(body) or str(status))
                    span.set_status(StatusCode.ERROR)
            await send(message)

        try:
            # without the server's way to write at once: the answer comes through here
            extensions = protocol.without_writing(scope)
            await inner(cast("Scope", {**scope, "headers": headers, "extensions": extensions}), receive, watching)
        finally:
            span.end()

    return traced
