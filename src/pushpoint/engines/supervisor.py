"""Keep workers alive, as many as the calls of a release need, and share the calls among them. No HTTP, no database.

All of this runs on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable

from pushpoint.engines.jobs import STOPPED, Job, Reply
from pushpoint.engines.streams import Stream
from pushpoint.engines.worker import PING_SECONDS, Start, Worker
from pushpoint.lifecycle import ReplicaState
from pushpoint.limits import available_memory, machine_memory
from pushpoint.runtime import frames
from pushpoint.runtime.messages import Call, Failure, Outcome, Ready
from pushpoint.scaling import Scaling

START_SECONDS = 600.0
"""How long import and `load()` may take."""
GRACE_SECONDS = 2.0
"""How long a worker may take to end by itself."""
BACKOFF_SECONDS = 0.1
BACKOFF_LIMIT_SECONDS = 10.0
STEADY_SECONDS = 10.0
"""A worker that lived so long, or has answered once, did not die of its start."""
GLANCE_SECONDS = 0.05
"""How often it is looked whether calls have run out of time, or wait for too long."""
PATIENCE_SECONDS = 0.5
"""A call that waits for a worker for so long is a reason for twice as many workers; quick ones never wait so long."""
TICK_SECONDS = 1.0
"""Between two looks at how busy the workers are."""
MEMORY_SECONDS = 30.0
"""For about so long a worker stays that is no longer needed, if there are calls."""
BUSY = 0.8
"""Of the time of all workers, what calls may take before one worker less will not do."""
FREE = 0.1
"""Of the machine's memory, what one more worker must leave."""


