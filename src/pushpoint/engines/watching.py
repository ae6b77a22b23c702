"""Look after one worker's limits, once a second: those that no control group keeps here, and its scratch folder.

It is a look from outside at a moment: between two looks a worker can use more. Memory is what its processes have for
themselves, plus what they share without a file on disk; not the pages of libraries and of models read through mmap,
which the kernel takes back when it needs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pushpoint.engines.cgroups import Group
from pushpoint.limits import WorkerLimits, in_words

LOOK_SECONDS = 1.0
"""Between two looks; more where a look takes long, so that looking never takes more than a twentieth of a processor."""
FILES = 100_000
"""Files that a scratch folder may hold, whatever their size: they must be counted, and a disk has so many only."""
PAGE = os.sysconf("SC_PAGE_SIZE")


class Watch:
    """The limits of one worker, from its start to its end; all on one event loop, but for the looking itself."""

    def __init__(self, limits: WorkerLimits, group: Group, folders: Sequence[Path], given: int = 0) -> None:
        """Prepare to watch.

        Args:
            limits: What it may use.
            group: Its control group, which keeps some of them.
            folders: Where it may write; counted together.
            given: Bytes in them that are not its own doing: the copy of its model.
        """
        self._limits, self._group, self._folders, self._given = limits, group, folders, given
        self._task: asyncio.Task[None] | None = None
        self._look: asyncio.Task[str] | None = None

    def begin(self, pid: int, kill: Callable[[str], None]) -> None:
        """Watch the process `pid` and its descendants.

        Args:
            pid: Of the worker, or of the sandbox it is in.
            kill: Told why, when a limit is exceeded.
        """
        self._task = asyncio.create_task(self._watch(pid, kill))

    async def _watch(self, pid: int, kill: Callable[[str], None]) -> None:
        while True:
            started = time.monotonic()
            self._look = asyncio.create_task(asyncio.to_thread(self.exceeded, pid))
            if limit := await asyncio.shield(self._look):
                kill(f"it was stopped because it went over {limit}")
                return
            await asyncio.sleep(max(LOOK_SECONDS, 20 * (time.monotonic() - started)))

    def exceeded(self, pid: int) -> str:
        """Look once; in any thread.

        Returns:
            The limit that is exceeded, in words such as `its 2 GiB of memory`; or nothing.
        """
        if limit := self._out_of_memory():
            return limit  # of several processes, the kernel may have ended one alone
        limits, kept = self._limits, self._group.folders
        pids = self._group.members() if kept else descendants(pid)
        # the first is the sandbox itself, which does not count where the kernel counts
        if "pids" not in kept and sum(map(threads, pids[1:])) > limits.processes:
            return f"its {limits.processes} processes and threads"
        if "memory" not in kept and memory(pids, limits.memory) > limits.memory:
            return f"its {in_words(limits.memory)} of memory"
        size, files = used(self._folders)
        if files > FILES:
            return f"the {FILES:,} files that its scratch folder may hold"
        size -= self._given
        if size <= limits.scratch:  # what is deleted but open is looked for only where it matters
            size += sum(size for _, size in unnamed(pids, in_memory=False))
        return f"its {in_words(limits.scratch)} of scratch" if size > limits.scratch else ""

    def ended_by(self) -> str:
        """Say which limit the kernel itself has ended the worker for, if it has.

        Returns:
            An accusation, or nothing.
        """
        limit = self._out_of_memory()
        return f"it was stopped because it went over {limit}" if limit else ""

    def _out_of_memory(self) -> str:
        words = {"own": f"its {in_words(self._limits.memory)} of memory", "all": "what was left of all workers' memory"}
        return words.get(self._group.out_of_memory(), "")

    async def end(self) -> None:
        """Stop watching, and end whatever is left in the control group. Safe to repeat."""
        if self._task is not None:
            self._task.cancel()
        for _ in range(100):
            if self._group.remove():
                return
            await asyncio.sleep(0.01)

    async def looked(self) -> None:
        """Wait, after the end, for the look that was under way: its thread holds the folders open that it is in."""
        if self._look is not None:
            await asyncio.wait((self._look,))


def descendants(pid: int) -> list[int]:
    """List a process and its descendants; Linux only.

    Returns:
        Their numbers; fewer where some end meanwhile.
    """
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                left += map(int, _read(f"/proc/{one}/task/{task}/children").split())
    return found


def threads(pid: int) -> int:
    """Count the threads of a process.

    Returns:
        Their number, 0 where there is no such process.
    """
    with contextlib.suppress(OSError):
        return os.stat(f"/proc/{pid}/task").st_nlink - 2
    return 0


def memory(pids: Iterable[int], enough: int) -> int:
    """Add up what processes use; exactly only above `enough`, since that takes long.

    Returns:
        Bytes. What several processes share counts once where that matters.
    """
    pids = list(pids)
    own, shared = 0, 0
    for pid in pids:
        fields = _fields(f"/proc/{pid}/status")
        own += fields.get("RssAnon", 0) + fields.get("VmSwap", 0)
        shared += fields.get("RssShmem", 0)
    if own + shared > enough:  # forked processes share pages until one writes to them
        exact = [_fields(f"/proc/{pid}/smaps_rollup") for pid in pids]
        if any("Pss_Anon" in one for one in exact):
            own = sum(one.get("Pss_Anon", 0) + one.get("SwapPss", 0) for one in exact)
            shared = sum(one.get("Pss_Shmem", 0) for one in exact)
    files = sum(size for _, size in unnamed(pids, in_memory=True))
    return own + max(shared, files + _in_shm(pids))


def _in_shm(pids: Iterable[int]) -> int:
    for pid in pids:
        with contextlib.suppress(OSError):
            folder = os.path.join("/proc", str(pid), "root", "dev", "shm")
            if os.stat(folder).st_dev != os.stat("/dev/shm").st_dev:  # noqa: S108 (that one is everybody's)
                found = os.statvfs(folder)
                return (found.f_blocks - found.f_bfree) * found.f_frsize
    return 0


def unnamed(pids: Iterable[int], *, in_memory: bool) -> set[tuple[int, int]]:
    """Find files that processes hold open and no folder holds any more: on disk, or in memory (memfd_create(2)).

    Returns:
        Number and bytes of each.
    """
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    file = os.stat(f"/proc/{pid}/fd/{name}")
                    if stat.S_ISREG(file.st_mode) and not file.st_nlink:
                        target = os.readlink(f"/proc/{pid}/fd/{name}")
                        if target.startswith("/dev/shm/"):  # noqa: S108 (the size of its file system is counted)
                            continue
                        if target.startswith("/memfd:") == in_memory:
                            found.add((file.st_ino, file.st_blocks * 512))
    return found


def used(folders: Iterable[Path]) -> tuple[int, int]:
    """Measure folders without following links, as far as one file above `FILES`.

    Returns:
        Bytes on disk, and the number of files and folders. A folder that is closed to us counts as too many.
    """
    size, files = 0, 0

    def closed(error: OSError) -> None:
        nonlocal files
        if isinstance(error, PermissionError):
            files += FILES + 1

    for top in folders:
        with contextlib.suppress(OSError):  # a folder that goes while it is walked
            for _, below, names, folder in os.fwalk(top, onerror=closed):
                for name in (*below, *names):
                    with contextlib.suppress(OSError):
                        size += os.stat(name, dir_fd=folder, follow_symlinks=False).st_blocks * 512
                files += len(below) + len(names)
                if files > FILES:
                    break
    return size, files


def _fields(file: str) -> dict[str, int]:
    words = (line.split() for line in _read(file).splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in words if len(line) == 3 and line[2] == "kB"}


def _read(file: str) -> str:
    try:
        with open(file) as text:
            return text.read()
    except OSError:
        return ""
