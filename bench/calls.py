"""What a call costs, beside what others that make endpoints of Python functions take, in the same run.

Each server serves one algorithm with one worker and is called by `wrk` with 1, 8 and 64 connections: `echo`, which
answers what it was asked, and `sentiment`, the model of the example. Ours does so with authentication, lineage headers
and metrics. The limit is the same algorithm called in its own process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import ours, peers
from bench.harness import Check, conclude, crowding
from bench.load import Point, check_installed, measure
from bench.memory import proportional, resident, tree
from bench.serving import NoAnswer, Questions, Started
from pushpoint.errors import RequirementsFailed
from pushpoint.runtime import lay_down
from pushpoint.runtime.verify import MANIFEST

CONNECTIONS = (1, 8, 64)
OURS = "Pushpoint"
MARKERS = {"echo": "the", "sentiment": "score"}
"""What is in every answer of each algorithm."""
TEXTS = (
    "It works great, and the sound is perfect.",
    "It broke after two days; the money was wasted.",
    "Excellent camera, easy to use, great pictures. I highly recommend the zoom.",
    "Terrible support, and the manual is of no help at all.",
    "The battery lasts for about two days, which is enough for the trip.",
    "I bought the player for my daughter, and she uses it every day.",
    "The screen scratches easily and the buttons are too small.",
    "Not bad for the price, but the software crashes now and then.",
)
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "BENTOML_DO_NOT_TRACK": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of one server with one algorithm.

    Attributes:
        points: By number of connections.
        idle: Bytes of all its processes before the load, shared ones counted once.
        worker: Bytes of the largest of its other processes, with what the rest of these add, such as a sandbox.
        start: Seconds from its start to the first answer.
        crowding: How many times longer than alone one thread took after the load, other programs being what they are.
    """

    points: Mapping[int, Point]
    idle: int
    worker: int
    start: float
    crowding: float


Serve = Callable[[], AbstractContextManager[Started]]
"""Starts a server with an algorithm."""
Found = dict[str, dict[str, Measured]]
"""By algorithm and title."""
Limits = dict[str, dict[str, Any]]
"""What `bench.alone` found, by algorithm."""


def main() -> None:
    """Measure; print tables and the verdicts, and as the last line JSON."""
    asked = _asked()
    check_installed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers are to end too
    absent: dict[str, str] = {}
    found: Found = {}
    limits: Limits = {}
    with tempfile.TemporaryDirectory(prefix="pushpoint-bench-", dir=asked.directory) as folder:
        place, variables = Path(folder), clean_variables()
        beside = variables | {"PYTHONPATH": _path(place)}
        model = _model(place, variables) if "sentiment" in asked.algorithms else None
        pythons = _environments(place, asked.peers, absent)
        for algorithm in asked.algorithms:
            say(f"{algorithm}: deploy")
            own = model if algorithm == "sentiment" else None
            python = ours.deploy(place / algorithm, algorithm, own, variables=variables)
            limits[algorithm], questions = _alone(algorithm, python, asked.seconds, directory=place, variables=beside)
            servers: dict[str, Serve] = {OURS: partial(ours.serving, place / algorithm, questions, variables=variables)}
            for peer in peers.PEERS:
                if peer.name in pythons and not (peer.is_batched and own is None):
                    serve = partial(peers.serving, peer, questions, directory=place, variables=beside)
                    servers[peer.title] = partial(serve, python=pythons[peer.name])
            found[algorithm] = _measure(algorithm, servers, asked.seconds, absent)
        gateway = 0
        if asked.releases:
            say(f"a platform with {asked.releases} releases")
            gateway = ours.registered(place / "many", asked.releases, variables=variables)
    checks = [check for algorithm in found for check in _checks(algorithm, found[algorithm], limits[algorithm])]
    if gateway:
        name = f"memory of the gateway, {asked.releases} releases"
        checks.append(Check(name=name, value=gateway / 1e6, limit=120, unit="MB"))
    lines = _table(found, limits, absent)
    shown = {algorithm: {title: asdict(one) for title, one in each.items()} for algorithm, each in found.items()}
    measured = {"seconds": asked.seconds, "servers": shown, "in_process": limits, "absent": absent, "gateway": gateway}
    conclude(lines, checks, only_json=asked.json, bench="calls", **measured)


