"""Every workflow in the repository, in its template and in its docs passes the linters; and the linters bite.

A YAML block of the docs may be a whole file or a part of one; a part is put into the smallest workflow that holds it. A
block that is nothing we know is an error: it would go unchecked.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILES = {
    ".github/workflows/*.y*ml": "workflow",
    "template/**/workflows/*.y*ml": "workflow",
    "examples/**/workflows/*.y*ml": "workflow",
    "action.yml": "action",
    "template/**/.gitlab-ci.yml": "gitlab",
    "examples/**/.gitlab-ci.yml": "gitlab",
}
PAGES = ["*.md", "docs/**/*.md", "template/**/*.md", "examples/**/*.md"]
BLOCK = re.compile(r"^(?P<indent> *)```ya?ml\b.*\n(?P<text>(?:.*\n)*?)(?P=indent)```", re.MULTILINE)
REASON = re.compile(r"# zizmor: ignore\[[\w,-]+\](?P<reason>.*)")

WORKFLOW = """\
name: part
on:
  push:
    branches: [main]
permissions: {}
concurrency:
  group: part
  cancel-in-progress: false
jobs:
"""
JOB = {
    "name": "Part",
    "runs-on": "ubuntu-latest",
    "timeout-minutes": "5",
    "environment": "production",
    "steps": "[{name: Say, run: echo done}]",
}
OF_PROMETHEUS = {"scrape_configs", "groups"}
"""Its queries are checked in tests/serving/test_metrics.py."""
OF_A_JOB = JOB.keys() | {"concurrency", "env", "if", "needs", "outputs", "permissions", "strategy"}


@dataclass(frozen=True)
class Source:
    """One thing to check: `workflow`, `action` or `gitlab`, and where it is from."""

    origin: str
    kind: str
    text: str


def classified(text: str, origin: str) -> Source:
    """Say what a block is, and make it whole.

    Raises:
        ValueError: It is nothing that is checked here.
    """
    found = yaml.safe_load(text)
    keys = set(found) if isinstance(found, dict) else set()
    if "jobs" in keys:
        head = "" if True in keys or "on" in keys else WORKFLOW.removesuffix("jobs:\n")  # YAML 1.1 reads `on` as true
        return Source(origin, "workflow", head + text)
    if "runs" in keys:
        return Source(origin, "action", text)
    if isinstance(found, list) and all(isinstance(step, dict) and {"uses", "run"} & set(step) for step in found):
        keys, text = {"steps"}, f"steps:\n{textwrap.indent(text, '  ')}"
    if keys and keys <= OF_A_JOB:
        around = "".join(f"{key}: {value}\n" for key, value in JOB.items() if key not in keys)
        return Source(origin, "workflow", f"{WORKFLOW}  part:\n{textwrap.indent(around + text, ' ' * 4)}")
    if any(isinstance(found[key], dict) and "script" in found[key] for key in keys):
        return Source(origin, "gitlab", text)
    raise ValueError(
        f"{origin}: no workflow, action, steps or GitLab jobs; say in tests/test_workflows.py how to check it"
    )


def collected() -> Iterator[Source]:
    for pattern, kind in FILES.items():
        for file in sorted(ROOT.glob(pattern)):
            text = file.read_text(encoding="utf-8").replace("PUSHPOINT_ACTION", f"acme/pushpoint@{'0' * 40}")
            yield Source(str(file.relative_to(ROOT)), kind, text)
    for pattern in PAGES:
        for page in sorted(ROOT.glob(pattern)):
            text = page.read_text(encoding="utf-8")
            for match in BLOCK.finditer(text):
                line, block = text.count("\n", 0, match.start()) + 1, textwrap.dedent(match["text"])
                if not any(key in yaml.safe_load(block) for key in OF_PROMETHEUS):
                    yield classified(block, f"{page.relative_to(ROOT)}:{line}")


def laid_out(sources: list[Source], folder: Path) -> dict[str, list[Path]]:
    """Write each thing to a file that its linters know by its name, and that names where it is from."""
    files: dict[str, list[Path]] = {"workflow": [], "action": [], "gitlab": []}
    for source in sources:
        name = re.sub(r"[^\w.-]+", "-", source.origin).removesuffix(".yml")
        where = {
            "workflow": f".github/workflows/{name}.yml",
            "action": f"{name}/action.yml",
            "gitlab": f"{name}/.gitlab-ci.yml",
        }
        file = folder / where[source.kind]
        assert not file.exists(), f"two things are called {name}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source.text, encoding="utf-8")
        files[source.kind].append(file)
    return files


def lint(tool: str, files: dict[str, list[Path]]) -> str:
    """Run a linter over everything that it knows.

    Returns:
        What it found; nothing if it found nothing.
    """
    flags = {  # what, and with which options; no linter reaches the network or depends on the machine
        "actionlint": [("workflow", ["-shellcheck=", "-pyflakes=", "-no-color"])],
        "check-jsonschema": [
            ("workflow", ["--builtin-schema", "vendor.github-workflows"]),
            ("action", ["--builtin-schema", "vendor.github-actions"]),
            ("gitlab", ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]),
        ],
        "zizmor": [
            (kind, ["--offline", "--persona", "auditor", "--no-progress", "--quiet", "--no-config", "--color", "never"])
            for kind in ("workflow", "action")
        ],
    }
    found = ""
    for kind, options in flags[tool]:
        if files[kind]:
            program = Path(sys.executable).parent / tool
            done = subprocess.run([program, *options, *files[kind]], capture_output=True, text=True, check=False)
            found += f"{done.stdout}{done.stderr}\n" if done.returncode else ""
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return laid_out(list(collected()), tmp_path_factory.mktemp("workflows"))


TOOLS = ("actionlint", "check-jsonschema", "zizmor")


@pytest.mark.parametrize("tool", TOOLS)
def test_the_linters_find_nothing(files: dict[str, list[Path]], tool: str) -> None:
    assert lint(tool, files) == ""


def test_the_files_that_must_be_checked_are_among_them() -> None:
    origins = {source.origin for source in collected()}
    assert {
        ".github/workflows/ci.yml",
        "template/.github/workflows/deploy.yml",
        "examples/sentiment/.github/workflows/deploy.yml",
    } <= origins
    assert any(origin.startswith("docs/how-to/deploy-from-gitlab.md:") for origin in origins)


def test_the_action_is_among_them() -> None:
    assert "action.yml" in {source.origin for source in collected()}


def test_what_is_ignored_says_why() -> None:
    for source in collected():
        for match in REASON.finditer(source.text):
            assert len(match["reason"].split()) >= 3, f"{source.origin}: {match.group()}"


# -- the linters bite ---------------------------------------------------------------------------------------

GOOD = classified("- name: Say\n  run: echo done\n", "good").text
ACTION = """\
name: Say
description: Says something.
inputs:
  what:
    description: What.
    required: true
