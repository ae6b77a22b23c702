"""Sources: where an algorithm is built from, and the deliveries of the git host that tell of a push.

The webhook's route has no key. Who is asking is settled by the signature over the body as it was sent; without one that
is right, an algorithm that does not exist and one that does look the same.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from concurrent.futures import Future, wait
from typing import Annotated, Any
from urllib.parse import parse_qs

from litestar import Request, Response, delete, get, post
from litestar import put as put_

from pushpoint import wire
from pushpoint.errors import Unauthenticated
from pushpoint.names import AlgorithmName, check_branch, repository_url
from pushpoint.records import Actor, Algorithm, AlgorithmSource
from pushpoint.registry import algorithms, sources
from pushpoint.serving import Services
from pushpoint.web.algorithms import ROOT, seen

LARGEST_DELIVERY = 5 << 20
"""Bytes. GitHub's deliveries may be larger, but those of a push are not unless it has thousands of commits."""
PATIENCE = 8.0
"""Seconds that a delivery waits for its fetch; GitHub gives up after 10."""
DELIVERY = ("X-Hub-Signature-256", "X-GitHub-Event", "X-Gitlab-Token", "X-Gitlab-Event")
_PUSHES = {"push", "Push Hook"}


@get(f"{ROOT}/source", opt={"scope": "view", "deploys": True}, sync_to_thread=True)
def show(services: Services, actor: Actor, owner: str, name: str) -> wire.SourceView:
    """Show the repository on a git host that an algorithm is built from; 404 where the platform hosts it."""
    algorithm = seen(services, actor, owner, name, own=True)
    return _view(services, algorithm, sources.need(services.database, algorithm))


@put_(f"{ROOT}/source", opt={"scope": "manage"}, sync_to_thread=True)
def put(
    services: Services, actor: Actor, owner: str, name: str, body: Annotated[bytes, wire.SetSource]
) -> wire.SourceView:
    """Build an algorithm from a repository on a git host; the webhook's secret is shown when it is new."""
    algorithm = seen(services, actor, owner, name, own=True)
    asked = wire.decode(body, wire.SetSource)
    url = repository_url(asked.url)
    services.fetcher.check(url)
    secret = sources.put(
        services.database,
        services.vault,
        actor,
        algorithm,
        url,
        branch=check_branch(asked.branch) if asked.branch else None,
        username=asked.user,
        token=asked.token,
    )
    return _view(services, algorithm, sources.need(services.database, algorithm), secret)


@delete(f"{ROOT}/source", opt={"scope": "manage"}, sync_to_thread=True)
def remove(services: Services, actor: Actor, owner: str, name: str) -> None:
    """Host an algorithm on the platform again, with what was fetched."""
    sources.remove(services.database, actor, seen(services, actor, owner, name, own=True))


@post(f"{ROOT}/source/secret", opt={"scope": "manage"}, sync_to_thread=True, status_code=200)
def renew_secret(services: Services, actor: Actor, owner: str, name: str) -> wire.SourceView:
    """Replace the webhook's secret, and show the new one once."""
    algorithm = seen(services, actor, owner, name, own=True)
    secret = sources.renew_secret(services.database, services.vault, actor, algorithm)
    return _view(services, algorithm, sources.need(services.database, algorithm), secret)


@post(f"{ROOT}/source/reset", opt={"scope": "manage"}, sync_to_thread=True, status_code=200)
def reset(services: Services, actor: Actor, owner: str, name: str) -> wire.Commit:
    """Fetch, and take the host's branch as it is although its history was rewritten."""
    algorithm = seen(services, actor, owner, name, own=True)
    commit = services.fetcher.fetch(algorithm, rewritten=True)
    services.builder.pushed(algorithm)
    return wire.Commit(commit=commit)


@get(f"{ROOT}/scm/status", opt={"scope": "view", "deploys": True}, sync_to_thread=True)
def status(services: Services, actor: Actor, owner: str, name: str) -> wire.SourceStatus:
    """Look whether the platform can fetch an algorithm's source, and say where its webhook goes."""
    algorithm = seen(services, actor, owner, name, own=True)
    source = sources.find(services.database, algorithm)
    if source is None:
        return wire.SourceStatus(scm_connection_status="active")
    found, why = services.fetcher.status(source)
    return wire.SourceStatus(
        scm_connection_status=found, repository_webhook_url=_webhook_url(services, algorithm), message=why
    )


