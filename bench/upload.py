"""How fast a model is described and stored, beside MD5 alone and `cp` with fsync to the same disk.

`stream` sends it in one request, `upload` in parts that can be gone on with.

Everything is measured in turns in the same run, since disks and neighbours change their mind; the best of the rounds
counts. The model lies in the page cache, so reading it costs the same for all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.harness import Check, Platform, conclude, peak_memory, platform
from pushpoint.client import Client
from pushpoint.digests import describe
from pushpoint.names import data_path

MEBIBYTE = 1 << 20
COLLECTION = "data://bench/models"


def main() -> None:
    """Measure; print a table and the verdicts, and as the last line JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench upload", description=__doc__)
    parser.add_argument("--size", type=_size, default=_size("1GiB"), help="of the model, such as 4GiB [1GiB]")
    parser.add_argument("--rounds", type=int, default=3, help="how often to measure each [3]")
    parser.add_argument("--directory", help="where to work; its disk is measured [the temporary folder]")
    parser.add_argument("--json", action="store_true", help="print the JSON alone")
    parser.add_argument("--send", nargs=5, help=argparse.SUPPRESS)  # what the client's own process does
    asked = parser.parse_args()
    if asked.send:
        _send(*asked.send)
        return
    with tempfile.TemporaryDirectory(prefix="pushpoint-bench-", dir=asked.directory) as folder:
        model = Path(folder, "model.pkl")
        _make(model, asked.size)
        with platform(Path(folder, "home")) as server:
            _measure(model, server, rounds=asked.rounds, only_json=asked.json)


def _measure(model: Path, server: Platform, *, rounds: int, only_json: bool) -> None:
    seconds: dict[str, list[float]] = {
        name: [] for name in ("MD5 alone", "describe", "cp and fsync", "stream", "upload")
    }
    memory = {"client": 0, "platform at rest": peak_memory(server.pid), "platform": 0}
    copy = model.with_name("copy")
    with Client(server.url, server.key) as client:
        client.create_collection(data_path(COLLECTION))
    for number in range(rounds):
        _change(model, number)
        seconds["MD5 alone"].append(_time(lambda: _md5(model)))
        seconds["describe"].append(_time(lambda: describe(model)))
        os.sync()
        seconds["cp and fsync"].append(_time(lambda: _copy(model, copy)))
        copy.unlink()
        os.sync()
        for way in ("stream", "upload"):
            command = [sys.executable, "-m", "bench.upload", "--send", way, server.url, str(server.home), str(model)]
            done = subprocess.run([*command, f"{COLLECTION}/{way}{number}.pkl"], stdout=subprocess.PIPE, check=True)
            sent = json.loads(done.stdout)
            seconds[way].append(sent["seconds"])
            memory["client"] = max(memory["client"], sent["memory"])
            for blob in server.home.glob("store/sha256/*/*"):
                blob.unlink()  # the next round brings other bytes
            os.sync()
    memory["platform"] = peak_memory(server.pid)
    size = model.stat().st_size
    best = {name: min(values) for name, values in seconds.items()}
    lines = [f"{size / MEBIBYTE:,.0f} MiB; seconds of each round, and the speed of the best"]
    for name, values in seconds.items():
        shown = "".join(f"{value:8.2f}" for value in values)
        lines.append(f"{name:<14}{shown}{size / MEBIBYTE / best[name]:9.0f} MiB/s")
    lines.append("peak memory: " + ", ".join(f"{name} {value / 1e6:.0f} MB" for name, value in memory.items()))
    describing = 100 * best["MD5 alone"] / best["describe"]
    sending = 100 * best["cp and fsync"] / best["stream"]
    for way in ("stream", "upload"):
        careful = 100 * (best["cp and fsync"] + best["MD5 alone"]) / best[way]
        lines.append(f"{way}, speed beside cp, fsync and then an MD5 pass: {careful:.0f} %")
    checks = [
        Check(name="describe, speed beside MD5 alone", value=describing, limit=90, unit="%", at_least=True),
        Check(name="stream, speed beside cp and fsync", value=sending, limit=50, unit="%", at_least=True),
        Check(name="memory of the client", value=memory["client"] / 1e6, limit=150, unit="MB"),
        Check(name="memory of the platform", value=memory["platform"] / 1e6, limit=150, unit="MB"),
    ]
    conclude(lines, checks, only_json=only_json, bench="upload", size=size, seconds=seconds, memory=memory)


def _send(way: str, url: str, home: str, model: str, target: str) -> None:
    blob = describe(Path(model))
    with Client(url, Path(home, "api-key").read_text().strip()) as client:
        client.account()  # as in a deploy, the connection is there already
        send = client.upload if way == "upload" else client.stream
        seconds = _time(lambda: send(data_path(target), Path(model), blob))
    print(json.dumps({"seconds": seconds, "memory": peak_memory()}))


def _md5(path: Path) -> None:
    digest, buffer = hashlib.md5(usedforsecurity=False), memoryview(bytearray(MEBIBYTE))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(buffer[:size])


def _copy(source: Path, target: Path) -> None:
    options = ["--reflink=never"] if sys.platform == "linux" else []  # bytes, not a promise of bytes
    subprocess.run(["cp", *options, str(source), str(target)], check=True)
    for path in (target, target.parent):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def _make(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, MEBIBYTE):
            file.write(os.urandom(min(MEBIBYTE, size - start)))


def _change(path: Path, number: int) -> None:
    with path.open("r+b") as file:
        file.write(bytes([number]))


def _time(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return round(time.perf_counter() - began, 4)


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+)\s*(KiB|MiB|GiB|)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write it like 1GiB or 512MiB")
    return int(found[1]) << {"": 0, "KiB": 10, "MiB": 20, "GiB": 30}[found[2]]


if __name__ == "__main__":
    main()
