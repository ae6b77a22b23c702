"""Keep N workers alive, and share the calls of a release among them. No HTTP, no database.

All of this runs on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

from pushpoint.engines.streams import Stream
from pushpoint.engines.worker import PING_SECONDS, Job, Start, Worker
from pushpoint.lifecycle import ReplicaState
from pushpoint.runtime import frames
from pushpoint.runtime.messages import Call, Failure, Outcome, Ready

START_SECONDS = 600.0
"""How long import and `load()` may take."""
BACKOFF_SECONDS = 0.1
BACKOFF_LIMIT_SECONDS = 10.0
STEADY_SECONDS = 10.0
"""A worker that lived so long, or has answered once, did not die of its start."""
GLANCE_SECONDS = 0.05
"""How often it is looked whether calls have run out of time."""

_STOPPED = Failure("SystemError", "the release was stopped before it could answer")


class Supervisor:
    """Keeps the workers of one release alive, and gives the next call to the one that has fewest.

    Attributes:
        failure: Why the newest start failed, while no worker is ready.
        in_flight: Calls that were taken and not yet answered.
        last_used: When the latest call began or ended, in seconds of `time.monotonic`.
        load_seconds: What verifying the model, import and load took in the newest worker.
    """

    def __init__(
        self, make: Callable[[int], Start], replicas: int, on_started: Callable[[Failure | None], None]
    ) -> None:
        self.failure: Failure | None = None
        self.in_flight = 0
        self.last_used = time.monotonic()
        self.load_seconds = 0.0
        self._make = make
        self._replicas = replicas
        self._on_started = on_started
        self._workers: set[Worker] = set()
        self._waiting: deque[Job] = deque()
        self._glance: asyncio.TimerHandle | None = None
        self._unstarted = replicas
        self._stopping = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._watcher: asyncio.Task[None] | None = None

    @property
    def live_replicas(self) -> int:
        """How many workers can answer, now or after the call they are at."""
        return sum(worker.state in {ReplicaState.READY, ReplicaState.BUSY} for worker in self._workers)

    @property
    def waiting(self) -> int:
        """How many calls no worker has."""
        return len(self._waiting)

    def begin(self) -> None:
        """Start the workers; on the loop."""
        self._keepers = [asyncio.create_task(self._keep()) for _ in range(self._replicas)]
        self._watcher = asyncio.create_task(self._watch())

    async def call(self, call: Call, timeout: float, stream: Stream | None = None) -> Outcome:
        """Call the worker that has fewest calls, or wait for one that has room.

        Args:
            call: What to call it with.
            timeout: Seconds for waiting and answering together.
            stream: Where the items go, if they are to come one by one.

        Returns:
            The answer, or the failure: the algorithm's, a dead worker's, or that time is up.
        """
        loop = asyncio.get_running_loop()
        if len(call.data) > frames.DATA_LIMIT:
            return Failure("TooLargeError", f"the input is larger than {frames.DATA_LIMIT} bytes")
        outcome = stream.outcome if stream else loop.create_future()
        job = Job(call, timeout, loop.time() + timeout, outcome, stream=stream)
        self.in_flight += 1
        self.last_used = time.monotonic()
        try:
            if self._waiting or not self._give(job):
                if self.failure and not self.live_replicas:
                    return self.failure
                self._waiting.append(job)
            if self._glance is None:
                self._glance = loop.call_later(GLANCE_SECONDS, self._look)
            return await job.outcome
        finally:
            self.in_flight -= 1
            self.last_used = time.monotonic()

    def _give(self, job: Job) -> bool:
        best, least = None, frames.MOST_AT_ONCE * 2
        for worker in self._workers:
            if worker.load < least and worker.room > 0 and not (job.alone and worker.load):
                best, least = worker, worker.load
        if best:
            best.take(job)
        return best is not None

    def _offer(self, worker: Worker) -> None:
        waiting = self._waiting
        while waiting and worker.room > 0 and not (waiting[0].alone and worker.load):
            job = waiting.popleft()
            if not job.outcome.done():
                worker.take(job)

    def _again(self, jobs: list[Job]) -> None:
        if self._stopping.is_set():
            for job in jobs:
                job.settle(_STOPPED)
            return
        self._waiting.extendleft(reversed(jobs))
        for worker in list(self._workers):
            self._offer(worker)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for job in self._waiting:
            if now >= job.deadline:
                job.settle(
                    Failure("TimeoutError", f"no replica was free within {job.timeout:g} seconds", "", job.timeout)
                )
        while self._waiting and self._waiting[0].outcome.done():
            self._waiting.popleft()
        for worker in list(self._workers):
            worker.look(now)
        self._glance = loop.call_later(GLANCE_SECONDS, self._look) if self.in_flight else None

    def _refuse(self, failure: Failure) -> None:
        self.failure = failure
        while self._waiting and not self.live_replicas:
            self._waiting.popleft().settle(failure)

    async def _keep(self) -> None:
        pause, first = 0.0, True
        while not self._stopping.is_set():
            worker = Worker(self._offer)
            self._workers.add(worker)
            try:
                try:
                    ready = await asyncio.wait_for(worker.start(self._make), START_SECONDS)
                except TimeoutError:
                    ready = Ready(START_SECONDS, Failure("LoadingError", f"not ready within {START_SECONDS:g} seconds"))
                self.load_seconds = ready.seconds
                if ready.failure is None:
                    self.failure = None
                    self._offer(worker)
                else:
                    worker.kill()
                    self._refuse(ready.failure)
                if first:
                    first = False
                    self._started(ready.failure)
                    if ready.failure is not None:
                        return
                await worker.gone(self._again)
            finally:
                worker.kill()
                await worker.gone(self._again)
                self._workers.discard(worker)
            steady = worker.answered or asyncio.get_running_loop().time() - worker.born > STEADY_SECONDS
            pause = BACKOFF_SECONDS if steady else min(max(pause * 2, BACKOFF_SECONDS), BACKOFF_LIMIT_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    def _started(self, failure: Failure | None) -> None:
        self._unstarted -= 1
        if failure is not None or self._unstarted == 0:
            self._on_started(failure)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(min(PING_SECONDS / 5, 1.0))
            for worker in list(self._workers):
                worker.check()

    async def drain(self, timeout: float, grace: float) -> None:
        """Wait for the calls under way, then end every worker."""
        deadline = time.monotonic() + timeout
        while self.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        self._stopping.set()
        while self._waiting:
            self._waiting.popleft().settle(_STOPPED)
        await asyncio.gather(*(worker.stop(grace) for worker in list(self._workers)))
        await asyncio.gather(*self._keepers)
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait((self._watcher,))
