"""What the benches share: a platform of their own, memory peaks, and lines that are judged."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PROGRAM = ("-m", "pushpoint")
"""What Python is to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One requirement and what was measured.

    Attributes:
        name: What is measured.
        value: The figure.
        limit: What it is held against.
        unit: Of both.
        at_least: Whether more is better; else less is.
    """

    name: str
    value: float
    limit: float
    unit: str
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """Whether the requirement holds."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform that runs.

    Attributes:
        url: Its address.
        home: Its folder.
        pid: Its process.
    """

    url: str
    home: Path
    pid: int

    @property
    def key(self) -> str:
        """The API key of its first account."""
        return (self.home / "api-key").read_text().strip()


@contextlib.contextmanager
def platform(
    home: Path,
    *,
    environment: Mapping[str, str] = os.environ,
    program: Sequence[str] = PROGRAM,
    options: Sequence[str] = (),
) -> Iterator[Platform]:
    """Start a platform, and stop it afterwards.

    Args:
        home: A folder that does not exist, or one of a platform that was stopped.
        environment: Its variables.
        program: What Python is to run as `pushpoint`.
        options: Further ones of `pushpoint serve`.

    Yields:
        The platform.
    """
    command = [sys.executable, *program, "serve", "--home", str(home), "--port", "0", "--account", "bench"]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [*command, "--no-profile", *options], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout
        try:
            line = process.stdout.readline()
            if line.startswith("ready at "):
                yield Platform(url=line.removeprefix("ready at ").strip(), home=home, pid=process.pid)
        finally:
            ended = process.poll()
            process.terminate()
            process.communicate()
            if ended is not None:
                errors.seek(0)
                print(f"the platform ended by itself with {ended}:\n{errors.read()[-4000:]}", file=sys.stderr)
        if not line.startswith("ready at "):
            raise SystemExit("the platform did not start; what it said stands above")


def peak_memory(pid: int | str = "self") -> int:
    """Say how much memory a process has had at most, in bytes.

    Returns:
        Its peak resident size; 0 where the system does not tell.
    """
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        if found := re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE):
            return int(found[1]) << 10
    if pid != "self":
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def crowding() -> float:
    """Say how many times longer than alone one thread takes here now, other programs being what they are.

    Returns:
        Seconds on the clock for each second of processor time; 1 on an idle machine.
    """
    began, used = time.perf_counter(), time.process_time()
    while time.process_time() - used < 0.5:
        pass
    return (time.perf_counter() - began) / (time.process_time() - used)


def conclude(lines: list[str], checks: list[Check], *, only_json: bool, **measured: object) -> None:
    """Print what was measured, each requirement with its verdict, and everything as one last line of JSON."""
    crowded = round(crowding(), 2)
    lines.append(f"other programs: one thread took {crowded:.1f} times as long as alone, at the end of this")
    for check in checks:
        sign, verdict = ">=" if check.at_least else "<=", "PASS" if check.passed else "MISS"
        lines.append(f"{verdict}  {check.name:<44}{check.value:9.2f}   ({sign} {check.limit:g} {check.unit})")
    if not only_json:
        print("\n".join(lines))
    shown = [asdict(check) | {"passed": check.passed} for check in checks]
    print(json.dumps({**measured, "crowding": crowded, "checks": shown}))
