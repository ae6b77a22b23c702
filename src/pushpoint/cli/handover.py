"""Handing a platform over to its successor: the same command, started anew, while calls go on.

The two speak over a pair of Unix sockets, in this order: the one before gives the listening socket and the lock, and
names the builds whose workers are to be ready; its successor says each second what it does, and at last that it is
ready, or why it will never be; the one before stops accepting and says `begin`; then it gives each connection away as
soon as that is between two requests, so that no client notices. Its end is the end of the messages.

What came over a connection meanwhile waits in the kernel, which belongs to neither of the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from pathlib import Path
from traceback import format_exception
from typing import TYPE_CHECKING, NoReturn, cast
from weakref import WeakKeyDictionary, WeakSet

from rich.console import Console
from rich.text import Text

from pushpoint.cli import stand_in
from pushpoint.errors import Error, Unavailable

if TYPE_CHECKING:
    import uvicorn

    from pushpoint.serving import Services
    from pushpoint.serving.repeating import Repeating
    from pushpoint.web.protocol import Protocol

SOCKET = "control.sock"
"""In the home's `run`: who connects has the platform restarted, and reads how that went."""
VARIABLE = "PUSHPOINT_PREDECESSOR"
"""Of the successor's environment: the descriptor of its end of the messages."""
_BEGIN, _CONNECTION = b"begin", b"connection"
_LONGEST, _LONGEST_TEXT = 1 << 16, 8000
_PAUSE, _LOOK, _BEAT = 0.01, 0.1, 1.0
SILENCE = 60.0
"""Seconds without a word after which a successor that starts is ended."""
LONGEST_START = 900.0
"""Seconds after which it is ended anyway; a worker may take 600 of them."""
GRACE = 30.0
"""Seconds that calls under way may take when the platform is stopped."""
LAST_SECONDS = 5
"""What other requests have beyond that; those that are not done then are cut off."""
HEAD = 10.0
"""Seconds that a client has, at a handover, for the rest of a request's head."""
UNREAD = 60.0
"""Seconds after which a client that reads nothing of its answer is cut off, at a handover."""
LONGEST_END = 7200.0
"""Seconds that the process before has for what it has begun; a call and its worker's start may take 6000."""
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Successor:
    """The process that takes over, as seen from the one before it."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self.process, self._channel = process, channel

    @classmethod
    async def start(
        cls, listening: socket.socket, lock: int, first: int, builds: Iterable[str], tell: Callable[[str], None]
    ) -> Successor:
        """Start this very command anew, and wait until it could answer.

        Args:
            listening: Where the platform listens.
            lock: Descriptor of the home's lock.
            first: Number of the process that the platform was started as.
            builds: Ids of those whose workers must be ready.
            tell: Takes what it does meanwhile, again and again.

        Returns:
            The successor.

        Raises:
            Unavailable: It cannot be the successor, or is silent, or takes too long; it has ended. Its traceback is a
                note of this error.
        """
        if sys.platform != "linux":
            raise Unavailable("a running platform is handed over on Linux alone; stop it and start it again")
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # a successor's successor is to be ours as well
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, *sys.orig_argv[1:]]
            try:
                process = subprocess.Popen(command, env=os.environ | {VARIABLE: str(number)}, pass_fds=[number])
            except OSError as error:
                ours.close()
                raise _not_started(f"{command[0]} cannot be run ({error.strerror}); install it again") from error
        successor = cls(process, ours)
        try:
            ours.settimeout(SILENCE)
            wanted = json.dumps({"first": first, "builds": list(builds)[: _LONGEST // 50]}).encode()
            with contextlib.suppress(OSError):  # it has ended already, which is seen below
                socket.send_fds(ours, [wanted], [listening.fileno(), lock])
            await successor._until_ready(tell)
        except BaseException:
            process.kill()
            await asyncio.to_thread(process.wait)
            ours.close()
            raise
        ours.setblocking(False)
        return successor

    async def _until_ready(self, tell: Callable[[str], None]) -> None:
        latest = time.monotonic() + LONGEST_START
        while time.monotonic() < latest:
            try:
                said = await asyncio.to_thread(self._channel.recv, _LONGEST)
            except TimeoutError:
                raise _not_started(f"it said nothing for {SILENCE:g} seconds and was ended; try again") from None
            except OSError:  # it has ended, and left unread what it was sent
                said = b""
            match json.loads(said or b"{}"):
                case {"ready": True}:
                    return
                case {"doing": str(doing)}:
                    tell(doing)
                case {"failed": str(why), "traceback": str(traceback)}:
                    error = _not_started(why)
                    error.add_note(traceback)
                    raise error
                case _:
                    raise _not_started("it ended before it was ready; the platform's standard error tells more")
        raise _not_started(
            f"it was not ready after {LONGEST_START / 60:g} minutes and was ended; stop the platform and start it again"
        )

    def begin(self) -> None:
        """Tell it to accept connections; from now on it is the platform."""
        self._channel.send(_BEGIN)

    async def give(self, connections: Collection[Protocol], is_over: Callable[[], bool]) -> int:
        """Give connections away, each when it is between two requests, until none is left.

        Calls under way have their own time limit. A connection is cut off when its client alone is waited for: for the
        rest of a head, or to read its answer.

        Args:
            connections: Those that there are; it shrinks.
            is_over: Whether to end all the same.

        Returns:
            How many were cut off.
        """
        paused: WeakSet[Protocol] = WeakSet()
        stills: WeakKeyDictionary[Protocol, _Still] = WeakKeyDictionary()
        cut_off = 0
        while connections and not is_over():
            for connection in list(connections):
                if stills.setdefault(connection, _Still()).is_too_long(connection):
                    connection.transport.abort()
                    cut_off += 1
                if connection.transport.is_closing():
                    continue
                if connection not in paused and connection.has_read_all:
                    paused.add(connection)
                    connection.transport.pause_reading()
                if connection in paused and connection.is_between_requests:
                    self._give(connection)
            await asyncio.sleep(_PAUSE)
        return cut_off

    def _give(self, connection: Protocol) -> None:
        descriptor = connection.transport.get_extra_info("socket").fileno()
        try:
            socket.send_fds(self._channel, [_CONNECTION], [descriptor])
        except OSError:  # so many are on their way that there is no room: it is tried again
            return
        connection.transport.abort()  # our descriptor of it alone; nothing of it reaches the client

    def pass_on(self, number: int) -> None:
        """Send it a signal, which may be for its own successor."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)