runs:
  using: composite
  steps:
    - name: Say
      shell: bash
      env:
        WHAT: ${{ inputs.what }}
      run: echo "$WHAT"
"""
PLANTS = {
    "an expression that does not exist": (
        "actionlint",
        "workflow",
        GOOD.replace("echo done", "echo ${{ github.no_such_thing }}"),
        "no_such_thing",
    ),
    "a job that needs nobody": (
        "actionlint",
        "workflow",
        GOOD.replace("    runs-on", "    needs: nobody\n    runs-on"),
        "nobody",
    ),
    "a key that workflows do not have": (
        "check-jsonschema",
        "workflow",
        GOOD.replace("timeout-minutes", "time-out"),
        "time-out",
    ),
    "an action whose step has no shell": (
        "check-jsonschema",
        "action",
        ACTION.replace("      shell: bash\n", ""),
        "$.runs",
    ),
    "a GitLab job that runs a number": ("check-jsonschema", "gitlab", "deploy:\n  script: 7\n", "script"),
    "a branch name in a shell": (
        "zizmor",
        "workflow",
        GOOD.replace("echo done", "echo ${{ github.head_ref }}"),
        "template-injection",
    ),
    "an action by its tag": (
        "zizmor",
        "workflow",
        GOOD.replace("        run: echo done", "        uses: actions/setup-python@v5"),
        "unpinned-uses",
    ),
    "a credential left on disk": (
        "zizmor",
        "workflow",
        GOOD.replace("run: echo done", f"uses: actions/checkout@{'3d3c42e5aac5ba805825da76410c181273ba90b1'}"),
        "artipacked",
    ),
    "permissions for everything": (
        "zizmor",
        "workflow",
        GOOD.replace("permissions: {}", "permissions: write-all"),
        "excessive-permissions",
    ),
    "a secret outside an environment": (
        "zizmor",
        "workflow",
        GOOD.replace("    environment: production\n", "").replace(
            "        run: echo done", "        env:\n          KEY: ${{ secrets.KEY }}\n        run: echo done"
        ),
        "secrets-outside-env",
    ),
    "an input in an action's shell": (
        "zizmor",
        "action",
        ACTION.replace('"$WHAT"', "${{ inputs.what }}"),
        "template-injection",
    ),
}


@pytest.mark.parametrize(("kind", "text"), [("workflow", GOOD), ("action", ACTION)])
@pytest.mark.parametrize("tool", TOOLS)
def test_what_the_bad_ones_are_made_from_is_good(tmp_path: Path, tool: str, kind: str, text: str) -> None:
    assert lint(tool, laid_out([Source("good", kind, text)], tmp_path)) == ""


@pytest.mark.parametrize("what", PLANTS)
def test_a_bad_one_is_found(tmp_path: Path, what: str) -> None:
    tool, kind, text, said = PLANTS[what]
    assert text not in {GOOD, ACTION}, "nothing was planted"
    assert said in lint(tool, laid_out([Source("bad", kind, text)], tmp_path))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (GOOD, "workflow"),
        ("jobs:\n  x:\n    runs-on: ubuntu-latest\n    steps: []\n", "workflow"),
        ("- run: echo done\n", "workflow"),
        ("steps:\n  - uses: ./\n", "workflow"),
        ("permissions:\n  id-token: write # for the identity\n", "workflow"),
        (ACTION, "action"),
        ("stages: [deploy]\ndeploy:\n  script: [date]\n", "gitlab"),
    ],
)
def test_a_block_is_known_by_its_keys(text: str, kind: str) -> None:
    assert classified(text, "page.md:1").kind == kind


@pytest.mark.parametrize("text", ["a: 1\n", "- a\n", "", "- name: nothing is done\n", "deploy:\n  image: x\n"])
def test_a_block_that_is_nothing_we_know_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"page\.md:1"):
        classified(text, "page.md:1")


def test_a_block_inside_a_list_is_found() -> None:
    (match,) = BLOCK.finditer("1. Do\n\n   ```yaml\n   - run: date\n   ```\n\n```sh\ndate\n```\n")
    assert textwrap.dedent(match["text"]) == "- run: date\n"
