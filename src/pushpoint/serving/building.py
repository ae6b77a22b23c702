"""Building: a pushed commit becomes files, an environment, and one successful import and load.

The log is written as it goes, and is read while it grows. Whatever goes wrong ends in a failed build and a sentence in
the log; what is live is not touched here.
"""

from __future__ import annotations

import codecs
import contextlib
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from uuid import UUID

import structlog

from pushpoint import manifest as manifests
from pushpoint.databases import Database
from pushpoint.egress import Egress
from pushpoint.environments import make_environment
from pushpoint.errors import Error, InvalidRequest, RolloutFailed
from pushpoint.interpreters import Interpreter, named
from pushpoint.lifecycle import BuildState
from pushpoint.records import Actor, Algorithm, Build
from pushpoint.registry import algorithms, builds, repositories
from pushpoint.sandbox import Sandbox
from pushpoint.serving import reaching
from pushpoint.serving.gate import Gate
from pushpoint.serving.pools import Pools

BUILD_TIMEOUT = 1800.0
"""Seconds that one command of uv may take."""
OUTPUT_END, OUTPUT_PART = 1 << 16, 1 << 20
"""Bytes of what an algorithm printed that are read where no offset is given, and at most at once."""
LOOK = 0.2
"""Seconds between two looks at a build that another process may be at."""
LOCK_AGE = 86400.0
"""Seconds for which the same requirements mean the same versions, without asking the package index."""

log = structlog.get_logger()


