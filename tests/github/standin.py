"""A stand-in for GitHub's API: a real HTTP server that takes only what GitHub's published description allows.

What it answers follows that description too. Where it is stricter than the description, GitHub's prose says so or a
mistake of ours would pass unseen; each place says which.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

DESCRIPTION = json.loads((Path(__file__).parent / "description.json").read_text(encoding="utf-8"))
WHEN = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Request:
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Trouble:
    """An answer that has nothing to do with the request. Status 0 hangs until the stand-in closes."""

    status: int
    message: str = "Server Error"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class GitHub:
    """A GitHub with one repository.

    Attributes:
        repository: `OWNER/NAME`.
        commits: What can be deployed.
        writers: Tokens that may write deployments.
        readers: Tokens that may only read.
        trouble: What the next requests meet instead, one each.
        seen: Every request, in order.
        deployments: By number: what was asked for, and its statuses.
    """

    repository: str
    commits: set[str]
    writers: set[str]
    readers: set[str] = field(default_factory=set)
    url: str = ""
    trouble: list[Trouble] = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)
    deployments: dict[int, tuple[dict[str, Any], list[dict[str, Any]]]] = field(default_factory=dict)
    closing: threading.Event = field(default_factory=threading.Event)

    def states(self, number: int) -> list[str]:
        return [status["state"] for status in self.deployments[number][1]]

    # -- one request ----------------------------------------------------------------------------------------

    def answer(self, request: Request) -> tuple[int, Any]:
        """Say what GitHub would."""
        headers = request.headers
        token = re.fullmatch(r"(?:Bearer|token) ([!-~]+)", headers.get("authorization", ""))
        if "user-agent" not in headers:
            return 403, refusal("Request forbidden by administrative rules. Set a User-Agent header")
        if token is None:
            return 401, refusal("Requires authentication")
        if token[1] not in self.writers | self.readers:
            return 401, refusal("Bad credentials")
        if headers.get("accept") != "application/vnd.github+json":  # stricter: GitHub takes some more
            return 415, refusal("Unsupported 'Accept' header")
        if headers.get("x-github-api-version") != "2022-11-28":  # stricter: GitHub takes its absence for this one
            return 400, refusal("The version in X-GitHub-Api-Version is not supported")
        if (found := operation(request.method, request.path)) is None:
            return 404, refusal("Not Found")
        (path, described), values = found
        if f"{values['owner']}/{values['repo']}".lower() != self.repository.lower():
            return 404, refusal("Not Found")
        if token[1] not in self.writers:
            return 403, refusal("Resource not accessible by integration")
        if headers.get("content-type") != "application/json":  # stricter: the description names no other type
            return 415, refusal("Unsupported Media Type")
        try:
            body = request.json
        except ValueError:
            return 400, refusal("Problems parsing JSON")
        if faults := list(wrong(path, described, body)):
            return 422, refusal("Validation Failed", errors=[{"code": "custom", "message": fault} for fault in faults])
        if "deployment_id" not in values:
            return self.create(body)
        if int(values["deployment_id"]) not in self.deployments:
            return 404, refusal("Not Found")
        return self.report(int(values["deployment_id"]), body)

    def create(self, body: dict[str, Any]) -> tuple[int, Any]:
        if body["ref"] not in self.commits:
            return 422, refusal(f"No ref found for: {body['ref']}", errors=[])
        if body.get("auto_merge", True):  # the prose: it may merge instead of deploying
            return 202, {"message": "Auto-merged main into the topic on deployment."}
        if body.get("required_contexts") != []:  # the prose: the job that deploys is itself a check that has not passed
            return 409, refusal("Conflict: Commit status checks failed for the ref")
        number = len(self.deployments) + 1
        self.deployments[number] = (body, [])
        where = f"{self.url}/repos/{self.repository}"
        return 201, {
            "id": number,
            "node_id": f"D_{number}",
            "sha": body["ref"],
            "ref": body["ref"],
            "task": body.get("task", "deploy"),
            "payload": body.get("payload", ""),
            "environment": body.get("environment", "production"),
            "description": body.get("description") or "",
            "creator": None,
            "created_at": WHEN,
            "updated_at": WHEN,
            "url": f"{where}/deployments/{number}",
            "statuses_url": f"{where}/deployments/{number}/statuses",
            "repository_url": where,
        }

    def report(self, number: int, body: dict[str, Any]) -> tuple[int, Any]:
        statuses = self.deployments[number][1]
        statuses.append(body)
        where = f"{self.url}/repos/{self.repository}"
        return 201, {
            "id": len(statuses),
            "node_id": f"DS_{number}_{len(statuses)}",
            "state": body["state"],
            "creator": None,
            "description": body.get("description", ""),
            "environment": body.get("environment", self.deployments[number][0].get("environment", "production")),
            "environment_url": body.get("environment_url", ""),
            "log_url": body.get("log_url", ""),
            "target_url": body.get("log_url", ""),
            "created_at": WHEN,
            "updated_at": WHEN,
            "url": f"{where}/deployments/{number}/statuses/{len(statuses)}",
            "deployment_url": f"{where}/deployments/{number}",
            "repository_url": where,
        }


def refusal(message: str, **more: Any) -> dict[str, Any]:
    return {"message": message, "documentation_url": "https://docs.github.com/rest"} | more


def operation(method: str, path: str) -> tuple[tuple[str, dict[str, Any]], dict[str, str]] | None:
    """Find what the description says of a request, and the values in its path."""
    for template, verbs in DESCRIPTION["paths"].items():
        described = verbs.get(method.lower())
        match = re.fullmatch(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template)), path)
        if described and match and all(_fits(DESCRIPTION, one["$ref"], match) for one in described["parameters"]):
            return (template, described), match.groupdict()
    return None


def _fits(description: dict[str, Any], reference: str, values: re.Match[str]) -> bool:
    parameter = description["components"]["parameters"][reference.rpartition("/")[2]]
    kind = {"integer": r"\d+", "string": r"[\w.-]+"}[parameter["schema"]["type"]]
    return bool(re.fullmatch(kind, values[parameter["name"]], re.ASCII))


@cache
def validator(kind: str, path: str, status: str = "") -> Draft202012Validator:
    """Make a validator of a request's or an answer's body."""
    described = DESCRIPTION["paths"][path]["post"]
    schema = described["requestBody"] if kind == "request" else described["responses"][status]
    if "$ref" in schema:
        schema = DESCRIPTION["components"]["responses"][schema["$ref"].rpartition("/")[2]]
    whole = {"components": DESCRIPTION["components"], **schema["content"]["application/json"]["schema"]}
    Draft202012Validator.check_schema(whole)
    return Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)


def wrong(path: str, described: dict[str, Any], body: Any) -> Iterator[str]:
    """Say what is wrong with a request's body."""
    yield from (f"{error.json_path}: {error.message}" for error in validator("request", path).iter_errors(body))
    if not isinstance(body, dict):
        return
    known = described["requestBody"]["content"]["application/json"]["schema"]["properties"]
    for name in body.keys() - known.keys():  # stricter: GitHub ignores what it does not know, a typing error too
        yield f"$.{name}: unknown"
    if len(str(body.get("description") or "")) > 140:  # what it answers with has this limit; the prose says so too
        yield "$.description: longer than 140 characters"
    for name in ("log_url", "environment_url", "target_url"):  # GitHub: "must use http(s) scheme"
        if body.get(name) and not re.match(r"https?://[^/\s]", str(body[name])):
            yield f"$.{name}: must use http(s) scheme"


@contextlib.contextmanager
def github(**settings: Any) -> Iterator[GitHub]:
    """Run a stand-in on a port of its own.

    Yields:
        It; `url` is what `GITHUB_API_URL` must be.
    """
    found = GitHub(**settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def take(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body)
            found.seen.append(request)
            more: Mapping[str, str] = {}
            if found.trouble:
                trouble = found.trouble.pop(0)
                if not trouble.status:
                    found.closing.wait(60)
                    self.close_connection = True
                    return
                status, said, more = trouble.status, refusal(trouble.message), trouble.headers
            else:
                status, said = found.answer(request)
                if status in {201, 202, 422}:
                    (template, _), _ = operation(self.command, self.path) or (("", {}), {})
                    validator("answer", template, str(status)).validate(said)
            content = json.dumps(said).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = take

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield found
    finally:
        found.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
