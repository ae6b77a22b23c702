"""What a deploy of the sentiment example takes beyond the user's own code, beside the same by pip and nbconvert.

Our overhead is all the time of `pushpoint deploy` but the notebook's cells and the import and load of the inference
script. Downloads are out of it: everything is fetched once before. The best of the runs counts, since neighbours on the
machine only ever add; each run begins without an environment and with an empty platform.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from uv import find_uv_bin

from bench.harness import Check, Platform, conclude, platform
from pushpoint.runtime import lay_down

EXAMPLE = Path(__file__).parents[1] / "examples" / "sentiment"
LIMITS = {"first": 10.0, "new model": 6.0, "unchanged": 2.0}
_WHO = {f"GIT_{role}_{what}": "bench@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
_NBCONVERT = """
import sys, time
began = time.perf_counter()
import nbformat
from nbconvert.preprocessors import ExecutePreprocessor
imported = time.perf_counter() - began
notebook = nbformat.read(sys.argv[1], as_version=4)
ExecutePreprocessor(timeout=-1, kernel_name="python3").preprocess(notebook, {"metadata": {"path": "."}})
nbformat.write(notebook, sys.argv[1])
print(imported, time.perf_counter() - began - imported)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One deploy, taken apart; in seconds.

    Attributes:
        total: From the start of the program to its end.
        cells: The notebook's cells.
        loads: Import and load of the inference script: once in the build, once in the rollout.
        parts: What the rest was spent on.
        sent: Bytes of model that were sent.
        version: What went live.
    """

    total: float
    cells: float
    loads: float
    parts: Mapping[str, float]
    sent: int
    version: str

    @property
    def overhead(self) -> float:
        """What is ours."""
        return self.total - self.cells - self.loads


def main() -> None:
    """Measure; print a table and the verdicts, and as the last line JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench deploy", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often to measure all of it [3]")
    parser.add_argument("--no-original", action="store_true", help="leave out pip and nbconvert, which take a minute")
    parser.add_argument("--json", action="store_true", help="print the JSON alone")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pushpoint-bench-") as folder:
        place = Path(folder)
        environment = os.environ | _WHO | {"XDG_CACHE_HOME": str(place / "cache"), "UV_CACHE_DIR": _uv_cache()}
        environment |= {"PIP_CACHE_DIR": str(place / "pip"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        _deploys(place / "warm", environment)
        runs = []
        for number in range(asked.runs):
            shutil.rmtree(place / "cache" / "pushpoint")
            runs.append(_deploys(place / str(number), environment))
        original = {} if asked.no_original else _original(place / "original", environment)
    _show(runs, original, only_json=asked.json)


def _deploys(place: Path, environment: Mapping[str, str]) -> dict[str, Deployed]:
    repository = place / "sentiment"
    shutil.copytree(EXAMPLE, repository, ignore=shutil.ignore_patterns("__pycache__", ".pushpoint", "model.pkl"))
    _git(repository, environment, "init", "--quiet", "--initial-branch=main")
    _commit(repository, environment, "First")
    with platform(place / "home", environment=environment) as server:
        found = {"first": _deploy(repository, server, environment)}
        notebook = repository / "model_training.ipynb"
        text = notebook.read_text()
        notebook.write_text(text.replace("SEED = 42", "SEED = 43"))
        _commit(repository, environment, "Another seed")
        found["new model"] = _deploy(repository, server, environment)
        (repository / "NOTES.md").write_text("nothing that the model is made from\n")
        _commit(repository, environment, "Notes")
        found["unchanged"] = _deploy(repository, server, environment)
    shutil.rmtree(place)
    return found


def _deploy(repository: Path, server: Platform, environment: Mapping[str, str]) -> Deployed:
    before = _loads(server.home)
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pushpoint", "deploy", "--json"],
        cwd=repository,
        env={**environment, "PUSHPOINT_URL": server.url, "PUSHPOINT_API_KEY": server.key},
        capture_output=True,
        text=True,
        check=False,
    )
    total = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    said = json.loads(done.stdout)
    sent = re.search(r"([\d,]+) bytes sent to", done.stderr)
    parts = {name: seconds for name, seconds in said["steps"].items() if name != "train"}
    cells = said["parts"].get("cells", 0.0)
    if "train" in said["steps"]:
        made = parts["environment"] = said["parts"]["environment"]
        parts["kernel and notebook"] = said["steps"]["train"] - made - cells
    parts["start and end of the program"] = total - sum(said["steps"].values())
    return Deployed(
        total=total,
        cells=cells,
        loads=_loads(server.home) - before,
        parts=parts,
        sent=int(sent[1].replace(",", "")) if sent else 0,
        version=said["deployment"]["release"]["version"],
    )


def _loads(home: Path) -> float:
    files = [*home.glob("builds/*/build.log"), home / "platform.log"]
    text = "".join(file.read_text() for file in files)
    found: list[str] = re.findall(r"""(?:import and load succeeded in |"load_seconds": ?)([\d.]+)""", text)
    return sum(map(float, found))


def _original(place: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """Do what the Action before Pushpoint did until the model was there; push and build came on top.

    Returns:
        Seconds of each part.
    """
    shutil.copytree(EXAMPLE, place)
    python = str(place / "venv" / "bin" / "python")
    own = {**environment, "PYTHONPATH": str(lay_down(place / "runtime"))}

    def run(*command: str) -> str:
        return subprocess.run(command, cwd=place, env=own, check=True, capture_output=True, text=True).stdout

    run(sys.executable, "-m", "pip", "download", "--quiet", "--dest", "fetched", "-r", "requirements.txt")
    times = [time.perf_counter()]
    run(sys.executable, "-m", "venv", "venv")
    times.append(time.perf_counter())
    run(python, "-m", "pip", "install", "--quiet", "-r", "requirements.txt")
    times.append(time.perf_counter())
    run(python, "-m", "pip", "install", "--quiet", "nbconvert", "ipykernel")  # they were in the Action's image
    imported, executed = map(float, run(python, "-c", _NBCONVERT, "model_training.ipynb").split())
    cells = 0.0
    for cell in json.loads((place / "model_training.ipynb").read_text())["cells"]:
        if noted := cell["metadata"].get("execution"):
            begin, end = (datetime.fromisoformat(noted[key]) for key in ("iopub.execute_input", "shell.execute_reply"))
            cells += (end - begin).total_seconds()
    return {
        "venv": times[1] - times[0],
        "pip install": times[2] - times[1],
        "import of nbconvert": imported,
        "kernel and notebook": executed - cells,
        "cells": cells,
    }


def _show(runs: list[dict[str, Deployed]], original: Mapping[str, float], *, only_json: bool) -> None:
    best = {name: min((run[name] for run in runs), key=lambda deployed: deployed.overhead) for name in LIMITS}
    lines = [f"{'seconds, best of ' + str(len(runs)):<34}" + "".join(f"{name:>12}" for name in best)]
    for part in dict.fromkeys(part for deployed in best.values() for part in deployed.parts):
        cells = [f"{deployed.parts[part]:.2f}" if part in deployed.parts else "" for deployed in best.values()]
        lines.append(f"  {part:<32}" + "".join(f"{cell:>12}" for cell in cells))
    for name in ("cells", "loads", "total", "overhead"):
        lines += [f"{name:<34}" + "".join(f"{getattr(deployed, name):12.2f}" for deployed in best.values())]
    lines.append(f"{'bytes of model sent':<34}" + "".join(f"{deployed.sent:12,}" for deployed in best.values()))
    lines.append("  (build and roll out contain the loads: import and load of the inference script, once in each)")
    if original:
        lines.append(f"{'the original, up to the model':<34}")
        lines += [f"  {part:<32}{seconds:12.2f}" for part, seconds in original.items()]
        lines.append(f"{'overhead':<34}{sum(original.values()) - original['cells']:12.2f}")
    checks = [
        Check(name=f"overhead, {name}", value=best[name].overhead, limit=limit, unit="s")
        for name, limit in LIMITS.items()
    ]
    checks.append(Check(name="bytes of model sent, unchanged", value=best["unchanged"].sent, limit=0, unit="bytes"))
    shown = [
        {name: asdict(deployed) | {"overhead": deployed.overhead} for name, deployed in run.items()} for run in runs
    ]
    conclude(lines, checks, only_json=only_json, bench="deploy", runs=shown, original=original)


def _commit(repository: Path, environment: Mapping[str, str], message: str) -> None:
    _git(repository, environment, "add", "--all")
    _git(repository, environment, "commit", "--quiet", "--message", message)


def _git(repository: Path, environment: Mapping[str, str], *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=repository, env=environment, check=True)


def _uv_cache() -> str:
    return subprocess.run([find_uv_bin(), "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
