"""An algorithm without any server: how fast it can be, and what its own imports cost. Standard library only.

It runs in the algorithm's environment: `python alone.py ALGORITHM SECONDS`, inputs as JSON on standard input.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module

MOST = 200_000
"""Calls; what answers in no time need not be asked longer."""
PAUSE = 0.001
"""Seconds between two calls: a processor that does something else meanwhile forgets the model, whoever serves it."""


def main() -> None:
    """Measure; print the answers, the memory and the speeds as JSON."""
    name, seconds, inputs = sys.argv[1], float(sys.argv[2]), json.load(sys.stdin)
    began = time.perf_counter()
    algorithm = import_module(name)
    getattr(algorithm, "load", lambda: None)()
    loaded = time.perf_counter() - began
    answers = [algorithm.apply(one) for one in inputs]
    with open("/proc/self/status") as status:
        memory = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))
    rate, p50 = _measure(algorithm.apply, inputs, seconds)
    _, paced = _measure(algorithm.apply, inputs, seconds, pause=PAUSE)
    batches = {}
    for size in (8, 64):
        batch = [inputs[number % len(inputs)] for number in range(size)]
        batches[size] = size * _measure(algorithm.apply_batch, [batch], seconds)[0]
    speed = {"rate": rate, "p50": p50, "paced": paced, "batches": batches}
    found = {"answers": answers, "loaded": loaded, "memory": memory, **speed}
    print(json.dumps(found))


def _measure(
    ask: Callable[[object], object], inputs: list[object], seconds: float, *, pause: float = 0.0
) -> tuple[float, float]:
    for one in inputs:
        ask(one)
    times: list[float] = []
    began = now = time.perf_counter()
    while now - began < seconds and len(times) < MOST:
        if pause:
            time.sleep(pause)
        before = time.perf_counter()
        ask(inputs[len(times) % len(inputs)])
        now = time.perf_counter()
        times.append(now - before)
    return len(times) / (now - began), 1000 * sorted(times)[len(times) // 2]


if __name__ == "__main__":
    main()
