"""Who is asking, and may they: one guard for every route, default deny.

A route of Litestar's declares its scope in `opt`; one without does not start. A key that is limited to one algorithm is
refused by every route that does not say `deploys`. The raw applications call `identify`.
"""

from __future__ import annotations

import base64
from typing import Any, cast

from litestar import Litestar, Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers.base import BaseRouteHandler
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.types import HTTPScope

from pushpoint.errors import Refused, Unauthenticated
from pushpoint.records import SCOPES, Actor
from pushpoint.registry import keys
from pushpoint.serving import Services
from pushpoint.serving import tokens as call_tokens
from pushpoint.web import raw

OPEN = "open"
"""The scope of a route that answers anybody."""


def credential(header: str | None) -> str | None:
    """Read an Authorization header: `KEY`, `Simple KEY`, or Basic with the key as password (git).

    Returns:
        The key, or none.
    """
    if not header:
        return None
    scheme, _, rest = header.strip().partition(" ")
    if not rest:
        return scheme
    match scheme.lower():
        case "simple" | "bearer":
            return rest.strip()
        case "basic":
            try:
                return base64.b64decode(rest, validate=True).decode().partition(":")[2]
            except ValueError:  # no base64, or no text in it
                return None
    return None


def identify(services: Services, header: str | None, scope: str | None, *, deploys: bool = False) -> Actor:
    """Say who is asking, if they may.

    Args:
        services: The platform.
        header: The request's Authorization.
        scope: What the key must allow; none asks for a valid key alone.
        deploys: Whether this is a part of a deploy, which keys that are limited to one algorithm are for.

    Returns:
        The actor.

    Raises:
        Unauthenticated: No valid key came with the request.
        Refused: The key lacks the scope, or is for deploying alone.
    """
    key = credential(header)
    found = None
    if key and key.startswith(call_tokens.PREFIX):
        found = services.tokens.find(key)
    elif key:
        found = keys.authenticate(services.database, key)
    if found is None:
        raise Unauthenticated("authorization required")
    if scope is not None and scope not in found.scopes:
        raise Refused(f"this key may not {scope}; ask {found.account.name} for one that may")
    if found.limit and not deploys:
        raise Refused(
            f"this key may do no more than deploy algo://{found.limit.algorithm}; use a key of {found.account.name}'s"
        )
    return found


def permit(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let the request through to its handler, or refuse it."""
    scope = handler.opt.get("scope")  # Litestar's own handlers, for OPTIONS, have none: any valid key will do
    if scope != OPEN:
        services: Services = connection.app.state.services
        header = raw.header(cast("HTTPScope", connection.scope), b"authorization")
        connection.state.actor = identify(services, header, scope, deploys=handler.opt.get("deploys") is True)


def actor(request: Request[Any, Any, Any]) -> Actor:
    """Hand the handler who is asking.

    Returns:
        The actor that the guard found.
    """
    found: Actor = request.state.actor
    return found


def state(services: Services) -> State:
    """Let the guard reach the platform.

    Returns:
        The application's state.
    """
    return State({"services": services})


def check_routes(application: Litestar) -> None:
    """Refuse to start with a route that does not say who may use it.

    Raises:
        LookupError: There is one.
    """
    for route in application.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and handler.opt.get("scope") not in SCOPES | {OPEN}:
                if handler.fn.__module__.startswith("litestar."):
                    continue  # OPTIONS, which Litestar answers by itself
                raise LookupError(f"{route.path} declares no scope")