def _asked() -> argparse.Namespace:
    known = list(dict.fromkeys(peer.name for peer in peers.PEERS))
    parser = argparse.ArgumentParser(prog="scripts/bench calls", description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="how long to measure each point [4]")
    parser.add_argument("--peers", default="all", help=f"all, none, or some of {','.join(known)} [all]")
    parser.add_argument("--algorithms", default=",".join(MARKERS), help=f"one or both [{','.join(MARKERS)}]")
    parser.add_argument(
        "--releases", type=int, default=100, help="of the platform whose memory is measured; 0: of none"
    )
    parser.add_argument("--directory", help="where to work [the temporary folder]")
    parser.add_argument("--json", action="store_true", help="print the JSON alone")
    asked = parser.parse_args()
    asked.peers = {"all": known, "none": []}.get(asked.peers, asked.peers.split(","))
    asked.algorithms = asked.algorithms.split(",")
    if unknown := ({*asked.peers} - {*known}) | ({*asked.algorithms} - {*MARKERS}):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if asked.seconds < 1 or asked.releases == 1:
        parser.error("measure for at least 1 second, with at least 2 releases or 0")
    return asked


def say(text: str, *, began: float = time.monotonic()) -> None:
    """Tell on standard error how far it is."""
    print(f"{time.monotonic() - began:6.1f}s  {text}", file=sys.stderr, flush=True)


