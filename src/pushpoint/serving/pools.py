"""Live pools, by build. A release that goes live has one, and any release gets one when it is called.

A pool that nobody called for a while stops, unless its release is live and is to keep some workers. The call that then
comes waits for the new pool's start and is answered. After a restart the pools that keep workers are started again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from pushpoint.databases import Database
from pushpoint.engines import Launch
from pushpoint.engines.local import LocalEngine, LocalPool
from pushpoint.environments import interpreter
from pushpoint.errors import Error, RolloutFailed, Unavailable
from pushpoint.limits import WorkerLimits
from pushpoint.names import data_path
from pushpoint.reach import Reach
from pushpoint.records import EVERYDAY, Actor, Algorithm, Build
from pushpoint.registry import accounts, algorithms, builds, data, deployments, secrets
from pushpoint.registry.vault import Vault
from pushpoint.scaling import Scaling
from pushpoint.serving import reaching
from pushpoint.serving.repeating import Repeating
from pushpoint.serving.tokens import Tokens
from pushpoint.stores.local import LocalStore

START_TIMEOUT = 600.0
"""Seconds that import and `load()` may take."""
DRAIN_TIMEOUT = 60.0
IDLE = 300.0
"""Seconds after which a pool without traffic stops at the latest, if its release is not live."""
RETRY = 5.0
"""Seconds after which a call may be repeated that the platform's end has ended: a platform starts in less."""
LOOK = 1.0
"""Seconds between two looks at who is idle."""

RESTORED = 20
"""Pools that start with the platform besides those that are to keep workers: each is a process, and a first call can
wait."""

log = structlog.get_logger()


def note_lost(algorithm: str, reason: str) -> None:
    """Write into the log that a worker ended though nobody had asked it to."""
    log.warning("a worker ended", algorithm=algorithm, reason=reason)


