"""Whole workflows, run by `act` in host mode: real steps, real environment files, real workflow commands.

Actions of others cannot be fetched here, so stand-ins take their places: `actions/cache` keeps folders in a folder,
`actions/upload-artifact` copies what it is given. `actions/checkout` is act's own affair.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import Platform
from tests.repositories import Repository

ROOT = Path(__file__).parents[2]
STANDINS = Path(__file__).parent / "standins"
OURS = "acme/pushpoint@v1"
CACHE = next(
    step["uses"].rpartition("@")[2]
    for step in yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
    if step.get("uses", "").startswith("actions/cache/restore@")
)

WORKFLOW = """\
name: deploy
on: [push, pull_request, pull_request_target, workflow_dispatch, schedule, release, issue_comment]
jobs:
  deploy:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v7
      - id: pushpoint
        uses: acme/pushpoint@v1
        with:
@WITH@
      - name: outputs
        if: always()
        env:
          OUTPUTS: ${{ toJSON(steps.pushpoint.outputs) }}
          OUTCOME: ${{ steps.pushpoint.outcome }}
        run: printf '%s' "$OUTPUTS" > "$RESULTS/outputs.json"; printf '%s' "$OUTCOME" > "$RESULTS/outcome"
      - name: evidence
        if: always()
        run: if [ -d .pushpoint ]; then cp -RP .pushpoint "$RESULTS/evidence"; fi
"""
WITH = {"url": "${{ vars.PUSHPOINT_URL }}", "api-key": "${{ secrets.PUSHPOINT_API_KEY }}"}


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A workflow that has ended.

    Attributes:
        code: act's exit code.
        outcome: Of our step.
        outputs: Of our step.
        commands: Workflow commands in order: name, text and properties.
        lines: What was printed besides.
        summary: What our step wrote for the page.
        log: All of act's own log, with secrets masked as a person sees it.
    """

    code: int
    outcome: str
    outputs: dict[str, str]
    commands: list[tuple[str, str, dict[str, str]]]
    lines: list[str]
    summary: str
    log: str
    results: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def annotations(self, level: str) -> list[tuple[str, dict[str, str]]]:
        return [(text, properties) for name, text, properties in self.commands if name == level]

    def groups(self) -> list[str]:
        return [text for name, text, _ in self.commands if name == "group"]


def action(target: Path) -> Path:
    """Lay down what a runner fetches for `uses:`: the files of the Action, nothing that was made from them."""
    target.mkdir(parents=True)
    for name in ("action.yml", "action.lock"):
        shutil.copy(ROOT / name, target)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "scripts", target / "scripts", ignore=ignored)
    shutil.copytree(ROOT / "src", target / "src", ignore=ignored)
    return target


def workflow(repository: Repository, inputs: Mapping[str, str] = WITH) -> None:
    """Write the workflow of a test; it is part of the next commit."""
    given = "\n".join(
        f"          {name}: {value if value.startswith('$') else json.dumps(value)}" for name, value in inputs.items()
    )
    repository.write(".github/workflows/deploy.yml", WORKFLOW.replace("@WITH@", given))


def run(
    repository: Path,
    platform: Platform | None,
    ours: Path,
    results: Path,
    *,
    event: str = "push",
    payload: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    steps: Mapping[str, str] | None = None,
    prefix: list[str] | None = None,
    uses: str = OURS,
    program: Path = Path(sys.executable).parent / "act",
    standins: Path = STANDINS,
) -> Ran:
    """Run the workflows of a repository for an event.

    Args:
        repository: Its work tree.
        platform: Whose address and key are the variable and the secret of the repository.
        ours: Folder made by `action`.
        results: Folder for what the workflow leaves.
        event: The event's name.
        payload: What GitHub says of it.
        secrets: More secrets.
        variables: More variables of the repository.
        environment: More variables of the runner's machine.
        steps: More variables of the steps, as the runner sets them.
        prefix: Command to run act with, for instance as another user.
        uses: How the workflow names the Action.
        program: act, where whoever runs it can see it.
        standins: The same for the other actions.
    """
    results.mkdir(parents=True, exist_ok=True)
    (results / "event.json").write_text(json.dumps(payload or {}))
    kept = dict(secrets or {}) | ({"PUSHPOINT_API_KEY": platform.key} if platform else {})
    (results / "secrets").write_text("".join(f"{name}={json.dumps(value)}\n" for name, value in kept.items()))
    command = [
        *(prefix or []),
        *(str(program), event, "--json", "--eventpath", str(results / "event.json")),
        *("--platform", "ubuntu-latest=-self-hosted", "--no-cache-server", "--secret-file", str(results / "secrets")),
        *(
            "--env",
            f"RESULTS={results}",
            *(word for pair in (steps or {}).items() for word in ("--env", "=".join(pair))),
        ),
        *("--artifact-server-addr", "127.0.0.1", "--action-offline-mode"),
        *("--local-repository", f"{uses}={ours}"),
        *("--local-repository", f"actions/cache@{CACHE}={standins / 'cache'}"),
    ]
    for text in (
        "upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a",
        "setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97",
    ):
        command += ["--local-repository", f"actions/{text}={standins / text.partition('@')[0]}"]
    shown = dict(variables or {}) | ({"PUSHPOINT_URL": platform.url} if platform else {})
    for name, value in shown.items():
        command += ["--var", f"{name}={value}"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PUSHPOINT_", "GITHUB_", "CI"))}
    done = subprocess.run(
        command,
        cwd=repository,
        env=clean | {"XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]} | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    commands, lines, summary, log, seconds = [], [], "", [], {}
    for text in done.stdout.splitlines():
        line = json.loads(text)
        log.append(line["msg"])
        if "executionTime" in line and line.get("stage") == "Main":
            seconds["/".join(line.get("stepID", []))] = line["executionTime"] / 1e9
        name = line.get("command")
        if name == "summary":
            summary = line["content"]
        elif name and name not in {"set-output", "add-mask"}:
            commands.append((name, line.get("arg", ""), line.get("kvPairs") or {}))
        elif line.get("raw_output"):
            lines.append(line["msg"].rstrip("\n"))
    outputs, outcome = results / "outputs.json", results / "outcome"
    return Ran(
        code=done.returncode,
        outcome=outcome.read_text() if outcome.exists() else "",
        outputs=json.loads(outputs.read_text()) if outputs.exists() else {},
        commands=commands,
        lines=lines,
        summary=summary,
        log="\n".join(log) + done.stderr,
        results=results,
        seconds=seconds,
    )
