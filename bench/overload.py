"""What is left of a release's speed when ten times as many calls come as it can answer, and who else still answers.

The most it can answer is measured with as many calls at once as keep its worker busy. Then calls come at ten times that
rate, whatever becomes of them: those that are answered are counted, and meanwhile the platform is asked for its health.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bench import ours
from bench.calling import calling
from bench.harness import Check, Platform, conclude, platform
from bench.load import check_installed, measure
from bench.openloop import Seen
from pushpoint import Client

NAME, TIMES, LEAST = "busy", 10, 90
"""The algorithm; times more calls than it can answer; percent of its best that is to be left."""
CODE = """
import time


def apply(input):
    until = time.process_time() + 0.005
    while time.process_time() < until:
        pass
    return [input, "0.1.0"]
"""
OPTIONS = ("--max-replicas", "1", "--call-limit", "1000", "--queue-limit", "100")
WARM_UP = 5.0
"""Seconds of overload that are not counted."""
REFUSED = "HTTP/1.1 429"
HEALTHS = ("/live", "/ready")


@dataclass(slots=True)
class Health:
    """What came of asking for it.

    Attributes:
        seconds: How long each answer took.
        bad: How many were no 200.
    """

    seconds: list[float] = field(default_factory=list)
    bad: int = 0


def main() -> None:
    """Measure; print the verdicts, and as the last line JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench overload", description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="how long to measure each part [10]")
    parser.add_argument("--directory", help="where to work [the temporary folder]")
    parser.add_argument("--json", action="store_true", help="print the JSON alone")
    asked = parser.parse_args()
    check_installed()
    with tempfile.TemporaryDirectory(prefix="pushpoint-bench-", dir=asked.directory) as folder:
        place = Path(folder)
        (place / "code" / "src").mkdir(parents=True)
        (place / "code" / "src" / f"{NAME}.py").write_text(CODE)
        with platform(place / "home", options=OPTIONS) as server:
            with Client(server.url, server.key) as client:
                client.algorithm(NAME).create().push(place / "code").publish()
            best = measure(ours.target_of(server, NAME, ["x"], marker="0.1.0"), 8, asked.seconds).rate
            print(f"at best {best:.0f} calls a second; now {TIMES * best:.0f} come", file=sys.stderr)
            seen, health = _overload(server, TIMES * best, asked.seconds)
    good = sum(not one.wrong for one in seen) / asked.seconds
    wrong = Counter(_kind(one.wrong) for one in seen if one.wrong)
    refused = wrong.pop(REFUSED, 0)
    refusals = sorted(one.seconds for one in seen if one.wrong.startswith(REFUSED))
    slowest = 1000 * max(health.seconds)
    lines = [
        f"calls a second: {best:.0f} at best, {good:.0f} when {len(seen) / asked.seconds:.0f} come",
        f"refused: {refused:,}, half of them within {1000 * (refusals or [0.0])[len(refusals) // 2]:.1f} ms",
        f"health: asked {len(health.seconds)} times, {slowest:.0f} ms at most",
        *(f"!  {count} x {kind}" for kind, count in wrong.most_common(10)),
    ]
    checks = [
        Check(name="answered, beside its best", value=100 * good / best, limit=LEAST, unit="%", at_least=True),
        Check(name="failed otherwise than by a refusal", value=sum(wrong.values()), limit=0, unit="calls"),
        Check(name="health that was not well", value=health.bad, limit=0, unit="answers"),
        Check(name="health, slowest answer", value=slowest, limit=1000, unit="ms"),
    ]
    measured = {"best": best, "good": good, "calls": len(seen), "refused": refused, "slowest_health": slowest}
    conclude(lines, checks, only_json=asked.json, bench="overload", **measured)


def _overload(server: Platform, rate: float, seconds: int) -> tuple[list[Seen], Health]:
    port = urlsplit(server.url).port
    assert port
    health, seen, is_over = Health(), list[Seen](), threading.Event()
    asking = threading.Thread(target=_ask, args=(port, health, is_over))
    with calling(server, NAME, rate, seen):
        time.sleep(WARM_UP)
        asking.start()
        began = time.monotonic()
        time.sleep(seconds)
        is_over.set()
    asking.join()
    return [one for one in seen if began <= one.sent < began + seconds], health


def _ask(port: int, health: Health, is_over: threading.Event) -> None:
    while not is_over.wait(0.1):
        for path in HEALTHS:
            began = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                connection.request("GET", path)
                health.bad += connection.getresponse().status != 200
            except OSError:
                health.bad += 1
            finally:
                connection.close()
            health.seconds.append(time.perf_counter() - began)


def _kind(wrong: str) -> str:
    return REFUSED if wrong.startswith(REFUSED) else wrong[:100]


if __name__ == "__main__":
    main()
