"""What the old platform had and this one does not: each path answers 501 with the reason, to whoever has a key."""

from __future__ import annotations

from litestar import HttpMethod, Response, route
from litestar.handlers.http_handlers import HTTPRouteHandler

from pushpoint.web.algorithms import ROOT
from pushpoint.web.errors import ErrorBody, not_offered
from pushpoint.web.guards import KNOWN

_TOKENS = "a token for a git host is set on the algorithm: PUT /v1/algorithms/OWNER/NAME/source"
_IMAGES = "algorithms run from their environments here, not from images"
_PYTHONS = "the Pythons of the machine are the environments; install one there and start the platform again"
_OPERATOR = "what an operator sets is an option of `pushpoint serve`"
REASONS = {
    f"{ROOT}/versions/{{commit:str}}/registry": _IMAGES,
    "/v1/registries": _IMAGES,
    "/v1/registries/{rest:path}": _IMAGES,
    f"{ROOT}/collections/{{collection:str}}": "a manifest says which model an algorithm loads",
    "/v1/scms/{scm_id:str}/oauth/start": _TOKENS,
    "/v1/scms/{scm_id:str}/oauth/finish": _TOKENS,
    "/v1/scms/{scm_id:str}/oauth/revoke": _TOKENS,
    "/v1/scms/{scm_id:str}/token/connect": _TOKENS,
    "/v1/scms/{scm_id:str}/token/status": _TOKENS,
    "/webapi/v1/algorithm-environments/environment-specifications/{specification:str}/syncs": _PYTHONS,
    "/v1/hostedData": "list collections at /v1/data",
    "/v1/admin/{rest:path}": _OPERATOR,
    "/v1/config/{rest:path}": _OPERATOR,
    "/v1/users/{username:str}/event-listeners": "no events are sent; ask for builds and deployments",
    "/v1/users/{username:str}/event-listeners/{rest:path}": "no events are sent; ask for builds and deployments",
    "/v1/users/{username:str}/notifications": "no notifications are sent",
    "/v1/users/{username:str}/connectors": "data is kept here; other stores are the operator's to set",
    "/v1/users/{username:str}/billing": "nothing costs anything here",
    "/v1/organizations/{organization:str}/members/{username:str}/keys": "a member's own key acts for the organization",
    "/v1/organizations/{organization:str}/utility-algorithms": "no algorithm is more than others",
    "/v1/organization/types/{name:str}": "types of organizations make no difference here",
    "/v1/organizations/{organization:str}/billing": "nothing costs anything here",
    "/v1/marketplace/{rest:path}": "there is no marketplace",
}
"""Path to why it is not offered, or what to use instead."""
_METHODS = [HttpMethod.GET, HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH, HttpMethod.DELETE]


def _handler(path: str, reason: str) -> HTTPRouteHandler:
    @route(path, http_method=_METHODS, opt={"scope": KNOWN, "answers": {501: ErrorBody}}, sync_to_thread=False)
    def refuse() -> Response[bytes]:
        return Response(not_offered(reason), status_code=501, media_type="application/json")

    refuse.fn.__doc__ = f"Not offered: {reason}."
    return refuse


ROUTES = [_handler(path, reason) for path, reason in REASONS.items()]
