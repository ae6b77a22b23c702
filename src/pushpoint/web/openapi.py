"""Describes the API: OpenAPI 3.1, made from the routes as they are served.

What a handler takes is in its signature (`body: Annotated[bytes, SHAPE]`), what it answers is its return type, or,
where it answers in several ways, `answers` in its `opt`. Which errors a route can answer follows from what kind of
route it is. What is no route of Litestar's is described in `streams`.

Source:
    OpenAPI Specification 3.1.0. Its security requirements may name scopes for any scheme.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Iterator
from importlib.metadata import version
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from litestar.handlers.http_handlers import HTTPRouteHandler

from pushpoint import wire
from pushpoint.errors import InvalidRequest
from pushpoint.web import streams
from pushpoint.web.algorithms import ROOT
from pushpoint.web.environments import LANGUAGES
from pushpoint.web.errors import ErrorBody, NoSuchAlgorithmBody
from pushpoint.web.guards import KNOWN, OPEN
from pushpoint.web.paging import LARGEST
from pushpoint.web.streams import NAME, TEXT

ID = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
COMMIT = {"type": "string", "pattern": "^[0-9a-f]{40}$"}
DATE = {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}
PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "owner": (NAME, "A user or an organization"),
    "name": (NAME, "The algorithm's name"),
    "account": (NAME, "A user or an organization"),
    "username": ({"anyOf": [NAME, ID]}, "The user's name or id"),
    "organization": ({"anyOf": [NAME, ID]}, "The organization's name or id"),
    "build_id": ({"anyOf": [ID, COMMIT]}, "The build's id, or its commit"),
    "selector": (streams.SELECTOR, "A version, a pattern such as `1.2.*`, `latest`, or a commit"),
    "deployment_id": (ID, "The deployment's id"),
    "publisher_id": (ID, "The publisher's id"),
    "secret_id": (ID, "The secret's id"),
    "key_id": (ID, "The key's id, which is not the key"),
    "scm_id": ({"type": "string", "enum": [*wire.SCMS]}, "A git host"),
    "commit": (COMMIT, "A commit"),
    "language": ({"type": "string", "enum": [*LANGUAGES]}, "A language"),
    "specification": (ID, "An environment's id"),
    "collection": (NAME, "A collection"),
    "rest": ({"type": "string", "pattern": "^[a-z]+$"}, "Anything"),
    "limit": ({"type": "integer", "minimum": 1, "maximum": LARGEST}, "How many at most"),
    "marker": ({"type": "string", "pattern": "^[0-9]{0,9}$"}, "From the page before"),
    "callable": (TEXT, "`true` for what is published publicly, anything else for what is published privately"),
    "published": (TEXT, "`true` for what is published alone"),
    "since": (DATE, "The earliest date"),
    "until": (DATE, "The latest date"),
    "offset": (
        {"type": "integer"},
        "Bytes of the log to leave out; below 0, a build's is answered when it is whole, and an output's end",
    ),
    "wait": ({"type": "boolean"}, "Whether to answer when the build is over"),
    "roll_out": ({"type": "boolean"}, "Whether to make the version live too"),
}
"""Every parameter of every route; one name means one thing."""
_NOTHING = {"type": "array", "maxItems": 0, "description": "The R client's way to write an empty object"}
_OURS = {"services", "actor", "body", "request", "content_type", "return"}
_STARTS_WORKERS = {f"{ROOT}/versions", f"{ROOT}/version", f"{ROOT}/deployments", f"{ROOT}/compile"}
MEANINGS = {
    400: "The request is not one that this route takes",
    401: "No valid key came with the request",
    403: "The key may not do this",
    404: "There is no such thing, or it is somebody else's",
    409: "It is in the way of what is there",
    412: "It is not as the request says it is, or not in this version of the protocol",
    413: "The body is too large",
    415: "Input of this content type is not taken",
    422: "What is stored is not what was announced",
    429: "Too many at once; the answer says when to try again",
    460: "The bytes do not have the checksum that was sent with them",
    500: "The platform has a bug; its operator finds it by the id",
    501: "Not offered",
    502: "The version does not work; what was live stays live",
    503: "Not now; try again",
    504: "The algorithm took too long",
}
INFO = {
    "title": "Pushpoint",
    "version": version("pushpoint"),
    "description": "The old platform's API, with releases and deployments beside it. Wherever a path has "
    "`/v1/algorithms/{owner}/{name}`, the algorithm's id may stand instead: `/v1/algorithms/{id}`. A slash at the end "
    "makes no difference. A key is sent as `Authorization: KEY`; `Simple KEY` and `Bearer KEY` mean the same.",
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
SCHEMES = {
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "A key with one of the scopes that a route names, if it names any",
    },
    "adminKey": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "A key with the scope `admin`, which is good for nothing else",
    },
    "password": {"type": "http", "scheme": "basic", "description": "For git: a name, and a key or the password"},
}
MAKES: dict[str, dict[str, str]] = {
    "algorithms.create": {"name": "$response.body#/name"},
    "builds.compile_head": {
        "build_id": "$response.body#/build/build_id",
        "selector": "$response.body#/version_info/git_hash",
    },
    "releases.roll_out": {"deployment_id": "$response.body#/id"},
    "secrets.add": {"secret_id": "$response.body#/id"},
    "publishers.add": {"publisher_id": "$response.body#/id"},
    "users.create": {"username": "$response.body#/username", "account": "$response.body#/username"},
    "users.issue_key": {"key_id": "$response.body#/id"},
    "organizations.create": {"organization": "$response.body#/org_name", "account": "$response.body#/org_name"},
    "organizations.add_member": {"username": "$request.path.username"},
    "organizations.issue_key": {"key_id": "$response.body#/id"},
    "data.create": {"collection": "$request.body#/name"},
    "data.put": {"file": "$request.path.file"},
}
"""What a route makes, and where in its request or answer its name is; each route that takes the name can follow."""


def describe(routes: Iterable[HTTPRouteHandler]) -> dict[str, Any]:
    """Describe the API.

    Args:
        routes: The handlers that are served, beside what `streams` describes.

    Returns:
        The description, as OpenAPI writes it.
    """
    routes = list(routes)
    shapes: list[Any] = [ErrorBody, NoSuchAlgorithmBody, wire.FileObject, wire.UploadsView]
    for route in routes:
        shapes += [
            shape for shape in (_taken(route), *_answers(route).values()) if shape and not isinstance(shape, str)
        ]
    found, components = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")
    for shape in wire.CLOSED.values():
        components[shape.__name__]["additionalProperties"] = False
    schemas = list(zip(shapes, found, strict=True))
    paths: dict[str, Any] = {}
    for route in routes:
        for path in sorted(route.paths):
            shown = re.sub(r":\w+}", "}", path)
            for method in sorted(route.http_methods):
                paths.setdefault(shown, {})[method.lower()] = _operation(route, path, method, schemas)
    paths |= streams.paths(failures)
    _link(paths)
    modules = {route.fn.__module__: inspect.getmodule(route.fn) for route in routes}
    tags = [
        {"name": name.rpartition(".")[2], "description": (module.__doc__ or "").partition("\n")[0]}
        for name, module in modules.items()
        if module
    ]
    return {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [{"url": "/"}],
        "tags": tags + streams.TAGS,
        "paths": paths,
        "components": {"schemas": components, "responses": _failures(), "securitySchemes": SCHEMES},
    }


def failures(statuses: Collection[int], *, of_algorithm: bool = False) -> dict[str, Any]:
    """Describe the errors that a route can answer.

    Args:
        statuses: Which.
        of_algorithm: Whether an algorithm that is not there is told in the old platform's way.

    Returns:
        Statuses and where their description is.
    """
    special = {404: "404-algorithm"} if of_algorithm else {}
    return {
        str(status): {"$ref": f"#/components/responses/{special.get(status, status)}"} for status in sorted(statuses)
    }


def _failures() -> dict[str, Any]:
    known = {str(status): {"description": meaning} | _json("ErrorBody") for status, meaning in MEANINGS.items()}
    known["400"]["content"]["text/plain"] = {"schema": TEXT}  # what is no HTTP is answered before it reaches any route
    known["401"]["headers"] = {"WWW-Authenticate": {"required": True, "schema": TEXT}}
    absent = {"description": MEANINGS[404]} | _json("ErrorBody", "NoSuchAlgorithmBody")
    return known | {"404-algorithm": absent}


def _json(*names: str) -> dict[str, Any]:
    schema = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}
    return {"content": {"application/json": {"schema": schema if len(names) > 1 else schema["anyOf"][0]}}}


def _operation(route: HTTPRouteHandler, path: str, method: str, schemas: list[tuple[Any, Any]]) -> dict[str, Any]:
    scope, name = route.opt["scope"], _name(route)
    text = inspect.cleandoc(route.fn.__doc__ or "")
    statuses = {400, 500, 503}
    if scope != OPEN or method == "POST":  # what is open and takes something has its proof in it
        statuses.add(401)
    if scope != OPEN:
        statuses.add(403)
        statuses |= {409} if method != "GET" else set()
    statuses |= {404} if "{" in path or scope == "call" else set()
    statuses |= {413} if "body" in route.fn.__annotations__ else set()
    statuses |= {422, 502} if path in _STARTS_WORKERS and method == "POST" else set()
    told = failures(statuses, of_algorithm=path.startswith(ROOT))
    is_main = len(route.http_methods) == 1 and path == max(route.paths, key=len)
    found: dict[str, Any] = {
        "operationId": name if is_main else f"{name} {method} {re.sub(r':[a-z]+}', '}', path)}",
        "tags": [name.partition(".")[0]],
        "summary": text.partition("\n")[0].partition(". ")[0].rstrip("."),
        "description": text + _told(scope, deploys=route.opt.get("deploys") is True),
        "security": _security(scope),
        "parameters": list(_parameters(route, path)),
        "responses": {
            **{str(status): _answer(schemas, shape) for status, shape in _answers(route).items()},
            **{status: answer for status, answer in told.items() if int(status) not in _answers(route)},
        },
    }
    if "body" in route.fn.__annotations__:
        found["requestBody"] = _body(route, schemas)
    return found


def _name(route: HTTPRouteHandler) -> str:
    return str(route.operation_id or f"{route.fn.__module__.rpartition('.')[2]}.{route.fn.__name__}")


def _told(scope: str, *, deploys: bool) -> str:
    if scope == OPEN:
        return "\n\nNo key is needed."
    needed = "Any key will do." if scope == KNOWN else f"Scope: `{scope.replace(' or ', '` or `')}`."
    return f"\n\n{needed}" + (" Keys that CI got for its identity may do this too." if deploys else "")


def _security(scope: str) -> list[dict[str, list[str]]]:
    if scope == OPEN:
        return []
    if scope == KNOWN:
        return [{"key": []}, {"adminKey": []}]
    scopes = scope.split(" or ")
    found: list[dict[str, list[str]]] = [{"adminKey": ["admin"]}] if "admin" in scopes else []
    return found + [{"key": [one]} for one in scopes if one != "admin"]


def _taken(route: HTTPRouteHandler) -> Any:
    body = get_type_hints(route.fn, include_extras=True).get("body")
    return get_args(body)[1] if get_origin(body) is Annotated else None


def _answers(route: HTTPRouteHandler) -> dict[int, Any]:
    """Look up what a handler answers when it does what it is for.

    Returns:
        Status to a shape, to a media type of bytes, or to none where there is no body.
    """
    if declared := route.opt.get("answers"):
        return dict(declared)
    hint = get_type_hints(route.fn)["return"]
    return {route.status_code: None if hint is type(None) else hint}


def _schema(schemas: list[tuple[Any, Any]], shape: Any) -> Any:
    return next(schema for known, schema in schemas if known == shape)


def _answer(schemas: list[tuple[Any, Any]], shape: Any) -> dict[str, Any]:
    if shape is None:
        return {"description": "Done"}
    if isinstance(shape, str):
        schema = {} if shape == "application/json" else TEXT
        return {"description": "As asked", "content": {shape: {"schema": schema}}}
    meaning = (getattr(get_origin(shape) or shape, "__doc__", "") or "").partition("\n")[0]
    inner = get_args(shape)
    if get_origin(shape) is list:
        meaning = f"Several: {(inner[0].__doc__ or '').partition(chr(10))[0]}"
    if shape is ErrorBody:
        meaning = MEANINGS[501]
    return {"description": meaning, "content": {"application/json": {"schema": _schema(schemas, shape)}}}


def _body(route: HTTPRouteHandler, schemas: list[tuple[Any, Any]]) -> dict[str, Any]:
    shape = _taken(route)
    if shape is None:  # signed bytes, whatever they are
        return {"required": True, "content": {"application/json": {"schema": {}}}}
    optional = _may_be_empty(shape)
    schema = _schema(schemas, shape)
    content: dict[str, Any] = {"application/json": {"schema": {"anyOf": [schema, _NOTHING]} if optional else schema}}
    if "content_type" in route.fn.__annotations__:
        content["application/x-www-form-urlencoded"] = {"schema": {"type": "object"}}
    return {"required": not optional, "content": content}


def _may_be_empty(shape: Any) -> bool:
    try:
        wire.asked(b"", shape)
    except InvalidRequest:
        return False
    return True


def _parameters(route: HTTPRouteHandler, path: str) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+):", path):
        schema, meaning = PARAMETERS[name]
        yield {"name": name, "in": "path", "required": True, "description": meaning, "schema": schema}
    for name, parameter in inspect.signature(route.fn).parameters.items():
        if name not in _OURS and f"{{{name}:" not in path:
            schema, meaning = PARAMETERS[name]
            if parameter.default is not None:
                schema = schema | {"default": parameter.default}
            yield {"name": name, "in": "query", "description": meaning, "schema": schema}
    for name in route.opt.get("headers", ()):
        yield {"name": name, "in": "header", "description": "As the git host sends it", "schema": TEXT}


def _link(paths: dict[str, Any]) -> None:
    """Add to what each route answers which others go on from it."""
    every = {
        operation["operationId"]: (operation, set(re.findall(r"{(\w+)}", path)))
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method != "parameters" and "501" not in operation["responses"]
    }
    for source, made in MAKES.items():
        operation, known = every[source]
        places = {name: f"$request.path.{name}" for name in known} | made
        links = {
            target.replace(".", "_"): {"operationId": target, "parameters": {name: places[name] for name in taken}}
            for target, (_, taken) in every.items()
            if taken <= places.keys() and taken & made.keys() and target != source
        }
        for status, answer in operation["responses"].items():
            if status.startswith("2"):
                answer["links"] = links
