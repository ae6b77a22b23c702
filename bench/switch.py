"""What callers notice of switches between releases, and of a restart of the gateway: nothing, it is hoped.

Two releases of one algorithm take turns at being live, by rollback, while calls come at a constant rate; half-way the
platform is restarted, with switches going on. Each release says in its answer which one it is.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.calling import calling
from bench.filling import OWNER
from bench.harness import Check, Platform, conclude, platform
from bench.openloop import Seen
from pushpoint import Client
from pushpoint.client import Client as Wire
from pushpoint.lifecycle import DeploymentState
from pushpoint.names import algorithm_name

NAME = "turns"
CODE = """
def apply(input):
    return [input, "{version}"]
"""
VERSIONS = ("0.1.0", "0.2.0")
WARM_UP = 3.0
"""Seconds of calls that are not counted."""
UNLIMITED = ("--call-limit", "100000", "--queue-limit", "100000")
"""All calls are one account's, and where they back up that is to be seen in their times."""
LOOK = 0.1
"""Seconds between two looks at a rollout; looking is work for the platform, too."""
_UNDER_WAY = {DeploymentState.STARTING, DeploymentState.VERIFYING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time in which something happened, in seconds of `time.monotonic`.

    Attributes:
        began: When it was asked for.
        live: When it was seen to have the traffic.
        ended: When what was before was seen to have ended.
        version: Of the release that has the traffic then.
    """

    began: float
    live: float
    ended: float
    version: str


def main() -> None:
    """Measure; print a table and the verdicts, and as the last line JSON."""
    asked = _asked()
    with tempfile.TemporaryDirectory(prefix="pushpoint-bench-", dir=asked.directory) as folder:
        place = Path(folder)
        with platform(place / "home", options=UNLIMITED) as server:
            say("two releases")
            _deploy(server, place)
            say(f"{asked.rate:g} calls a second")
            seen: list[Seen] = []
            with calling(server, NAME, asked.rate, seen):
                time.sleep(WARM_UP)
                began = time.monotonic()
                switches, restarts = _switch(server, asked)
                time.sleep(max(began + asked.requests / asked.rate - time.monotonic(), 0))
    _conclude([one for one in seen if one.sent >= began], switches, restarts, asked)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench switch", description=__doc__)
    parser.add_argument("--switches", type=int, default=100, help="how often the live release changes [100]")
    parser.add_argument("--requests", type=int, default=60_000, help="calls to make at least [60000]")
    parser.add_argument("--rate", type=float, default=250.0, help="calls a second [250]")
    parser.add_argument("--no-restart", dest="restarts", action="store_false", help="leave the restart out")
    parser.add_argument("--directory", help="where to work [the temporary folder]")
    parser.add_argument("--json", action="store_true", help="print the JSON alone")
    asked = parser.parse_args()
    if asked.switches < 2 or asked.rate <= 0:
        parser.error("switch at least twice, under a load")
    return asked


def say(text: str, *, began: float = time.monotonic()) -> None:
    """Tell on standard error how far it is."""
    print(f"{time.monotonic() - began:6.1f}s  {text}", file=sys.stderr, flush=True)


def _deploy(server: Platform, place: Path) -> None:
    with Client(server.url, server.key) as client:
        there = client.algorithm(NAME).create()
        for version in VERSIONS:
            folder = place / version
            (folder / "src").mkdir(parents=True)
            (folder / "src" / f"{NAME}.py").write_text(CODE.format(version=version))
            there.push(folder).publish()


def _switch(server: Platform, asked: argparse.Namespace) -> tuple[list[Window], list[Window]]:
    switches: list[Window] = []
    restarts: list[Window] = []
    restarting = threading.Thread(target=lambda: restarts.append(_restart(server)))
    with Wire(server.url, server.key) as client:
        turns = itertools.cycle(VERSIONS)
        began = time.monotonic()
        for number in range(asked.switches):
            if number == asked.switches // 2 and asked.restarts:
                restarting.start()
            switches.append(_roll_out(client, next(turns), f"switch-{number}"))
            if number % 10 == 9:
                say(f"{number + 1} switches")
            # as much time between two switches as in them, and no less than what the calls take
            least = switches[-1].ended - switches[-1].began
            due = began + (number + 1) * asked.requests / asked.rate / asked.switches
            time.sleep(max(due - time.monotonic(), min(least, 1.0)))
    if asked.restarts:
        restarting.join()
    return switches, restarts


def _roll_out(client: Wire, version: str, deploy_id: str) -> Window:
    name = algorithm_name(f"{OWNER}/{NAME}")
    before = client.live(name)
    assert before
    began = time.monotonic()
    found = client.roll_out(name, version, deploy_id=deploy_id, is_rollback=True)
    while found.state in _UNDER_WAY:
        time.sleep(LOOK)
        found = client.deployment(name, found.id)
    if found.state is not DeploymentState.LIVE:
        raise SystemExit(f"{version} did not go live: {found.reason}")
    live = time.monotonic()
    while client.deployment(name, before.id).state is not DeploymentState.RETIRED:
        time.sleep(LOOK)
    return Window(began=began, live=live, ended=time.monotonic(), version=version)


def _restart(server: Platform) -> Window:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "pushpoint", "restart", "--home", str(server.home)], check=True)
    live = time.monotonic()
    while "stand_in" not in Path(f"/proc/{server.pid}/cmdline").read_text():
        time.sleep(0.05)
    return Window(began=began, live=live, ended=time.monotonic(), version="")


def _conclude(
    seen: Sequence[Seen], switches: Sequence[Window], restarts: Sequence[Window], asked: argparse.Namespace
) -> None:
    wrong = [one for one in seen if one.wrong]
    stale, late = _stale(seen, switches)
    during = [one for one in seen if _within(one, switches)]
    restarted = [one for one in seen if _within(one, restarts)]
    steady = [one for one in seen if not _within(one, switches) and not _within(one, restarts)]
    times = {"steady": _times(steady), "switching": _times(during), "restart": _times(restarted)}
    lines = [f"{'calls, in milliseconds':<28}{'calls':>9}{'p50':>9}{'p99':>9}"]
    lines += [
        f"{title:<28}{found['calls']:>9,.0f}{found['p50']:>9.2f}{found['p99']:>9.2f}" for title, found in times.items()
    ]
    took = statistics.median(one.ended - one.began for one in switches)
    lines.append(
        f"a switch took {took:.2f} s (median), and a restart {sum(one.ended - one.began for one in restarts):.2f} s"
    )
    kinds = Counter(one.wrong[:160] for one in wrong)
    lines += [f"!  {number} times {kind}" for kind, number in kinds.most_common(10)]
    checks = [
        Check(name="calls", value=len(seen), limit=asked.requests, unit="calls", at_least=True),
        Check(name="switches", value=len(switches), limit=asked.switches, unit="switches", at_least=True),
        Check(name="calls that failed, or were answered wrongly", value=len(wrong), limit=0, unit="calls"),
        Check(name="answered by the old release after the switch", value=stale, limit=0, unit="calls"),
        Check(name="answered by the old release after its drain", value=late, limit=0, unit="calls"),
        Check(name="p99 in switches, beside p99 in between", value=_beside(times, "switching"), limit=2, unit="times"),
    ]
    measured = {"rate": asked.rate, "times": times, "switch_seconds": took, "restarts": len(restarts)}
    if restarts:
        ratio = _beside(times, "restart")
        lines.append(f"p99 in the restart is {ratio:.2f} times that in between")
    conclude(lines, checks, only_json=asked.json, bench="switch", **measured)


def _within(one: Seen, windows: Sequence[Window]) -> bool:
    at = bisect_right(windows, one.sent, key=lambda window: window.began) - 1
    return at >= 0 and one.sent <= windows[at].ended


def _stale(seen: Sequence[Seen], switches: Sequence[Window]) -> tuple[int, int]:
    """Count the calls that were sent when one release had the traffic, and answered by another one.

    Returns:
        How many after the switch was seen, and how many of them after the end of the old release's drain.
    """
    stale = late = 0
    for one in seen:
        at = bisect_right(switches, one.sent, key=lambda window: window.began) - 1
        if at >= 0 and one.sent > switches[at].live and one.version not in {"", switches[at].version}:
            stale += 1
            late += one.sent > switches[at].ended
    return stale, late


def _times(seen: Sequence[Seen]) -> dict[str, float]:
    """Say how long calls took.

    Returns:
        How many there were, and milliseconds that half of them, and 99 of 100, stayed below.
    """
    times = sorted(1000 * one.seconds for one in seen) or [0.0]
    return {"calls": len(seen), "p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)]}


def _beside(times: dict[str, dict[str, float]], title: str) -> float:
    return times[title]["p99"] / max(times["steady"]["p99"], 0.001)


if __name__ == "__main__":
    main()
