"""Describes what is no route of Litestar's: calls, file bytes and git (OpenAPI path items, by hand)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

NAME = {"type": "string", "pattern": "^[a-zA-Z][a-zA-Z0-9_]{0,29}$"}
TEXT: dict[str, Any] = {"type": "string"}
BYTES: dict[str, Any] = {"application/octet-stream": {"schema": {}}}
SELECTOR = {
    "type": "string",
    "pattern": r"^(latest|latestPrivate|\d{1,9}(\.\d{1,9})?(\.[*x])?"
    r"|(0|[1-9]\d{0,8})(\.(0|[1-9]\d{0,8})){2}|[0-9a-f]{40})$",
}
FILE = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,60}$"}
"""Files may be called nearly anything; this is a part of it that needs no escape."""
TAGS = [
    {"name": "calls", "description": "Calling algorithms"},
    {"name": "data", "description": "Collections and files"},
    {"name": "git", "description": "Smart HTTP, for git"},
]
_CALL = {
    "type": "object",
    "properties": {
        "result": {},
        "error": {
            "type": "object",
            "properties": {
                "message": TEXT,
                "error_type": TEXT,
                "stacktrace": TEXT,
                "stack_trace": TEXT,
            },
            "required": ["message", "error_type"],
        },
        "metadata": {
            "type": "object",
            "properties": {
                "content_type": {"enum": ["json", "text", "binary", "void"]},
                "duration": {"type": "number"},
                "stdout": TEXT,
            },
            "required": ["duration"],
        },
        "async": {"enum": ["void"]},
        "request_id": TEXT,
    },
    "anyOf": [{"required": [one]} for one in ("result", "error", "async")],
}
_RESULT = {"type": "object", "properties": {"result": TEXT}, "required": ["result"]}
_DELETED = {
    "type": "object",
    "properties": {
        "result": {"type": "object", "properties": {"deleted": {"type": "integer"}}, "required": ["deleted"]}
    },
    "required": ["result"],
}
_LISTING = {
    "type": "object",
    "properties": {
        "folders": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": TEXT}, "required": ["name"]},
        },
        "files": {"type": "array", "items": {"$ref": "#/components/schemas/FileObject"}},
        "marker": TEXT,
        "acl": {"type": "object", "properties": {"read": {"type": "array", "items": TEXT}}},
    },
}
_NEW_COLLECTION = {
    "type": "object",
    "properties": {
        "name": NAME,
        "acl": {
            "type": "object",
            "properties": {
                "read": {
                    "type": "array",
                    "maxItems": 1,
                    "items": {"enum": ["algo://.my/*", "user://*"]},
                }
            },
        },
    },
    "required": ["name"],
}
_TIMEOUT = {"type": "number", "exclusiveMinimum": 0, "maximum": 3000}
_SERVICE = {"enum": ["git-upload-pack", "git-receive-pack"]}

Failures = Callable[[Collection[int]], dict[str, Any]]


def paths(failures: Failures) -> dict[str, Any]:
    """Describe the raw applications.

    Args:
        failures: Describes the errors of some statuses.

    Returns:
        Path items.
    """
    return _calls(failures) | _data(failures) | _git(failures)


def _calls(failures: Failures) -> dict[str, Any]:
    answers = {
        "200": {
            "description": "The algorithm's result, or its error",
            "content": {"application/json": {"schema": _CALL}} | {"text/plain": {"schema": TEXT}} | BYTES,
        },
        **failures({400, 401, 403, 404, 413, 415, 429, 500, 502, 503, 504}),
    }

    def call(name: str) -> dict[str, Any]:
        return {
            "operationId": name,
            "tags": ["calls"],
            "summary": "Call an algorithm",
            "description": "The body is the input. An algorithm that fails answers 200 with an `error`."
            "\n\nScope: `call`. Keys that CI got for its identity may do this too.",
            "security": [{"key": ["call"]}],
            "parameters": [
                _query(
                    "timeout", {"type": "number", "exclusiveMinimum": 0, "maximum": 3000}, "Seconds, 300 if not said"
                ),
                _query("stdout", TEXT, "`true` adds what the algorithm printed, for its owner"),
                _query("output", TEXT, "`raw` for the result alone, `void` for no result"),
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {}}, "text/plain": {"schema": TEXT}} | BYTES,
            },
            "responses": answers,
        }

    return {
        "/v1/algo/{owner}/{name}": {"parameters": _in_path("owner", "name"), "post": call("calls.call")},
        "/v1/algo/{owner}/{name}/{selector}": {
            "parameters": _in_path("owner", "name", "selector"),
            "post": call("calls.call_version"),
        },
    }


def _data(failures: Failures) -> dict[str, Any]:
    kind = {"X-Data-Type": {"required": True, "schema": {"enum": ["directory", "file"]}}}
    listing = {
        "description": "What is there",
        "headers": kind,
        "content": {"application/json": {"schema": _LISTING}},
    }
    file = {
        "description": "The file",
        "headers": kind | {"ETag": {"schema": TEXT}, "Repr-Digest": {"schema": TEXT}},
    }
    absent = {
        "description": "There is no such thing, or it is somebody else's",
        "headers": {"X-Error-Message": {"required": True, "schema": TEXT}},
    }

    def operation(name: str, summary: str, answer: Any, scope: str, **more: Any) -> dict[str, Any]:
        statuses = {400, 401, 403, 404, 500, 503} | ({409, 422} if scope == "data" else set())
        return {
            "operationId": f"data.{name}",
            "tags": ["data"],
            "summary": summary,
            "description": f"{summary}.\n\nScope: `{scope}`.",
            "security": [{"key": [scope]}],
            "responses": {"200": answer, **failures(statuses)},
            **more,
        }

    def as_json(schema: Any) -> dict[str, Any]:
        return {"description": "Done", "content": {"application/json": {"schema": schema}}}

    def head(name: str, summary: str) -> dict[str, Any]:
        found = operation(name, summary, {"description": "It is there", "headers": kind}, "read")
        bare = {status: {"description": "As GET answers, without the body"} for status in found["responses"]}
        found["responses"] = {**bare, "200": found["responses"]["200"], "404": absent, "400": absent}
        return found

    return {
        "/v1/data": {
            "get": operation("root", "List the owners whose collections you may list", listing, "read"),
            "head": head("stat_root", "Say that you may list"),
        },
        "/v1/data/{owner}": {
            "parameters": _in_path("owner"),
            "get": operation("collections", "List the collections", listing, "read"),
            "head": head("stat_owner", "Say whether an owner is there"),
            "post": operation(
                "create",
                "Create a collection",
                as_json(_RESULT),
                "data",
                requestBody={"required": True, "content": {"application/json": {"schema": _NEW_COLLECTION}}},
            ),
        },
        "/v1/data/{owner}/{collection}": {
            "parameters": _in_path("owner", "collection"),
            "get": operation(
                "listing",
                "List the files of a collection",
                listing,
                "read",
                parameters=[
                    _query("marker", TEXT, "From the page before"),
                    _query("acl", TEXT, "`true` adds who may read it"),
                ],
            ),
            "head": head("stat_collection", "Say whether a collection is there"),
            "delete": operation(
                "remove_collection",
                "Delete a collection",
                as_json(_DELETED),
                "data",
                parameters=[_query("force", TEXT, "`true` deletes its files too")],
            ),
        },
        "/v1/data/{owner}/{collection}/{file}": {
            "parameters": _in_path("owner", "collection", "file"),
            "get": operation("get", "Read a file", file | {"content": {"*/*": {"schema": {}}}}, "read"),
            "head": head("stat", "Say what a file is"),
            "put": operation("put", "Write a file", as_json(_RESULT), "data", requestBody={"content": BYTES}),
            "delete": operation("remove", "Delete a file", as_json(_DELETED), "data"),
        },
    }


def _git(failures: Failures) -> dict[str, Any]:
    def operation(name: str, summary: str, kinds: list[str], **more: Any) -> dict[str, Any]:
        return {
            "operationId": f"git.{name}",
            "tags": ["git"],
            "summary": summary,
            "description": f"{summary}.\n\nScope: `manage`, or a user's name and password. "
            "Keys that CI got for its identity may do this too.",
            "security": [{"password": []}, {"key": ["manage"]}],
            "parameters": _in_path("owner", "name"),
            "responses": {
                "200": {"description": "What git says", "content": {kind: {"schema": {}} for kind in kinds}},
                **failures({400, 401, 403, 404, 500, 503} | ({415} if "requestBody" in more else set())),
            },
            **more,
        }

    def service(name: str, summary: str) -> dict[str, Any]:
        return {
            "post": operation(
                name.replace("-", "_"),
                summary,
                [f"application/x-{name}-result"],
                requestBody={"required": True, "content": {f"application/x-{name}-request": {"schema": {}}}},
            )
        }

    kinds = [f"application/x-git-{name}-pack-advertisement" for name in ("upload", "receive")] + ["text/plain"]
    refs = operation("refs", "List the refs", kinds)
    refs["parameters"] = [
        *refs["parameters"],
        _query("service", {"enum": ["git-upload-pack", "git-receive-pack"]}, "To fetch, or to push"),
    ]
    return {
        "/git/{owner}/{name}.git/info/refs": {"get": refs},
        "/git/{owner}/{name}.git/git-upload-pack": service("git-upload-pack", "Fetch"),
        "/git/{owner}/{name}.git/git-receive-pack": service("git-receive-pack", "Push"),
    }


def _in_path(*names: str) -> list[dict[str, Any]]:
    schemas = {"selector": SELECTOR, "file": FILE}
    return [{"name": name, "in": "path", "required": True, "schema": schemas.get(name, NAME)} for name in names]


def _query(name: str, schema: dict[str, Any], meaning: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": meaning, "schema": schema}
