"""Writes the generated parts of `docs/reference` and `action.yml`, each between its two markers; the rest is by hand.

python docs/generate.py            write them anew
python docs/generate.py --check    write nothing; exit 1 and name the pages that are stale
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

os.environ["NO_COLOR"] = "1"

import typer.rich_utils
from typer.testing import CliRunner

from pushpoint import errors, library, lifecycle, manifest
from pushpoint.action.inputs import ORIGINAL, OWN
from pushpoint.action.outputs import OUTPUTS
from pushpoint.cli import EXIT, app
from pushpoint.config import SETTINGS
from pushpoint.digests import Digest, describe_bytes
from pushpoint.web import ROUTES, unoffered
from pushpoint.web.errors import TABLE

DOCS = Path(__file__).parent
BEGIN, END = "<!-- begin generated: scripts/docs writes this -->", "<!-- end generated -->"
BEGIN_YAML, END_YAML = "# begin generated: scripts/docs writes this", "# end generated"
WIDTH = 100


def cli() -> str:
    """Print the help of the program and of each command.

    Returns:
        Markdown.
    """
    typer.rich_utils.MAX_WIDTH = WIDTH
    typer.rich_utils.FORCE_TERMINAL = False
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    parts = []
    for name, command in commands.items():
        parts.append(f"## pushpoint {name}\n\n{_help([name])}")
        below = getattr(command, "commands", ())
        parts += [f"### pushpoint {name} {inner}\n\n{_help([name, inner])}" for inner in below]
    return "\n\n".join([f"## pushpoint\n\n{_help([])}", *parts])


def _help(command: list[str]) -> str:
    shown = CliRunner().invoke(app, [*command, "--help"], prog_name="pushpoint", env={"COLUMNS": str(WIDTH)})
    lines = [line.rstrip() for line in shown.output.strip("\n").splitlines()]
    return "```text\n" + "\n".join(lines).strip("\n") + "\n```"


def settings() -> str:
    """Print the table of settings.

    Returns:
        Markdown.
    """
    rows = []
    for setting in SETTINGS:
        default = "" if setting.default in (None, ()) else f"`{_number(setting.default)}`"
        rows.append((f"`{setting.name}`", setting.kind, default, f"`{setting.variable}`", setting.help))
    return _table(("in the file", "kind", "default", "in the environment", "what it is"), rows)


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def http() -> str:
    """Print the table of the management routes.

    Returns:
        Markdown.
    """
    rows = []
    offered = [route for route in ROUTES if route not in unoffered.ROUTES]
    for route in offered:
        meaning = (route.fn.__doc__ or "").strip().splitlines()[0]
        for path in sorted(route.paths, reverse=True):
            shown = path.replace(":str}", "}")
            deploys = "yes" if route.opt.get("deploys") else ""
            rows.append((", ".join(sorted(route.http_methods)), f"`{shown}`", route.opt["scope"], deploys, meaning))
    reasons = [(f"`{path.replace(':str}', '}')}`", reason) for path, reason in unoffered.REASONS.items()]
    table = _table(("method", "path", "scope", "in a deploy", "what it does"), rows)
    return f"{table}\n\nNot offered: these answer 501 to whoever has a key.\n\n{_table(('path', 'why'), reasons)}"


LIBRARY = ("Client", "Algorithm", "Build", "Release", "Releases", "Answer", "Model")


def python() -> str:
    """Print what the library offers: its classes, and what their attributes and methods say of themselves.

    Returns:
        Markdown.
    """
    parts = []
    for name in sorted(library.__all__, key=LIBRARY.index):
        kind = getattr(library, name)
        about = dict(re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", inspect.getdoc(kind) or "", re.MULTILINE))
        rows = [(f"`{one}`", " ".join(text.split())) for one, text in about.items()]
        if is_dataclass(kind):
            rows += [(f"`{field.name}`", f"`{field.type}`") for field in fields(kind) if field.name not in about]
        for one, member in vars(kind).items():
            function = getattr(member, "fget", None) or getattr(member, "func", member)
            if inspect.isfunction(function) and (one == "__call__" or not one.startswith("_")):
                shown = one.replace("__call__", "") + (_parameters(member) if function is member else "")
                rows.append((f"`{shown}`", _first(member)))
        parts.append(f"## {name}\n\n{_first(kind)}" + (f"\n\n{_table((name, 'what it is'), rows)}" if rows else ""))
    return "\n\n".join(parts)


def _first(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")


def _parameters(function: Callable[..., Any]) -> str:
    found = list(inspect.signature(function).parameters.values())[1:]
    return str(inspect.Signature([one.replace(annotation=inspect.Parameter.empty) for one in found]))


def error_tree() -> str:
    """Print every error with its exit code and its status.

    Returns:
        Markdown.
    """

    def below(kind: type[errors.Error], depth: int) -> Iterator[tuple[str, ...]]:
        code = next(EXIT[base] for base in kind.__mro__ if base in EXIT)
        status = next(TABLE[base] for base in kind.__mro__ if base in TABLE)[0]
        name = "&nbsp;&nbsp;" * depth + f"`{kind.__name__}`"
        yield name, str(code), str(status), (kind.__doc__ or "").strip().splitlines()[0]
        for child in kind.__subclasses__():
            yield from below(child, depth + 1)

    return _table(("error", "exit code", "status", "what it says"), list(below(errors.Error, 0)))


def lifecycles() -> str:
    """Print each lifecycle as a table and as a diagram.

    Returns:
        Markdown.
    """
    parts = []
    tables: list[tuple[str, type[StrEnum], Mapping[Any, frozenset[Any]]]] = [
        ("Build", lifecycle.BuildState, lifecycle.BUILD),
        ("Deployment", lifecycle.DeploymentState, lifecycle.DEPLOYMENT),
        ("Replica", lifecycle.ReplicaState, lifecycle.REPLICA),
    ]
    for name, states, table in tables:
        order = list(states)
        steps = [(now, to) for now in order for to in sorted(table[now], key=order.index)]
        rows = []
        for now in order:
            after = ", ".join(f"`{to}`" for one, to in steps if one is now)
            rows.append((f"`{now}`", after or "nothing: it is over"))
        meaning = (states.__doc__ or "").strip().splitlines()[0]
        lines = ["stateDiagram-v2"]
        lines += [f'    state "{state}" as {_id(state)}' for state in order if _id(state) != state]
        lines += [f"    [*] --> {_id(order[0])}"]
        lines += [f"    {_id(now)} --> {_id(to)}" for now, to in steps]
        lines += [f"    {_id(state)} --> [*]" for state in order if not table[state]]
        diagram = "```mermaid\n" + "\n".join(lines) + "\n```"
        parts.append(f"## {name}\n\n{meaning}\n\n{_table(('state', 'what may follow'), rows)}\n\n{diagram}")
    return "\n\n".join(parts)


def _id(state: str) -> str:
    return state.replace("-", "_")


def manifest_example() -> str:
    """Print a manifest as a deploy writes it.

    Returns:
        Markdown.
    """
    made = manifest.Manifest(
        algorithm="ann/sentiment",
        deploy_id=describe_bytes([b"deploy"]).hex,
        model=describe_bytes([b"model"]),
        format="pickle",
        uri="data://ann/sentiment/model_5d0f61c2a1b7c3e9f0d48a6b7c21e5f3908d4a7b_9372c470eeadd5ec.pkl",
        source=manifest.Source(
            repository="ann/reviews",
            ref="refs/heads/main",
            commit="5d0f61c2a1b7c3e9f0d48a6b7c21e5f3908d4a7b",
            message="Train on the reviews of May",
            committed=datetime(2026, 6, 1, 8, 30, tzinfo=UTC),
        ),
        created=datetime(2026, 6, 1, 8, 34, 12, 250000, tzinfo=UTC),
        inputs=Digest(describe_bytes([b"inputs"]).digest),
        provenance=manifest.Provenance(
            builder="github-actions",
            event="push",
            run_id="1234567890",
            run_attempt="1",
            notebook="model_training.ipynb",
            python="3.12.4",
            started="2026-06-01T08:32:40Z",
            finished="2026-06-01T08:34:12Z",
        ),
        notebook=replace(describe_bytes([b"notebook"]), media_type="application/x-ipynb+json"),
        metrics={"accuracy": 0.943, "roc_auc": 0.987},
        extra={"owner_team": "reviews"},
    )
    return f"```json\n{manifest.write(made)}```"


def action_yaml() -> str:
    """Print the inputs and outputs of `action.yml`.

    Returns:
        YAML.
    """
    lines = ["inputs:"]
    for name, meaning, old in _action_inputs():
        lines += [f"  {name}:", f"    description: {json.dumps(meaning)}", "    required: false"]
        lines += [f"    deprecationMessage: {json.dumps(old)}"] if old else []
    lines += ["", "outputs:"]
    for name, meaning in OUTPUTS.items():
        lines += [f"  {name}:", f"    description: {json.dumps(meaning)}"]
        lines += [f"    value: ${{{{ steps.run.outputs.{name} }}}}"]
    return "\n".join(lines)


def action() -> str:
    """Print the tables of the Action's inputs and outputs.

    Returns:
        Markdown.
    """
    new = [(f"`{name}`", meaning) for name, meaning, old in _action_inputs() if not old]
    old = [(f"`{name}`", belongs) for name, belongs in ORIGINAL.items()]
    outputs = [(f"`{name}`", meaning) for name, meaning in OUTPUTS.items()]
    return "\n\n".join(
        [
            "## Inputs\n\n" + _table(("input", "what it is"), new),
            "## Inputs of the original Action\n\n" + _table(("input", "where it belongs"), old),
            "## Outputs\n\n" + _table(("output", "what it is"), outputs),
        ]
    )


def _action_inputs() -> Iterator[tuple[str, str, str]]:
    for name, meaning in OWN.items():
        yield name, meaning, ""
    for setting in SETTINGS:
        default = "" if setting.default in (None, ()) else f" [default: {_number(setting.default)}]"
        yield setting.name, setting.help + default, ""
    for name, belongs in ORIGINAL.items():
        yield name, "The original Action's input", f"now {belongs}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def clients() -> str:
    """Print which client's tests reach which endpoint.

    Returns:
        Markdown.
    """
    sys.path.insert(0, str(DOCS.parent))
    from tests.clients import table  # the tests say what is tested

    return table.page(_table)


PAGES: dict[str, Callable[[], str]] = {
    "reference/cli.md": cli,
    "reference/settings.md": settings,
    "reference/http.md": http,
    "reference/python.md": python,
    "reference/errors.md": error_tree,
    "reference/lifecycles.md": lifecycles,
    "reference/manifest.md": manifest_example,
    "reference/action.md": action,
    "reference/clients.md": clients,
    "../action.yml": action_yaml,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are stale.

    Returns:
        The exit code.
    """
    stale = []
    for name, generated in PAGES.items():
        page = DOCS / name
        first, last = (BEGIN_YAML, END_YAML) if page.suffix == ".yml" else (BEGIN, END)
        text = page.read_text(encoding="utf-8")
        before, begin, rest = text.partition(first)
        _, end, after = rest.partition(last)
        if not begin or not end:
            print(f"{page.name} has lost its markers; put them back", file=sys.stderr)
            return 2
        fresh = f"{before}{first}\n\n{generated()}\n\n{last}{after}"
        if fresh != text:
            stale.append(page.name)
            if "--check" not in arguments:
                page.write_text(fresh, encoding="utf-8")
    if stale:
        print(("stale, run scripts/docs: " if "--check" in arguments else "written: ") + ", ".join(stale))
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
