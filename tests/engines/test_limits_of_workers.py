"""Workers that take what is not theirs: real processes, with control groups and without. Each hurts only its own calls.

A neighbour answers throughout. Replacing a worker takes 0.3 seconds; on a machine that is busy with other things these
tests allow it five.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pushpoint.engines.cgroups import NO_GROUPS, Groups, find_groups
from pushpoint.engines.local import LocalEngine
from pushpoint.engines.worker import LOG_LIMIT
from pushpoint.limits import MEMORY_SHARE, WorkerLimits, machine_memory
from pushpoint.runtime.messages import Answer
from pushpoint.sandbox import Sandbox
from tests.engines.conftest import Platform, child_processes, eventually, new_loop, running, tidy

MIB = 1 << 20
LIMITS = WorkerLimits(memory=200 * MIB, processes=40, open_files=200, scratch=40 * MIB)
SECONDS = 5.0


class Neighbourhood:
    """A pool that misbehaves beside one that is called all the time."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.pool = platform.start("misbehaves")
        self.answers: list[float] = []
        self.failures: list[object] = []
        self._neighbour = platform.start("echo")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._call)
        self._thread.start()

    def _call(self) -> None:
        while not self._over.wait(0.02):
            started = time.monotonic()
            outcome = self.platform.call(self._neighbour, "well")
            (self.answers if isinstance(outcome, Answer) else self.failures).append(time.monotonic() - started)

    def replaced(self) -> int:
        """Wait until the pool answers again; return the processes there are."""
        started = time.monotonic()
        assert isinstance(self.platform.answer(self.pool, "live", timeout=SECONDS), int)
        assert time.monotonic() - started < SECONDS
        return len(child_processes())

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        assert not self.failures
        assert max(self.answers) < SECONDS


def platforms(home: Path, sandbox: Sandbox, environment: Path, bytecode: Path, groups: Groups) -> Iterator[Platform]:
    for loop in running(new_loop()):
        for platform in tidy(home, sandbox, environment, bytecode, loop):
            platform.engine = LocalEngine(home, sandbox, platform.api_socket, loop, LIMITS, groups)
            yield platform


WITH, WITHOUT = "control groups", "no control groups"


@pytest.fixture(scope="module", params=[WITH, WITHOUT])
def neighbourhood(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    bubblewrap: Sandbox,
    environment: Path,
    bytecode: Path,
) -> Iterator[Neighbourhood]:
    if bubblewrap.program is None:
        pytest.skip(bubblewrap.reason)
    groups = find_groups(int(machine_memory() * MEMORY_SHARE)) if request.param == WITH else NO_GROUPS
    if request.param == WITH and not groups.folders:
        pytest.skip("no control groups can be made here")
    home = tmp_path_factory.mktemp("home")
    for platform in platforms(home, bubblewrap, environment, bytecode, groups):
        found = Neighbourhood(platform)
        yield found
        found.close()
    assert not [left for folder in groups.folders.values() for left in folder.glob("*/")]


@pytest.mark.parametrize(
    ("neighbourhood", "input", "words"),
    [
        *(
            (groups, input, words)
            for groups in (WITH, WITHOUT)
            for input, words in [
                (["share", 300 * MIB], "its 200 MiB of memory"),
                (["many", 4, 80 * MIB], "its 200 MiB of memory"),
                (["hide", 300 * MIB], "its 200 MiB of memory"),
            ]
        ),
        (WITH, ["bomb", True], "did not answer within 1 s"),  # no more are started
        (WITHOUT, ["bomb", os.getuid() != 0], ""),  # so with RLIMIT_NPROC, which is not for root; it is looked at
        (WITHOUT, ["fill", 60], "its 40 MiB of scratch"),
        (WITHOUT, ["fill unseen", 60], "its 40 MiB of scratch"),
        (WITHOUT, ["spin in C"], "did not answer within 1 s"),
        (WITHOUT, ["die"], "SIGKILL"),
        (WITHOUT, ["garbage"], "broke the protocol"),
        (WITHOUT, ["flood the socket"], "broke the protocol"),
        (WITHOUT, ["drop everything"], "did not answer within 1 s"),
    ],
    indirect=["neighbourhood"],
    scope="module",
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_worker_that_misbehaves_fails_its_own_call_and_is_replaced(
    neighbourhood: Neighbourhood, input: list[Any], words: str
) -> None:
    before = neighbourhood.replaced()
    timeout = 1.0 if input[0] in {"spin in C", "bomb", "drop everything"} else 20.0
    failure = neighbourhood.platform.failure(neighbourhood.pool, input, timeout=timeout)
    assert words in failure.message
    assert neighbourhood.replaced() == before
    assert not list(neighbourhood.platform.home.glob("scratch/*/unseen"))


@pytest.mark.parametrize("neighbourhood", [WITHOUT], indirect=True, scope="module")
@pytest.mark.parametrize(
    ("input", "kind", "words"),
    [
        (["allocate", 300 * MIB], "OutOfMemoryError", ""),
        (["open"], "AlgorithmError", "Too many open files"),
        (["write", "/large", 1], "AlgorithmError", "Read-only"),
        (["write", "/dev/large", 1], "AlgorithmError", "Read-only"),
        (["one file", 200], "AlgorithmError", "File too large"),
        (["write", "/dev/shm/large", 11], "AlgorithmError", "No space left"),
    ],
    ids=lambda value: value[0] + str(value[1:]) if isinstance(value, list) else "",
)
def test_what_the_kernel_refuses_the_algorithm_hears_of(
    neighbourhood: Neighbourhood, input: list[Any], kind: str, words: str
) -> None:
    failure = neighbourhood.platform.failure(neighbourhood.pool, input)
    assert (failure.error_type, words in failure.message) == (kind, True), failure
    neighbourhood.replaced()


@pytest.mark.parametrize("neighbourhood", [WITHOUT], indirect=True, scope="module")
def test_a_flood_of_output_ends_and_the_log_is_emptied(neighbourhood: Neighbourhood) -> None:
    assert neighbourhood.platform.answer(neighbourhood.pool, ["flood"]) == b"flood"
    log = neighbourhood.platform.log
    assert log.stat().st_size <= 2 * LOG_LIMIT
    eventually(lambda: log.stat().st_size < LOG_LIMIT)
