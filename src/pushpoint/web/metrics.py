"""Numbers for Prometheus. Release names of everybody are in them, so they take the operator's key."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get

from pushpoint.serving import Services


@get("/metrics", opt={"scope": "admin", "answers": {200: "text/plain"}}, sync_to_thread=True)
def show(services: Services, request: Request[Any, Any, Any]) -> Response[bytes]:
    """Write the numbers of calls and workers, as Prometheus reads them.

    By `Accept`, also as OpenMetrics. What each means is told with it.
    """
    text, media_type = services.metrics.exposition(request.headers.get("accept", ""))
    return Response(text, media_type=media_type)
