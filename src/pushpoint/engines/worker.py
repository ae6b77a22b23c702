"""One worker process, seen from outside: start it, give it calls, notice its end.

It is at the other end of a pair of Unix sockets made for it alone, so there is no address to attack; what it sends is
read with suspicion, and a worker that speaks nonsense is killed. All of this runs on one event loop.
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
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pushpoint.engines import Proxy, watching
from pushpoint.engines.jobs import STOPPED, Job
from pushpoint.engines.streams import Stream
from pushpoint.lifecycle import ReplicaState, advance
from pushpoint.runtime import frames
from pushpoint.runtime.messages import (
    CAPTURE,
    STDOUT_LIMIT,
    Answer,
    Call,
    Failure,
    Hello,
    Item,
    Message,
    More,
    Outcome,
    Ping,
    Pong,
    Ready,
    Stop,
)

PING_SECONDS = 5.0
"""How long a worker may be idle without being asked whether it is there, and how long it may take to say so."""
LAST_WORDS, LAST_ANSWERS_SECONDS = 2_000, 0.1
QUICK_SECONDS, AHEAD = 0.002, 8
"""A worker whose calls take less than this is given so many at a time, and takes them one after the other: it need not
wait for the next one to come. Those that it had not begun when it ended are another worker's."""
LEAST_SECONDS, LEAST_BATCH_SECONDS = 0.5, 10.0
"""A caller's patience ends its own call; a worker that is at it is ended when it was at it for so long as well."""
TOGETHER = 32
"""Frames to a worker that leave in one piece at most. It is half of the usual batch: a worker that has one half begins
while the other is still being read from the callers. Measured with 16, 32 and without: the noise was larger."""
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
        proxy: Its way to the network, closed after its end; none where it has no network.
    """

    command: Sequence[str]
    hello: Hello
    scratch: Path
    log: Path
    watch: watching.Watch
    proxy: Proxy | None = None


class Worker(asyncio.Protocol):
    """One worker process, seen from outside.

    Attributes:
        state: Where it is in the life of a replica.
        answered: How many calls it has answered.
        ending: Why it is no more, though nobody asked it to end; nothing before that.
        born: When it was started, in the loop's seconds.
    """

    def __init__(self, on_room: Callable[[Worker], None]) -> None:
        self.state = ReplicaState.STARTING
        self.answered = 0
        self.ending = ""
        self._loop = asyncio.get_running_loop()
        self.born = self._loop.time()
        self._on_room = on_room
        self._decoder = frames.Decoder()
        self._transport: asyncio.Transport | None = None
        self._scratch: Path | None = None
        self._proxy: Proxy | None = None
        self._watch: watching.Watch | None = None
        self._log: Path | None = None
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: asyncio.Future[Ready] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._call_id = 0
        self._jobs: dict[int, Job] = {}
        self._unsent: list[bytes] = []
        self._turn = self._busy_since = self._asked = self.born
        self._busy, self._streams = 0.0, 0
        self._at_once, self._repeatable = 1, False
        self._usual = QUICK_SECONDS
        self._quiet_since = self.born
        self._pinged = False
        self._accusation = ""

    @property
    def is_live(self) -> bool:
        """Whether it can answer, now or after the call it is at."""
        return self.state is ReplicaState.READY or self.state is ReplicaState.BUSY

    @property
    def load(self) -> int:
        """How many calls it has."""
        return len(self._jobs)

    @property
    def room(self) -> int:
        """How many calls it may be given now; none while one is to be alone."""
        jobs = self._jobs
        if not self.is_live or self._transport is None:
            return 0
        if self._transport.is_closing() or (len(jobs) == 1 and next(iter(jobs.values())).alone):
            return 0
        if self._at_once > 1:  # the next batch waits in the socket while it is at this one
            return (2 * self._at_once if self._repeatable else self._at_once) - len(jobs)
        return (AHEAD if self._usual < QUICK_SECONDS and not self._streams else 1) - len(jobs)

    def usage(self) -> float:
        """Say how busy it was since this was last asked.

        Returns:
            The part of the time in which it had a call, from 0 to 1.
        """
        now = self._loop.time()
        busy = self._busy + (now - self._busy_since if self._jobs else 0.0)
        seconds, self._asked = now - self._asked, now
        self._busy, self._busy_since = 0.0, now
        return busy / max(seconds, busy, 1e-9)

    def memory(self) -> int:
        """Measure what it uses.

        Returns:
            Bytes, with all that it has started; 0 where the system does not tell.
        """
        return watching.memory(watching.descendants(self._process.pid), sys.maxsize) if self._process else 0

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
                self._scratch, self._watch, self._proxy = start.scratch, start.watch, start.proxy
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
            self._at_once, self._repeatable = ready.at_once, ready.repeatable
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

    def take(self, job: Job) -> None:
        """Begin a call; there must be room for it."""
        if not self._jobs:
            self._advance(ReplicaState.BUSY)
            self._turn = self._busy_since = self._loop.time()
        self._call_id = self._call_id % 0xFFFFFFFF + 1
        self._jobs[self._call_id] = job
        call = job.call
        if (
            call.token and self._at_once > 1
        ):  # what it asks of the platform cannot be told apart, so it asks as its owner
            call = Call(call.content_type, call.data, "", call.stdout, call.trace, call.stream)
        self._send(self._call_id, call)
        if job.stream is not None:
            self._streams += 1
            self._follow(self._call_id, job.stream)

    def _follow(self, call_id: int, stream: Stream) -> None:
        def stop(outcome: asyncio.Future[Outcome]) -> None:
            if job := self._jobs.get(call_id):  # it was not the worker that ended the call
                self._send(call_id, Stop())
                job.deadline = min(job.deadline, self._loop.time() + LEAST_BATCH_SECONDS)

        stream.begin(lambda size: self._send(call_id, More(size)))
        stream.outcome.add_done_callback(stop)

    def look(self, now: float) -> None:
        """Answer the calls that have run out of time, and end a worker that does not come back from one."""
        for job in self._jobs.values():
            if now >= job.deadline:
                job.settle(_too_late(job))
        oldest = next(iter(self._jobs.values()), None)
        least = LEAST_BATCH_SECONDS if self._at_once > 1 else LEAST_SECONDS
        grace = least if oldest and oldest.stream else 0.0  # it was told to stop
        if oldest and now >= oldest.deadline + grace and now - self._turn >= least:
            late = f"the algorithm did not answer within {oldest.timeout:g} s"
            if self._at_once > 1:  # this is read by the callers of the others
                late = f"it answered no call for {now - self._turn:.0f} seconds, and one of them had run out of time"
            self.kill(late)

    def unbegun(self) -> list[Job]:
        """Take the calls of a worker that is no more and that another one may have.

        Returns:
            Those after the one that it was at; of a batch all of them, each to be alone, unless there was one alone.
        """
        jobs = [job for job in self._jobs.values() if not job.outcome.done()]
        if self._repeatable and len(jobs) > 1:
            for job in jobs:
                job.alone = True
        elif self._at_once > 1 or not jobs:
            return []
        else:
            ended = next(iter(self._jobs.values()))
            jobs = [job for job in jobs if job is not ended]
        self._jobs = {number: job for number, job in self._jobs.items() if job not in jobs}
        return jobs

    def check(self) -> None:
        """Notice a death that the socket does not show, and ask a quiet worker whether it is there."""
        now = self._loop.time()
        if self._has_ended():
            self._loop.call_later(LAST_ANSWERS_SECONDS, self._cut)  # its last answers may be in the socket
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

    async def gone(self, again: Callable[[list[Job]], None]) -> None:
        """Wait until the worker is no more, then tidy up after it.

        Args:
            again: Gets the calls that another worker may have.
        """
        await asyncio.shield(self._gone)
        ending = await self._reap()
        if self._proxy is not None:
            self._proxy.close()
        if self._watch is not None:
            await self._watch.end()
        if self.state is ReplicaState.STOPPING:
            self._advance(ReplicaState.STOPPED)
        elif self.state in {ReplicaState.READY, ReplicaState.BUSY}:
            self._advance(ReplicaState.LOST)
            self.ending = ending
        elif self.state is ReplicaState.STARTING:
            self._advance(ReplicaState.FAILED)
        kind = "SystemExit" if self._exited() else "SystemError"
        again(self.unbegun())
        seconds = self._loop.time() - self._turn
        stdout = self._unfinished_output()
        for job in self._jobs.values():
            job.settle(Failure(kind, ending, self._last_words(), seconds, stdout))
        self._jobs.clear()
        if self._watch is not None:
            await self._watch.looked()
        if self._scratch is not None:
            await asyncio.to_thread(_remove, self._scratch)

    async def stop(self, grace: float) -> None:
        """End the input, then ask, then force; the process is gone when this returns. Its calls end at once."""
        for job in self._jobs.values():
            job.settle(STOPPED)
        if self.state in {ReplicaState.READY, ReplicaState.BUSY}:
            self._advance(ReplicaState.STOPPING)
        self._accusation = self._accusation or "the release was stopped"
        self._cut()
        if not await self._exit_within(grace):
            self._signal(signal.SIGTERM)
            await self._exit_within(min(grace, 1.0))
        await self._reap()

    def _send(self, call_id: int, message: Message) -> None:
        # what is sent in one turn of the loop goes out in one piece: the worker wakes up once, and sees all that waits;
        # but one that has nothing to do gets its call at once
        self._unsent.append(frames.encode(call_id, message))
        if len(self._unsent) >= TOGETHER or len(self._jobs) <= 1:
            self._flush()
        elif len(self._unsent) == 1:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        unsent, self._unsent = b"".join(self._unsent), []
        if unsent and self._transport is not None and not self._transport.is_closing():
            self._transport.write(unsent)

    def data_received(self, data: bytes) -> None:
        """Take in frames from the worker; it is killed for one that is not in order."""
        try:
            for call_id, message in self._decoder.feed(data):
                self._receive(call_id, message)
        except frames.ProtocolError as error:
            self.kill(f"it was stopped because it broke the protocol: {error}")

    def _receive(self, call_id: int, message: Message) -> None:
        match message:
            case Item() if (job := self._jobs.get(call_id)) and job.stream:
                self._turn = self._loop.time()
                job.stream.put(message)
            case Answer() | Failure() if job := self._jobs.pop(call_id, None):
                self.answered += 1
                self._turn = self._quiet_since = self._loop.time()
                if job.stream is None:
                    self._usual += (message.duration - self._usual) / 8
                else:
                    self._streams -= 1
                job.settle(message)
                if not self._jobs and self.state is ReplicaState.BUSY:
                    self._advance(ReplicaState.READY)
                    self._busy += self._turn - self._busy_since
                self._on_room(self)
            case Pong() if self._pinged:
                self._pinged = False
            case Ready() if not self._ready.done() and self.state is ReplicaState.STARTING:
                self._ready.set_result(message)
            case _:
                raise frames.ProtocolError(f"nobody asked for this {type(message).__name__}")

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


def _too_late(job: Job) -> Failure:
    what = "was not done" if job.stream else "did not answer"  # items may have come
    return Failure("TimeoutError", f"the algorithm {what} within {job.timeout:g} s", "", job.timeout)


def _remove(folder: Path) -> None:
    def again(remove: Callable[[str], object], path: str, _: object) -> None:
        with contextlib.suppress(OSError):  # a folder that the algorithm has closed to itself
            os.chmod(os.path.dirname(path), 0o700)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
            remove(path)

    shutil.rmtree(folder, onerror=again)
    shutil.rmtree(folder, ignore_errors=True)
