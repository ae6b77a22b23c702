"""Is the process up; can it answer."""

from __future__ import annotations

from litestar import get

from pushpoint import wire
from pushpoint.registry import accounts
from pushpoint.serving import Services
from pushpoint.web.guards import OPEN


@get("/live", opt={"scope": OPEN}, sync_to_thread=False)
def live() -> wire.Status:
    """Say that the process is up."""
    return {"status": "live"}


@get("/ready", opt={"scope": OPEN}, sync_to_thread=True)
def ready(services: Services) -> wire.Status:
    """Say that the database answers too."""
    accounts.oldest(services.database)
    return {"status": "ready"}
