"""A platform that is only an engine: a loop in a thread, an environment of its own, workers that are real processes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import threading
import time
import venv
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pushpoint.engines import Launch
from pushpoint.engines.local import LocalEngine, LocalPool
from pushpoint.runtime.messages import Answer, Call, Failure, Outcome
from pushpoint.sandbox import Sandbox, find_sandbox
from pushpoint.scaling import Scaling

ALGORITHMS = Path(__file__).parent.parent / "algorithms"
MODEL = b"the model, as it was trained"
T = TypeVar("T")


class Platform:
    """An engine and the helpers a test wants."""

    def __init__(
        self, home: Path, sandbox: Sandbox, environment: Path, bytecode: Path, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.home = home
        self.loop = loop
        self.environment = environment
        self.bytecode = bytecode
        self.api_socket = home / "api.sock"
        self.log = home / "log"
        self.engine = LocalEngine(home, sandbox, self.api_socket, loop)

    def launch(self, name: str, **changes: Any) -> Launch:
        values: dict[str, Any] = {
            "algorithm": f"owner/{name}",
            "module": name,
            "code": ALGORITHMS / name,
            "python": self.environment / "bin" / "python",
            "environment": self.environment,
            "bytecode": self.bytecode,
            "bytecode_writable": True,
            "log": self.log,
            "owner_token": "the-owners",
        }
        return Launch(**{**values, **changes})

    def start(self, name: str, replicas: int = 1, **changes: Any) -> LocalPool:
        scaling = Scaling(min_replicas=replicas, max_replicas=replicas)
        pool = self.engine.start(self.launch(name, **{"scaling": scaling, **changes}))
        pool.ready(30)
        return pool

    def run(self, awaitable: Awaitable[T]) -> T:
        async def wrapped() -> T:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(wrapped(), self.loop).result(60)

    def call(self, pool: LocalPool, input: Any = None, *, timeout: float = 20.0, **changes: Any) -> Outcome:
        values: dict[str, Any] = {"content_type": "json", "data": json.dumps(input).encode(), "token": "the-callers"}
        return self.run(pool.call(Call(**{**values, **changes}), timeout))

    def answer(self, pool: LocalPool, input: Any = None, **changes: Any) -> Any:
        outcome = self.call(pool, input, **changes)
        assert isinstance(outcome, Answer), outcome
        return json.loads(outcome.data) if outcome.content_type == "json" else outcome.data

    def failure(self, pool: LocalPool, input: Any = None, **changes: Any) -> Failure:
        outcome = self.call(pool, input, **changes)
        assert isinstance(outcome, Failure), outcome
        return outcome

    def with_model(self, content: bytes = MODEL, **changes: Any) -> Launch:
        """An algorithm whose manifest describes MODEL, and a store that holds `content`."""
        code = self.home / "code"
        (code / "src").mkdir(parents=True)
        for file in (ALGORITHMS / "loads_model" / "src").glob("*.py"):
            (code / "src" / file.name).write_text(file.read_text())
        manifest = {
            "manifest_version": 2,
            "model_filepath": "owner/collection/model_1.pkl",
            "model_size_bytes": len(MODEL),
            "model_sha256_hash": hashlib.sha256(MODEL).hexdigest(),
            "model_md5_hash": hashlib.md5(MODEL).hexdigest(),
            **changes,
        }
        (code / "model_manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if v is not None}))
        blob = self.home / "blob"
        blob.write_bytes(content)
        return self.launch("loads_model", code=code, model=blob)


def eventually(holds: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True, with_pip=False)
    return folder


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture(scope="session")
def bubblewrap() -> Sandbox:
    return find_sandbox()


@pytest.fixture(params=["confined", "unconfined"])
def sandbox(request: pytest.FixtureRequest, bubblewrap: Sandbox) -> Sandbox:
    if request.param == "unconfined":
        return Sandbox(reason="the test wants none")
    if bubblewrap.program is None:
        pytest.skip(bubblewrap.reason)
    return bubblewrap


def new_loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    yield from running(new_loop())


def running(loop: asyncio.AbstractEventLoop) -> Iterator[asyncio.AbstractEventLoop]:
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def platform(
    tmp_path: Path, sandbox: Sandbox, environment: Path, bytecode: Path, loop: asyncio.AbstractEventLoop
) -> Iterator[Platform]:
    """A platform that leaves nothing behind: no process, descriptor, task or folder."""
    yield from tidy(tmp_path, sandbox, environment, bytecode, loop)


def tidy(
    home: Path, sandbox: Sandbox, environment: Path, bytecode: Path, loop: asyncio.AbstractEventLoop
) -> Iterator[Platform]:
    descriptors, children = open_descriptors(), child_processes()
    platform = Platform(home, sandbox, environment, bytecode, loop)
    yield platform
    platform.run(platform.engine.stop())
    eventually(lambda: child_processes() <= children)
    assert open_descriptors() <= descriptors
    assert list((home / "scratch").iterdir()) == []
    assert platform.run(tasks()) == 1


async def tasks() -> int:
    return len(asyncio.all_tasks())


def open_descriptors() -> set[str]:
    folder = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
    found = {}
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # the one we are listing with
            found[name] = os.readlink(os.path.join(folder, name)) if sys.platform == "linux" else name
    return {name for name, file in found.items() if file != "/dev/null"}  # uvloop keeps one in reserve


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def child_processes() -> set[int]:
    """Processes that descend from this one, zombies included."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc") if sys.platform == "linux" else ():
        try:
            if entry.isdigit():
                with open(f"/proc/{entry}/stat") as file:
                    parents[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            pass
    found = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}
