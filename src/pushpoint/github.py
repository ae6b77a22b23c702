"""GitHub's deployments: an environment of a repository shows which commit is live, since when, and where.

A status is news of a deploy, never a part of it: `announced` lets nothing of GitHub's stop or change the deploy that it
tells about.

Source:
    GitHub REST API, version 2022-11-28: "Create a deployment", "Create a deployment status", "Rate limits for the
    REST API".
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, urlsplit

import httpx2
import msgspec
import stamina

from pushpoint import errors
from pushpoint.config import Secret

API = "https://api.github.com"
DESCRIPTION = 140
"""Characters that a description may have."""
PATIENCE = 30.0
"""Seconds that GitHub may ask us to wait; where it asks for more, the report is given up."""
State = Literal["in_progress", "success", "failure", "error"]


class _Again(Exception):
    """Worth another try, after so many seconds if GitHub said so."""

    def __init__(self, error: errors.Unavailable) -> None:
        self.error = error


class Deployments:
    """The deployments of one repository, with one token. Close it when done; it is a context manager too."""

    def __init__(self, token: Secret, repository: str, *, url: str = API, timeout: float = 10.0) -> None:
        """Reach a repository's deployments.

        Args:
            token: A token that may write deployments; it is sent in a header and shown nowhere.
            repository: `OWNER/NAME`.
            url: The API's address: `GITHUB_API_URL`, on GitHub Enterprise Server too.
            timeout: Seconds that one request may take.

        Raises:
            ConfigError: `url` would show the token on its way, or is no address; or `repository` is no name.
            Unauthenticated: `token` cannot be one; it is not sent.
        """
        self._token = token.reveal()
        if not self._token or not (self._token.isascii() and self._token.isprintable() and " " not in self._token):
            raise errors.Unauthenticated("the GitHub token is empty or holds characters that no token has; check it")
        owner, _, name = repository.partition("/")
        if not owner or not name or "/" in name or {owner, name} & {".", ".."}:
            raise errors.ConfigError(f"GITHUB_REPOSITORY is {repository!r}, which is no repository; write OWNER/NAME")
        self._path = f"/repos/{quote(owner, safe='')}/{quote(name, safe='')}/deployments"
        self._repository = repository
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"}):
            raise errors.ConfigError(f"GITHUB_API_URL is {url!r}, which would show the token on its way; use https")
        try:
            self._http = httpx2.Client(
                base_url=url.rstrip("/"),
                headers={
                    "authorization": f"Bearer {self._token}",
                    "accept": "application/vnd.github+json",
                    "x-github-api-version": "2022-11-28",
                    "user-agent": "pushpoint",
                },
                timeout=httpx2.Timeout(timeout, connect=min(5.0, timeout)),
            )
        except httpx2.InvalidURL as error:
            raise errors.ConfigError(f"GITHUB_API_URL is {url!r}, which is no address ({error}); correct it") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def create(self, commit: str, environment: str, *, description: str = "") -> int:
        """Create a deployment of exactly this commit: nothing is merged into it, and no check is waited for.

        Repeated where GitHub fails, so a creation whose answer was lost leaves a second deployment without a status.

        Args:
            commit: Full id of a commit that the repository holds.
            environment: Its name, made if it is new.
            description: Shown beside it; cut after 140 characters.

        Returns:
            Its number.

        Raises:
            Unavailable: GitHub answers something else than a deployment.
        """
        body = {
            "ref": commit,
            "environment": environment,
            "auto_merge": False,  # else GitHub may answer with a merge commit and no deployment
            "required_contexts": [],  # else our own job, which still runs, is a check that has not passed
            "description": _short(description),
        }
        try:
            return int(self._post(self._path, body)["id"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise errors.Unavailable(
                f"{self._http.base_url} does not answer as GitHub does; check GITHUB_API_URL"
            ) from error

    def report(
        self, deployment: int, state: State, *, description: str = "", log_url: str = "", environment_url: str = ""
    ) -> None:
        """Add a status; after a success GitHub makes the environment's earlier deployments inactive by itself.

        Args:
            deployment: The number that `create` returned.
            state: How it goes.
            description: Shown beside it; cut after 140 characters.
            log_url: Where the run can be read.
            environment_url: Where the deployed thing answers.
        """
        body = {"state": state, "description": _short(description)}
        body |= {"log_url": log_url} if log_url else {}
        body |= {"environment_url": environment_url} if environment_url else {}
        self._post(f"{self._path}/{deployment}/statuses", body)

    def _post(self, path: str, body: Mapping[str, object]) -> Any:
        try:
            for attempt in stamina.retry_context(
                on=_when, attempts=3, timeout=2 * PATIENCE, wait_initial=0.2, wait_max=3.0, wait_jitter=0.2
            ):
                with attempt:
                    answer = self._send(path, body)
        except _Again as again:
            raise again.error from again.__cause__
        return msgspec.json.decode(answer)

    def _send(self, path: str, body: Mapping[str, object]) -> bytes:
        try:
            answer = self._http.post(
                path, content=msgspec.json.encode(body), headers={"content-type": "application/json"}
            )
        except httpx2.TransportError as error:
            why = self._shown(str(error) or type(error).__name__)
            raise _Again(
                errors.Unavailable(f"no answer from {self._http.base_url} ({why}); check GITHUB_API_URL")
            ) from error
        if answer.status_code == 201:
            return answer.content
        said = self._said(answer)
        wait = _asked_to_wait(answer)
        if answer.status_code >= 500 or answer.status_code == 429 or wait is not None:
            later = f"run the job again in {wait:.0f} s" if wait else "run the job again later"
            raise _Again(errors.Unavailable(f"GitHub cannot take a deployment now: {said}; {later}", retry_after=wait))
        raise self._error(answer.status_code, said)

    def _error(self, status: int, said: str) -> errors.Error:
        match status:
            case 401:
                return errors.Unauthenticated(f"GitHub knows no such token: {said}; pass one that is valid")
            case 403:
                return errors.Refused(f"GitHub refuses: {said}; give the job `permissions: deployments: write`")
            case 404:
                advice = "give the job `permissions: deployments: write`, and check the repository's name"
                return errors.NotFound(
                    f"GitHub shows this token no deployments of {self._repository}: {said}; {advice}"
                )
            case 409:
                return errors.Conflict(f"GitHub creates no deployment: {said}; mend what it names")
            case 400 | 415 | 422:
                advice = "push the commit first if it has none"
                return errors.InvalidRequest(f"GitHub takes no such deployment: {said}; {advice}")
            case _:  # a redirect is not followed: the token stays with the address that it was meant for
                return errors.Unavailable(f"GitHub answers {said}; check GITHUB_API_URL and the repository's name")

    def _said(self, answer: httpx2.Response) -> str:
        try:
            found = msgspec.json.decode(answer.content)["message"]
        except (msgspec.DecodeError, KeyError, TypeError):
            found = answer.reason_phrase
        return f"{answer.status_code} {self._shown(str(found))}".strip()

    def _shown(self, text: str) -> str:
        """Make a stranger's text safe to print in a log: one line, no commands to the runner, no token.

        Returns:
            At most 200 characters.
        """
        line = " ".join(text.replace(self._token, "***").split()).replace("::", ": :")
        return "".join(letter for letter in line if letter.isprintable())[:200]


@dataclass(slots=True)
class Announcement:
    """What the environment will show once the deploy has ended well.

    Attributes:
        environment_url: Where it answers.
        description: What was deployed, in at most 140 characters.
    """

    environment_url: str = ""
    description: str = ""


@contextlib.contextmanager
def announced(
    environment: Mapping[str, str],
    token: Secret,
    *,
    commit: str,
    name: str,
    warn: Callable[[str], object],
    description: str = "",
) -> Iterator[Announcement]:
    """Announce a deploy on GitHub while it runs, and how it ended: by what leaves the block.

    An error of ours is a `failure`, anything else that leaves it an `error`; its text is not sent, since what a
    notebook prints is not for everybody who can see the repository. What goes wrong with GitHub is told to `warn`.

    Args:
        environment: Variables of the runner: `GITHUB_REPOSITORY`, `GITHUB_API_URL`, and for the link to the run
            `GITHUB_SERVER_URL`, `GITHUB_RUN_ID`, `GITHUB_RUN_ATTEMPT`.
        token: A token that may write deployments.
        commit: What is deployed; its full id.
        name: GitHub's environment. Not one that the job names as its own `environment`: for that one GitHub makes a
            deployment already.
        warn: Told in a sentence what GitHub did not take.
        description: What is about to be deployed.

    Yields:
        What to show at the end; fill it in.
    """
    announcement = Announcement()
    with contextlib.ExitStack() as stack:
        deployments, number = None, 0
        log_url = _run(environment)
        with _only_warned(warn):
            deployments = stack.enter_context(
                Deployments(
                    token, environment.get("GITHUB_REPOSITORY", ""), url=environment.get("GITHUB_API_URL") or API
                )
            )
            number = deployments.create(commit, name, description=description)

        def tell(state: State, text: str, environment_url: str = "") -> None:
            if deployments and number:
                with _only_warned(warn):
                    deployments.report(
                        number, state, description=text, log_url=log_url, environment_url=environment_url
                    )

        tell("in_progress", description)
        try:
            yield announcement
        except BaseException as error:
            tell("failure" if isinstance(error, errors.Error) else "error", f"{type(error).__name__}: see the log")
            raise
        tell("success", announcement.description, announcement.environment_url)


@contextlib.contextmanager
def _only_warned(warn: Callable[[str], object]) -> Iterator[None]:
    try:
        yield
    except errors.Error as error:
        warn(f"the deployment is not shown on GitHub: {error}")


def _run(environment: Mapping[str, str]) -> str:
    get = environment.get
    if not get("GITHUB_RUN_ID"):
        return ""
    server, attempt = get("GITHUB_SERVER_URL", "https://github.com"), get("GITHUB_RUN_ATTEMPT", "1")
    return f"{server}/{get('GITHUB_REPOSITORY', '')}/actions/runs/{get('GITHUB_RUN_ID')}/attempts/{attempt}"


def _when(error: Exception) -> bool | float:
    """Decide whether a request is repeated.

    Returns:
        Seconds to wait, or whether to repeat at all.
    """
    if not isinstance(error, _Again):
        return False
    wait = error.error.retry_after
    return True if wait is None else max(wait, 0.1) if wait <= PATIENCE else False


def _asked_to_wait(answer: httpx2.Response) -> float | None:
    """Read how long a limit lasts. GitHub says 403 to a limit as it does to a missing permission.

    Returns:
        Seconds; none where no limit was met, or it does not say.
    """
    headers = answer.headers
    if answer.status_code not in {403, 429} and answer.status_code < 500:
        return None
    if (after := headers.get("retry-after", "")).isdecimal():
        return float(after)
    if headers.get("x-ratelimit-remaining") == "0" and (reset := headers.get("x-ratelimit-reset", "")).isdecimal():
        return max(1.0, float(reset) - time.time())
    return 60.0 if b"secondary rate limit" in answer.content else None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= DESCRIPTION else line[: DESCRIPTION - 1] + "…"
