"""Who is asking, and may they: one guard for every route, default deny.

A route of Litestar's declares its scope in `opt`, or several with ` or ` between them; one without does not start. A
key that is limited to one algorithm is refused by every route that does not say `deploys`. The raw applications call
`identify`, and are held to it.
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from contextvars import ContextVar
from typing import Any, cast

from litestar import Litestar, Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers.base import BaseRouteHandler
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from pushpoint.errors import Refused, Unauthenticated
from pushpoint.names import is_key
from pushpoint.records import SCOPES, Actor, lacking
from pushpoint.serving import Services
from pushpoint.web import raw

_OF_NOBODY = frozenset({401, 403, 500, 503})
_identified: ContextVar[list[Actor] | None] = ContextVar("identified", default=None)
OPEN, KNOWN = "open", "known"
"""The scopes of routes that answer anybody, and anybody with a valid key."""


def credential(header: str | None) -> tuple[str, str]:
    """Read an Authorization header: `KEY`, `Simple KEY`, `Bearer KEY`, or Basic with the key as password (git).

    Returns:
        The user's name, which Basic alone has, and the key or password; empty where there is none.
    """
    scheme, _, rest = (header or "").strip().partition(" ")
    if not rest:
        return "", scheme
    match scheme.lower():
        case "simple" | "bearer":
            return "", rest.strip()
        case "basic":
            try:
                name, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
            except ValueError:  # no base64, or no text in it
                return "", ""
            return name, password
    return "", ""


def identify(
    services: Services,
    header: str | None,
    scopes: Collection[str],
    *,
    deploys: bool = False,
    whole: bool = False,
    passwords: bool = False,
) -> Actor:
    """Say who is asking, if they may.

    Args:
        services: The platform.
        header: The request's Authorization.
        scopes: The key must have one of these; any valid key will do where there are none.
        deploys: Whether this is a part of a deploy, which keys that are limited to one algorithm are for.
        whole: Whether this is about a whole account, which keys that are for some algorithms alone are not for.
        passwords: Whether a user's password will do; never on the loop then.

    Returns:
        The actor.

    Raises:
        Unauthenticated: No valid key came with the request.
        Refused: The key lacks the scope, or is for deploying alone.
    """
    name, key = credential(header)
    found = services.identities.of_key(key) if key else None
    if found is None and passwords and name and key and not is_key(key):
        found = services.identities.of_password(name, key)
    if found is None:
        wrong = ": this key is not valid; use one that is" if key else ""
        raise Unauthenticated(f"authorization required{wrong}")
    if found.limit and not deploys:
        raise Refused(
            f"this key may do no more than deploy algo://{found.limit.algorithm}; use a key of {found.account.name}'s"
        )
    if scopes and found.scopes.isdisjoint(scopes):
        raise Refused(lacking(scopes, found.account.name))
    if whole and not found.may_touch_all and "admin" not in found.scopes:
        raise Refused(f"this key is for some algorithms alone; use a key of {found.account.name}'s without patterns")
    if (asked := _identified.get()) is not None:
        asked.append(found)
    return found


def insisting(application: ASGIApp) -> ASGIApp:
    """Have a raw application `identify` whoever it answers; to forget it is a bug, and not a way in.

    Returns:
        The application. Without an actor it says no more than that there is none, or that it is not available.
    """

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        asked: list[Actor] = []

        async def checked(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] not in _OF_NOBODY and not asked:
                raise LookupError(f"{scope['path']} answers without asking who is there")
            await send(message)

        _identified.set(asked)  # of this request's task alone, and of the threads that it starts
        await application(scope, receive, checked)

    return outer


def permit(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let the request through to its handler, or refuse it."""
    scope = handler.opt.get("scope", KNOWN)  # Litestar's own handlers, for OPTIONS, have none
    if scope != OPEN:
        services: Services = connection.app.state.services
        header = raw.header(cast("HTTPScope", connection.scope), b"authorization")
        scopes = () if scope == KNOWN else scope.split(" or ")
        connection.state.actor = identify(
            services,
            header,
            scopes,
            deploys=handler.opt.get("deploys") is True,
            whole=handler.opt.get("whole") is True,
        )


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
            scopes = str(getattr(handler, "opt", {}).get("scope")).split(" or ")
            if isinstance(handler, HTTPRouteHandler) and not {*scopes} <= SCOPES | {OPEN, KNOWN}:
                if handler.fn.__module__.startswith("litestar."):
                    continue  # OPTIONS, which Litestar answers by itself
                raise LookupError(f"{route.path} declares no scope")
