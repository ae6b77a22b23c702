"""The thin skin: read a request, call one function, write its answer.

Management routes are Litestar's. Calls, file bytes and git are raw ASGI applications beside it: they want the path as
it was sent (`//`, `%2F`) and bodies as streams.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import cast

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Receive, Scope, Send

from pushpoint import wire
from pushpoint.serving import Services
from pushpoint.web import (
    account,
    algorithms,
    builds,
    data,
    description,
    direct,
    environments,
    errors,
    git,
    guards,
    health,
    metrics,
    openapi,
    organizations,
    protocol,
    publishers,
    releases,
    reports,
    scms,
    secrets,
    sources,
    traces,
    unoffered,
    uploads,
    users,
)

_BY_ID = re.compile(r"/v1/algorithms/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:/|$)", re.IGNORECASE)

ROUTES = [
    health.live,
    health.ready,
    metrics.show,
    *description.ROUTES,
    account.show,
    algorithms.create,
    algorithms.show,
    algorithms.update,
    algorithms.workers,
    algorithms.remove,
    sources.show,
    sources.put,
    sources.remove,
    sources.renew_secret,
    sources.reset,
    sources.status,
    sources.webhook,
    builds.compile_head,
    builds.list_builds,
    builds.show,
    builds.logs,
    builds.output,
    builds.commits,
    releases.list_versions,
    releases.show_version,
    releases.publish,
    releases.list_releases,
    releases.live,
    releases.list_deployments,
    releases.roll_out,
    releases.show_deployment,
    publishers.list_publishers,
    publishers.add,
    publishers.remove,
    publishers.exchange,
    secrets.providers,
    secrets.list_secrets,
    secrets.add,
    secrets.change,
    secrets.remove,
    reports.of_algorithm,
    reports.of_owner,
    reports.insights,
    reports.report,
    users.create,
    users.list_users,
    users.show,
    users.change,
    users.remove,
    users.set_password,
    users.list_algorithms,
    users.list_keys,
    users.issue_key,
    users.revoke_key,
    organizations.types,
    organizations.create,
    organizations.list_organizations,
    organizations.show,
    organizations.change,
    organizations.remove,
    organizations.list_members,
    organizations.add_member,
    organizations.remove_member,
    organizations.list_keys,
    organizations.issue_key,
    organizations.revoke_key,
    scms.list_scms,
    scms.show,
    scms.oauth_status,
    environments.list_languages,
    environments.list_environments,
    environments.list_all,
    environments.list_available,
    environments.template,
    *unoffered.ROUTES,
]

MOUNTED: dict[str, Callable[[Services], ASGIApp]] = {
    "/v1/algo/": traces.application,
    "/v1/data/": data.application,
    "/v1/connector/": data.application,
    "/v1/uploads/": uploads.application,
    "/git/": git.application,
}
"""The raw applications, by what their paths begin with."""


class Application:
    """The platform's ASGI application.

    Attributes:
        direct: The way of ordinary calls around ASGI, for a server that has such a way.
    """

    def __init__(self, management: ASGIApp, mounted: Mapping[bytes, ASGIApp], direct: protocol.Direct | None) -> None:
        self._management, self._mounted, self.direct = management, mounted, direct

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        raw = scope["raw_path"]
        for prefix, mount in self._mounted.items():
            if raw.startswith(prefix) or raw == prefix.rstrip(b"/"):
                await mount(scope, receive, send)
                return
        if found := _BY_ID.match(scope["path"]):  # each path with an owner and a name has a twin with an id
            scope = cast(
                "Scope", {**scope, "path": f"/v1/algorithms/{algorithms.BY_ID}/{scope['path'][found.start(1) :]}"}
            )
        await self._management(scope, receive, send)


def create_app(services: Services) -> Application:
    """Make the platform's ASGI application.

    Args:
        services: The platform's parts; they outlive the application.

    Returns:
        An application for HTTP alone.
    """
    # through a router, which has all handlers of a path together: Litestar (2.25) wraps those that run in a thread
    # once more for each that is added to their path later, and does not unwrap them as often
    router = Router("/", route_handlers=ROUTES)
    for route in router.routes:  # without its answers to OPTIONS, which know the first handler of a path alone
        if isinstance(route, HTTPRoute):
            route.route_handlers = [one for one in route.route_handlers if one.http_methods != {"OPTIONS"}]
    management = Litestar(
        route_handlers=[router],
        guards=[guards.permit],
        dependencies={
            "services": Provide(lambda: services, sync_to_thread=False),
            "actor": Provide(guards.actor, sync_to_thread=False),
        },
        exception_handlers=errors.HANDLERS,
        state=guards.state(services),
        openapi_config=None,
        logging_config=None,
    )
    guards.check_routes(management)
    management.state.describe = cache(lambda: wire.encode(openapi.describe(ROUTES)))
    mounted = {prefix.encode(): guards.insisting(make(services)) for prefix, make in MOUNTED.items()}
    return Application(management, mounted, direct.direct(services))
