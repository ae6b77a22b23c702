"""The house checks itself: errors, exports, imports, docs, help, and what must not be in the repository."""

from __future__ import annotations

import ast
import importlib
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import pushpoint
from pushpoint import errors, lifecycle
from pushpoint.cli import EXIT, app
from pushpoint.config import SETTINGS
from pushpoint.runtime.messages import ERROR_TYPES
from pushpoint.web import ROUTES
from pushpoint.web.errors import TABLE

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "pushpoint"
REFERENCE = ROOT / "docs" / "reference"
LINES = 410
"""Lines of code a module may have, without blank ones, comments and docstrings."""

COMMANDS = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
MODULES = sorted(SOURCE.rglob("*.py"))


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def all_errors(kind: type[errors.Error] = errors.Error) -> Iterator[type[errors.Error]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from all_errors(child)


ERRORS = {kind.__name__: kind for kind in all_errors()}


# -- errors -------------------------------------------------------------------------------------------------


def test_the_tree_of_errors_in_the_docstring_is_the_tree_of_classes() -> None:
    def drawn(kind: type[errors.Error], depth: int = 0) -> Iterator[str]:
        yield "  " * depth + kind.__name__
        for child in kind.__subclasses__():
            if child.__module__ == errors.__name__:
                yield from drawn(child, depth + 1)

    assert (errors.__doc__ or "").split("```")[1].strip("\n").splitlines() == list(drawn(errors.Error))


def test_no_error_is_defined_elsewhere() -> None:
    for file in MODULES:
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.ClassDef) and file.name != "errors.py":
                bases = {name for base in node.bases for name in name_of(base)}
                assert not bases, f"{node.name} in {file}"


def test_every_error_has_a_status() -> None:
    assert set(TABLE) == set(ERRORS.values())


def test_every_error_has_an_exit_code_or_knowingly_that_of_the_class_above() -> None:
    assert set(errors.Error.__subclasses__()) <= set(EXIT), "the classes below Error have their own"
    for kind in set(ERRORS.values()) - set(EXIT):
        above = next(base for base in kind.__mro__ if base in EXIT)
        assert above is not errors.Error, kind
    assert set(EXIT.values()) == set(range(1, 12)), "no number is left out"
    assert not set(EXIT.values()) & {0, 130}


def test_the_codes_in_the_help_are_the_codes_of_the_table() -> None:
    said = {int(number) for number in re.findall(r"\b(\d+) [a-z]", str(app.info.epilog))}
    assert said == set(EXIT.values()) | {0, 130}


