"""Control groups: what is written where. Version 2 is a folder of ours that looks like the kernel's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pushpoint.engines.cgroups import NO_GROUPS, Group, find_groups
from pushpoint.limits import WorkerLimits

LIMITS = WorkerLimits(memory=1 << 28, cpus=0.5, processes=50)
FILES = {
    2: ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max", "cgroup.subtree_control"),
    1: ("memory.limit_in_bytes", "pids.max", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cgroup.procs"),
}


def laid(folder: Path, version: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES[version]:
        (folder / name).touch()
    return folder


def kernel(tmp_path: Path, memberships: str, mounts: str) -> Path:
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(memberships)
    (proc / "mountinfo").write_text(mounts)
    return proc


def unified(tmp_path: Path, *processes: int) -> tuple[Path, Path]:
    mount = tmp_path / "unified"
    own = laid(mount / "pushpoint.service", 2)
    (own / "cgroup.controllers").write_text("cpuset cpu memory pids\n")
    (own / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in processes))
    laid(own / f"pushpoint-{os.getpid()}", 2)
    laid(own / f"pushpoint-{os.getpid()}" / "one", 2)
    line = f"30 1 0:26 / {mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
    return kernel(tmp_path, "0::/pushpoint.service\n", line), own


def read(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}


def test_version_2_hands_down_from_a_group_the_platform_has_to_itself(tmp_path: Path) -> None:
    proc, own = unified(tmp_path, os.getpid())
    groups = find_groups(1 << 30, proc)
    assert groups.description == "memory by cgroup v2, pids by cgroup v2, cpu by cgroup v2"
    assert (own / "platform" / "cgroup.procs").read_text() == "0"
    workers = read(own / f"pushpoint-{os.getpid()}")
    assert (workers["memory.max"], workers["memory.swap.max"], workers["memory.oom.group"]) == (f"{1 << 30}", "0", "")
    group = groups.make("one", LIMITS)
    written = read(group.folders["memory"])
    assert len(set(group.folders.values())) == 1
    assert [written[name] for name in FILES[2][:5]] == [f"{1 << 28}", "0", "1", "50", "50000 100000"]
    (group.folders["memory"] / "memory.events").write_text("low 0\nmax 7\noom 1\noom_kill 0\n")
    assert group.out_of_memory() == ""
    (group.folders["memory"] / "memory.events").write_text("low 0\nmax 7\noom 1\noom_kill 2\n")
    assert group.out_of_memory() == "own"
    (group.folders["memory"] / "memory.events").write_text("low 0\nmax 7\noom 0\noom_kill 1\n")
    assert group.out_of_memory() == "all"


def test_version_2_is_left_alone_where_others_are_in_the_group(tmp_path: Path) -> None:
    proc, own = unified(tmp_path, os.getpid(), 1)
    assert not find_groups(1 << 30, proc).folders
    assert not (own / "platform").exists()


def test_a_platform_that_is_one_down_already_uses_the_group_above(tmp_path: Path) -> None:
    proc, own = unified(tmp_path)
    (proc / "cgroup").write_text("0::/pushpoint.service/platform\n")
    (own / "platform").mkdir()
    assert set(find_groups(1 << 30, proc).folders.values()) == {own / f"pushpoint-{os.getpid()}"}


def test_version_1_has_a_folder_for_each_controller_below_the_platforms_own(tmp_path: Path) -> None:
    mounts, memberships = "", ""
    for number, names in enumerate(("memory", "cpu,cpuacct", "pids"), 1):
        mount = tmp_path / names
        laid(mount / "inner" / f"pushpoint-{os.getpid()}", 1)
        laid(mount / "inner" / f"pushpoint-{os.getpid()}" / "one", 1)
        mounts += f"{number} 1 0:9 /docker/1 {mount} rw - cgroup cgroup rw,{names}\n"
        memberships += f"{number}:{names}:/docker/1/inner\n"
    groups = find_groups(1 << 30, kernel(tmp_path, memberships, mounts))
    assert groups.description == "memory by cgroup v1, cpu by cgroup v1, pids by cgroup v1"
    group = groups.make("one", LIMITS)
    assert read(group.folders["memory"])["memory.limit_in_bytes"] == f"{1 << 28}"
    assert read(group.folders["cpu"])["cpu.cfs_quota_us"] == "50000"
    assert read(group.folders["pids"])["pids.max"] == "50"
    command = group.command(["echo", "$(id)", "--"])
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "$(id) --\n"
    assert {read(folder)["cgroup.procs"] for folder in group.folders.values()} == {"0\n"}


def test_where_there_are_none_a_command_runs_all_the_same(tmp_path: Path) -> None:
    assert find_groups(1 << 30, tmp_path / "none") == NO_GROUPS
    group = NO_GROUPS.make("one", LIMITS)
    assert subprocess.run(group.command(["echo", "a b"]), capture_output=True, check=True).stdout == b"a b\n"
    assert group.remove()
    assert group.members() == []
    assert group.out_of_memory() == ""


def test_a_group_that_cannot_be_entered_starts_nothing(tmp_path: Path) -> None:
    group = Group(folders={"pids": tmp_path / "none"})
    done = subprocess.run(group.command(["echo"]), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (125, b"")


def test_real_ones_hold_and_end_what_escaped() -> None:
    groups = find_groups(1 << 30)
    if "pids" not in groups.folders:
        pytest.skip("no control groups can be made here")
    group = groups.make("one", WorkerLimits(memory=1 << 28, processes=5))
    code = (
        "import os, sys, time\n"
        "for number in range(9):\n"
        "    try:\n        child = os.fork()\n"
        "    except OSError:\n        print(number)\n        sys.exit()\n"
        "    if not child:\n        os.setsid()\n        os.closerange(0, 3)\n        time.sleep(60)\n"
    )
    done = subprocess.run(group.command([sys.executable, "-c", code]), capture_output=True, text=True, check=True)
    assert done.stdout == "4\n"
    assert len(group.members()) == 4
    while not group.remove():
        pass
    groups.close()
    assert not [folder for folder in groups.folders.values() if folder.exists()]
