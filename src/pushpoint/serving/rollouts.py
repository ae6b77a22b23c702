"""Rollouts: start -> verify -> smoke -> switch -> drain. A rollback is a rollout of an older release, on purpose.

Until the switch nothing that callers see has changed, and the switch is one compare-and-set. The newest commit wins:
the commits of an algorithm's repository are in one line, so a release whose commit comes before the live one's is
superseded, however late it is ready, unless it is a rollback.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import structlog

from pushpoint import smoke
from pushpoint.databases import Database
from pushpoint.engines.local import LocalPool
from pushpoint.errors import Error, RolloutFailed, Superseded
from pushpoint.lifecycle import DeploymentState
from pushpoint.names import AlgorithmName
from pushpoint.records import EVERYDAY, Actor, Algorithm, Build, Deployment, Release
from pushpoint.registry import accounts, algorithms, deployments, repositories
from pushpoint.runtime.messages import Call
from pushpoint.serving.gate import Gate
from pushpoint.serving.pools import START_TIMEOUT, Pools
from pushpoint.serving.tokens import Tokens

SMOKE_TIMEOUT = 300.0
_LONGEST_REASON = 4000

log = structlog.get_logger()


class Rollouts:
    """Makes releases live, in the background."""

    def __init__(
        self, database: Database, root: Path, pools: Pools, tokens: Tokens, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._database, self._root, self._pools, self._tokens = database, root, pools, tokens
        self._loop = loop
        self.gate = Gate()
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="rollout")
        self._begun: set[str] = set()
        self._lock = threading.Lock()

    def begin(
        self, actor: Actor, algorithm: Algorithm, release: Release, *, deploy_id: str, is_rollback: bool = False
    ) -> Deployment:
        """Begin to make a release live, once for each deploy.

        Returns:
            The deployment; look at it again until it is live, failed or superseded.
        """
        with self._lock:
            deployment, is_new = deployments.begin(
                self._database, actor, algorithm, release, deploy_id=deploy_id, is_rollback=is_rollback
            )
            if is_new:
                self._submit(algorithm, deployment)
        return deployment

    def adopt(self) -> None:
        """Go on with what another process of this platform has written down and not begun: it hands over to us."""
        with self._lock:
            for deployment in deployments.waiting(self._database):
                algorithm = algorithms.lookup(self._database, UUID(deployment.algorithm_id))
                if algorithm and deployment.id not in self._begun:
                    self._submit(algorithm, deployment)

    def _submit(self, algorithm: Algorithm, deployment: Deployment) -> None:
        self._begun.add(deployment.id)
        self._threads.submit(self._in_turn, algorithm.name, deployment)

    def _in_turn(self, name: AlgorithmName, deployment: Deployment) -> None:
        with self.gate.passing():
            self._roll_out(name, deployment)
        with self._lock:
            self._begun.discard(deployment.id)

    def make_live(self, actor: Actor, algorithm: Algorithm, release: Release, *, deploy_id: str) -> Deployment:
        """Make a release live, and wait for it.

        Returns:
            The deployment, live.

        Raises:
            RolloutFailed: It did not become live; the one before stays.
            Superseded: A newer commit is live.
        """
        deployment = self.begin(actor, algorithm, release, deploy_id=deploy_id)
        while deployment.state in {DeploymentState.STARTING, DeploymentState.VERIFYING}:
            time.sleep(0.05)
            deployment = deployments.find(self._database, algorithm, deployment.id)
        if deployment.state is DeploymentState.FAILED:
            raise RolloutFailed(deployment.reason)
        if deployment.state is DeploymentState.SUPERSEDED:
            raise Superseded(deployment.reason)
        return deployment

    def close(self) -> None:
        """Take no more rollouts."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _roll_out(self, name: AlgorithmName, deployment: Deployment) -> None:
        algorithm = algorithms.lookup(self._database, name)
        assert algorithm  # noqa: S101 - it has a deployment
        build = deployment.release.build
        try:
            pool = self._start(algorithm, build)
            deployment = deployments.move(self._database, deployment, DeploymentState.VERIFYING)
            self._smoke(algorithm, deployment.release, pool)
            before, deployment = self._switch(name, deployment)
        except Error as error:
            self._end(deployment, error)
            self._release_unless_live(name, build)
            return
        except Exception:
            log.exception("a rollout hit a bug", deployment=deployment.id)
            self._end(deployment, RolloutFailed("the platform has a bug; its log tells more"))
            self._release_unless_live(name, build)
            return
        log.info(
            "live",
            algorithm=str(name),
            version=str(deployment.release.version),
            generation=deployment.generation,
            load_seconds=round(pool.load_seconds, 3),
        )
        if before:
            self._release_unless_live(name, before.release.build)
            before = deployments.find(self._database, algorithm, before.id)
            deployments.move(self._database, before, DeploymentState.RETIRED)

    def _start(self, algorithm: Algorithm, build: Build) -> LocalPool:
        pool = self._pools.acquire(algorithm, build)
        try:
            pool.ready(timeout=START_TIMEOUT)
        except RolloutFailed as error:
            advice = "" if "deploy again" in error.reason else "; mend the inference code and deploy again"
            why = f"it did not start: {error.reason}{advice}"
            raise RolloutFailed(why, failure=error.failure) from error
        return pool

    def _release_unless_live(self, name: AlgorithmName, build: Build) -> None:
        algorithm = algorithms.lookup(self._database, name)
        live = deployments.live(self._database, algorithm) if algorithm else None
        if live is None or live.release.build.id != build.id:
            self._pools.release(build)

    def _switch(self, name: AlgorithmName, deployment: Deployment) -> tuple[Deployment | None, Deployment]:
        while True:
            algorithm = algorithms.lookup(self._database, name)
            assert algorithm  # noqa: S101 - it has a deployment
            before = deployments.live(self._database, algorithm)
            if before and not deployment.is_rollback and self._is_older(algorithm, deployment, before):
                raise Superseded(f"version {before.release.version} of a newer commit is live already; it stays live")
            self._pools.keep(deployment.release.build)
            try:
                return before, deployments.switch(self._database, algorithm, deployment)
            except Superseded:
                time.sleep(0.01)  # another went live between the look and the switch: look again

    def _is_older(self, algorithm: Algorithm, deployment: Deployment, before: Deployment) -> bool:
        repository = repositories.path(self._root, algorithm)
        return repositories.comes_before(repository, deployment.release.build.commit, before.release.build.commit)

    def _smoke(self, algorithm: Algorithm, release: Release, pool: LocalPool) -> None:
        repository = repositories.path(self._root, algorithm)
        text = repositories.read(repository, release.build.commit, smoke.FILE)
        owner = Actor(account=accounts.find(self._database, algorithm.name.owner), scopes=EVERYDAY)
        wrong = []
        for case in smoke.cases(text, release.sample_input):
            with self._tokens.during(owner, algorithm) as token:
                call = case.call()
                answer = pool.call(Call(call.content_type, call.data, token=token), timeout=SMOKE_TIMEOUT)
                outcome = asyncio.run_coroutine_threadsafe(answer, self._loop).result()
            if sentence := smoke.judge(case, outcome):
                wrong.append(sentence)
        if wrong:
            raise RolloutFailed(f"the smoke test failed: {'; '.join(wrong)}; mend the inference code or the test case")

    def _end(self, deployment: Deployment, error: Error) -> None:
        log.warning("not live", deployment=deployment.id, reason=str(error))
        if isinstance(error, Superseded) and deployment.state is DeploymentState.VERIFYING:
            deployments.move(self._database, deployment, DeploymentState.SUPERSEDED, reason=str(error))
        elif deployment.state in {DeploymentState.STARTING, DeploymentState.VERIFYING}:
            reason = error.reason if isinstance(error, RolloutFailed) else str(error)
            deployments.move(self._database, deployment, DeploymentState.FAILED, reason=reason[:_LONGEST_REASON])