class _Still:
    """Since when nothing has happened on a connection, of what only its client can do."""

    def __init__(self) -> None:
        self._seen: tuple[float, int, int] | None = None
        self._since = 0.0

    def is_too_long(self, connection: Protocol) -> bool:
        unread, limit, now = connection.transport.get_write_buffer_size(), math.inf, time.monotonic()
        if unread or connection.transport.is_closing():
            limit = UNREAD
        elif not connection.has_read_all and (connection.cycle is None or connection.cycle.response_complete):
            limit = HEAD
        seen = limit, unread, id(connection.scope)
        if seen != self._seen:
            self._seen, self._since = seen, now
        return now - self._since > limit


class Predecessor:
    """The process that hands over, as seen from its successor.

    Attributes:
        listening: Where the platform listens.
        lock: Descriptor of the home's lock, which is held.
        builds: Ids of those whose workers must be ready.
        process: Its number.
        first: Number of the process that the platform was started as.
        has_begun: Whether its successor is the platform.
        gone: Set when it has ended.
    """

    def __init__(self, channel: socket.socket) -> None:
        wanted, (listening, self.lock), _, _ = socket.recv_fds(channel, _LONGEST, 2, socket.MSG_CMSG_CLOEXEC)
        self._channel = channel
        self.listening = socket.socket(fileno=listening)
        asked = json.loads(wanted)
        self.first: int = asked["first"]
        self.builds: list[str] = asked["builds"]
        self.process = os.getppid()
        self.has_begun = False
        self._telling: asyncio.Task[None] | None = None
        self.gone = asyncio.Event()

    def tell(self, doing: str) -> None:
        """Say what this process does, now and again and again; on the loop."""

        async def tell() -> None:
            while True:
                self._say({"doing": self._doing})
                await asyncio.sleep(_BEAT)

        self._doing = doing
        if self._telling:
            self._say({"doing": doing})
        else:
            self._telling = asyncio.create_task(tell())

    def say_failed(self, error: Exception) -> None:
        """Say that this process will never be ready."""
        known = isinstance(error, Error)
        why = str(error) if known else f"{type(error).__name__}: {error}; platform.log has its traceback"
        traceback = "" if known else "".join(format_exception(error))
        self._say({"failed": why[:_LONGEST_TEXT], "traceback": traceback[-_LONGEST_TEXT:]})

    async def take_over(self) -> None:
        """Say that this process is ready, and wait until it is to be the platform.

        Raises:
            Unavailable: The one before has ended first.
        """
        if self._telling:
            self._telling.cancel()
        self._say({"ready": True})
        if await asyncio.to_thread(self._channel.recv, _LONGEST) != _BEGIN:
            raise Unavailable("the platform that was to be restarted has ended; start it again")
        self.has_begun = True

    def _say(self, what: Mapping[str, object]) -> None:
        with contextlib.suppress(OSError):  # nobody listens, which is noticed by waiting for an answer
            self._channel.send(json.dumps(what).encode(), socket.MSG_DONTWAIT)

    def take(self, server: uvicorn.Server) -> None:
        """Take the connections that it gives, on the loop, until it has ended.

        Args:
            server: Who answers on them from now on; it has started.
        """
        from pushpoint.web.protocol import Protocol

        loop = asyncio.get_running_loop()
        self._channel.setblocking(False)
        taking: set[asyncio.Task[object]] = set()

        def take(connection: socket.socket) -> None:
            config, state = server.config, server.server_state
            protocol = Protocol(config, state, server.lifespan.state)
            protocol.timeout_keep_alive_task = loop.call_later(
                config.timeout_keep_alive, protocol.timeout_keep_alive_handler
            )
            task = loop.create_task(loop.connect_accepted_socket(lambda: protocol, connection))
            taking.add(task)
            task.add_done_callback(taking.discard)

        def read() -> None:
            try:
                said, descriptors, _, _ = socket.recv_fds(self._channel, _LONGEST, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                said, descriptors = b"", []
            for descriptor in descriptors:
                take(socket.socket(fileno=descriptor))
            if not said:
                loop.remove_reader(self._channel)
                self._channel.close()
                self.gone.set()

        loop.add_reader(self._channel, read)


class Restarts:
    """What this process does about signals and restarts, as long as it serves; on the loop.

    Attributes:
        successor: Who takes over, once it is ready.
    """

    def __init__(
        self,
        services: Services,
        sweeper: Repeating,
        listening: socket.socket,
        lock: int,
        before: Predecessor | None,
        say: Console,
    ) -> None:
        self.successor: Successor | None = None
        self._say, self._first, self._doing = say, before.first if before else os.getpid(), ""
        self._services, self._sweeper, self._before = services, sweeper, before
        self._listening, self._lock = listening, lock
        import structlog

        self._log = structlog.get_logger()
        self._had_terminal = os.isatty(0)
        self._restart: asyncio.Task[int] | None = None
        self._adopting: asyncio.Task[None] | None = None
        self._finishing: asyncio.Task[None] | None = None
        self._end: asyncio.Task[None] | None = None

    async def begin(self, outer: uvicorn.Server, inner: uvicorn.Server, control: socket.socket) -> None:
        """Stop on SIGTERM and SIGINT; restart on SIGHUP, or when somebody who may write in the home asks for it.

        Args:
            outer: The server for callers.
            inner: The server for algorithms.
            control: Where `pushpoint restart` connects to.
        """
        self._outer, self._inner = outer, inner
        _mark(self._lock)
        self._control = await asyncio.start_unix_server(self._asked, sock=control)
        if self._before:
            self._adopting = asyncio.create_task(self._adopt(self._before))
        self._loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            signal.signal(number, self._signalled)

    def _signalled(self, number: int, _: object) -> None:
        # not by the loop alone: what reaches a process whose loop has made its last round would be lost
        if self.successor:
            self.successor.pass_on(number)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._heed, number)

    def _heed(self, number: int) -> None:
        if number != signal.SIGHUP:
            self._stop(number)
        elif self._had_terminal and not os.isatty(0):  # it was closed, and whoever started this there is gone
            self._stop(signal.SIGTERM)
        elif self.successor is None:
            self._begun()

    def _stop(self, number: int) -> None:
        if self._restart:
            self._restart.cancel()
        if self.successor:
            self.successor.pass_on(number)
        self._begin_end()

    def _begin_end(self) -> None:
        self._outer.should_exit = True
        if self._end is None:
            self._end = asyncio.create_task(self._end_calls())

    async def _end_calls(self) -> None:
        # those that ask for no result as well; and algorithms may call others until the last call is over
        services, loop = self._services, asyncio.get_running_loop()
        deadline = loop.time() + GRACE
        try:
            while not self._is_unused and loop.time() < deadline:
                await asyncio.sleep(_PAUSE)
            if not services.limits.are_unused:
                self._log.warning("the platform stops; calls that are under way are ended", after_seconds=GRACE)
                services.rollouts.close()
                await asyncio.to_thread(services.pools.close)
        finally:
            self._inner.should_exit = True

    @property
    def _is_unused(self) -> bool:
        return self._services.limits.are_unused and not self._outer.server_state.tasks

    async def _asked(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        restart, told = self._begun(), ""
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):  # whoever asked may have gone
            while not restart.done():
                if told != self._doing:
                    told = self._doing
                    _write(writer, {"doing": told})
                await asyncio.wait([restart], timeout=_LOOK)
            if restart.cancelled():
                _write(writer, {"error": "the platform was stopped meanwhile; start it again"})
            elif error := restart.exception():
                _write(writer, {"error": _reason(error)})
            else:
                _write(writer, {"process": restart.result(), "first": self._first})
            await writer.drain()

    async def _adopt(self, before: Predecessor) -> None:
        # what is written down to be done is ours to do, until and once more after the one before has ended
        from pushpoint.databases import Change, changes

        services, state, is_last = self._services, -1, False
        while not is_last:
            is_last = before.gone.is_set()
            if state != (state := changes(services.database, Change.WORK)):
                for look in (services.builder.adopt, services.rollouts.adopt, services.pools.refresh):
                    await asyncio.to_thread(look)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(before.gone.wait(), _LOOK)

    def _begun(self) -> asyncio.Task[int]:
        if self._restart is None:
            self._restart = asyncio.create_task(self._hand_over())
            self._restart.add_done_callback(self._restarted)
        return self._restart

    def _restarted(self, task: asyncio.Task[int]) -> None:
        if self.successor is None:
            self._restart = None  # it may be tried again
        if not task.cancelled() and (error := task.exception()):
            noted = "\n".join(getattr(error, "__notes__", ()))
            details = {"exception": noted} if noted else {} if isinstance(error, Error) else {"exc_info": error}
            self._log.error("not restarted", reason=_reason(error), **details)
            self._print(f"not restarted: {_reason(error)}", "bold yellow")

    def _print(self, text: str, style: str) -> None:
        with contextlib.suppress(OSError):  # whoever read it may have gone
            self._say.print(Text(text, style))

    def _tell(self, doing: str) -> None:
        self._doing = doing

    async def _hand_over(self) -> int:
        services = self._services
        gates = services.builder.gate, services.rollouts.gate
        if self._before and not self._before.gone.is_set():  # two of us at a time are enough
            raise Unavailable(
                f"process {self._before.process}, which handed over last, still finishes what it has begun; try again "
                f"when it has ended, in {LONGEST_END / 3600:g} hours at the latest (if it was stopped: kill -CONT)"
            )
        try:
            self._tell("builds and rollouts that are under way come to their end")
            for gate in gates:
                await asyncio.to_thread(gate.hold)
            self._tell("the new process starts")
            serving = [build for build, pool in services.pools.all().items() if pool.live_replicas]
            successor = await Successor.start(self._listening, self._lock, self._first, serving, self._tell)
        except BaseException:
            for gate in gates:
                gate.open()
            raise
        self.successor = successor
        await asyncio.to_thread(self._sweeper.close)  # it takes away what the calls of another process keep
        for server in self._outer.servers:
            server.close()
        successor.begin()
        self._log.info("handed over", successor=successor.process.pid)
        say = f"handed over: process {successor.process.pid} answers now; {os.getpid()} finishes what it has begun"
        self._print(say, "dim")
        self._finishing = asyncio.create_task(self._finish(successor))
        return successor.process.pid

    async def _finish(self, successor: Successor) -> None:
        latest = time.monotonic() + LONGEST_END

        def is_over() -> bool:
            is_late = time.monotonic() > latest
            return self._outer.should_exit or is_late or not _is_alive(int(os.pread(self._lock, 20, 0)))

        connections = cast("set[Protocol]", self._outer.server_state.connections)
        try:
            if cut_off := await successor.give(connections, is_over):
                self._log.warning("connections cut off at a handover, whose clients did nothing", connections=cut_off)
            while not (is_over() or self._is_unused):
                await asyncio.sleep(_PAUSE)
            if not is_over():
                await asyncio.to_thread(self._services.fetcher.finish)
        except Exception:
            self._log.exception("handing over hit a bug; connections that are left are closed when they are answered")
        self._begin_end()


