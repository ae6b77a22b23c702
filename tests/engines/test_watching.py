"""What is measured of a worker from outside."""

from __future__ import annotations

import asyncio
import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushpoint.engines import watching
from pushpoint.engines.cgroups import NO_GROUPS
from pushpoint.engines.watching import Watch
from pushpoint.limits import WorkerLimits

MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
FAMILY = """
import os, sys, threading, time
held = bytearray(os.urandom(20 << 20))
hidden = os.memfd_create("x")
os.write(hidden, bytes(7 << 20))
unseen = open(sys.argv[1] + "/unseen", "wb")
os.unlink(unseen.name)
unseen.write(bytes(5 << 20))
unseen.flush()
if os.fork() and os.fork():
    threading.Thread(target=time.sleep, args=(60,)).start()
print(1, flush=True)
time.sleep(60)
"""


@pytest.fixture
def family(tmp_path: Path) -> Iterator[int]:
    """Three processes and four threads, which share 20 MiB, 7 in memory as a file and 5 on disk without a name."""
    command = [sys.executable, "-c", FAMILY, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        assert process.stdout
        for _ in range(3):
            process.stdout.readline()
        yield process.pid
        os.killpg(process.pid, 9)


@linux
def test_a_family_is_measured_together_and_what_it_shares_once(family: int) -> None:
    pids = watching.descendants(family)
    assert len(pids) == 3
    assert sum(map(watching.threads, pids)) == 4
    rough, exact = watching.memory(pids, 1 << 40), watching.memory(pids, 0)
    assert rough > 3 * 20 * MIB
    assert 27 * MIB < exact < 60 * MIB
    assert [size // MIB for _, size in watching.unnamed(pids, in_memory=True)] == [7]
    assert [size // MIB for _, size in watching.unnamed(pids, in_memory=False)] == [5]


@linux
def test_each_limit_is_named(family: int, tmp_path: Path) -> None:
    def exceeded(**changes: int) -> str:
        return Watch(WorkerLimits(**changes), NO_GROUPS.make("", WorkerLimits()), [tmp_path]).exceeded(family)

    assert exceeded() == ""
    assert exceeded(processes=1) == "its 1 processes and threads"
    assert exceeded(memory=20 * MIB) == "its 20 MiB of memory"
    assert exceeded(scratch=4 * MIB) == "its 4 MiB of scratch"
    assert exceeded(scratch=6 * MIB) == ""


def test_folders_are_measured_without_following_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "large").write_bytes(bytes(3 * MIB))
    (inner / "link").symlink_to(sys.executable)
    (tmp_path / "up").symlink_to(tmp_path)
    with (inner / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    size, files = watching.used([tmp_path])
    assert 3 * MIB <= size < 4 * MIB
    assert files == 6
    monkeypatch.setattr(watching, "FILES", 5)
    assert watching.used([tmp_path])[1] > 5
    assert watching.used([tmp_path / "none"]) == (0, 0)


def test_looking_is_cheap() -> None:
    started = time.monotonic()
    for _ in range(20):
        watching.memory(watching.descendants(os.getpid()), mmap.PAGESIZE << 40)
    assert time.monotonic() - started < 5


def test_a_look_is_over_when_its_worker_is_gone(tmp_path: Path) -> None:
    looking, seen = threading.Event(), threading.Event()

    class Slow(Watch):
        def exceeded(self, pid: int) -> str:
            looking.set()
            assert seen.wait(20)
            return ""

    async def watched() -> None:
        watch = Slow(WorkerLimits(), NO_GROUPS.make("w", WorkerLimits()), [tmp_path])
        watch.begin(os.getpid(), print)
        await asyncio.to_thread(looking.wait, 20)
        await watch.end()
        waiting = asyncio.create_task(watch.looked())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        seen.set()
        await asyncio.wait_for(waiting, 20)

    asyncio.run(watched())
