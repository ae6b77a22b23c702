"""Describes what is no route of Litestar's: calls, file bytes, uploads and git (OpenAPI path items, by hand)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from pushpoint.web.calls import OUTPUTS

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
    {"name": "data", "description": "Collections and files; `/v1/connector/data` is the same as `/v1/data`"},
    {"name": "uploads", "description": "Uploads that can be broken off and gone on with, by tus 1.0.0"},
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
_BARE = {"description": "With `output=raw`: the result, whatever it is"}
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
_READERS = {"type": "array", "maxItems": 1, "items": {"enum": ["algo://.my/*", "user://*"]}}
_ACL = {"type": "object", "properties": {"read": _READERS}, "required": ["read"]}
_NEW_COLLECTION = {
    "type": "object",
    "properties": {"name": NAME, "acl": {"anyOf": [_ACL, {"type": "null"}]}},
    "required": ["name"],
}
_NEW_READERS = {"type": "object", "properties": {"acl": _ACL}, "required": ["acl"]}
_TIMEOUT = {"type": "number", "exclusiveMinimum": 0, "maximum": 3000}
_SERVICE = {"enum": ["git-upload-pack", "git-receive-pack"]}
_UPLOAD = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
_SIZE = {"type": "string", "pattern": "^[0-9]{1,18}$"}

Failures = Callable[[Collection[int]], dict[str, Any]]


def paths(failures: Failures) -> dict[str, Any]:
    """Describe the raw applications.

    Args:
        failures: Describes the errors of some statuses.

    Returns:
        Path items.
    """
    return _calls(failures) | _data(failures) | _uploads(failures) | _git(failures)


def _calls(failures: Failures) -> dict[str, Any]:
    answers = {
        "200": {
            "description": "The algorithm's result, or its error",
            "content": {"application/json": {"schema": {"anyOf": [_CALL, _BARE]}}}
            | {kind: {"schema": TEXT} for kind in ("text/plain", "text/event-stream", "application/x-ndjson")}
            | BYTES,
        },
        **failures({400, 401, 403, 404, 413, 415, 429, 500, 502, 503, 504}),
    }

    def call(name: str) -> dict[str, Any]:
        return {
            "operationId": name,
            "tags": ["calls"],
            "summary": "Call an algorithm",
            "description": "The body is the input. An algorithm that fails answers 200 with an `error`. "
            "`Accept` may ask for a stream of what it generates."
            "\n\nScope: `call`. Keys that CI got for its identity may do this too.",
            "security": [{"key": ["call"]}],
            "parameters": [
                _query(
                    "timeout", {"type": "number", "exclusiveMinimum": 0, "maximum": 3000}, "Seconds, 300 if not said"
                ),
                _query("stdout", TEXT, "`true` adds what the algorithm printed, for its owner"),
                _query("output", {"enum": [*OUTPUTS]}, "`raw` for the result alone, `void` for no result"),
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
        statuses = {400, 401, 403, 404, 500, 503} | ({409, 412, 422} if scope == "data" else set())
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
        found["responses"] = {**bare, "200": found["responses"]["200"], "404": absent}
        return found

    def create(name: str, summary: str) -> dict[str, Any]:
        asked = {"required": True, "content": {"application/json": {"schema": _NEW_COLLECTION}}}
        return operation(name, summary, as_json(_RESULT), "data", requestBody=asked)

    def conditional(found: dict[str, Any]) -> dict[str, Any]:
        found["parameters"] = [_header(name, "RFC 9110") for name in ("If-Match", "If-None-Match", "Range", "If-Range")]
        found["responses"] |= {
            "206": {"description": "The range of the file that was asked for"},
            "304": {"description": "The file is as If-None-Match knows it"},
            "412": {"description": "The file is not as If-Match knows it"},
            "416": {"description": "The file has no such range"},
        }
        return found

    return {
        "/v1/data": {
            "get": operation("root", "List the owners whose collections you may list", listing, "read"),
            "head": head("stat_root", "Say that you may list"),
            "post": create("create_own", "Create a collection of your own"),
        },
        "/v1/data/{owner}": {
            "parameters": _in_path("owner"),
            "get": operation("collections", "List the collections", listing, "read"),
            "head": head("stat_owner", "Say whether an owner is there"),
            "post": create("create", "Create a collection"),
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
            "patch": operation(
                "share",
                "Say who may read a collection",
                {"description": "Done"},
                "data",
                requestBody={"required": True, "content": {"application/json": {"schema": _NEW_READERS}}},
            ),
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
            "get": conditional(operation("get", "Read a file", file | {"content": {"*/*": {"schema": {}}}}, "read")),
            "head": conditional(head("stat", "Say what a file is")),
            "put": operation("put", "Write a file", as_json(_RESULT), "data", requestBody={"content": BYTES}),
            "delete": operation("remove", "Delete a file", as_json(_DELETED), "data"),
        },
    }


def _uploads(failures: Failures) -> dict[str, Any]:
    version = _header("Tus-Resumable", "The protocol's version", {"const": "1.0.0"}) | {"required": True}
    state = {"Tus-Resumable": {"required": True, "schema": TEXT}}

    def operation(name: str, summary: str, status: str, *statuses: int, **more: Any) -> dict[str, Any]:
        return {
            "operationId": f"uploads.{name}",
            "tags": ["uploads"],
            "summary": summary,
            "description": f"{summary}.\n\nScope: `data`. Keys that CI got for its identity may do this too.",
            "security": [{"key": ["data"]}],
            "responses": {
                status: {"description": "As tus 1.0.0 says", "headers": state},
                **failures({400, 401, 403, 404, 500, 503, *statuses}),
            },
            **more,
        }

    listed = operation(
        "list_uploads",
        "List what is under way to a file",
        "200",
        parameters=[_query("path", TEXT, "data://OWNER/COLLECTION/FILE") | {"required": True}],
    )
    listed["responses"]["200"]["content"] = {
        "application/json": {"schema": {"$ref": "#/components/schemas/UploadsView"}}
    }
    found = operation("stat", "Say how far an upload is", "200", parameters=[version])
    found["responses"] = {
        **{status: {"description": "As above, without a body"} for status in (*found["responses"], "412")},
        "200": found["responses"]["200"],
    }
    return {
        "/v1/uploads": {
            "options": operation("options", "Say what of tus is spoken", "204"),
            "get": listed,
            "post": operation(
                "begin",
                "Begin an upload, or join its parts",
                "201",
                *(409, 412, 413, 415, 422, 460),
                parameters=[
                    version,
                    _header("Upload-Length", "Bytes", _SIZE),
                    _header("Upload-Metadata", "`path`, and perhaps `sha256`, each in base64"),
                    _header("Upload-Concat", "`partial`, or `final;` and the parts' addresses"),
                    _header("If-None-Match", "`*` to write only a new file"),
                ],
            ),
        },
        "/v1/uploads/{upload_id}": {
            "parameters": [{"name": "upload_id", "in": "path", "required": True, "schema": _UPLOAD}],
            "options": operation("options_of_one", "Say what of tus is spoken", "204"),
            "head": found,
            "patch": operation(
                "go_on",
                "Send what comes next",
                "204",
                *(409, 412, 413, 415, 422, 460),
                parameters=[
                    version,
                    _header("Upload-Offset", "Where the bytes begin", _SIZE) | {"required": True},
                    _header("Upload-Checksum", "`sha256 BASE64`, or sha1"),
                ],
                requestBody={"content": {"application/offset+octet-stream": {"schema": {}}}},
            ),
            "delete": operation("remove", "Break an upload off", "204", 409, 412, parameters=[version]),
        },
    }


def _git(failures: Failures) -> dict[str, Any]:
    # git shows text to whoever pushes to where it is not taken
    told = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}, "text/plain": {"schema": TEXT}}
    refused = {"description": "The key may not do this, or a push goes elsewhere", "content": told}

    def operation(name: str, summary: str, scope: str, kinds: list[str], **more: Any) -> dict[str, Any]:
        statuses = {400, 401, 403, 404, 500, 503} | ({413, 415} if "requestBody" in more else set())
        return {
            "operationId": f"git.{name}",
            "tags": ["git"],
            "summary": summary,
            "description": f"{summary}.\n\nScope: `{scope}`, or a user's name and password. "
            "Keys that CI got for its identity may do this too.",
            "security": [{"password": []}, {"key": [scope]}],
            "responses": {
                "200": {"description": "What git says", "content": {kind: {"schema": {}} for kind in kinds}},
                **failures(statuses - {403}),
                "403": refused,
            },
            **more,
        }

    def service(name: str, summary: str, scope: str, suffix: str = "") -> dict[str, Any]:
        return operation(
            name.replace("-", "_") + suffix,
            summary,
            scope,
            [f"application/x-{name}-result"],
            requestBody={"required": True, "content": {f"application/x-{name}-request": {"schema": {}}}},
        )

    def refs(name: str) -> dict[str, Any]:
        kinds = [f"application/x-git-{one}-pack-advertisement" for one in ("upload", "receive")] + ["text/plain"]
        asked = _query("service", _SERVICE, "To fetch, or to push") | {"required": True}
        return operation(name, "List the refs; to push, the scope is `manage`", "view", kinds, parameters=[asked])

    whole, version = "/git/{owner}/{name}.git", "/git/{owner}/{name}/{selector}.git"
    fetch = "git-upload-pack"
    found = {
        f"{whole}/info/refs": {"get": refs("refs")},
        f"{whole}/{fetch}": {"post": service(fetch, "Fetch", "view")},
        f"{whole}/git-receive-pack": {"post": service("git-receive-pack", "Push", "manage")},
        f"{version}/info/refs": {"get": refs("refs_of_version")},
        f"{version}/{fetch}": {"post": service(fetch, "Fetch up to a version", "view", "_of_version")},
    }
    for path, item in found.items():
        names = ("owner", "name", "selector") if path.startswith(version) else ("owner", "name")
        item["parameters"] = _in_path(*names)  # type: ignore[assignment]
    return found


def _in_path(*names: str) -> list[dict[str, Any]]:
    schemas = {"selector": SELECTOR, "file": FILE}
    return [{"name": name, "in": "path", "required": True, "schema": schemas.get(name, NAME)} for name in names]


def _query(name: str, schema: dict[str, Any], meaning: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": meaning, "schema": schema}


def _header(name: str, meaning: str, schema: dict[str, Any] = TEXT) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": meaning, "schema": schema}
