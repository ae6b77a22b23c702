"""Control groups of Linux, version 1 or 2, whichever this platform may make; none where it may make none.

Each worker gets a group of its own for each of `memory`, `pids` and `cpu`, below the group that the platform itself is
in, so a limit that somebody gave the platform holds for its workers as well. The process enters its group before
anything of the algorithm runs; from inside the sandbox no group can be seen, so none can be left.

Version 2 wants that no process is in a group which hands out controllers. The platform therefore moves itself one down,
if it is alone in its group: as a service (`Delegate=yes` for systemd) or in a container of its own.

Source:
    Documentation/admin-guide/cgroup-v1, cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pushpoint.limits import WorkerLimits

CONTROLLERS = ("memory", "pids", "cpu")
PERIOD = 100_000
"""Microseconds in which a quota of processor time is handed out; the kernel's own default."""
PREFIX = "pushpoint-"
"""Of the folder that a platform's groups are in; its process's number follows."""
LEAF = "platform"
"""Where a platform goes in version 2, beside its workers."""
_ENTER = 'while [ "$1" != -- ]; do echo 0 >"$1" || exit 125; shift; done; shift; exec "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The group of one worker.

    Attributes:
        folders: By controller; only those that work here. In version 2 they are one and the same.
    """

    folders: Mapping[str, Path]

    def command(self, argv: Sequence[str]) -> list[str]:
        """Wrap a command so that it enters the group first.

        Returns:
            The command; it ends with code 125 where it cannot enter.
        """
        files = [str(folder / "cgroup.procs") for folder in dict.fromkeys(self.folders.values())]
        return ["/bin/sh", "-c", _ENTER, "sh", *files, "--", *argv]

    def members(self) -> list[int]:
        """Say which processes are in it.

        Returns:
            Their numbers.
        """
        found: set[int] = set()
        for folder in set(self.folders.values()):
            with contextlib.suppress(OSError):
                found.update(map(int, (folder / "cgroup.procs").read_text().split()))
        return sorted(found)

    def out_of_memory(self) -> str:
        """Say whether the kernel has ended one of its processes for want of memory.

        Returns:
            Nothing; or `own`, or `all` if it was because all workers together had too much: then the largest goes.
        """
        folder = self.folders.get("memory", Path())
        for version in ("events", "oom_control"):
            with contextlib.suppress(OSError):
                words = (folder / f"memory.{version}").read_text().split()
                counts = dict(zip(words[::2], words[1::2], strict=False))
                if counts.get("oom_kill", "0") == "0":
                    return ""
                if version == "events":
                    return "own" if counts["oom"] != "0" else "all"
                most, limit = (int((folder / f"memory.{name}_in_bytes").read_text()) for name in ("max_usage", "limit"))
                return "own" if most > limit * 0.98 else "all"  # what is charged is rounded, and a page may be missing
        return ""

    def remove(self) -> bool:
        """End what is left in it, and remove it. Safe to repeat.

        Returns:
            Whether it is gone; a process that is ending may keep it for some milliseconds.
        """
        for pid in self.members():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for folder in set(self.folders.values()):
            with contextlib.suppress(OSError):
                folder.rmdir()
        return not any(folder.exists() for folder in self.folders.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Where the groups of workers are made, found out once.

    Attributes:
        folders: By controller; empty where there is none to be had.
        unified: Those controllers whose groups are of version 2.
    """

    folders: Mapping[str, Path] = field(default_factory=dict)
    unified: frozenset[str] = frozenset()

    @property
    def description(self) -> str:
        """Which limits control groups keep here, in words."""
        words = [f"{name} by cgroup v{2 if name in self.unified else 1}" for name in self.folders]
        return ", ".join(words) or "no cgroups"

    def make(self, name: str, limits: WorkerLimits) -> Group:
        """Make the group of a worker, with its limits.

        Args:
            name: No other worker has it.
            limits: What is written into it.

        Returns:
            The group; without folders where there are no control groups.

        Raises:
            OSError: It cannot be made any more.
        """
        group = Group(folders={controller: folder / name for controller, folder in self.folders.items()})
        try:
            for controller, folder in group.folders.items():
                folder.mkdir(exist_ok=True)
                for file, value in _values(controller, limits, controller in self.unified).items():
                    _write(folder / file, value)
        except OSError:
            group.remove()
            raise
        return group

    def close(self) -> None:
        """Remove the groups that all of the workers' were below."""
        for folder in set(self.folders.values()):
            with contextlib.suppress(OSError):
                folder.rmdir()


