"""What a platform's lookups cost with 10,000 algorithms and 100,000 versions, beside a small one in the same run.

Each lookup is measured in turns on both, for another algorithm each time. What its best quarter stays below is
compared, since neighbours stop a lookup for longer than it takes. The small platform is empty but for what fills a
page: 25 algorithms, one of them with 100 versions. A start, and calls with and without what the platform remembers, are
measured on platforms that run.
"""

from __future__ import annotations

import argparse
import http.client
import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from bench.filling import FIRST, OWNER, Filled, fill
from bench.harness import PROGRAM, Check, Platform, conclude, platform
from pushpoint.names import Reference
from pushpoint.records import EVERYDAY, Account, Actor, Algorithm
from pushpoint.registry import accounts, algorithms, builds, deployments, keys, publishers, releases, reports, secrets
from pushpoint.serving.lookups import Lookups

PAGE = 20
LIMIT = 2.0
"""How many times longer a lookup may take on the full platform."""
_STRANGER = Actor(account=Account(id="x", name="stranger", created=datetime.now(UTC)), scopes=EVERYDAY)
Part = tuple[list[str], list[Check], dict[str, Any]]
Ask = Callable[[Filled, Algorithm], object]


def main() -> None:
    """Measure; print tables and the verdicts, and as the last line JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench registry", description=__doc__)
    parser.add_argument("--algorithms", type=int, default=10_000, help="of the full platform [10000]")
    parser.add_argument("--versions", type=int, default=100_000, help="of the full platform, in all [100000]")
    parser.add_argument("--rounds", type=int, default=200, help="how often to measure each lookup [200]")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to call [5]")
    parser.add_argument("--directory", help="where to work [the temporary folder]")
    parser.add_argument("--json", action="store_true", help="print the JSON alone")
    asked = parser.parse_args()
    long = asked.versions // 10
    each = max(2, (asked.versions - long) // asked.algorithms)
    with tempfile.TemporaryDirectory(prefix="pushpoint-bench-", dir=asked.directory) as folder:
        homes = Path(folder, "small"), Path(folder, "full")
        small = fill(homes[0], copies=PAGE + 5, each=each, long=5 * PAGE)
        full = fill(homes[1], copies=asked.algorithms, each=each, long=long)
        size = (homes[1] / "platform.db").stat().st_size / 1e6
        print(
            f"{len(full.some):,} algorithms of {each} versions and one of {long:,}; {size:.0f} MB in the database",
            file=sys.stderr,
        )
        parts = [lookups(small, full, asked.rounds)]
        for filled in (small, full):
            filled.database.dispose()
        parts.append(running(*homes, asked.seconds))
    lines = [line for part in parts for line in part[0]]
    checks = [check for part in parts for check in part[1]]
    measured = {name: value for part in parts for name, value in part[2].items()}
    conclude(lines, checks, only_json=asked.json, bench="registry", **measured)


def lookups(small: Filled, full: Filled, rounds: int) -> Part:
    """Measure what requests look up."""
    found = {}
    lines = [f"{'milliseconds':<54}{'small':>9}{'full':>9}{'times':>8}"]
    for name, (ask_small, ask_full) in (_OF_ONE | _OF_LONG).items():
        seconds: dict[str, list[float]] = {"small": [], "full": []}
        for number in range(rounds + 5):
            for which, filled, ask in (("small", small, ask_small), ("full", full, ask_full)):
                one = random.choice(filled.some)
                began = time.perf_counter()
                ask(filled, one)
                if number >= 5:
                    seconds[which].append(time.perf_counter() - began)
        before, now = (1000 * quantiles(seconds[which], n=4, method="inclusive")[0] for which in ("small", "full"))
        found[name] = {"small": round(before, 4), "full": round(now, 4)}
        lines.append(f"{name:<54}{before:9.3f}{now:9.3f}{now / before:8.2f}")
    # a last page is no lookup that an empty platform has, too; what it costs stands in the table
    compared = [name for name in found if "last page" not in name]
    worst = max(compared, key=lambda name: found[name]["full"] / found[name]["small"])
    ratio = found[worst]["full"] / found[worst]["small"]
    check = Check(name=f"the most slowed: {worst}"[:43], value=ratio, limit=LIMIT, unit="times")
    return lines, [check], {"lookups": found}


_FORGETFUL = """
from pushpoint.serving import identities, lookups
identities.AGE, lookups._MOST = -1.0, 0
from pushpoint.cli import main
main()
"""


def running(small: Path, full: Path, seconds: float) -> Part:
    """Measure how long a platform takes to be ready; then calls, one after the other, also without its memory."""
    starts, calls = {}, {}
    for name, home, program in (
        ("small", small, []),
        ("full", full, []),
        ("full, nothing remembered", full, ["-c", _FORGETFUL]),
    ):
        began = time.perf_counter()
        with platform(home, program=program or PROGRAM) as server:
            starts[name] = round(time.perf_counter() - began, 2)
            calls[name] = round(_calls(server, seconds), 1)
    lines = [
        f"seconds until it is ready: {starts['small']:.1f} small, {starts['full']:.1f} full",
        "calls a second, one after the other: " + ", ".join(f"{rate:.0f} {name}" for name, rate in calls.items()),
    ]
    checks = [
        Check(name="seconds until the full one is ready", value=starts["full"], limit=60, unit="s"),
        Check(
            name="calls, the full one beside the small",
            value=100 * calls["full"] / calls["small"],
            limit=80,
            unit="%",
            at_least=True,
        ),
    ]
    return lines, checks, {"start": starts, "calls": calls}


def _calls(server: Platform, seconds: float) -> float:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    headers = {"authorization": server.key, "content-type": "text/plain"}

    def call() -> None:
        connection.request("POST", f"/v1/algo/{FIRST}", body=b"x", headers=headers)
        answer = connection.getresponse()
        assert b"hello" in answer.read(), answer.status

    for _ in range(20):
        call()
    made, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        call()
        made += 1
    connection.close()
    return made / (time.perf_counter() - began)


def _forgetting(filled: Filled, algorithm: Algorithm) -> object:
    return Lookups(filled.database).target(filled.actor, Reference(algorithm.name, None))


def _resolve(selector: str) -> Ask:
    return lambda filled, one: releases.resolve(filled.database, one, selector, is_owner=True)


def _both(ask: Ask) -> tuple[Ask, Ask]:
    return ask, ask


_OF_ONE: dict[str, tuple[Ask, Ask]] = {
    "a key": _both(lambda filled, _: keys.authenticate(filled.database, filled.key)),
    "an algorithm by name": _both(lambda filled, one: algorithms.find(filled.database, filled.actor, one.name)),
    "an algorithm by id": _both(lambda filled, one: algorithms.find(filled.database, filled.actor, UUID(one.id))),
    "what a call is for": _both(_forgetting),
    "what a call is for, of latest": _both(
        lambda filled, one: Lookups(filled.database).target(filled.actor, Reference(one.name, "latest"))
    ),
    "version latest": _both(_resolve("latest")),
    "version 0.0.*": _both(_resolve("0.0.*")),
    "version 0.0.1": _both(_resolve("0.0.1")),
    "version of a commit": _both(_resolve(f"{1:040x}")),
    "what is live": _both(lambda filled, one: deployments.live(filled.database, one)),
    "the last build that succeeded": _both(lambda filled, one: builds.last_succeeded(filled.database, one)),
    "builds": _both(lambda filled, one: builds.newest_first(filled.database, one, limit=PAGE, offset=0)),
    "releases": _both(lambda filled, one: releases.newest_first(filled.database, one, limit=PAGE, offset=0)),
    "versions": _both(lambda filled, one: releases.builds_and_releases(filled.database, one, limit=PAGE, offset=0)),
    "deployments": _both(lambda filled, one: deployments.newest_first(filled.database, one, limit=PAGE, offset=0)),
    "states of releases": _both(
        lambda filled, one: deployments.states(
            filled.database, releases.newest_first(filled.database, one, limit=PAGE, offset=0)
        )
    ),
    "secrets": _both(lambda filled, one: secrets.of_algorithm(filled.database, one)),
    "failed calls of an algorithm": _both(
        lambda filled, one: reports.failed_calls(filled.database, OWNER, algorithm_id=one.id)
    ),
    "insights": _both(lambda filled, one: reports.insights_of(filled.database, one.id)),
    "publishers": _both(lambda filled, one: publishers.of_algorithm(filled.database, one)),
    "keys of an account": _both(lambda filled, one: keys.of_account(filled.database, filled.actor.account)),
    "users": _both(lambda filled, _: accounts.every(filled.database, is_organization=False, limit=PAGE, offset=0)),
}


def _paged(ask: Callable[[Filled, int], object], deep: Callable[[Filled], int]) -> tuple[Ask, Ask]:
    return (lambda filled, _: ask(filled, 0)), (lambda filled, _: ask(filled, deep(filled)))


def _end(filled: Filled) -> int:
    return filled.long.generation - PAGE


_OF_LONG: dict[str, tuple[Ask, Ask]] = {
    "algorithms of an owner, first page": _paged(
        lambda filled, offset: algorithms.of_owner(filled.database, filled.actor, OWNER, limit=PAGE, offset=offset),
        lambda filled: 0,
    ),
    "algorithms of an owner, last page": _paged(
        lambda filled, offset: algorithms.of_owner(filled.database, filled.actor, OWNER, limit=PAGE, offset=offset),
        lambda filled: max(0, len(filled.some) - PAGE),
    ),
    "algorithms of an owner, for another": _both(
        lambda filled, _: algorithms.of_owner(filled.database, _STRANGER, OWNER, limit=PAGE, offset=0)
    ),
    "failed calls of an owner": _both(lambda filled, _: reports.failed_calls(filled.database, OWNER)),
    **{
        f"{name} of a long one, {page} page": _paged(ask, deep)
        for name, ask in {
            "builds": lambda filled, offset: builds.newest_first(
                filled.database, filled.long, limit=PAGE, offset=offset
            ),
            "releases": lambda filled, offset: releases.newest_first(
                filled.database, filled.long, limit=PAGE, offset=offset
            ),
            "versions": lambda filled, offset: releases.builds_and_releases(
                filled.database, filled.long, limit=PAGE, offset=offset
            ),
            "deployments": lambda filled, offset: deployments.newest_first(
                filled.database, filled.long, limit=PAGE, offset=offset
            ),
        }.items()
        for page, deep in {"first": lambda filled: 0, "last": _end}.items()
    },
    "version latest of a long one": _both(
        lambda filled, _: releases.resolve(filled.database, filled.long, "latest", is_owner=True)
    ),
    "version 0.0.1 of a long one": _both(
        lambda filled, _: releases.resolve(filled.database, filled.long, "0.0.1", is_owner=True)
    ),
    "version of a commit of a long one": _both(
        lambda filled, _: releases.resolve(filled.database, filled.long, f"{1:040x}", is_owner=True)
    ),
    "the last build that succeeded of a long one": _both(
        lambda filled, _: builds.last_succeeded(filled.database, filled.long)
    ),
}


if __name__ == "__main__":
    main()
