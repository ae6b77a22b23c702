"""Keep N workers alive: start, say hello, ping, replace, drain. No HTTP, no database.

Each worker is at the other end of a pair of Unix sockets made for it alone, so there is no address to attack; what it
sends is read with suspicion, and a worker that speaks nonsense is killed. All of this runs on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pushpoint.engines.watching import Watch
from pushpoint.lifecycle import ReplicaState, advance
from pushpoint.runtime import frames
from pushpoint.runtime.messages import (
    CAPTURE,
    STDOUT_LIMIT,
    Answer,
    Call,
    Failure,
    Hello,
    Message,
    Outcome,
    Ping,
    Pong,
    Ready,
)

PING_SECONDS = 5.0
"""How long a worker may be idle without being asked whether it is there, and how long it may take to say so."""
START_SECONDS = 600.0
"""How long import and `load()` may take."""
BACKOFF_SECONDS = 0.1
BACKOFF_LIMIT_SECONDS = 10.0
STEADY_SECONDS = 10.0
"""A worker that lived so long, or has answered once, did not die of its start."""
LAST_WORDS = 2_000
LOG_LIMIT = 64 << 20
"""Bytes after which a log is emptied, so that an algorithm which prints without end does not fill the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How to start one worker.

    Attributes:
        command: Program and arguments.
        hello: The first thing it is told.
        scratch: Its private folder, removed after its end.
        log: File for its output.
        watch: Who keeps its limits.
    """

    command: Sequence[str]
    hello: Hello
    scratch: Path
    log: Path
    watch: Watch


class Worker(asyncio.Protocol):
    """One worker process, seen from outside.

    Attributes:
        state: Where it is in the life of a replica.
        answered: How many calls it has answered.
        born: When it was started, in the loop's seconds.
    """

    def __init__(self, on_idle: Callable[[Worker], None]) -> None:
        self.state = ReplicaState.STARTING
        self.answered = 0
        self._loop = asyncio.get_running_loop()
        self.born = self._loop.time()
        self._on_idle = on_idle
        self._decoder = frames.Decoder()
        self._transport: asyncio.Transport | None = None
        self._scratch: Path | None = None
        self._watch: Watch | None = None
        self._log: Path | None = None
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: asyncio.Future[Ready] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._call_id = 0
        self._pending: asyncio.Future[Outcome] | None = None
        self._pending_since = 0.0
        self._limit: asyncio.TimerHandle | None = None
        self._quiet_since = self.born
        self._pinged = False
        self._accusation = ""

    @property
    def is_idle(self) -> bool:
        """Whether it can be called at once."""
        return self.state is ReplicaState.READY and not (self._transport is None or self._transport.is_closing())

    async def start(self, make: Callable[[int], Start]) -> Ready:
        """Start the process and wait until it has loaded.

        Args:
            make: Told the descriptor that the worker inherits, says how to start it.

        Returns:
            What it said, or a failure in its place.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs:
            try:
                start = make(theirs.fileno())
                self._scratch, self._watch = start.scratch, start.watch
                self._spawn(start, theirs.fileno())
            except OSError as error:
                self._advance(ReplicaState.FAILED)
                return Ready(0.0, Failure("LoadingError", f"the worker cannot be started: {error}"))
            ours.setblocking(False)
            self._transport, _ = await self._loop.create_unix_connection(lambda: self, sock=ours.dup())
        self._send(0, start.hello)
        ends: set[asyncio.Future[Ready] | asyncio.Future[None]] = {self._ready, self._gone}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self._ready.done():
            ready = self._ready.result()
        else:
            ending = await self._reap()
            seconds = self._loop.time() - self.born
            words = self._last_words()
            line = ("\n" + words.strip()).rpartition("\n")[2]
            message = f"{ending} while it was starting" + (f": {line}" if line else "")
            ready = Ready(seconds, Failure("LoadingError", message, words))
        self._advance(ReplicaState.FAILED if ready.failure else ReplicaState.READY)
        self._quiet_since = self._loop.time()
        return ready

    def _spawn(self, start: Start, descriptor: int) -> None:
        log = os.open(start.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._log, self._log_start = start.log, os.fstat(log).st_size
            self._process = subprocess.Popen(
                start.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={},
                cwd="/",
                pass_fds=[descriptor],
                start_new_session=True,
            )
            start.watch.begin(self._process.pid, self.kill)
        finally:
            os.close(log)

    def call(self, call: Call, deadline: float, timeout: float) -> asyncio.Future[Outcome]:
        """Begin a call on this idle worker.

        Args:
            call: What to call it with.
            deadline: When the call becomes a failure and the worker is killed, in the loop's seconds.
            timeout: The seconds the caller gave, to be named then.

        Returns:
            Where the outcome will be.
        """
        self._advance(ReplicaState.BUSY)
        self._call_id = self._call_id % 0xFFFFFFFF + 1
        self._pending = self._loop.create_future()
        self._pending_since = self._loop.time()
        self._limit = self._loop.call_at(deadline, self._too_long, timeout)
        self._send(self._call_id, call)
        return self._pending

    def check(self) -> None:
        """Notice a death that the socket does not show, and ask a quiet worker whether it is there."""
        now = self._loop.time()
        if self._has_ended():
            self._cut()
        elif self.state is ReplicaState.READY and now - self._quiet_since > PING_SECONDS:
            if self._pinged:
                self.kill("it did not answer a ping")
            else:
                self._pinged, self._quiet_since = True, now
                self._send(0, Ping())
        with contextlib.suppress(OSError):
            if self._log is not None and self._log.stat().st_size > LOG_LIMIT:
                os.truncate(self._log, 0)

    def kill(self, accusation: str = "") -> None:
        """End the process at once."""
        self._accusation = self._accusation or accusation
        self._signal(signal.SIGKILL)
        self._cut()

    async def gone(self) -> None:
        """Wait until the worker is no more, then tidy up after it."""
        await asyncio.shield(self._gone)
        ending = await self._reap()
        if self._watch is not None:
            await self._watch.end()
        if self.state is ReplicaState.STOPPING:
            self._advance(ReplicaState.STOPPED)
        elif self.state in {ReplicaState.READY, ReplicaState.BUSY}:
            self._advance(ReplicaState.LOST)
        elif self.state is ReplicaState.STARTING:
            self._advance(ReplicaState.FAILED)
        kind = "SystemExit" if self._exited() else "SystemError"
        seconds = self._loop.time() - self._pending_since
        stdout = self._unfinished_output()
        self._settle(Failure(kind, ending, self._last_words() if self._pending else "", seconds, stdout))
        if self._scratch is not None:
            await asyncio.to_thread(_remove, self._scratch)

    async def stop(self, grace: float) -> None:
        """End the input, then ask, then force; the process is gone when this returns."""
        if self.state in {ReplicaState.READY, ReplicaState.BUSY}:
            self._advance(ReplicaState.STOPPING)
        self._accusation = self._accusation or "the release was stopped"
        self._cut()
        if not await self._exit_within(grace):
            self._signal(signal.SIGTERM)
            await self._exit_within(min(grace, 1.0))
        await self._reap()

    def _send(self, call_id: int, message: Message) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames.encode(call_id, message))

    def data_received(self, data: bytes) -> None:
        """Take in frames from the worker; it is killed for one that is not in order."""
        try:
            for call_id, message in self._decoder.feed(data):
                self._receive(call_id, message)
        except frames.ProtocolError as error:
            self.kill(f"it was stopped because it broke the protocol: {error}")

    def _receive(self, call_id: int, message: Message) -> None:
        match message:
            case Answer() | Failure() if self._pending is not None and call_id == self._call_id:
                self.answered += 1
                self._quiet_since = self._loop.time()
                self._settle(message)
                if self.state is ReplicaState.BUSY:
                    self._advance(ReplicaState.READY)
                    self._on_idle(self)
            case Pong() if self._pinged:
                self._pinged = False
            case Ready() if not self._ready.done() and self.state is ReplicaState.STARTING:
                self._ready.set_result(message)
            case _:
                raise frames.ProtocolError(f"nobody asked for this {type(message).__name__}")

    def _settle(self, outcome: Outcome) -> None:
        if self._limit is not None:
            self._limit.cancel()
        pending, self._pending = self._pending, None
        if pending is not None and not pending.done():
            pending.set_result(outcome)

    def _too_long(self, timeout: float) -> None:
        message = f"the algorithm did not answer within {timeout:g} seconds"
        self._settle(Failure("TimeoutError", message, "", timeout))
        self.kill()

    def connection_lost(self, exc: Exception | None) -> None:
        """The worker has closed its end, or we have."""
        if not self._gone.done():
            self._gone.set_result(None)

    def _cut(self) -> None:
        if self._transport is None:
            self.connection_lost(None)
        else:
            self._transport.abort()

    def _advance(self, to: ReplicaState) -> None:
        self.state = advance(self.state, to)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and not self._has_ended():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _has_ended(self) -> bool:
        if self._process is None:
            return True
        if self._process.returncode is None and hasattr(os, "waitid"):
            if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
                return False
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # what it left; its number is its own until it is reaped
        return self._process.poll() is not None

    async def _exit_within(self, seconds: float) -> bool:
        deadline = self._loop.time() + seconds
        pause = 0.001
        while not self._has_ended():
            if self._loop.time() >= deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)
        return True

    async def _reap(self) -> str:
        if not await self._exit_within(0.5):
            self._signal(signal.SIGKILL)
            await self._exit_within(5.0)
        return self._ending()

    def _exited(self) -> bool:
        code = None if self._process is None else self._process.returncode
        return not self._accusation and code is not None and 0 <= code <= 128

    def _ending(self) -> str:
        if self._accusation:
            return f"the algorithm's worker is gone: {self._accusation}"
        code = None if self._process is None else self._process.returncode
        if code is None:
            return "the algorithm's worker is gone"
        number = -code if code < 0 else code - 128  # a sandbox reports the signal as a shell does
        if number <= 0:
            return f"the algorithm ended its process with exit code {code}"
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        if number == signal.SIGKILL and self._watch is not None and (limit := self._watch.ended_by()):
            return f"the algorithm's worker is gone: {limit}"
        likely = "; it was likely out of memory" if number == signal.SIGKILL else ""
        return f"the algorithm's process was ended by {name}{likely}"

    def _unfinished_output(self) -> str | None:
        # what a call printed that died with its worker; the folder was the algorithm's, so whatever lies there may be
        # there to mislead us
        if self._scratch is None or self._log is None:
            return None
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self._scratch / CAPTURE, flags)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            output = file.read(STDOUT_LIMIT)
        with contextlib.suppress(OSError), self._log.open("ab") as log:
            log.write(output)
        return output.decode("utf-8", "replace")

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        try:
            with self._log.open("rb") as log:
                log.seek(max(self._log_start, os.fstat(log.fileno()).st_size - LAST_WORDS))
                return log.read(LAST_WORDS).decode("utf-8", "replace")
        except OSError:
            return ""


