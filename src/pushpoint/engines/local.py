"""Worker processes on this host."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import secrets
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from pathlib import Path

from pushpoint.engines import Confinement, Launch, WayOut
from pushpoint.engines.cgroups import NO_GROUPS, Groups
from pushpoint.engines.jobs import UNAVAILABLE
from pushpoint.engines.streams import Stream
from pushpoint.engines.supervisor import Supervisor
from pushpoint.engines.watching import Watch
from pushpoint.engines.worker import LOG_LIMIT, Start
from pushpoint.errors import RolloutFailed, Unavailable
from pushpoint.limits import WorkerLimits
from pushpoint.runtime import lay_down
from pushpoint.runtime.messages import Call, Failure, Hello, Outcome
from pushpoint.scaling import Scaling

THREADS = ("MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class LocalEngine:
    """Starts pools of workers; their sockets live on `loop`, which must outlive them.

    Its methods may be called from any thread.
    """

    def __init__(
        self,
        home: Path,
        sandbox: Confinement,
        api_socket: Path,
        loop: asyncio.AbstractEventLoop,
        limits: WorkerLimits | None = None,
        groups: Groups = NO_GROUPS,
        way_out: WayOut | None = None,
        on_lost: Callable[[str, str], None] = lambda algorithm, reason: None,
    ) -> None:
        """Prepare the folders below `home`; what engines that are no more left in `home/scratch` is removed.

        Args:
            home: The platform's folder.
            sandbox: How workers are confined.
            api_socket: Unix socket where the platform listens. It must exist when a worker starts, or that worker
                cannot call the platform.
            loop: Where the workers' sockets are read and written.
            limits: What each worker may use at most.
            groups: The control groups that keep some of it; by default there are none.
            way_out: Opens proxies for workers that may reach something; without it they reach nothing.
            on_lost: Told of workers that ended though nobody asked them to: whose, and why.
        """
        home = home.resolve()
        self._runtime = lay_down(home / "runtime")
        self._scratch = home / "scratch"
        self._scratch.mkdir(mode=0o700, exist_ok=True)
        for left in self._scratch.iterdir():
            owner = left.name.partition("-")[0]
            if owner == str(os.getpid()) or not Path("/proc", owner).exists():  # not another's that hands over to us
                shutil.rmtree(left, ignore_errors=True)
        self._sandbox = sandbox
        self.limits = limits or WorkerLimits()
        self._groups, self._way_out, self._on_lost = groups, way_out, on_lost
        self._api_socket = Path(os.path.abspath(api_socket))
        self._loop = loop
        self._pools: set[LocalPool] = set()

    def start(self, launch: Launch) -> LocalPool:
        """Begin to start the workers of a release; `LocalPool.ready` waits for them.

        Returns:
            The pool, at once.
        """

        def make(descriptor: int) -> Start:
            return self._make(launch, descriptor)

        pool = LocalPool(launch, make, self._loop, self._pools.discard, partial(self._on_lost, launch.algorithm))
        self._pools.add(pool)
        self._loop.call_soon_threadsafe(pool.begin)
        return pool

    async def stop(self) -> None:
        """End every pool that is left; on the loop."""
        await asyncio.gather(*(pool.stop(0.0) for pool in list(self._pools)))
        self._groups.close()

    def close(self) -> None:
        """Do what `stop` does; never on the loop."""
        asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result()

    def _make(self, launch: Launch, descriptor: int) -> Start:
        name = f"{os.getpid()}-{secrets.token_hex(8)}"
        scratch = self._scratch / name
        scratch.mkdir(mode=0o700)
        limits = self.limits.lowered(launch.limits)
        code, model = _absolute(launch.code), launch.model and _absolute(launch.model)
        given = model.stat().st_size if model and model.is_file() else 0
        settings = {
            "algorithm": launch.algorithm,
            "module": launch.module,
            "code": str(code),
            "model": model and str(model),
            "scratch": str(scratch),
            "socket": descriptor,
            "api_socket": str(self._api_socket),
            "way_out": None,
        }
        program = (
            f"import sys; sys.path.insert(0, {str(self._runtime)!r}); from pushpoint.runtime import rlimits; "
            f"rlimits.lower({self._bounds(limits, given)!r}); from pushpoint.runtime.worker import main; main()"
        )
        bytecode = _absolute(launch.bytecode)
        if launch.bytecode_writable:
            bytecode.mkdir(parents=True, exist_ok=True)
        environment, python = _absolute(launch.environment), _absolute(launch.python)
        processors = min(os.cpu_count() or 1, limits.cpus or math.inf)
        threads = str(max(int(processors) // launch.scaling.max_replicas, 1))
        variables = {
            "PATH": f"{environment}/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "USER": "nobody",
            "LOGNAME": "nobody",
            "LANG": "C.UTF-8",
            "VIRTUAL_ENV": str(environment),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPYCACHEPREFIX": str(bytecode),
            **({} if launch.bytecode_writable else {"PYTHONDONTWRITEBYTECODE": "1"}),
            **dict.fromkeys(THREADS, threads),
        }
        proxy, sockets = None, [self._api_socket]
        if launch.reach and self._way_out and self._sandbox.program:  # without a sandbox nothing is kept from it
            proxy = self._way_out.for_worker(launch.reach, launch.algorithm)
            settings["way_out"] = str(proxy.path)
            sockets.append(proxy.path)
        readable = [self._runtime, environment, code, *sockets, *([model] if model else [])]
        command = self._sandbox.command(
            [str(python), "-c", program, json.dumps(settings)],
            variables=variables,
            directory=code,
            scratch=scratch,
            readable=readable if launch.bytecode_writable else [*readable, bytecode],
            writable=[bytecode] if launch.bytecode_writable else [],
            shared_memory=limits.memory // 2,
        )
        group = self._groups.make(name, limits)
        hello = Hello(launch.owner_token, dict(launch.variables))
        watch = Watch(limits, group, [scratch, *([bytecode] if launch.bytecode_writable else [])], given)
        argv = group.command(command)
        return Start(command=argv, hello=hello, scratch=scratch, log=launch.log, watch=watch, proxy=proxy)

    def _bounds(self, limits: WorkerLimits, given: int) -> dict[str, int]:
        # DATA and not AS: libraries reserve far more addresses than they use, and DATA counts only what they could
        # write to. It is a process's own, so it bounds the worker no better than the rest does; but a program that asks
        # for too much gets a MemoryError, which is an answer, before anybody has to end it.
        # FSIZE holds for the log too, and must let it grow until it is emptied; a flood between two looks ends there.
        # NPROC counts within the sandbox's user name space (Linux 5.14); outside it would count all of the user's.
        bounds = {"CORE": 0, "DATA": limits.memory, "NOFILE": limits.open_files}
        bounds["FSIZE"] = max(limits.scratch, given, 2 * LOG_LIMIT)
        return bounds if self._sandbox.program is None else bounds | {"NPROC": limits.processes}


class LocalPool:
    """The workers of one release.

    Attributes:
        launch: What they were started with.
    """

    def __init__(
        self,
        launch: Launch,
        make: Callable[[int], Start],
        loop: asyncio.AbstractEventLoop,
        on_stopped: Callable[[LocalPool], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.launch = launch
        self._loop = loop
        self._started: Future[Failure | None] = Future()
        self._supervisor = Supervisor(make, launch.scaling, self._set_started, on_lost, loop)
        self._closed = threading.Event()
        self._on_stopped = on_stopped

    @property
    def in_flight(self) -> int:
        """Calls that were taken and are not yet answered."""
        return self._supervisor.in_flight

    @property
    def waiting(self) -> int:
        """Those of them that no worker has."""
        return self._supervisor.waiting

    @property
    def last_used(self) -> float:
        """When the latest call began or ended, in seconds of `time.monotonic`."""
        return self._supervisor.last_used

    @property
    def is_starting(self) -> bool:
        """Whether its first workers are not ready yet."""
        return not self._started.done()

    @property
    def live_replicas(self) -> int:
        """Workers that can answer, now or after the call they are at."""
        return self._supervisor.live_replicas

    @property
    def is_serving(self) -> bool:
        """Whether it takes calls, and has a worker that can answer."""
        return not self._closed.is_set() and self._supervisor.is_live

    @property
    def is_shared(self) -> bool:
        """Whether a worker takes many calls at a time, which have no identity of their own."""
        return self._supervisor.at_once > 1

    @property
    def scaling(self) -> Scaling:
        """How many workers there may be."""
        return self._supervisor.scaling

    def scale(self, scaling: Scaling) -> None:
        """Have more or fewer workers from now on; those that run go on."""
        self._supervisor.scaling = scaling

    @property
    def load_seconds(self) -> float:
        """What verifying the model, import and load took in the newest worker."""
        return self._supervisor.load_seconds

    @property
    def lost(self) -> int:
        """How many workers have ended though nobody asked them to."""
        return self._supervisor.lost

    def begin(self) -> None:
        """Start the workers; the engine calls this, on the loop."""
        if not self._closed.is_set():
            self._supervisor.begin()

    def ready(self, timeout: float) -> None:
        """Wait until every replica has verified its model, imported and loaded. Never on the loop.

        Args:
            timeout: Seconds.

        Raises:
            RolloutFailed: One of them could not, or time is up. The pool is still to be closed.
        """
        try:
            failure = self._started.result(timeout)
        except FutureTimeout:
            raise RolloutFailed(
                f"{self.launch.algorithm} was not ready within {timeout:g} s; make its import and load() faster"
            ) from None
        if failure is not None:
            raise RolloutFailed(f"{failure.error_type}: {failure.message}", failure=failure)

    async def until_ready(self, timeout: float) -> Failure | None:
        """Do what `ready` does, on the loop.

        Returns:
            Why a replica could not start, or that time is up; none when all are ready.
        """
        started = asyncio.wrap_future(self._started)
        done, _ = await asyncio.wait((asyncio.ensure_future(asyncio.shield(started)),), timeout=timeout)
        if not done:
            return Failure("TimeoutError", f"{self.launch.algorithm} was not ready within {timeout:g} s", "", timeout)
        return started.result()

    async def call(self, call: Call, timeout: float, stream: Stream | None = None) -> Outcome:
        """Call a replica that is free, or wait for one: the first to come is the first to be served.

        A call that runs out of time takes its worker with it, since that worker can do nothing else; another one
        takes its place. Calls of a pool that could not start are answered with the reason.

        Args:
            call: What to call it with.
            timeout: Seconds, waiting included.
            stream: Where the items go, if they are to come one by one.

        Returns:
            What the algorithm answered, or how it failed to.

        Raises:
            Unavailable: The pool is being stopped.
        """
        self._check_open()
        return await self._supervisor.call(call, timeout, stream)

    def submit(self, call: Call, timeout: float, take: Callable[[Outcome], None]) -> None:
        """Do what `call` does, for those who are on the loop and do not want to wait.

        Args:
            call: What to call it with.
            timeout: Seconds, waiting included.
            take: Called once with the outcome, before this returns or later; it must raise nothing.

        Raises:
            Unavailable: The pool is being stopped.
        """
        self._check_open()
        self._supervisor.submit(call, timeout, take)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise Unavailable(f"this release of {self.launch.algorithm} is being stopped; call again", retry_after=1.0)

    def drain(self, timeout: float) -> None:
        """Take no new calls, wait for those under way, end the workers. Safe to repeat; never on the loop.

        Args:
            timeout: Seconds the calls may take; those that need longer fail.
        """
        with contextlib.suppress(CancelledError):  # the platform ends, which has ended the workers
            asyncio.run_coroutine_threadsafe(self.stop(timeout), self._loop).result()

    def close(self) -> None:
        """End the workers now; calls under way fail. Never on the loop."""
        self.drain(0.0)

    async def stop(self, timeout: float) -> None:
        """Do what `drain` does; on the loop."""
        self._closed.set()
        self._set_started(Failure(UNAVAILABLE, "the release was stopped before it was ready; call again"))
        await self._supervisor.drain(timeout)
        self._on_stopped(self)

    def _set_started(self, failure: Failure | None) -> None:
        if not self._started.done():
            self._started.set_result(failure)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))