def made_in(node: ast.AST) -> Iterator[str]:
    """Errors that are constructed somewhere below a node, or raised as they are."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call):
            yield from name_of(inner.func)
        elif isinstance(inner, ast.Raise) and inner.exc:
            yield from name_of(inner.exc)


def name_of(node: ast.AST) -> Iterator[str]:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
    if name in ERRORS:
        yield str(name)


def asserted_in(node: ast.AST) -> Iterator[str]:
    """Errors that a test expects: in `pytest.raises`, an `assert`, a table of cases, or by name in an answer."""
    for inner in ast.walk(node):
        roots: list[ast.AST] = []
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute) and inner.func.attr == "raises":
            roots = [*inner.args]
        elif isinstance(inner, ast.Assert):
            roots = [inner.test]
        elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            roots = [*inner.decorator_list]
        elif isinstance(inner, ast.Module):
            roots = [line.value for line in inner.body if isinstance(line, ast.Assign | ast.AnnAssign) and line.value]
        for root in roots:
            for found in ast.walk(root):
                yield from name_of(found)
                if isinstance(found, ast.Constant) and found.value in ERRORS:
                    yield str(found.value)


def with_those_above(names: set[str]) -> set[str]:
    return {base.__name__ for name in names for base in ERRORS[name].__mro__ if base.__name__ in ERRORS}


def test_every_error_is_raised_somewhere() -> None:
    raised = {name for file in MODULES if file.name != "errors.py" for name in made_in(tree(file))}
    assert set(ERRORS) - with_those_above(raised) == set()


def test_every_error_is_asserted_somewhere() -> None:
    mine = {"test_errors.py", "test_house.py"}  # they name all errors
    others = [file for file in (ROOT / "tests").rglob("*.py") if file.name not in mine]
    asserted = {name for file in others for name in asserted_in(tree(file))}
    assert set(ERRORS) - with_those_above(asserted) == set()


# -- modules ------------------------------------------------------------------------------------------------


def test_what_is_public_is_listed() -> None:
    inner = tree(SOURCE / "__init__.py").body
    checked = next(node for node in inner if isinstance(node, ast.If))
    imported = [name.name for node in checked.body if isinstance(node, ast.ImportFrom) for name in node.names]
    assert sorted(pushpoint.__all__) == sorted(imported)
    for name in pushpoint.__all__:
        assert getattr(pushpoint, name).__module__.startswith("pushpoint.")
    with pytest.raises(AttributeError, match="no attribute 'Klient'"):
        _ = pushpoint.Klient


def test_every_module_says_what_it_is_for() -> None:
    silent = [file for file in MODULES if not ast.get_docstring(tree(file)) and "versions" not in file.parts]
    assert silent == []


def test_no_module_uses_what_another_one_keeps_to_itself() -> None:
    for file in MODULES:
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pushpoint"):
                hidden = [name.name for name in node.names if name.name.startswith("_")]
                assert hidden == [], file


def lines_of_code(file: Path) -> int:
    text = file.read_text(encoding="utf-8")
    quiet = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in quiet:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    assert {str(file.relative_to(ROOT)): lines for file in MODULES if (lines := lines_of_code(file)) > LINES} == {}


RUNTIME = sorted((SOURCE / "runtime").glob("*.py"))


@pytest.mark.parametrize("file", [*RUNTIME, SOURCE / "__init__.py"], ids=lambda file: file.name)
def test_what_runs_beside_the_users_code_is_python_38_and_standard_library(file: Path) -> None:
    ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 8))
    late = {"pushpoint.library"} if file.parent == SOURCE else set()
    for node in ast.walk(tree(file)):
        names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        for name in set(names) - late:
            assert name.partition(".")[0] in sys.stdlib_module_names or name.startswith("pushpoint.runtime"), name


def test_a_worker_loads_nothing_of_other_people() -> None:
    program = "import pushpoint.runtime.model, pushpoint.runtime.worker, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in loaded if name.startswith("pushpoint")}
    assert {name for name in ours if not name.startswith("pushpoint.runtime")} == {"pushpoint"}
    homes = {"msgspec", "httpx2", "litestar", "sqlalchemy", "typer", "rich", "structlog", "stamina", "nbclient"}
    assert not homes & set(loaded)


# -- imports ------------------------------------------------------------------------------------------------


def lint_imports(folder: Path) -> tuple[int, str]:
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [program, "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "300", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_import_contracts_hold() -> None:
    code, said = lint_imports(ROOT)
    assert code == 0, said
    assert "0 broken" in said


# where a wrong import is planted, what it says, and what must be reported of it
PLANTS = {
    "a layer reaches upward": ("names", "import pushpoint.client", "pushpoint.names -> pushpoint.client"),
    "a neighbour reaches sideways": ("stores/local", "import pushpoint.git", "pushpoint.stores.local -> pushpoint.git"),
    "the halves know each other": (
        "serving/calls",
        "import pushpoint.deploy.plan",
        "pushpoint.serving.calls -> pushpoint.deploy.plan",
    ),
    "the runtime knows us": (
        "runtime/worker",
        "import pushpoint.errors",
        "pushpoint.runtime.worker -> pushpoint.errors",
    ),
    "the vocabulary leaves the standard library": ("records", "import msgspec", "pushpoint.records -> msgspec"),
    "the runtime leaves the standard library": ("runtime/frames", "import httpx2", "runtime.frames -> httpx2"),
    "litestar is used below web": ("registry/keys", "import litestar", "pushpoint.registry.keys -> litestar"),
    "litestar is used at an edge": ("stores/local", "import litestar", "pushpoint.stores.local -> litestar"),
    "litestar is used by a command": ("cli/serve", "import litestar", "pushpoint.cli.serve -> litestar"),
    "the deploy takes a short cut": (
        "deploy/upload",
        "import pushpoint.registry.data",
        "pushpoint.deploy.upload -> pushpoint.registry.data",
    ),
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said of a copy of the source with every wrong import in it."""
    copy = copied(tmp_path_factory.mktemp("planted"))
    for module, line, _ in PLANTS.values():
        file = copy / "src" / "pushpoint" / f"{module}.py"
        file.write_text(f"{file.read_text()}\n{line}\n")
    code, said = lint_imports(copy)
    assert code != 0
    return said


