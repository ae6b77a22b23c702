"""The API's description and the page that shows it. Both are open: they say what anybody can read in our source."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import Any

from litestar import Request, Response, get
from litestar.handlers.http_handlers import HTTPRouteHandler

from pushpoint.web.guards import OPEN

# the page is where keys are sent to: nothing runs in it but its own files, and nothing leaves it but to here
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_OURS = files("pushpoint.web") / "static"
_SWAGGER_UI = files("swagger_ui_bundle") / "vendor" / "swagger-ui-4.15.5"
SCRIPT, STYLE = "text/javascript", "text/css"
PARTS = {
    "show.js": (_OURS / "show.js", SCRIPT),
    "swagger-ui-bundle.js": (_SWAGGER_UI / "swagger-ui-bundle.js", SCRIPT),
    "swagger-ui.css": (_SWAGGER_UI / "swagger-ui.css", STYLE),
}
"""What the page loads, and as what."""


@get(["/openapi.json", "/v1/openapispec"], opt={"scope": OPEN, "answers": {200: "application/json"}})
async def show(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Describe the API, as OpenAPI 3.1."""
    return Response(await asyncio.to_thread(request.app.state.describe), media_type="application/json")


@get("/docs", opt={"scope": OPEN, "answers": {200: "text/html"}}, sync_to_thread=True)
def page() -> Response[bytes]:
    """Show the description as a page."""
    return Response((_OURS / "docs.html").read_bytes(), media_type="text/html", headers=HEADERS)


def _part(name: str) -> HTTPRouteHandler:
    file, kind = PARTS[name]

    @get(
        f"/docs/{name}",
        opt={"scope": OPEN, "answers": {200: kind}},
        operation_id=f"description.{name}",
        sync_to_thread=True,
    )
    def part() -> Response[bytes]:
        return Response(file.read_bytes(), media_type=kind, headers=HEADERS)

    part.fn.__doc__ = "Load a part of the page."
    return part


ROUTES = [show, page, *map(_part, PARTS)]