class Supervisor:
    """Keeps the workers of one release alive, and gives the next call to the one that has fewest.

    Attributes:
        scaling: How many there may be; may be changed at any time.
        failure: Why the newest start failed, while no worker is ready.
        in_flight: Calls that were taken and not yet answered.
        last_used: When the latest call began or ended, or the first workers were ready, in seconds of `time.monotonic`.
        at_once: How many calls the newest worker takes at a time.
        load_seconds: What verifying the model, import and load took in the newest worker.
        lost: How many workers have ended though nobody asked them to.
    """

    def __init__(
        self,
        make: Callable[[int], Start],
        scaling: Scaling,
        on_started: Callable[[Failure | None], None],
        on_lost: Callable[[str], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.scaling = scaling
        self.failure: Failure | None = None
        self.in_flight = 0
        self.at_once = 1
        self.last_used = time.monotonic()
        self.load_seconds = 0.0
        self._make, self._loop = make, loop
        self.lost = 0
        self._on_started, self._on_lost = on_started, on_lost
        self._workers: set[Worker] = set()
        self._waiting: deque[Job] = deque()
        self._glance: asyncio.TimerHandle | None = None
        self._unstarted = scaling.at_start
        self._usage, self._no_growth_before = 0.0, 0.0
        self._stopping = asyncio.Event()
        self._keepers: set[asyncio.Task[None]] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._watcher: asyncio.Task[None] | None = None

    @property
    def live_replicas(self) -> int:
        """How many workers can answer, now or after the call they are at."""
        return sum(worker.is_live for worker in self._workers)

    @property
    def is_live(self) -> bool:
        """Whether there is a worker that can answer."""
        for worker in self._workers:  # noqa: SIM110 - twice as fast as `any`, and each call asks
            if worker.is_live:
                return True
        return False

    @property
    def waiting(self) -> int:
        """How many calls no worker has."""
        return len(self._waiting)

    def begin(self) -> None:
        """Start the workers; on the loop."""
        self._add(self.scaling.at_start)
        self._watcher = asyncio.create_task(self._watch())

    def _add(self, workers: int) -> None:
        for _ in range(workers):
            keeper = asyncio.create_task(self._keep())
            self._keepers.add(keeper)
            keeper.add_done_callback(self._keepers.discard)

    async def call(self, call: Call, timeout: float, stream: Stream | None = None) -> Outcome:
        """Call the worker that has fewest calls, or wait for one that has room.

        Args:
            call: What to call it with.
            timeout: Seconds for waiting and answering together.
            stream: Where the items go, if they are to come one by one.

        Returns:
            The answer, or the failure: the algorithm's, a dead worker's, or that time is up.
        """
        outcome = stream.outcome if stream else self._loop.create_future()
        self.in_flight += 1
        try:
            failure = self._begin(Job(call, timeout, self._loop.time() + timeout, outcome, stream=stream))
            return failure or await outcome
        finally:
            self._over()

    def submit(self, call: Call, timeout: float, take: Callable[[Outcome], None]) -> None:
        """Do what `call` does, without a coroutine.

        Args:
            call: What to call it with.
            timeout: Seconds for waiting and answering together.
            take: Called once with the outcome; it must raise nothing.
        """

        def over(outcome: Outcome) -> None:
            self._over()
            take(outcome)

        job = Job(call, timeout, self._loop.time() + timeout, Reply(over))
        self.in_flight += 1
        if failure := self._begin(job):
            job.settle(failure)

    def _begin(self, job: Job) -> Failure | None:
        if len(job.call.data) > frames.DATA_LIMIT:
            return Failure("TooLargeError", f"the input is larger than {frames.DATA_LIMIT} bytes")
        self.last_used = time.monotonic()
        if self._waiting or not self._give(job):
            if self.failure and not self.is_live:
                return self.failure
            self._waiting.append(job)
        if self._glance is None:
            self._glance = self._loop.call_later(GLANCE_SECONDS, self._look)
        return None

    def _over(self) -> None:
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
                job.settle(STOPPED)
            return
        self._waiting.extendleft(reversed(jobs))
        for worker in list(self._workers):
            self._offer(worker)

    def _look(self) -> None:
        # first of all: whatever goes wrong below, calls must not lose their timeouts
        self._glance = self._loop.call_later(GLANCE_SECONDS, self._look) if self.in_flight else None
        now = self._loop.time()
        for job in self._waiting:
            if now >= job.deadline:
                job.settle(Failure("TimeoutError", f"no replica was free within {job.timeout:g} s", "", job.timeout))
        while self._waiting and self._waiting[0].outcome.done():
            self._waiting.popleft()
        for worker in list(self._workers):
            worker.look(now)
        if self._waiting and now - self._waiting[0].began > PATIENCE_SECONDS:
            self._grow(min(len(self._workers), len(self._waiting)))

    def _grow(self, workers: int) -> None:
        now = self._loop.time()
        if now < self._no_growth_before or any(one.state is ReplicaState.STARTING for one in self._workers):
            return
        self._no_growth_before = now + PATIENCE_SECONDS
        largest = max((worker.memory() for worker in self._workers), default=0)
        room = (available_memory() - FREE * machine_memory()) // largest if largest else workers
        self._add(int(min(workers, room, self.scaling.max_replicas - len(self._keepers))))

    def _fit(self) -> None:
        self._usage += (sum(one.usage() for one in self._workers) - self._usage) * TICK_SECONDS / MEMORY_SECONDS
        if not self._workers or self._stopping.is_set():
            return
        idle = [worker for worker in self._workers if worker.state is ReplicaState.READY]
        is_called = time.monotonic() - self.last_used < self.scaling.idle_seconds
        spare, least = self.scaling.spare_replicas if is_called else 0, max(self.scaling.min_replicas, 1)
        missing = max(least - len(self._keepers), spare - len(idle))
        if missing > 0:
            self._grow(missing)
        elif idle and len(self._workers) > max(least, math.ceil(self._usage / BUSY)) + spare:
            ending = asyncio.create_task(idle[0].stop(GRACE_SECONDS))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    def _refuse(self, failure: Failure) -> None:
        self.failure = failure
        while self._waiting and not self.is_live:
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
                    ready = Ready(START_SECONDS, Failure("LoadingError", f"not ready within {START_SECONDS:g} s"))
                self.load_seconds = ready.seconds
                if ready.failure is None:
                    self.failure, self.at_once = None, ready.at_once
                    self._offer(worker)
                else:
                    worker.kill()
                    self._refuse(ready.failure)
                if first:
                    first = False
                    self._started(ready.failure)
                    if ready.failure is not None:
                        self._no_growth_before = self._loop.time() + BACKOFF_LIMIT_SECONDS
                        return
                await worker.gone(self._again)
                if worker.state is ReplicaState.STOPPED:
                    return
                if worker.ending:
                    self.lost += 1
                    self._on_lost(worker.ending)
            finally:
                worker.kill()
                await worker.gone(self._again)
                self._workers.discard(worker)
            steady = worker.answered or self._loop.time() - worker.born > STEADY_SECONDS
            pause = BACKOFF_SECONDS if steady else min(max(pause * 2, BACKOFF_SECONDS), BACKOFF_LIMIT_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    def _started(self, failure: Failure | None) -> None:
        self.last_used = time.monotonic()
        self._unstarted -= 1
        if failure is not None or self._unstarted == 0:
            self._on_started(failure)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(min(PING_SECONDS / 5, TICK_SECONDS))
            for worker in list(self._workers):
                worker.check()
            self._fit()

    async def drain(self, timeout: float) -> None:
        """Wait for the calls under way, then end every worker."""
        deadline = time.monotonic() + timeout
        while self.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        self._stopping.set()
        while self._waiting:
            self._waiting.popleft().settle(STOPPED)
        await asyncio.gather(*(worker.stop(GRACE_SECONDS) for worker in list(self._workers)))
        await asyncio.gather(*self._keepers, *self._endings)
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait((self._watcher,))