def _not_started(why: str) -> Unavailable:
    return Unavailable(f"the platform goes on as it was, since its successor did not start: {why}")


def predecessor(variables: MutableMapping[str, str]) -> Predecessor | None:
    """Find out whether this process was started to take over.

    Args:
        variables: The environment; what the one before has left in it is taken out.

    Returns:
        The one before, if there is one.
    """
    number = variables.pop(VARIABLE, None)
    return Predecessor(socket.socket(fileno=int(number))) if number else None


def _write(writer: asyncio.StreamWriter, said: Mapping[str, object]) -> None:
    writer.write(json.dumps(said).encode() + b"\n")


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, Error) else f"{error!r} is a bug; platform.log has its traceback"


def _mark(lock: int) -> None:
    os.pwrite(lock, b"%-20d\n" % os.getpid(), 0)  # in one, and as long as the one before: somebody may be reading it


def _is_alive(process: int) -> bool:
    try:  # one of ours that has ended has its number until somebody asks for its end
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None
    except ChildProcessError:
        return Path("/proc", str(process)).exists()


def leave(successor: Successor, lock: Path, *, is_first: bool) -> NoReturn:
    """End this process, the platform being another one; or go on as a small program, until that one ends.

    Whoever started the platform knows the first process's number: systemd, a container, a shell.

    Args:
        successor: Who took over.
        lock: File that says which process is the platform.
        is_first: Whether this is the process that the platform was started as.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # they wait for the program that stands in
    if not is_first:
        for number in signal.sigpending().intersection(_SIGNALS):
            successor.pass_on(number)
        code = 0 if _is_alive(int(lock.read_text())) else successor.process.wait()
        os._exit(128 - code if code < 0 else code)
    if Path(stand_in.__file__).exists():  # who upgrades may have removed it
        with contextlib.suppress(OSError):
            arguments = [sys.executable, "-I", "-S", stand_in.__file__, str(lock)]
            os.execv(sys.executable, arguments)  # noqa: S606 - our own program, in this process's place
    os._exit(stand_in.main(str(lock)))
