"""Every endpoint of the old platform x every client: what the page `docs/reference/clients.md` shows.

An endpoint's cell is not written anywhere: it follows from the tests that carry `reaches`, each of which fails when its
client got no answer from the endpoints that it names (`conftest.py`), and from the recorded requests, each of which is
replayed.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import pytest

from tests.clients.front import Exchange

CLIENTS = {
    "python": "`algorithmia` 2.0.5 of PyPI",
    "algo": "the CLI `algo` in that package",
    "generated": "`algorithmia-api-client` 1.5.1 of PyPI, generated from the old platform's own description",
    "npm": "`algorithmia` 0.3.10 of npm",
    "node": "the Node client 1.0, which was never released to npm; recorded requests",
    "java": "the Java client; recorded requests",
    "scala": "the Scala client; recorded requests",
    "ruby": "the Ruby client; recorded requests",
    "go": "the Go client; recorded requests",
    "rust": "the Rust client; recorded requests",
    "r": "the R client; recorded requests",
    "php": "the PHP client; recorded requests",
}
RUN = {
    "python": "test_python_client",
    "algo": "test_algo",
    "generated": "test_generated_client",
    "npm": "test_npm_client",
}
"""Clients that are run themselves, and the modules whose tests run them; of the others requests are recorded."""

ALGORITHM = "/v1/algorithms/{algorithm}"
ENDPOINTS: dict[str, str] = {
    "POST /v1/algo/{algorithm}": "call, newest public version",
    "POST /v1/algo/{algorithm}/{version}": "call a version, a range of versions or a commit",
    "POST /v1/algorithms/{owner}": "create",
    f"GET {ALGORITHM}": "show",
    f"PUT {ALGORITHM}": "update",
    f"DELETE {ALGORITHM}": "delete",
    f"POST {ALGORITHM}/compile": "build the head",
    f"GET {ALGORITHM}/builds": "list builds",
    f"GET {ALGORITHM}/builds/{{build}}": "show a build",
    f"GET {ALGORITHM}/builds/{{build}}/logs": "its log",
    f"GET {ALGORITHM}/versions": "list versions",
    f"POST {ALGORITHM}/versions": "publish",
    f"POST {ALGORITHM}/version": "publish, as Node and Java spell it",
    f"GET {ALGORITHM}/versions/{{commit}}": "show a version",
    f"GET {ALGORITHM}/log": "commits",
    f"GET {ALGORITHM}/errors": "errors of an algorithm",
    f"GET {ALGORITHM}/scm/status": "whether the source can be fetched",
    f"POST {ALGORITHM}/scm/webhook": "a git host tells of a push",
    f"GET {ALGORITHM}/secrets": "list secrets",
    f"POST {ALGORITHM}/secrets": "set a secret",
    f"PUT {ALGORITHM}/secrets/{{secret}}": "change a secret",
    f"DELETE {ALGORITHM}/secrets/{{secret}}": "remove a secret",
    "GET /v1/secret-provider": "where secrets are kept",
    "GET /v1/data/{path}": "read a file, list a directory",
    "HEAD /v1/data/{path}": "is it there",
    "PUT /v1/data/{path}": "write a file",
    "POST /v1/data/{path}": "create a directory",
    "PATCH /v1/data/{path}": "change an access list",
    "DELETE /v1/data/{path}": "delete",
    "GET /v1/connector/{connector}/{path}": "the same, as Rust and PHP spell it",
    "HEAD /v1/connector/{connector}/{path}": "",
    "PUT /v1/connector/{connector}/{path}": "",
    "POST /v1/connector/{connector}/{path}": "",
    "PATCH /v1/connector/{connector}/{path}": "",
    "DELETE /v1/connector/{connector}/{path}": "",
    "GET /v1/algorithm-environments/edge/languages": "languages",
    "GET /v1/algorithm-environments/edge/languages/{language}/environments": "environments of a language",
    "GET /v1/algorithm-environments/edge/environment-specifications/{id}/template": "template of a language",
    "GET /v1/scms": "list git hosts",
    "GET /v1/scms/{scm}": "show one",
    "GET /v1/scms/{scm}/oauth/status": "is it authorized",
    "GET /v1/scms/{scm}/oauth/start": "authorize",
    "GET /v1/scms/{scm}/oauth/finish": "",
    "POST /v1/scms/{scm}/oauth/revoke": "",
    "GET /v1/users": "list users",
    "POST /v1/users": "create a user",
    "GET /v1/users/{user}": "show a user",
    "PUT /v1/users/{user}": "change a user",
    "DELETE /v1/users/{user}": "delete a user",
    "GET /v1/users/{user}/errors": "errors of a user's algorithms",
    "GET /v1/users/{user}/keys": "list a user's keys",
    "POST /v1/users/{user}/keys": "create a key",
    "GET /v1/organization/types": "kinds of organizations",
    "POST /v1/organization/types": "",
    "DELETE /v1/organization/types/{type}": "",
    "GET /v1/organizations": "list organizations",
    "POST /v1/organizations": "create an organization",
    "GET /v1/organizations/{organization}": "show it",
    "PUT /v1/organizations/{organization}": "change it",
    "DELETE /v1/organizations/{organization}": "delete it",
    "GET /v1/organizations/{organization}/errors": "errors of its algorithms",
    "GET /v1/organizations/{organization}/members": "list members",
    "PUT /v1/organizations/{organization}/members/{user}": "add a member",
    "DELETE /v1/organizations/{organization}/members/{user}": "remove a member",
    "GET /v1/organizations/{organization}/keys": "list its keys",
    "POST /v1/organizations/{organization}/keys": "create a key of the organization",
    "POST /v1/organizations/{organization}/members/{user}/keys": "create a key for a member",
    "GET /v1/organizations/{organization}/utility-algorithms": "",
    "POST /v1/insights": "report insights, from inside an algorithm",
    "GET /git/{algorithm}": "clone, push (smart HTTP)",
    "GET /v1/users/{user}/event-listeners": "notify of events",
    "POST /v1/users/{user}/event-listeners": "",
    "GET /v1/users/{user}/event-listeners/{listener}": "",
    "PUT /v1/users/{user}/event-listeners/{listener}": "",
    "DELETE /v1/users/{user}/event-listeners/{listener}": "",
    "POST /v1/admin/scms": "administer git hosts",
    "PATCH /v1/admin/scms/{scm}": "",
    "DELETE /v1/admin/scms/{scm}": "",
    "POST /v1/admin/scms/{scm}/default": "",
    "GET /v1/admin/usage": "usage, for billing",
    "GET /v1/admin/usage/algorithms": "",
    "GET /v1/admin/usage/users": "",
    "GET /v1/config/{what}": "the look of the company's pages",
    "POST /v1/config/{what}": "",
    "DELETE /v1/config/{what}": "",
    "GET /v1/config/frontend/{key}": "",
    "PUT /v1/config/frontend/{key}": "",
    "DELETE /v1/config/frontend/{key}": "",
}
"""What the old platform's description or a client's source asks for. The first that fits an address is its endpoint."""

_ID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_PARTS = {"algorithm": f"(?:{_ID}|(?!{_ID})[^/]+/[^/]+?)", "path": ".*", "connector": r"[^/]+"}


def _pattern(endpoint: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", endpoint)
    text = "".join(re.escape(p) if i % 2 == 0 else _PARTS.get(p, "[^/]+") for i, p in enumerate(pieces))
    return re.compile(text + (r"\.git/.*" if endpoint.startswith("GET /git/") else "/?"))


PATTERNS = {endpoint: _pattern(endpoint) for endpoint in ENDPOINTS}


def endpoint_of(method: str, target: str) -> str | None:
    """Say which endpoint a request line asks for.

    Returns:
        A key of `ENDPOINTS`, or none.
    """
    asked = f"{method} {target.partition('?')[0]}"
    return next((endpoint for endpoint, pattern in PATTERNS.items() if pattern.fullmatch(asked)), None)


def reaches(*endpoints: str, refused: int = 0) -> pytest.MarkDecorator:
    """Mark a test: its client asks these endpoints, and each of them answers with 2xx, or with the status `refused`.

    Returns:
        The mark.
    """
    unknown = [endpoint for endpoint in endpoints if endpoint not in ENDPOINTS]
    assert not unknown, unknown
    return pytest.mark.reaches(*endpoints, refused=refused)


def unanswered(endpoints: Sequence[str], refused: int, seen: Sequence[Exchange]) -> dict[str, set[int]]:
    """Compare what a test is marked with and what its client asked.

    Args:
        endpoints: What it is to reach.
        refused: The status that each is to answer with; 0 for any of success.
        seen: What was asked, and answered.

    Returns:
        Endpoints that did not answer so, with the statuses that they answered with instead.
    """
    got = [(endpoint_of(one.method, one.target), one.status) for one in seen]
    found = {endpoint: {status for asked, status in got if asked == endpoint} for endpoint in endpoints}
    return {
        endpoint: statuses
        for endpoint, statuses in found.items()
        if not any(status == refused if refused else 200 <= status < 400 for status in statuses)
    }


def marks_of(module: ModuleType) -> Iterator[Any]:
    """The marks `reaches` on a module's tests."""
    for name, found in vars(module).items():
        if name.startswith("test_"):
            yield from (mark for mark in getattr(found, "pytestmark", ()) if mark.name == "reaches")