def _remove(folder: Path) -> None:
    def again(remove: Callable[[str], object], path: str, _: object) -> None:
        with contextlib.suppress(OSError):  # a folder that the algorithm has closed to itself
            os.chmod(os.path.dirname(path), 0o700)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
            remove(path)

    shutil.rmtree(folder, onerror=again)
    shutil.rmtree(folder, ignore_errors=True)


class Supervisor:
    """Keeps the workers of one release alive, and gives the next call to one that is idle.

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
        self._idle: deque[Worker] = deque()
        self._waiting: deque[asyncio.Future[Worker | Failure]] = deque()
        self._unstarted = replicas
        self._stopping = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._watcher: asyncio.Task[None] | None = None

    @property
    def live_replicas(self) -> int:
        """How many workers can answer, now or after the call they are at."""
        return sum(worker.state in {ReplicaState.READY, ReplicaState.BUSY} for worker in self._workers)

    def begin(self) -> None:
        """Start the workers; on the loop."""
        self._keepers = [asyncio.create_task(self._keep()) for _ in range(self._replicas)]
        self._watcher = asyncio.create_task(self._watch())

    async def call(self, call: Call, timeout: float) -> Outcome:
        """Call the worker that has been idle longest, or wait for one.

        Args:
            call: What to call it with.
            timeout: Seconds for waiting and answering together.

        Returns:
            The answer, or the failure: the algorithm's, a dead worker's, or that time is up.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        if len(call.data) > frames.DATA_LIMIT:
            return Failure("TooLargeError", f"the input is larger than {frames.DATA_LIMIT} bytes")
        self.in_flight += 1
        self.last_used = time.monotonic()
        try:
            while True:
                found = self._take() or await self._wait(deadline - loop.time())
                if found is None:
                    return Failure("TimeoutError", f"no replica was free within {timeout:g} seconds", "", timeout)
                if isinstance(found, Failure):
                    return found
                if found.is_idle:
                    return await found.call(call, deadline, timeout)
        finally:
            self.in_flight -= 1
            self.last_used = time.monotonic()

    def _take(self) -> Worker | Failure | None:
        while self._idle:
            worker = self._idle.popleft()
            if worker.is_idle:
                return worker
        return self.failure if not self.live_replicas else None

    async def _wait(self, seconds: float) -> Worker | Failure | None:
        waiting: asyncio.Future[Worker | Failure] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await asyncio.wait((waiting,), timeout=max(seconds, 0.0))
        except asyncio.CancelledError:
            if waiting.done() and isinstance(worker := waiting.result(), Worker):
                self._offer(worker)  # it came too late for this caller: it is the next one's
            waiting.cancel()
            raise
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        return None

    def _offer(self, worker: Worker) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(worker)
                return
        self._idle.append(worker)

    def _refuse(self, failure: Failure) -> None:
        self.failure = failure
        while self._waiting and not self.live_replicas:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(failure)

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
                await worker.gone()
            finally:
                worker.kill()
                await worker.gone()
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
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(Failure("SystemError", "the release was stopped before it could answer"))
        self._waiting.clear()
        await asyncio.gather(*(worker.stop(grace) for worker in list(self._workers)))
        await asyncio.gather(*self._keepers)
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait((self._watcher,))