def clean_variables() -> dict[str, str]:
    """Say what servers have for their environment: ours without settings of Pushpoint, with one thread each.

    Returns:
        Variables.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PUSHPOINT_", "ALGORITHMIA_"))}
    return clean | _ONE_THREAD | _QUIET


def _path(place: Path) -> str:
    """Let others import the algorithms, and what these import of ours."""
    return os.pathsep.join([str(lay_down(place / "runtime")), str(ours.ALGORITHMS)])


def _model(place: Path, variables: Mapping[str, str]) -> Path:
    """Lay the model where an algorithm finds it that no platform serves."""
    say("the model of the sentiment example")
    model = place / "model.pkl"
    shutil.copyfile(ours.train(place / "training", peers.cache() / "models", variables), model)
    (place / MANIFEST).write_text(json.dumps({"model_filepath": "./model.pkl"}))
    return model


def _environments(place: Path, chosen: Sequence[str], absent: dict[str, str]) -> dict[str, Path]:
    requirements = ours.EXAMPLE / "sentiment" / "requirements.txt"
    found = {}
    for name in chosen:
        say(f"the environment of {name}")
        try:
            found[name] = peers.environment_of(name, requirements, place=place, say=lambda line: None)
        except RequirementsFailed as problem:
            say(f"{name} is NOT HERE: {problem}")
            absent[name] = str(problem)
    return found


def _alone(
    algorithm: str, python: Path, seconds: int, *, directory: Path, variables: Mapping[str, str]
) -> tuple[dict[str, Any], Questions]:
    """Measure the algorithm without a server, and learn its answers."""
    program = Path(__file__).with_name("alone.py")
    command = [str(python), str(program), algorithm, str(seconds)]
    done = subprocess.run(
        command, cwd=directory, env=variables, input=json.dumps(TEXTS), stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    batches = ", ".join(f"{rate:,.0f} in batches of {size}" for size, rate in found["batches"].items())
    say(f"{algorithm}, in process: {found['rate']:,.0f} a second, {batches}")
    answers = dict(zip(TEXTS, map(_looked_for, found.pop("answers")), strict=True))
    return found, Questions(algorithm=algorithm, answers=answers, marker=MARKERS[algorithm])


def _looked_for(answer: Any) -> str:
    return str(answer["score"]) if isinstance(answer, dict) else str(answer)


def _measure(algorithm: str, servers: Mapping[str, Serve], seconds: int, absent: dict[str, str]) -> dict[str, Measured]:
    found = {}
    for title, serve in servers.items():
        try:
            found[title] = _measure_one(f"{algorithm}, {title}", serve, seconds)
        except NoAnswer as problem:
            say(f"{algorithm}, {title}: NOT MEASURED: {problem}")
            absent[f"{title} with {algorithm}"] = str(problem)
    return found


def _measure_one(what: str, serve: Serve, seconds: int) -> Measured:
    with serve() as server:
        time.sleep(0.5)
        first, *rest = tree(server.pid)
        idle, worker = proportional([first, *rest]), _worker(rest)
        points = {}
        for connections in CONNECTIONS:
            point = points[connections] = measure(server.target, connections, seconds)
            figures = f"{point.rate:,.0f} a second, p50 {point.p50:.2f} ms, p99 {point.p99:.2f} ms"
            say(f"{what}, {connections}: {figures}")
            if point.errors:
                say(f"{what}, {connections}: NOT VALID, calls went wrong: {_shown(point.errors)}")
    start, crowded = round(server.seconds, 2), round(crowding(), 2)
    return Measured(points=points, idle=idle, worker=worker, start=start, crowding=crowded)


def _worker(pids: Sequence[int]) -> int:
    largest = max(pids, key=lambda pid: resident([pid]), default=0)
    return resident([largest]) + proportional(pid for pid in pids if pid != largest)


def _shown(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in errors.items())


def _checks(algorithm: str, found: Mapping[str, Measured], limit: Mapping[str, Any]) -> list[Check]:
    if OURS not in found:
        return [Check(name=f"{algorithm}: answers", value=0, limit=1, unit="", at_least=True)]
    own = found[OURS]
    wrong = sum(count for point in own.points.values() for count in point.errors.values())
    theirs = {title: one.points[64] for title, one in found.items() if title != OURS and not one.points[64].errors}
    checks = [
        Check(name=f"{algorithm}: calls that went wrong", value=wrong, limit=0, unit="calls"),
        Check(name=f"{algorithm}: p50 at 1, over apply", value=own.points[1].p50 - limit["p50"], limit=0.4, unit="ms"),
        Check(
            name=f"{algorithm}: a worker over its imports",
            value=(own.worker - limit["memory"]) / 1e6,
            limit=15,
            unit="MB",
        ),
    ]
    required = {"FastAPI + uvicorn": 3, "LitServe": 8} if algorithm == "echo" else {}
    for title, times in required.items():
        if title in theirs:
            ratio = own.points[64].rate / theirs[title].rate
            checks.append(
                Check(name=f"{algorithm} at 64, beside {title}", value=ratio, limit=times, unit="times", at_least=True)
            )
    if algorithm == "sentiment":
        if theirs:
            ratio = own.points[64].rate / max(one.rate for one in theirs.values())
            checks.append(
                Check(name="sentiment at 64, beside the best peer", value=ratio, limit=5, unit="times", at_least=True)
            )
        share = 100 * own.points[64].rate / limit["batches"]["64"]
        checks.append(
            Check(name="sentiment at 64, of batches in process", value=share, limit=50, unit="%", at_least=True)
        )
    if theirs:
        ratio = own.points[64].p99 / min(one.p99 for one in theirs.values())
        checks.append(Check(name=f"{algorithm}: p99 at 64, beside the best peer's", value=ratio, limit=1, unit="times"))
    return checks


def _table(found: Found, limits: Limits, absent: Mapping[str, str]) -> list[str]:
    """Draw a table for each algorithm; behind a peer's speed stands how many times that ours is."""
    lines = []
    for algorithm, each in found.items():
        limit, own = limits[algorithm], each.get(OURS)
        rates = "".join(f"{connections:>9}{'ours':>7}" for connections in CONNECTIONS)
        times = "".join(f"{name:>11}" for name in ("p50 at 1", "p50 at 64", "p99 at 64"))
        lines.append(f"{algorithm + ', calls a second at':<28}{rates}{times}{'idle':>9}{'start':>9}{'others':>8}")
        for title, one in each.items():
            rates = ""
            for connections, point in one.points.items():
                shown = f"{point.rate:,.0f}" + "!" * bool(point.errors)
                ratio = own.points[connections].rate / max(point.rate, 0.1) if own and own is not one else 0
                rates += f"{shown:>9}{f'x{ratio:.1f}' if ratio else '':>7}"
            low, high = one.points[1], one.points[64]
            times = "".join(f"{value:>8.2f} ms" for value in (low.p50, high.p50, high.p99))
            lines.append(f"{title:<28}{rates}{times}{one.idle / 1e6:>6.0f} MB{one.start:>7.1f} s{one.crowding:>8.1f}")
        rates = "".join(f"{_short(rate):>9}{'':>7}" for rate in (limit["rate"], *limit["batches"].values()))
        rest = f"{limit['p50']:>8.3f} ms{'':>22}{limit['memory'] / 1e6:>6.0f} MB{limit['loaded']:>7.1f} s"
        lines.append(f"{'in process; batches of 8, 64':<28}{rates}{rest}")
        lines.append(f"{'in process, 1 ms in between':<28}{'':>{16 * len(CONNECTIONS)}}{limit['paced']:>8.3f} ms")
        for title, one in each.items():
            for connections, point in one.points.items():
                if point.errors:
                    lines.append(f"!  NOT VALID: {title} at {connections}: {_shown(point.errors)}")
        lines.append("")
    lines += [f"not here: {name}: {reason}" for name, reason in absent.items()]
    return [*lines, *_LEGEND]


def _short(rate: float) -> str:
    return f"{rate:,.0f}" if rate < 1e6 else f"{rate / 1e6:,.1f}M"


_LEGEND = (
    "idle: all processes before the load, what they share counted once (PSS); in process, the one process (RSS)",
    "start: from the command to the first answer; in process, import and load",
    "others: how many times longer than alone one thread took at that time, other programs being what they are",
    "",
)


if __name__ == "__main__":
    main()
