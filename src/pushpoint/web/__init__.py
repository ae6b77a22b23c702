"""The thin skin: read a request, call one function, write its answer.

Management routes are Litestar's. Calls, file bytes and git are raw ASGI applications beside it: they want the path as
it was sent (`//`, `%2F`) and bodies as streams.
"""

from __future__ import annotations

from litestar import Litestar
from litestar.di import Provide
from litestar.types import ASGIApp, Receive, Scope, Send

from pushpoint.serving import Services
from pushpoint.web import (
    account,
    algorithms,
    builds,
    calls,
    data,
    environments,
    errors,
    git,
    guards,
    health,
    publishers,
    releases,
    sources,
)

ROUTES = [
    health.live,
    health.ready,
    account.show,
    algorithms.create,
    algorithms.show,
    algorithms.update,
    environments.list_languages,
    environments.list_environments,
    environments.list_all,
    environments.list_available,
    environments.template,
    sources.remove,  # the first one of the three, as it says
    sources.show,
    sources.put,
    sources.renew_secret,
    sources.reset,
    sources.status,
    sources.webhook,
    builds.compile_head,
    builds.list_builds,
    builds.show,
    builds.logs,
    builds.output,
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
]


def create_app(services: Services) -> ASGIApp:
    """Make the platform's ASGI application.

    Args:
        services: The platform's parts; they outlive the application.

    Returns:
        An application for HTTP alone.
    """
    management = Litestar(
        route_handlers=ROUTES,
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
    mounted: list[tuple[bytes, ASGIApp]] = [
        (b"/v1/algo/", calls.application(services)),
        (b"/v1/data/", data.application(services)),
        (b"/git/", git.application(services)),
    ]

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope["raw_path"]
        for prefix, mount in mounted:
            if raw.startswith(prefix) or raw == prefix.rstrip(b"/"):
                await mount(scope, receive, send)
                return
        await management(scope, receive, send)

    return application
