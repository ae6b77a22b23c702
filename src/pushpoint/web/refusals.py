"""Watches the answers to calls: those that reached no algorithm are counted and noted."""

from __future__ import annotations

import time
from typing import cast

import msgspec
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from pushpoint.serving import Services
from pushpoint.web import calls


class _Error(msgspec.Struct):
    id: str = ""
    error_type: str = ""


class _Body(msgspec.Struct):
    error: _Error = msgspec.field(default_factory=_Error)


_body = msgspec.json.Decoder(_Body)


def application(services: Services) -> ASGIApp:
    """Make the application for `/v1/algo`, watched.

    Returns:
        An ASGI application.
    """
    inner = calls.application(services)

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), 0

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                # an answer with a lineage has come to an algorithm, whatever became of it there
                if message["status"] >= 400 and b"x-pushpoint-algorithm" not in dict(message["headers"]):
                    status = message["status"]
            elif status and message["type"] == "http.response.body":
                note(services, cast("HTTPScope", scope)["path"], status, message["body"], time.perf_counter() - began)
            await send(message)

        await inner(scope, receive, watching)

    return watched


def note(services: Services, path: str, status: int, body: bytes, seconds: float) -> None:
    """Count an answer to a call that reached no algorithm.

    Args:
        services: The platform.
        path: What was asked for.
        status: Of the answer.
        body: Of the answer.
        seconds: What it took.
    """
    error = _error(body)
    kind = error.error_type or str(status)  # what no error of ours stands for has its status alone
    services.metrics.refused(kind)
    services.call_log.refused(path, status, kind, seconds, error.id)


def error_type(body: bytes) -> str:
    """Read the type of error from an answer to a call.

    Returns:
        The type; empty where there is none.
    """
    return _error(body).error_type


def _error(body: bytes) -> _Error:
    try:
        return _body.decode(body).error
    except msgspec.DecodeError:
        return _Error()
