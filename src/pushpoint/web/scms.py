"""Git hosts, as the old platform's clients ask for them. What an algorithm is built from is set on the algorithm.

Source:
    Platform API, section 2.11.
"""

from __future__ import annotations

from litestar import get

from pushpoint import wire
from pushpoint.errors import NotFound
from pushpoint.web.guards import KNOWN


@get("/v1/scms", opt={"scope": KNOWN}, sync_to_thread=False)
def list_scms() -> wire.PageObject[wire.ScmObject]:
    """List `internal`, the platform itself, and `github`; what else `source.scm` takes is shown by its name."""
    # the generated client refuses a whole list in which it does not know one provider
    return wire.page([wire.scm_object(name) for name in ("internal", "github")], marker=None, link=None)


@get("/v1/scms/{scm_id:str}", opt={"scope": KNOWN}, sync_to_thread=False)
def show(scm_id: str) -> wire.ScmObject:
    """Show a git host."""
    return wire.scm_object(_known(scm_id))


@get("/v1/scms/{scm_id:str}/oauth/status", opt={"scope": KNOWN}, sync_to_thread=False)
def oauth_status(scm_id: str) -> dict[str, str]:
    """Say that the platform acts for nobody at a git host: an algorithm's own token is used there."""
    _known(scm_id)
    return {"authorization_status": "unauthorized"}


def _known(scm_id: str) -> str:
    if scm_id not in wire.SCMS:
        raise NotFound(f"there is no git host {scm_id}; list them at /v1/scms")
    return scm_id
