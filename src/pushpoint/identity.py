"""Who CI says this job is: a token of GitHub's or GitLab's, which the platform exchanges for a key.

GitHub makes a new token each time it is asked, if the job has `permissions: id-token: write`. GitLab makes them before
the job begins (`id_tokens:`); each can be exchanged once, so
`PUSHPOINT_ID_TOKEN` may hold several, with spaces between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, urlsplit

import httpx2
import msgspec
import stamina

from pushpoint.errors import Unauthenticated, Unavailable

GIVEN = "PUSHPOINT_ID_TOKEN"
"""Variable with tokens that were made before."""
ASK, ASK_WITH = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
"""GitHub's variables: where to ask for a token, and with what."""


def is_offered(environment: Mapping[str, str]) -> bool:
    """Say whether CI vouches for this job.

    Returns:
        True if a token can be had.
    """
    return bool(environment.get(GIVEN, "").strip() or (environment.get(ASK) and environment.get(ASK_WITH)))


def secrets(environment: Mapping[str, str]) -> list[str]:
    """List the texts with which somebody else could pass for this job.

    Returns:
        Tokens, and what tokens are asked for with.
    """
    return [*environment.get(GIVEN, "").split(), *([environment[ASK_WITH]] if environment.get(ASK_WITH) else [])]


def source(environment: Mapping[str, str], *, audience: str) -> Callable[[], str]:
    """Say where tokens come from.

    Args:
        environment: Environment variables of the job, for which `is_offered` is true.
        audience: Whom GitHub makes the token out to: the platform's address. GitLab's name it in `aud:`.

    Returns:
        A function that returns a token, another one at each call. It raises `Unauthenticated` when there is none, and
        `Unavailable` when GitHub does not answer.
    """
    if given := environment.get(GIVEN, "").split():
        left = iter(given)
        return lambda: _next(left, len(given))
    return lambda: _ask(environment[ASK], environment[ASK_WITH], audience)


def _next(left: Iterator[str], count: int) -> str:
    found = next(left, None)
    if found is None:
        why = f"the job outlived the keys for its {count} token{'s' if count > 1 else ''} in {GIVEN}"
        raise Unauthenticated(f"{why}; give it one more under `id_tokens:`, or run the job again")
    return found


def _ask(url: str, credential: str, audience: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname != "127.0.0.1":
        raise Unauthenticated(f"{ASK} is no https address, so it is not GitHub's; unset it, or set PUSHPOINT_API_KEY")
    place = f"{url}{'&' if parts.query else '?'}audience={quote(audience, safe='')}"
    try:
        for attempt in stamina.retry_context(on=httpx2.TransportError, attempts=4, timeout=20.0, wait_initial=0.2):
            with attempt:
                answer = httpx2.get(place, headers={"authorization": f"bearer {credential}"}, timeout=10.0)
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        raise Unavailable(f"GitHub gives no token ({type(error).__name__}); run the job again") from error
    if answer.status_code >= 500:
        raise Unavailable(f"GitHub gives no token (it answers {answer.status_code}); run the job again")
    try:
        found = msgspec.json.decode(answer.content)["value"] if answer.is_success else None
    except (msgspec.DecodeError, KeyError, TypeError):
        found = None
    if not isinstance(found, str):
        why = f"GitHub gives this job no token (it answers {answer.status_code})"
        raise Unauthenticated(f"{why}; give the job `permissions: id-token: write`")
    return found