@post(
    f"{ROOT}/scm/webhook",
    opt={"scope": "open", "answers": {202: wire.Ignored, 204: None}, "headers": DELIVERY},
    sync_to_thread=True,
    request_max_body_size=LARGEST_DELIVERY,
)
def webhook(
    services: Services, request: Request[Any, Any, Any], owner: str, name: str, body: bytes
) -> Response[wire.Ignored | None]:
    """Take a git host's delivery: 204 fetched and building, 202 ignored. Its signature is the key.

    Source:
        GitHub, "Validating webhook deliveries"; GitLab, "Webhooks": `X-Gitlab-Token`; platform API, section 2.1.
    """
    headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in request.scope["headers"]}
    algorithm = _signed(services, owner, name, headers, body)
    if why := _reason_to_ignore(services, algorithm, headers, body):
        return Response(wire.Ignored(ignored=why), status_code=202)
    delivery = (
        headers.get("x-github-delivery") or headers.get("x-gitlab-event-uuid") or hashlib.sha256(body).hexdigest()
    )
    if not sources.is_first(services.database, algorithm, delivery):
        return Response(wire.Ignored(ignored="this delivery was seen before"), status_code=202)

    def forget_if_failed(fetched: Future[str]) -> None:  # so that the host may deliver it again
        if not fetched.cancelled() and fetched.exception():
            sources.forget(services.database, algorithm, delivery)

    fetching = services.fetcher.begin(algorithm)
    fetching.add_done_callback(forget_if_failed)
    with services.fetcher.place() as may_wait:
        if may_wait and fetching in wait([fetching], PATIENCE).done:
            fetching.result()
    return Response(None, status_code=204)


def _signed(services: Services, owner: str, name: str, headers: dict[str, str], body: bytes) -> Algorithm:
    """Find the algorithm whose secret signed a delivery.

    Raises:
        Unauthenticated: There is no such algorithm, or it has no source, or the signature is not right.
    """
    algorithm = algorithms.lookup(services.database, AlgorithmName(owner, name))
    source = sources.find(services.database, algorithm) if algorithm else None
    secret = sources.secret_of(services.vault, source) if source else secrets.token_hex(32)
    given, expected = headers.get("x-gitlab-token", ""), secret
    if "x-hub-signature-256" in headers:  # the SHA-1 of `X-Hub-Signature` is not enough
        given = headers["x-hub-signature-256"]
        expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    is_right = hmac.compare_digest(given.encode(), expected.encode())
    if algorithm is None or source is None or not is_right:
        raise Unauthenticated("no algorithm here takes this delivery; check the webhook's address and secret")
    return algorithm


def _reason_to_ignore(services: Services, algorithm: Algorithm, headers: dict[str, str], body: bytes) -> str:
    event = headers.get("x-github-event") or headers.get("x-gitlab-event") or ""
    if event not in _PUSHES:
        return "only pushes matter"
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):  # GitHub's other form
        body = parse_qs(body.decode("utf-8", "replace")).get("payload", [""])[0].encode()
    found = wire.lenient(body)
    place = found.get("repository") if "x-github-event" in headers else found.get("project")
    default = place.get("default_branch") if isinstance(place, dict) else None
    branch = sources.need(services.database, algorithm).branch or default
    if branch and found.get("ref") != f"refs/heads/{branch}":
        return "another branch is built"
    if set(str(found.get("after"))) == {"0"}:
        return "the branch was deleted"
    return ""


def _view(
    services: Services, algorithm: Algorithm, source: AlgorithmSource, secret: str | None = None
) -> wire.SourceView:
    return wire.SourceView(
        url=str(source.url),
        branch=source.branch,
        user=source.username,
        webhook_url=_webhook_url(services, algorithm),
        webhook_secret=secret,
    )


def _webhook_url(services: Services, algorithm: Algorithm) -> str:
    return f"{services.url}/v1/algorithms/{algorithm.name}/scm/webhook"