class Pools:
    """The pools of one platform; all methods may be called from any thread."""

    def __init__(
        self,
        home: Path,
        database: Database,
        store: LocalStore,
        engine: LocalEngine,
        tokens: Tokens,
        vault: Vault,
        scaling: Scaling | None = None,
        bound: Reach | None = None,
    ) -> None:
        self._home, self._database, self._store, self._vault = home, database, store, vault
        self._engine, self._tokens, self._scaling, self._bound = engine, tokens, scaling or Scaling(), bound or Reach()
        self._pools: dict[str, LocalPool] = {}
        self._owner_tokens: dict[str, str] = {}
        self._live: set[str] = set()
        self._is_closed = False
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._reaper = Repeating("idle pools", LOOK, self._reap)

    def restore(self, before: Collection[str] | None = None) -> None:
        """Start the pools that keep workers, and some more, without waiting for them.

        Args:
            before: The builds that had workers in the platform before this one, which still runs. By default there is
                none, and what went live last is started.
        """
        if before is None:
            rest = algorithms.live(self._database, limit=RESTORED)
        else:
            rest = algorithms.live_of(self._database, before)
        for algorithm in (*algorithms.kept(self._database), *rest):
            if deployment := deployments.live(self._database, algorithm):
                try:
                    self.keep(deployment.release.build)
                    self.acquire(algorithm, deployment.release.build)
                except Error as error:
                    log.error("a live release does not start", algorithm=str(algorithm.name), reason=str(error))

    def wait_for(self, build_ids: Iterable[str]) -> None:
        """Wait until the pools of builds are ready, as far as they were started.

        Raises:
            RolloutFailed: One cannot start.
        """
        for build_id in build_ids:
            if pool := self._pools.get(build_id):
                try:
                    pool.ready(timeout=START_TIMEOUT)
                except RolloutFailed as error:
                    why = f"{pool.launch.algorithm} does not start: {error.reason}"
                    raise RolloutFailed(why, failure=error.failure) from error

    def running(self, build: Build) -> LocalPool | None:
        """Look up the pool of a build, without starting one.

        Returns:
            The pool, or none.
        """
        return self._pools.get(build.id)

    def all(self) -> dict[str, LocalPool]:
        """Look at every pool there is, by its build's id.

        Returns:
            What there was just now.
        """
        return self._pools.copy()

    def acquire(self, algorithm: Algorithm, build: Build) -> LocalPool:
        """Return the pool of a build, starting it if there is none.

        Returns:
            The pool; it may not be ready yet.

        Raises:
            Unavailable: The platform is stopping.
        """
        with self._lock:
            pool = self._pools.get(build.id)
            if pool is None:
                if self._is_closed:
                    raise Unavailable("the platform is stopping; call again", retry_after=RETRY)
                token = self._owner_tokens[build.id] = self._owner_token(algorithm)
                pool = self._engine.start(self.launch(algorithm, build, token=token))
                self._pools[build.id] = pool
            return pool

    def keep(self, build: Build) -> None:
        """Count this pool as that of a live release."""
        self._live.add(build.id)

    def release(self, build: Build) -> None:
        """Let go of a pool: no new calls, those in flight end, then its workers stop."""
        self._live.discard(build.id)
        self.restart(build)

    def restart(self, build: Build) -> None:
        """Stop a pool; the next call starts another."""
        self._end(*self._take(build.id))

    def forget(self, build_ids: Iterable[str]) -> None:
        """Stop the pools of builds that are no more, in the background."""
        gone = set(build_ids)
        self._live -= gone
        self._end_later(gone)

    def _end_later(self, build_ids: Iterable[str]) -> None:
        taken = [self._take(build_id) for build_id in build_ids]

        def end() -> None:
            for pool, token in taken:
                self._end(pool, token)

        threading.Thread(target=end, name="ending", daemon=True).start()

    def _take(self, build_id: str) -> tuple[LocalPool | None, str | None]:
        with self._lock:
            return self._pools.pop(build_id, None), self._owner_tokens.pop(build_id, None)

    def _end(self, pool: LocalPool | None, token: str | None) -> None:
        if pool:
            pool.drain(timeout=DRAIN_TIMEOUT)
        if token:
            self._tokens.revoke(token)

    def renew(self, algorithm: Algorithm) -> None:
        """Start the workers of an algorithm anew. Those of the live release end when the new ones are ready.

        Raises:
            RolloutFailed: The live release does not start with what is new; the workers that run go on.
        """
        with self._renewing:
            deployment = deployments.live(self._database, algorithm)
            live = deployment.release.build if deployment else None
            rest = builds.ids(self._database, algorithm) - {live.id if live else ""}
            self._end_later(one for one in rest if (pool := self._pools.get(one)) and pool.live_replicas)
            old = self._pools.get(live.id) if live else None
            if live is None or old is None:
                return
            token = self._owner_token(algorithm)
            new = self._engine.start(self.launch(algorithm, live, token=token))
            try:
                new.ready(timeout=START_TIMEOUT)
            except RolloutFailed:
                self._end(new, token)
                raise
            with self._lock:
                is_same = self._pools.get(live.id) is old
                if is_same:
                    self._pools[live.id] = new
                    token, self._owner_tokens[live.id] = self._owner_tokens[live.id], token
            threading.Thread(target=self._end, args=(old if is_same else new, token), daemon=True).start()

    def refresh(self) -> None:
        """Start anew the workers of live releases that were started with what is not so any more."""
        for algorithm in algorithms.live(self._database, limit=RESTORED):
            deployment = deployments.live(self._database, algorithm)
            pool = self._pools.get(deployment.release.build.id) if deployment else None
            if deployment and pool:
                try:
                    now = self.launch(algorithm, deployment.release.build, token=pool.launch.owner_token)
                    if now != pool.launch:
                        self.renew(algorithm)
                except Error as error:
                    log.error("a live release does not start", algorithm=str(algorithm.name), reason=str(error))

    def try_out(self, algorithm: Algorithm, build: Build, environment: str, say: Callable[[str], None]) -> None:
        """Import and load a build once, in a worker that is then stopped.

        What Python compiles meanwhile is kept for the workers that follow, of this build alone. They cannot write
        there.
        """
        with self._tokens.during(self._owner(algorithm), algorithm) as token:
            launch = self.launch(algorithm, build, token=token, environment=environment)
            launch.bytecode.mkdir()
            pool = self._engine.start(replace(launch, bytecode_writable=True))
            try:
                pool.ready(timeout=START_TIMEOUT)
                say(f"import and load succeeded in {pool.load_seconds:.3f} s")
            finally:  # the build need not wait for a worker's end
                threading.Thread(target=pool.drain, args=(DRAIN_TIMEOUT,), name="tried out", daemon=True).start()

    def launch(
        self,
        algorithm: Algorithm,
        build: Build,
        *,
        token: str,
        environment: str | None = None,
    ) -> Launch:
        """Say what a worker of a build needs.

        Returns:
            The launch, for the engine.

        Raises:
            RolloutFailed: The manifest names a model that is not the owner's.
        """
        digest = environment or build.environment or ""
        root = self._home / "environments" / digest
        folder = self._home / "builds" / build.id
        model = None
        if build.manifest:
            if build.manifest.algorithm != str(algorithm.name):
                raise RolloutFailed(
                    f"the manifest is for {build.manifest.algorithm}, not for {algorithm.name}; deploy the model here"
                )
            path = data_path(build.manifest.uri)
            if path.owner != algorithm.name.owner:
                raise RolloutFailed(f"the manifest names {path}, which is not {algorithm.name.owner}'s; deploy again")
            model = self._store.path(data.file(self._database, self._owner(algorithm), path).blob.digest)
        return Launch(
            algorithm=str(algorithm.name),
            module=algorithm.name.name,
            code=folder / "code",
            python=interpreter(root),
            environment=root,
            bytecode=folder / "bytecode",
            model=model,
            log=folder / "output.log",
            variables=secrets.opened(self._database, self._vault, algorithm),
            owner_token=token,
            reach=self._reach_of(algorithm),
            limits=_limits(algorithm),
            scaling=self._scaling_of(algorithm),
        )

    def bounds(self, algorithm: Algorithm) -> tuple[WorkerLimits, Scaling, Reach]:
        """Say what an algorithm's owner gets of what they asked for.

        Returns:
            What each worker may use, how many there may be, and what they may reach.
        """
        limits = self._engine.limits.lowered(_limits(algorithm))
        return limits, self._scaling_of(algorithm), self._reach_of(algorithm)

    def rescale(self, algorithm: Algorithm) -> None:
        """Let an algorithm's pools have as many workers as its owner now asks for; those that run go on."""
        scaling = self._scaling_of(algorithm)
        for build_id in builds.ids(self._database, algorithm):
            if pool := self._pools.get(build_id):
                pool.scale(scaling)
        deployment = deployments.live(self._database, algorithm)
        if deployment and scaling.min_replicas:
            self.acquire(algorithm, deployment.release.build)

    def close(self) -> None:
        """Stop every pool, those that are ending too, and start none any more: the platform ends. Safe to repeat."""
        with self._lock:
            self._pools, self._is_closed = {}, True
        self._engine.close()
        self._reaper.close()

    def _reap(self) -> None:
        now = time.monotonic()
        with self._lock:
            idle = [key for key, pool in self._pools.items() if self._is_idle(key, pool, now)]
        self._end_later(idle)

    def _is_idle(self, build_id: str, pool: LocalPool, now: float) -> bool:
        if pool.in_flight or pool.is_starting:
            return False
        if build_id not in self._live:
            return now - pool.last_used > min(pool.scaling.idle_seconds, IDLE)
        return not pool.scaling.min_replicas and now - pool.last_used > pool.scaling.idle_seconds

    def _reach_of(self, algorithm: Algorithm) -> Reach:
        return reaching.asked(algorithm.settings).within(self._bound)

    def _scaling_of(self, algorithm: Algorithm) -> Scaling:
        asked = algorithm.settings.get("scaling")
        return self._scaling.asked(asked) if isinstance(asked, dict) else self._scaling

    def _owner(self, algorithm: Algorithm) -> Actor:
        account = accounts.find(self._database, algorithm.name.owner)
        return Actor(account=account, scopes=EVERYDAY, through=algorithm.name)

    def _owner_token(self, algorithm: Algorithm) -> str:
        return self._tokens.issue(self._owner(algorithm), algorithm)


def _limits(algorithm: Algorithm) -> Mapping[str, object]:
    asked = algorithm.settings.get("limits")
    return asked if isinstance(asked, dict) else {}