def cells() -> Mapping[str, Mapping[str, str]]:
    """Gather what is tested.

    Returns:
        For each endpoint and each client that asks for it: `yes`, or the status with which it is refused.
    """
    found: dict[str, dict[str, str]] = {endpoint: {} for endpoint in ENDPOINTS}
    for client, name in RUN.items():
        for mark in marks_of(importlib.import_module(f"tests.clients.{name}")):
            for endpoint in mark.args:
                state = str(mark.kwargs["refused"] or "yes")
                found[endpoint][client] = "yes" if found[endpoint].get(client) == "yes" else state
    recorded = importlib.import_module("tests.clients.recorded")
    for request in recorded.REQUESTS:
        endpoint = endpoint_of(request.method, request.target)
        assert endpoint, request
        if request.status < 400:
            found[endpoint][request.client] = "yes"
    return found


def page(table: Callable[[tuple[str, ...], list[tuple[str, ...]]], str]) -> str:
    """Print the table.

    Args:
        table: Writes a table of Markdown, from its head and its rows.

    Returns:
        Markdown.
    """
    rows = []
    for endpoint, states in cells().items():
        method, path = endpoint.split(" ", 1)
        rows.append((f"{method} `{path}`", ENDPOINTS[endpoint], *(states.get(client, "") for client in CLIENTS)))
    return table(("endpoint", "", *CLIENTS), rows)
