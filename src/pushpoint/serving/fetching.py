"""Fetching: what is new on an algorithm's git host comes into the platform's own repository, and is built from there.

Only ever the branch's present head is fetched, so whoever asks for a fetch, and however often, nothing old is built.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import structlog

from pushpoint import git, hosts
from pushpoint.databases import Database
from pushpoint.errors import Error, InvalidRequest, NotFound, Refused, Unauthenticated, Unavailable
from pushpoint.names import RepositoryUrl
from pushpoint.records import Algorithm, AlgorithmSource
from pushpoint.registry import repositories, sources
from pushpoint.registry.vault import Vault
from pushpoint.serving.building import Builder

STATUS_TIMEOUT = 15.0
"""Seconds that a look at a git host may take."""
PLACES = 4
"""Requests that may wait for git hosts at once, so that hosts which never answer leave threads for everybody else."""
_PINNING = (2, 37)
"""First git that can be told where a host is (`http.curloptResolve`)."""

log = structlog.get_logger()


class Fetcher:
    """Fetches in the background; each algorithm's fetches one after the other."""

    def __init__(self, database: Database, root: Path, vault: Vault, builder: Builder, listed: Set[str]) -> None:
        self._database, self._root, self._vault, self._builder = database, root, vault, builder
        self._listed = listed
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="fetch")
        self._lock = threading.Lock()
        self._turn: dict[str, threading.Lock] = {}
        self._waiting: dict[str, Future[str]] = {}
        self._places = threading.Semaphore(PLACES)

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Let a request wait for a git host, if not too many do.

        Yields:
            Whether it may.
        """
        found = self._places.acquire(blocking=False)
        try:
            yield found
        finally:
            if found:
                self._places.release()

    def check(self, url: RepositoryUrl) -> None:
        """Refuse an address that the platform will not speak to."""
        hosts.pin(url, self._listed)

    def begin(self, algorithm: Algorithm) -> Future[str]:
        """Fetch the head of an algorithm's source and begin to build it, in the background.

        Returns:
            The commit, later; a fetch that waits for its turn serves all who ask meanwhile.
        """
        with self._lock:
            waiting = self._waiting.get(algorithm.id)
            if waiting is None:
                waiting = self._waiting[algorithm.id] = self._threads.submit(self._in_turn, algorithm)
        return waiting

    def fetch(self, algorithm: Algorithm, *, rewritten: bool = False) -> str:
        """Fetch the head of an algorithm's source, now.

        Args:
            algorithm: Whose.
            rewritten: Whether to take a history that does not go on from what was fetched before.

        Returns:
            The commit.

        Raises:
            Conflict: The history was rewritten.
            InvalidRequest: The host does not give the platform that branch.
            Refused: The platform may not speak to the host.
            Unavailable: The host does not answer.
        """
        repository = repositories.path(self._root, algorithm)
        with self._lock:
            turn = self._turn.setdefault(algorithm.id, threading.Lock())
        with turn:
            with self._lock:
                self._waiting.pop(algorithm.id, None)  # from here on, who asks wants what comes after
            source = sources.need(self._database, algorithm)
            remote = self._remote(source)
            try:
                commit = repositories.fetch(repository, remote, source.branch)
            except (Unauthenticated, Refused, NotFound) as error:  # of the host, not of who asks us
                raise InvalidRequest(f"the platform could not fetch: {error}") from error
            repositories.follow(repository, commit, rewritten=rewritten)
        return commit

    def status(self, source: AlgorithmSource) -> tuple[str, str]:
        """Look whether the host would let the platform fetch.

        Returns:
            `active`, `deploy_key_error` or `provider_internal_error` (platform API, section 2.11), and why.
        """
        branch = f"refs/heads/{source.branch}" if source.branch else "HEAD"
        try:
            with self.place() as may_wait:
                if not may_wait:
                    return "provider_internal_error", "the platform waits for many git hosts already; look again"
                remote = self._remote(source)
                asked = ["ls-remote", "--quiet", "--end-of-options", remote.url, branch]
                timeout = STATUS_TIMEOUT
                found = git.run(asked, directory=self._root, variables=git.NOBODY, remote=remote, timeout=timeout)
        except (Unauthenticated, Refused, NotFound) as error:
            return "deploy_key_error", str(error)
        except Error as error:
            return "provider_internal_error", str(error)
        return "active", "" if found else "there is no commit yet; push one there"

    def finish(self) -> None:
        """Take no more fetches, and wait for those under way."""
        self._threads.shutdown()

    def close(self) -> None:
        """Take no more fetches; those under way end with their time limit."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _in_turn(self, algorithm: Algorithm) -> str:
        try:
            commit = self.fetch(algorithm)
            self._builder.pushed(algorithm)
        except Error as error:
            log.warning("a fetch failed", algorithm=str(algorithm.name), why=str(error))
            raise
        except Exception:
            log.exception("a fetch hit a bug", algorithm=str(algorithm.name))
            raise
        return commit

    def _remote(self, source: AlgorithmSource) -> git.Remote:
        pinned = hosts.pin(source.url, self._listed)
        more: tuple[tuple[str, str], ...] = ()
        if pinned is not None:
            if git.version() < _PINNING:
                why = "the platform's git is older than 2.37 and cannot be held to an address"
                raise Unavailable(f"{why}; ask its operator for a newer one, or to list the host (serve --git-host)")
            # and no proxy, which would look the name up again
            more = (("http.curloptResolve", pinned), ("http.proxy", ""))
        return git.Remote(
            str(source.url),
            source.username or "",
            sources.token_of(self._vault, source),
            advice="give the platform a token that may read there: pushpoint source set",
            more=more,
        )
