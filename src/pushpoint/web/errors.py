"""Errors to answers: class -> status and the old platform's code, walking up the bases. One table serves all routes."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict, cast
from uuid import uuid4

import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from pushpoint import errors, wire

TABLE: dict[type[errors.Error], tuple[int, int]] = {
    errors.Error: (500, 5001),
    errors.ConfigError: (400, 2015),
    errors.UnknownSetting: (400, 2015),
    errors.MissingSetting: (400, 2015),
    errors.InvalidName: (400, 2015),
    errors.InvalidRequest: (400, 2015),
    errors.TrainingError: (422, 2015),
    errors.NotebookMissing: (422, 2015),
    errors.NotebookUnreadable: (422, 2015),
    errors.RequirementsFailed: (422, 2015),
    errors.CellFailed: (422, 2015),
    errors.CellTimedOut: (422, 2015),
    errors.KernelDied: (422, 2015),
    errors.ModelMissing: (422, 2015),
    errors.IntegrityError: (422, 2015),
    errors.DigestMismatch: (422, 2015),
    errors.Unauthenticated: (401, 2002),
    errors.Refused: (403, 2001),
    errors.BuildFailed: (422, 1006),
    errors.RolloutFailed: (502, 5001),
    errors.PreviewFailed: (502, 5001),
    errors.CallFailed: (502, 5001),
    errors.Conflict: (409, 2015),
    errors.AlreadyExists: (409, 1002),
    errors.IllegalTransition: (409, 2015),
    errors.InUse: (409, 2015),
    errors.PushRejected: (409, 2015),
    errors.Superseded: (409, 2015),
    errors.NotFound: (404, 1000),
    errors.Unavailable: (503, 5001),
    errors.Overloaded: (429, 5001),
}
"""Status and legacy code (platform API, section 0.1) of every class."""

_OF_ACCOUNTS: dict[tuple[str, type[errors.Error]], int] = {
    ("users", errors.NotFound): 3000,
    ("users", errors.AlreadyExists): 3003,
    ("organizations", errors.NotFound): 3100,
    ("organizations", errors.AlreadyExists): 3101,
    ("organizations", errors.Conflict): 3102,
}
"""What the old platform told apart by more than the class."""

CHALLENGE = 'Simple realm="pushpoint", Bearer realm="pushpoint"'
"""How to say who is asking. A browser that hears of Basic would ask for a password."""
_UNFIT = {404: "NotFound", 412: "Conflict"}
"""What is nearest to statuses that no error of ours has; to all others it is `InvalidRequest`."""

log = structlog.get_logger()


class Told(TypedDict):
    """What is told of an error; `error_type` is the class that our client raises."""

    id: NotRequired[str]
    code: NotRequired[int]
    message: str
    error_type: NotRequired[str]
    reason: NotRequired[str]
    deleted: NotRequired[int]


class ErrorBody(TypedDict):
    """The body of every answer that is an error."""

    error: Told


class NoSuchAlgorithmBody(TypedDict):
    """The body of a 404 below `/v1/algorithms`."""

    error: Literal["No such algorithm"]


class BadPage(HTTPException):
    """A page that is not offered.

    Attributes:
        code: 5002 for its marker, 5003 for its size (platform API, section 0).
    """

    status_code = 400

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail=detail)
        self.code = code


class NoSuchAlgorithm(HTTPException):
    """The 404 of `/v1/algorithms`, whose body old clients compare as text."""

    status_code = 404


def status_of(error: errors.Error) -> tuple[int, int]:
    """Look up a class, or the nearest of its bases, in the table.

    Returns:
        Status and legacy code.
    """
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def envelope(error: errors.Error, path: str = "", **more: object) -> tuple[int, dict[str, str], bytes]:
    """Write an error as the answer's parts.

    Args:
        error: What went wrong.
        path: The request's; the same class has other codes for users and for organizations.
        more: What else clients read beside the message.

    Returns:
        Status, headers and JSON body; the class's name lets our client raise the same class.
    """
    status, code = status_of(error)
    code = _OF_ACCOUNTS.get((path.split("/")[2] if path.count("/") > 1 else "", type(error)), code)
    kind, found = type(error).__name__, str(uuid4())
    headers = {"content-type": "application/json", "x-request-id": found}
    if status == 401:
        headers["www-authenticate"] = CHALLENGE
    if isinstance(error, errors.Unavailable) and error.retry_after is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after)))
    told = cast("Told", {"id": found, "code": code, "message": str(error), "error_type": kind} | more)
    if isinstance(error, errors.RolloutFailed):
        told["reason"] = error.reason
    return status, headers, wire.encode(ErrorBody(error=told))


def unfit(status: int, message: str, code: int = 6001) -> tuple[dict[str, str], bytes]:
    """Write an answer with a status that no error of ours has.

    Args:
        status: Of the answer.
        message: What is wrong, and what would not be.
        code: The old platform's; by default that of what it could not take.

    Returns:
        Headers and JSON body.
    """
    kind, found = _UNFIT.get(status, "InvalidRequest"), str(uuid4())
    told = Told(id=found, code=code, message=message, error_type=kind)
    return {"content-type": "application/json", "x-request-id": found}, wire.encode(ErrorBody(error=told))


def not_offered(reason: str) -> bytes:
    """Write the body of a 501: what the old platform had and this one does not (code 5005).

    Returns:
        JSON.
    """
    return wire.encode({"error": {"code": 5005, "message": f"not offered: {reason}", "error_type": "NotFound"}})


def bug(error: Exception) -> tuple[int, dict[str, str], bytes]:
    """Write an answer that tells nothing of the inside; the log has the rest under the same id.

    Returns:
        Status, headers and JSON body.
    """
    found = str(uuid4())
    log.error("bug", id=found, exc_info=error)
    message = f"the platform has a bug; tell its operator the id {found}"
    body = {"error": {"id": found, "code": 5001, "message": message, "error_type": "Error"}}
    return 500, {"content-type": "application/json", "x-request-id": found}, wire.encode(body)


def _ours(request: Request[Any, Any, Any], error: errors.Error) -> Response[bytes]:
    status, headers, body = envelope(error, request.url.path)
    return Response(body, status_code=status, headers=headers, media_type=MediaType.JSON)


def _http(_request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    if isinstance(error, NoSuchAlgorithm):
        # the Node client's suite compares this body to the letter
        return Response(b'{"error":"No such algorithm"}', status_code=404, media_type=MediaType.JSON)
    code = error.code if isinstance(error, BadPage) else 6001
    headers, body = unfit(error.status_code, error.detail, code)
    headers = {**(error.headers or {}), **headers}
    return Response(body, status_code=error.status_code, media_type=MediaType.JSON, headers=headers)


def _bug(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    status, headers, body = bug(error)
    return Response(body, status_code=status, headers=headers, media_type=MediaType.JSON)


HANDLERS: ExceptionHandlersMap = {errors.Error: _ours, HTTPException: _http, Exception: _bug}
