"""What releases cost that nobody calls, and what the first call then waits for.

A call of the sentiment example without a worker is timed beside the import and load of the same algorithm in a process
of its own, in turns; its workers end after a second. Then the gateway's memory with many live releases, none of which
has a worker, beside that with few.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from bench import ours, peers
from bench.calls import TEXTS, say
from bench.filling import fill
from bench.harness import Check, conclude, platform
from bench.memory import resident, tree
from bench.serving import wait_for_answer
from pushpoint.runtime import lay_down
from pushpoint.runtime.verify import MANIFEST

COLD, EACH = 1.3, 20_000
"""Times longer than import and load that a first answer may take; bytes of memory for one more idle release."""
IDLE = ("--idle-after", "1")
_LOAD = (
    "import time; began = time.perf_counter(); import sentiment; sentiment.load(); print(time.perf_counter() - began)"
)


def main() -> None:
    """Measure; print the verdicts, and as the last line JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench idle", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often to wake the example; 0: not at all [7]")
    parser.add_argument("--releases", type=int, default=1000, help="that are idle [1000]")
    parser.add_argument("--directory", help="where to work [the temporary folder]")
    parser.add_argument("--json", action="store_true", help="print the JSON alone")
    asked = parser.parse_args()
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PUSHPOINT_")}
    with tempfile.TemporaryDirectory(prefix="pushpoint-bench-", dir=asked.directory) as folder:
        place = Path(folder)
        few, many = (_memory(place / str(number), number, variables) for number in (2, asked.releases))
        each = (many - few) / (asked.releases - 2)
        checks = [Check(name="memory of one more idle release", value=each / 1e3, limit=EACH / 1e3, unit="kB")]
        lines = [f"the gateway: {few / 1e6:.1f} MB with 2 idle releases, {many / 1e6:.1f} MB with {asked.releases:,}"]
        own, cold = _wake(place, asked.rounds, variables) if asked.rounds else ([], [])
    if asked.rounds:
        lines.append(f"seconds, medians: import and load {median(own):.2f}, first answer {median(cold):.2f}")
        times = median(after / before for before, after in zip(own, cold, strict=True))
        checks.append(Check(name="first answer, beside import and load", value=times, limit=COLD, unit="times"))
    measured = {"few": few, "many": many, "own": own, "cold": cold}
    conclude(lines, checks, only_json=asked.json, bench="idle", releases=asked.releases, **measured)


def _memory(home: Path, releases: int, variables: Mapping[str, str]) -> int:
    fill(home, copies=releases - 1, each=1, long=1).database.dispose()
    with platform(home, environment=variables, options=IDLE) as server:
        deadline = time.monotonic() + 60
        while len(tree(server.pid)) > 1:
            if time.monotonic() > deadline:
                raise SystemExit("workers of idle releases did not end")
            time.sleep(0.5)
        found = resident([server.pid])
    say(f"{releases:,} idle releases: {found / 1e6:.1f} MB")
    return found


def _wake(place: Path, rounds: int, variables: Mapping[str, str]) -> tuple[list[float], list[float]]:
    say("the model of the sentiment example")
    model = ours.train(place / "training", peers.cache() / "models", variables)
    (place / "model.pkl").symlink_to(model)
    (place / MANIFEST).write_text(json.dumps({"model_filepath": "./model.pkl"}))
    python = ours.deploy(place / "home", "sentiment", model, variables=variables)
    (compiled,) = (place / "home" / "builds").glob("*/bytecode")  # what the workers have
    path = os.pathsep.join([str(lay_down(place / "runtime")), str(ours.ALGORITHMS)])
    here = {**variables, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(compiled)}
    own, cold = [], []
    with platform(place / "home", environment=variables, options=IDLE) as server:
        target = ours.target_of(server, "sentiment", [TEXTS[0]], marker="score")
        for number in range(rounds + 1):  # the first one reads what the others find in the page cache
            while len(tree(server.pid)) > 1:
                time.sleep(0.2)
            loaded = subprocess.run([str(python), "-c", _LOAD], cwd=place, env=here, stdout=subprocess.PIPE, check=True)
            began = time.perf_counter()
            wait_for_answer(target)
            seconds = time.perf_counter() - began
            say(f"import and load {float(loaded.stdout):.2f} s, first answer {seconds:.2f} s")
            if number:
                own.append(round(float(loaded.stdout), 3))
                cold.append(round(seconds, 3))
    return own, cold


if __name__ == "__main__":
    main()