class Builder:
    """Builds commits in the background, two at a time, each algorithm's one after the other."""

    def __init__(
        self,
        home: Path,
        database: Database,
        root: Path,
        sandbox: Sandbox,
        egress: Egress,
        pools: Pools,
        interpreters: Sequence[Interpreter],
    ) -> None:
        self._home, self._database, self._root = home, database, root
        self._sandbox, self._egress, self._pools, self._interpreters = sandbox, egress, pools, interpreters
        self.gate = Gate()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="build")
        self._running: dict[str, Future[None]] = {}
        self._queues: dict[str, deque[tuple[Algorithm, Build]]] = {}  # of each algorithm that is being built
        self._lock = threading.Lock()

    def recover(self) -> None:
        """Fail the builds that were cut off, build every head that has no build, remove what a deletion left."""
        there = [*(self._home / "builds").iterdir(), *self._root.iterdir()]  # before the rows, which are made first
        every = algorithms.every(self._database)
        known = builds.ids(self._database) | {f"{one.id}.git" for one in every}
        for folder in there:
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)
        for build in builds.unfinished(self._database):
            self._folder(build).mkdir(parents=True, exist_ok=True)  # it may have ended before it made one
            with self._log(build).open("a") as file:
                file.write("The platform was stopped meanwhile; build again.\n")
            builds.finish(self._database, build, BuildState.FAILED)
        built = builds.commits(self._database)
        for algorithm in every:
            repositories.create(self._root, algorithm)
            head = repositories.head(repositories.path(self._root, algorithm))
            if head and (algorithm.id, head) not in built:
                self.pushed(algorithm)

    def pushed(self, algorithm: Algorithm) -> None:
        """Build the head of an algorithm's branch, unless it was built or is the template."""
        repository = repositories.path(self._root, algorithm)
        head = repositories.head(repository)
        if (
            head
            and not builds.of_commit(self._database, algorithm, head)
            and not repositories.is_template(repository, head)
        ):
            self.submit(algorithm, head)

    def submit(self, algorithm: Algorithm, commit: str) -> Build:
        """Have a commit built, unless that was done or is being done.

        Returns:
            The build.

        Raises:
            InvalidRequest: The repository has no such commit on its branch.
        """
        repository = repositories.path(self._root, algorithm)
        if not repositories.holds(repository, commit):
            raise InvalidRequest(f"algo://{algorithm.name} has no commit {commit} on its branch; push it first")
        text = repositories.read(repository, commit, manifests.FILE)
        with self._lock:
            build, is_new = builds.begin(self._database, algorithm, commit, manifest=text)
            if is_new:
                self._queue(algorithm, build)
        return build

    def adopt(self) -> None:
        """Go on with what another process of this platform has written down and not begun: it hands over to us."""
        with self._lock:
            for build in builds.unfinished(self._database):
                algorithm = algorithms.lookup(self._database, UUID(build.algorithm_id))
                if algorithm and build.id not in self._running:
                    self._queue(algorithm, build)

    def _queue(self, algorithm: Algorithm, build: Build) -> None:
        self._folder(build).mkdir(parents=True, exist_ok=True)
        self._log(build).touch()
        self._running[build.id] = Future()
        if algorithm.id not in self._queues:  # its builds wait for each other, and not in a thread
            self._queues[algorithm.id] = deque()
            self._threads.submit(self._work, algorithm.id)
        self._queues[algorithm.id].append((algorithm, build))

    def wait(self, algorithm: Algorithm, build: Build) -> Build:
        """Wait until a build is done.

        Returns:
            The build as it ended.
        """
        while True:
            with self._lock:
                running = self._running.get(build.id)
            if running:
                wait((running,), LOOK)
            is_over = running is not None and running.done()  # asked before the row is read, which it ends with
            build = builds.find(self._database, algorithm, build.id)
            if build.state is not BuildState.IN_PROGRESS or is_over:
                return build
            if not running:  # it is our successor's, or was our predecessor's
                time.sleep(LOOK)

    def read_log(self, build: Build, *, offset: int = 0) -> bytes:
        """Read the log of a build from an offset on.

        Returns:
            What has been written so far, in bytes.
        """
        try:
            with self._log(build).open("rb") as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:
            return b""

    def read_output(self, build: Build, *, offset: int = -1) -> tuple[str, int, int]:
        """Read what the workers of a build printed, a part at a time.

        Args:
            build: Whose workers.
            offset: Bytes to leave out; below 0, all but the last 64 KiB. One beyond the end means that the log was
                emptied since, and it is read from its beginning.

        Returns:
            The text, the offset at which it ends, and the size of all. A character that is half written is left for
            the next part.
        """
        try:
            with (self._folder(build) / "output.log").open("rb") as file:
                size = file.seek(0, 2)
                begin = max(0, size - OUTPUT_END) if offset < 0 else offset if offset <= size else 0
                file.seek(begin)
                data = file.read(OUTPUT_PART)
        except FileNotFoundError:
            return "", 0, 0
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data)
        return text, begin + len(data) - len(decoder.getstate()[0]), size

    def remove(self, actor: Actor, algorithm: Algorithm) -> None:
        """Delete an algorithm, stop what runs of it, and remove its files; what is cut off goes at the next start."""
        gone = algorithms.remove(self._database, actor, algorithm)
        self._pools.forget(gone)
        for folder in (repositories.path(self._root, algorithm), *(self._home / "builds" / one for one in gone)):
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Take no more builds; those under way end with their processes."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _work(self, algorithm_id: str) -> None:
        with self._lock:
            algorithm, build = self._queues[algorithm_id].popleft()
        try:
            with self.gate.passing():
                self._build(algorithm, build)
        except FileNotFoundError:
            log.info("a build's algorithm was deleted", build=build.id)
        except Exception:
            log.exception("a build hit a bug", build=build.id)
        with self._lock:
            if self._queues[algorithm_id]:
                with contextlib.suppress(RuntimeError):  # the platform is being stopped
                    self._threads.submit(self._work, algorithm_id)
            else:
                del self._queues[algorithm_id]
            self._running.pop(build.id).set_result(None)

    def _build(self, algorithm: Algorithm, build: Build) -> None:
        with self._log(build).open("a", buffering=1) as file:
            began = time.monotonic()

            def say(line: str) -> None:
                file.write(f"{time.monotonic() - began:7.1f}s  {line}\n")

            state, environment = BuildState.FAILED, None
            try:
                environment = self._make(algorithm, build, say)
                state = BuildState.SUCCEEDED
            except RolloutFailed as error:  # import and load were tried
                if error.failure and error.failure.stacktrace:
                    say(error.failure.stacktrace.rstrip())
                say(f"failed: {error.reason}")
            except Error as error:
                say(f"failed: {error}")
            except Exception:
                log.exception("a build hit a bug", build=build.id)
                say("failed: the platform has a bug; its log tells more")
            say(f"build {state}")
            builds.finish(self._database, build, state, environment=environment, sandbox=self._sandbox.description)

    def _make(self, algorithm: Algorithm, build: Build, say: Callable[[str], None]) -> str:
        # the Node client's suite looks for these first three words
        what = f"commit {build.commit} of {algorithm.name}"
        say(f"Beginning container customization: {what} (old words: there is no container)")
        say(f"sandbox: {self._sandbox.description}")
        interpreter = named(algorithm.settings, self._interpreters)
        if interpreter is None:
            interpreter = self._interpreters[0]
            if "algorithm_environment" in algorithm.settings:
                say("the algorithm's environment is not on this platform any more; taking the platform's own")
        say(f"Python {interpreter.release}, environment {interpreter.id}")
        say(f"network of its workers: {reaching.told(algorithm.settings, self._egress.listed)}")
        code = self._folder(build) / "code"
        repositories.export(repositories.path(self._root, algorithm), build.commit, code)
        requirements = code / "requirements.txt"
        root = self._home / "environments"
        with self._egress.for_build(f"the build of {algorithm.name}", say) as proxy:
            made = make_environment(
                requirements,
                root=root,
                python=interpreter.path,
                others=[other.version for other in self._interpreters],
                contained=self._sandbox.around_uv(code, proxy.path),
                lock_age=LOCK_AGE,
                timeout=BUILD_TIMEOUT,
                say=say,
            )
        say(f"environment {made.path.name} {'reused' if made.reused else f'made in {made.seconds:.1f} s'}")
        self._pools.try_out(algorithm, build, made.path.name, say)
        return made.path.name

    def _folder(self, build: Build) -> Path:
        return self._home / "builds" / build.id

    def _log(self, build: Build) -> Path:
        return self._folder(build) / "build.log"
