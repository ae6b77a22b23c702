"""Calls as fast as they are answered, by `wrk`: one thread, some connections, each with one call at a time."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("load.lua")
PATIENCE = 30
"""Seconds after which a call counts as not answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server, and how it is called.

    Attributes:
        port: Where it listens, on this machine.
        path: Of the URL.
        headers: Of each request, beside what HTTP needs.
        bodies: Of the requests, sent in turn.
        marker: Text that is in each good answer.
    """

    port: int
    path: str
    headers: Mapping[str, str] = field(repr=False)
    bodies: Sequence[bytes]
    marker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What was measured of one server with one number of connections.

    Attributes:
        rate: Good answers a second.
        p50: Milliseconds that half of the calls stayed below.
        p99: Milliseconds that 99 of 100 calls stayed below.
        errors: How many went wrong, by kind; none if the point is good.
    """

    rate: float
    p50: float
    p99: float
    errors: Mapping[str, int]


def check_installed() -> None:
    """Refuse to go on without `wrk`.

    Raises:
        SystemExit: It is not installed.
    """
    if not shutil.which("wrk"):
        raise SystemExit("calls are made by wrk; run `scripts/bench calls`, or `apt-get install wrk` as root")


def measure(target: Target, connections: int, seconds: int) -> Point:
    """Call for a second to warm up, looking at every answer; then for some seconds at full speed.

    Args:
        target: Whom to call.
        connections: How many, each with one call at a time.
        seconds: How long to measure.

    Returns:
        What was measured; errors of both parts are in it.
    """
    with tempfile.TemporaryDirectory(prefix="pushpoint-bench-") as folder:
        time.sleep(connections / 64)  # calls of a client that left are still being answered, and would count
        first = _run(target, connections, 1, Path(folder, "first.lua"), marker=target.marker)
        time.sleep(connections / 64)
        found = _run(target, connections, seconds, Path(folder, "second.lua"))
    errors = {kind: found["errors"][kind] + first["errors"][kind] for kind in found["errors"]}
    return Point(
        rate=round((found["requests"] - found["errors"]["status"]) / found["seconds"], 1),
        p50=round(found["p50"], 3),
        p99=round(found["p99"], 3),
        errors={kind: count for kind, count in errors.items() if count},
    )


def _run(target: Target, connections: int, seconds: int, file: Path, *, marker: str = "") -> dict[str, Any]:
    requests = ", ".join(_lua(_request(target, body)) for body in target.bodies)
    looked_for = f"marker = {_lua(marker.encode())}, " if marker else ""
    file.write_text(f"return {{{looked_for}requests = {{{requests}}}}}\n")
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    command += [
        "--timeout",
        f"{PATIENCE}s",
        "--script",
        str(SCRIPT),
        f"http://127.0.0.1:{target.port}/",
        "--",
        str(file),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"wrk ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _request(target: Target, body: bytes) -> bytes:
    headers = {"host": f"127.0.0.1:{target.port}", "content-type": "application/json", "content-length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in (headers | dict(target.headers)).items()]
    return "\r\n".join([f"POST {target.path} HTTP/1.1", *lines, "", ""]).encode() + body


def _lua(data: bytes) -> str:
    return '"' + "".join(f"\\{byte:03d}" for byte in data) + '"'
