"""What the Action takes beyond `pushpoint deploy`: the same commit, trained again, by both in turn.

The Action runs in a real workflow, by `act`; its time is that of its step, the look-up of its environment included.
Both are warm: everything was made once before. The best of the runs counts, since neighbours on the machine only ever
add.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from bench.harness import Check, Platform, conclude, platform

ROOT = Path(__file__).parents[1]
LIMIT = 5.0
"""Seconds."""
_WORKFLOW = """\
on: workflow_dispatch
jobs:
  deploy:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v7
      - id: pushpoint
        uses: acme/pushpoint@v1
        with:
          url: ${{ vars.PUSHPOINT_URL }}
          api-key: ${{ secrets.PUSHPOINT_API_KEY }}
"""
_NOTHING = "name: nothing\nruns:\n  using: composite\n  steps:\n    - run: 'true'\n      shell: bash\n"
_CELL = 'import pathlib, time\npathlib.Path("model.pkl").write_text(str(time.time_ns()))'
_WHO = {f"GIT_{role}_{what}": "bench@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def main() -> None:
    """Measure; print the verdict, and as the last line JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench action", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often each of the two deploys [3]")
    parser.add_argument("--json", action="store_true", help="print the JSON alone")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pushpoint-bench-") as folder, platform(Path(folder) / "home") as there:
        place = Path(folder)
        repository = _repository(place / "ml")
        action = _action(place)
        _deploy(repository, there), _act(repository, there, action)  # both are warm from here on
        seconds: dict[str, list[float]] = {"deploy": [], "action": []}
        for _ in range(asked.runs):
            seconds["deploy"].append(_deploy(repository, there))
            seconds["action"].append(_act(repository, there, action))
    best = {name: min(each) for name, each in seconds.items()}
    overhead = best["action"] - best["deploy"]
    lines = [f"{name:<8}{best[name]:9.2f} s" for name in best]
    lines.append(f"the Action takes {best['action'] / best['deploy']:.2f} times as long")
    check = Check(name="overhead of the Action", value=overhead, limit=LIMIT, unit="s")
    conclude(lines, [check], only_json=asked.json, seconds=seconds)


def _repository(folder: Path) -> Path:
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": dict[str, str](),
        "outputs": list[str](),
        "source": _CELL,
    }
    notebook = {"cells": [cell], "metadata": dict[str, str](), "nbformat": 4, "nbformat_minor": 4}
    files = {
        ".gitignore": "model.pkl\n",
        ".github/workflows/deploy.yml": _WORKFLOW,
        "pushpoint.toml": 'algorithm = "bench"\n',
        "model_training.ipynb": json.dumps(notebook),
        "bench/requirements.txt": "",
        "bench/src/__init__.py": "",
        "bench/src/bench.py": "def apply(input):\n    return input\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for arguments in (["init", "--quiet", "--initial-branch=main"], ["add", "--all"], ["commit", "-qm", "Bench"]):
        subprocess.run(["git", *arguments], cwd=folder, env=os.environ | _WHO, check=True)
    return folder


def _action(place: Path) -> list[str]:
    ours = place / "action"
    ours.mkdir()
    for name in ("action.yml", "action.lock"):
        shutil.copy(ROOT / name, ours)
    for name in ("scripts", "src"):
        shutil.copytree(ROOT / name, ours / name, ignore=shutil.ignore_patterns("__pycache__"))
    found = [f"acme/pushpoint@v1={ours}"]
    for step in yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]:
        if uses := step.get("uses", ""):
            name, _, commit = uses.partition("@")
            other = place / "nothing" / Path(name).name
            other.mkdir(parents=True)
            (other / "action.yml").write_text(_NOTHING)
            found.append(f"{'/'.join(name.split('/')[:2])}@{commit}={place / 'nothing'}")
    return [word for pair in dict.fromkeys(found) for word in ("--local-repository", pair)]


def _deploy(repository: Path, there: Platform) -> float:
    environment = os.environ | {"PUSHPOINT_URL": there.url, "PUSHPOINT_API_KEY": there.key, "CI": "true"}
    began = time.perf_counter()
    _run([sys.executable, "-m", "pushpoint", "deploy", "--retrain"], repository, environment)
    return time.perf_counter() - began


def _act(repository: Path, there: Platform, actions: list[str]) -> float:
    act = str(Path(sys.executable).parent / "act")
    command = [act, "workflow_dispatch", "--json", "--platform", "ubuntu-latest=-self-hosted", "--no-cache-server"]
    command += ["--var", f"PUSHPOINT_URL={there.url}", "--secret", "PUSHPOINT_API_KEY", *actions]
    said = _run(command, repository, os.environ | {"PUSHPOINT_API_KEY": there.key})
    for line in map(json.loads, said.splitlines()):
        if line.get("stepID") == ["pushpoint"] and line.get("stage") == "Main" and "executionTime" in line:
            return float(line["executionTime"]) / 1e9
    raise SystemExit("act said nothing of our step")


def _run(command: list[str], directory: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
