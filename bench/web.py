"""The choice of HTTP server and event loop: one small ASGI application on each, and what the platform makes of it.

The application answers what it was asked, in one process, called by `wrk` with 1, 8 and 64 connections. Beside it stand
the ceiling, a protocol of asyncio's without any server, and Pushpoint itself, whose calls are checked, counted and
answered by a process of their own.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from bench import ours, peers
from bench.calls import CONNECTIONS, OURS, TEXTS, clean_variables, say
from bench.harness import Check, conclude, crowding
from bench.load import Point, check_installed, measure
from bench.memory import proportional, tree
from bench.peers import Peer
from bench.serving import NoAnswer, Questions, Started
from pushpoint.errors import RequirementsFailed

CHOSEN = "uvicorn, uvloop, httptools"
SERVERS = (
    Peer(name="protocol", title="(no server: the ceiling)", path="/", body=str),
    Peer(name="uvicorn", title=CHOSEN, path="/", body=str, form="uvloop httptools"),
    Peer(name="uvicorn", title="uvicorn, asyncio, httptools", path="/", body=str, form="asyncio httptools"),
    Peer(name="uvicorn", title="uvicorn, asyncio, h11", path="/", body=str, form="asyncio h11"),
    Peer(name="granian", title="granian, uvloop", path="/", body=str),
    Peer(name="hypercorn", title="hypercorn, uvloop", path="/", body=str),
)
QUESTIONS = Questions(algorithm="echo", answers={text: text for text in TEXTS}, marker="the")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of one server.

    Attributes:
        points: By number of connections.
        idle: Bytes of all its processes before the load, shared ones counted once.
        crowding: How many times longer than alone one thread took after the load, other programs being what they are.
    """

    points: Mapping[int, Point]
    idle: int
    crowding: float


def main() -> None:
    """Measure; print a table and the verdicts, and as the last line JSON."""
    asked = _asked()
    check_installed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers are to end too
    absent: dict[str, str] = {}
    found: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory(prefix="pushpoint-bench-", dir=asked.directory) as folder:
        place, own = Path(folder), clean_variables()
        for server in SERVERS:
            if server.name in asked.servers:
                _try(server.title, partial(_serving, server, place, own), asked.seconds, found, absent)
        if OURS.lower() in asked.servers:
            ours.deploy(place / "home", "echo", None, variables=own)
            serving = partial(ours.serving, place / "home", QUESTIONS, variables=own)
            _try(OURS, serving, asked.seconds, found, absent)
    conclude(
        _table(found, absent),
        list(_checks(found)),
        only_json=asked.json,
        bench="web",
        seconds=asked.seconds,
        servers={title: asdict(one) for title, one in found.items()},
        absent=absent,
    )


def _asked() -> argparse.Namespace:
    known = [*dict.fromkeys(server.name for server in SERVERS), OURS.lower()]
    parser = argparse.ArgumentParser(prog="scripts/bench web", description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="how long to measure each point [4]")
    parser.add_argument("--servers", default=",".join(known), help=f"some of {','.join(known)} [all]")
    parser.add_argument("--directory", help="where to work [the temporary folder]")
    parser.add_argument("--json", action="store_true", help="print the JSON alone")
    asked = parser.parse_args()
    asked.servers = asked.servers.split(",")
    if unknown := {*asked.servers} - {*known}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if asked.seconds < 1:
        parser.error("measure for at least 1 second")
    return asked


def _serving(server: Peer, place: Path, own: Mapping[str, str]) -> AbstractContextManager[Started]:
    (place / "nothing.txt").touch()
    say(f"the environment of {server.name}")
    python = peers.environment_of(server.name, place / "nothing.txt", place=place, say=lambda line: None)
    return peers.serving(server, QUESTIONS, python=python, directory=place, variables=own)


def _try(
    title: str,
    serve: Callable[[], AbstractContextManager[Started]],
    seconds: int,
    found: dict[str, Measured],
    absent: dict[str, str],
) -> None:
    try:
        with serve() as server:
            found[title] = _measure(title, server, seconds)
    except (NoAnswer, RequirementsFailed) as problem:
        say(f"{title}: NOT MEASURED: {problem}")
        absent[title] = str(problem)


def _measure(title: str, server: Started, seconds: int) -> Measured:
    idle, points = proportional(tree(server.pid)), {}
    for connections in CONNECTIONS:
        point = points[connections] = measure(server.target, connections, seconds)
        say(f"{title}, {connections}: {point.rate:,.0f} a second, p50 {point.p50:.2f} ms, p99 {point.p99:.2f} ms")
    return Measured(points=points, idle=idle, crowding=round(crowding(), 2))


def _table(found: Mapping[str, Measured], absent: Mapping[str, str]) -> list[str]:
    rates = "".join(f"{connections:>9}" for connections in CONNECTIONS)
    times = "".join(f"{name:>12}" for name in ("p50 at 1", "p50 at 64", "p99 at 64"))
    lines = [f"{'echo, calls a second at':<30}{rates}{times}{'idle':>9}{'others':>8}"]
    for title, one in found.items():
        low, high = one.points[1], one.points[64]
        rates = "".join(f"{point.rate:>8,.0f}{'!' if point.errors else ' '}" for point in one.points.values())
        times = "".join(f"{value:>9.2f} ms" for value in (low.p50, high.p50, high.p99))
        lines.append(f"{title:<30}{rates}{times}{one.idle / 1e6:>6.0f} MB{one.crowding:>8.1f}")
    lines += [f"!  NOT VALID: calls of {title} went wrong" for title, one in found.items() if _wrong(one)]
    lines += [f"not here: {title}: {reason}" for title, reason in absent.items()]
    return [*lines, "idle: all processes before the load, what they share counted once (PSS)", ""]


def _wrong(one: Measured) -> int:
    return sum(sum(point.errors.values()) for point in one.points.values())


def _checks(found: Mapping[str, Measured]) -> Iterator[Check]:
    wrong = sum(map(_wrong, found.values()))
    yield Check(name="calls that went wrong", value=wrong, limit=0, unit="calls")
    others = [one for title, one in found.items() if title != OURS and not title.startswith("(")]
    if CHOSEN in found and len(others) > 1:
        fastest = min(one.points[1].p50 for one in others)
        ratio = found[CHOSEN].points[1].p50 / fastest
        yield Check(name="p50 at 1 of the chosen, beside the best", value=ratio, limit=1.1, unit="times")


if __name__ == "__main__":
    main()