NO_GROUPS = Groups()


def find_groups(memory: int, proc: Path = Path("/proc/self")) -> Groups:
    """Find out which control groups can be made here, by making one of each.

    Args:
        memory: Bytes for all workers together.
        proc: Where the kernel tells of this process.

    Returns:
        The groups; of each controller version 2, or else version 1, or else none.
    """
    folders: dict[str, Path] = {}
    unified = set()
    for version in (2, 1):
        for controller, above in _above(proc, version).items():
            _sweep(above)
            folder = above / f"{PREFIX}{os.getpid()}"
            if controller in folders or not _try(folder, controller, version, memory):
                continue
            folders[controller] = folder
            if version == 2:
                unified.add(controller)
    return Groups(folders=folders, unified=frozenset(unified))


def _values(controller: str, limits: WorkerLimits, is_unified: bool) -> dict[str, str]:
    if controller == "pids":
        return {"pids.max": str(limits.processes)}
    if controller == "memory" and is_unified:
        return {"memory.max": str(limits.memory), "memory.swap.max": "0", "memory.oom.group": "1"}
    if controller == "memory":  # the first must not exceed the second, which is memory and swap
        return {"memory.limit_in_bytes": str(limits.memory), "memory.memsw.limit_in_bytes": str(limits.memory)}
    quota = None if limits.cpus is None else max(int(limits.cpus * PERIOD), 1000)
    if is_unified:
        return {"cpu.max": f"{quota or 'max'} {PERIOD}"}
    return {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": str(quota or -1)}


def _write(file: Path, value: str) -> None:
    if file.exists():  # without swap, or in an old kernel, some are not there
        file.write_text(value)


def _above(proc: Path, version: int) -> dict[str, Path]:
    # the groups this process is in, by controller, as folders
    found: dict[str, Path] = {}
    try:
        mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
        memberships = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
    except OSError:
        return {}
    for number, names, path in memberships:
        for words in mounts:
            root, point, kind, options = words[3], words[4], words[words.index("-") + 1], words[-1].split(",")
            if (number == "0") != (version == 2) or kind != ("cgroup2" if version == 2 else "cgroup"):
                continue
            below = os.path.relpath(path, root)
            if below.startswith(".."):
                continue
            folder = Path(os.path.normpath(os.path.join(point, below)))
            if version == 2:
                found.update(_handed_down(folder))
            else:
                found.update({name: folder for name in names.split(",") if name in CONTROLLERS and name in options})
    return found


def _handed_down(folder: Path) -> dict[str, Path]:
    # of version 2: has it hand its controllers down, if this process is alone in it and may
    folder = folder.parent if folder.name == LEAF else folder
    try:
        names = [name for name in CONTROLLERS if name in (folder / "cgroup.controllers").read_text().split()]
        if set((folder / "cgroup.procs").read_text().split()) - {str(os.getpid())}:
            return {}
        if names:
            (folder / LEAF).mkdir(exist_ok=True)
            (folder / LEAF / "cgroup.procs").write_text("0")
        for name in names:
            (folder / "cgroup.subtree_control").write_text(f"+{name}")
    except OSError:
        return {}
    return dict.fromkeys(names, folder)


def _sweep(above: Path) -> None:
    # removes what a platform left that did not come to its end
    for left in above.glob(f"{PREFIX}*"):
        if not Path("/proc", left.name.removeprefix(PREFIX)).exists():
            for folder in (*filter(Path.is_dir, left.glob("*")), left):
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _try(folder: Path, controller: str, version: int, memory: int) -> bool:
    try:
        folder.mkdir(exist_ok=True)
        if version == 2:
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")
        if controller == "memory":
            for file, value in _values("memory", WorkerLimits(memory=memory), version == 2).items():
                if file != "memory.oom.group":  # of all workers, one is to go
                    _write(folder / file, value)
        if version == 1:
            with (folder / "cgroup.procs").open("w"):
                pass
    except OSError:
        with contextlib.suppress(OSError):
            folder.rmdir()
        return False
    return True
