"""Bounds that the kernel keeps."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pushpoint.limits import Limits


def run(limits: Limits, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = limits.command([sys.executable, "-I", "-c", code, *arguments])
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_bounds_a_command_is_itself() -> None:
    assert Limits().command(["git", "version"]) == ["git", "version"]


def test_what_is_given_stays_an_argument() -> None:
    awkward = ["$(id)", "a b", "'", '"', "`id`", "", "\n", "-n"]
    done = run(Limits(seconds=60), "import sys; print(sys.argv[1:])", *awkward)
    assert done.stdout == f"{awkward}\n"


def test_a_file_grows_no_larger(tmp_path: Path) -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); open(sys.argv[1], 'wb').write(bytes(5000))"
    )
    assert run(Limits(file=4096), code, str(tmp_path / "a")).returncode == -signal.SIGXFSZ
    assert (tmp_path / "a").stat().st_size == 4096
    assert run(Limits(file=8192), code, str(tmp_path / "a")).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps it")
def test_memory_ends() -> None:
    code = "bytes(400 << 20)"
    assert "MemoryError" in run(Limits(memory=300 << 20), code).stderr
    assert run(Limits(memory=900 << 20), code).returncode == 0


def test_time_ends() -> None:
    assert run(Limits(seconds=1), "while True: pass").returncode in {-signal.SIGXCPU, -signal.SIGKILL}