def copied(folder: Path) -> Path:
    shutil.copytree(SOURCE, folder / "src" / "pushpoint", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    return folder


@pytest.mark.parametrize("what", PLANTS)
def test_a_wrong_import_is_reported(planted: str, what: str) -> None:
    assert PLANTS[what][2] in planted, planted


def test_a_module_that_no_layer_mentions_is_reported(tmp_path: Path) -> None:
    copy = copied(tmp_path)
    (copy / "src" / "pushpoint" / "helpers.py").write_text('"""A sign that a noun has not been found."""\n')
    code, said = lint_imports(copy)
    assert code != 0
    assert "helpers" in said


# -- docs ---------------------------------------------------------------------------------------------------


def test_the_generated_pages_are_fresh() -> None:
    done = subprocess.run([ROOT / "scripts" / "docs", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text(encoding="utf-8")


def test_the_reference_mentions_everything() -> None:
    for setting in SETTINGS:
        assert f"`{setting.name}`" in page("settings")
        assert f"`{setting.variable}`" in page("settings")
        assert f"--{setting.name} " in page("cli")
    for command in COMMANDS:
        assert f"## pushpoint {command}\n" in page("cli")
    for name in {*ERRORS, *ERROR_TYPES}:
        assert f"`{name}`" in page("errors")
    for states in (lifecycle.BuildState, lifecycle.DeploymentState, lifecycle.ReplicaState):
        for state in states:
            assert f"`{state}`" in page("lifecycles")
    for route in ROUTES:
        for path in route.paths:
            assert f"`{path.replace(':str}', '}')}`" in page("http")
    for prefix in ("/v1/algo/{", "/v1/data", "/v1/uploads", "/git/{"):
        assert f"`{prefix}" in page("http")


def test_the_manifests_keys_are_explained() -> None:
    example, _, explained = page("manifest").partition("## Keys")
    for key in re.findall(r'^  "(\w+)":', example, re.MULTILINE):
        if key != "owner_team":  # another tool's
            assert f"`{key}`" in explained


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    lost = []
    for file in pages:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", file.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:") and not (file.parent / target).exists():
                lost.append(f"{file.relative_to(ROOT)}: {target}")
    assert lost == []


# -- what must not be in the repository ---------------------------------------------------------------------


def ours() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nobody says which files are tracked")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in found if name and (ROOT / name).is_file()]


FOREIGN = re.compile(
    r"(?<!/v1)/(?:work|Users)/\w|/home/(?!ann/)[a-z]\w*/|/root/[a-z]"  # a machine; ann is the documentation's
    r"|(?:index-url|index_url|registry)\W{1,4}https?:"  # where packages came from
    r"|https?://(?!pypi\.org/project/)[^/\s\"']*(?:pypi|registry|mirror|artifactory|nexus|\d+\.\d+\.\d+\.\d+/simple)",
    re.IGNORECASE,
)


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for file in ours():
        text = file.read_bytes().decode("utf-8", "replace")
        found += [f"{file.relative_to(ROOT)}: {match.group()}" for match in FOREIGN.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "/" + "work/main/src",
        "/" + "home/bob/x",
        "index-url" + " = http://packages.example",
        "https" + "://pypi.example/x",
    ],
)
def test_that_check_bites(text: str) -> None:
    assert FOREIGN.search(text)


def test_scripts_can_be_run_and_stop_at_the_first_failure() -> None:
    for script in (ROOT / "scripts").iterdir():
        text = script.read_text()
        if text.startswith("#!"):
            assert os.access(script, os.X_OK), script
            assert "set -eu" in text or text.startswith("#!/usr/bin/env python3"), script


# -- help ---------------------------------------------------------------------------------------------------


def test_help_works_as_a_program() -> None:
    command = [sys.executable, "-m", "pushpoint", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "80"})
    assert (done.returncode, done.stderr) == (0, "")
    for name in COMMANDS:
        assert re.search(rf"^│ {name} ", done.stdout, re.MULTILINE)
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_each_commands_help_works_and_fits(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("typer.rich_utils"), "MAX_WIDTH", 80)
    monkeypatch.setattr(importlib.import_module("typer.rich_utils"), "FORCE_TERMINAL", False)
    shown = CliRunner().invoke(app, [command, "--help"], prog_name="pushpoint")
    assert shown.exit_code == 0
    assert f"Usage: pushpoint {command}" in shown.output
    assert max(map(len, shown.output.splitlines())) <= 80
    assert "\x1b" not in shown.output
    assert "…" not in shown.output, "something was cut"


def test_defaults_are_shown() -> None:
    shown = CliRunner().invoke(app, ["deploy", "--help"], env={"COLUMNS": "200"})
    for setting in SETTINGS:
        if setting.default not in (None, ()):
            assert "[default:" in shown.output
            assert str(setting.default) in shown.output
