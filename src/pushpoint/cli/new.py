"""`pushpoint new`: lay down a repository to start from."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Mapping
from importlib import resources
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pushpoint import git
from pushpoint.errors import AlreadyExists, ConfigError, InvalidName
from pushpoint.names import check_name

TOKEN = "ALGORITHM"  # noqa: S105 - what the template says where the name belongs

_EITHER = re.compile(
    r"^ *(?:#|<!--) --github(?: -->)?\n(.*?)(?:^ *# --platform\n(.*?))?^ *(?:#|<!--) --end(?: -->)?\n",
    re.MULTILINE | re.DOTALL,
)
"""In the template's files: what only a GitHub-hosted algorithm needs, and what stands there for the other."""
_LEFT = {"__pycache__", ".pushpoint"}
_IMPORTED = frozenset({"IPython", "joblib", "numpy", "pushpoint", "scipy", "sklearn", "threadpoolctl"})


def new(
    name: Annotated[str, typer.Argument(help="Name of the algorithm.")],
    github: Annotated[
        bool, typer.Option("--github", help="Keep the algorithm's own repository on GitHub, not on the platform.")
    ] = False,
    directory: Annotated[
        Path | None, typer.Option("--directory", "-C", help="Where to lay it down [default: ./NAME]")
    ] = None,
) -> None:
    """Lay down an ML repository: notebook, inference code, requirements, settings and workflow."""
    check_name("algorithm", name)
    if name in sys.stdlib_module_names | _IMPORTED:  # the notebook's `%run` puts NAME.py before all other modules
        raise InvalidName(
            "algorithm", name, rule="Python has a module of that name, which it would hide; choose another"
        )
    target = directory or Path(name)
    action, owner = action_reference(), _github_user()
    words = {TOKEN: name, "PUSHPOINT_ACTION": action, "GITHUB_OWNER": owner}
    lay_down("template", target, words=words, github=github)
    say = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    say.print(f"laid down {target}/; next: cd {target}, git init, commit, and pushpoint deploy")
    if action.startswith("OWNER/"):
        say.print(
            "before GitHub deploys: write in .github/workflows/deploy.yml where your organization keeps Pushpoint"
        )
    if github and owner == "OWNER":
        say.print("write in pushpoint.toml which GitHub account the algorithm's repository belongs to")


def lay_down(what: str, target: Path, *, words: Mapping[str, str] | None = None, github: bool = False) -> None:
    """Copy one of the folders that ship with Pushpoint.

    Args:
        what: `template` or `sentiment`.
        target: Where to; files that are there are never overwritten.
        words: What to put for what, in names and in texts.
        github: Whether to keep the lines that a GitHub-hosted algorithm needs.

    Raises:
        AlreadyExists: One of the files is there already; nothing was written.
    """
    source, words = _shipped(what), words or {}
    files = [file for file in sorted(source.rglob("*")) if file.is_file() and not _LEFT & set(file.parts)]
    pairs = [(file, target / _filled(str(file.relative_to(source)), words)) for file in files]
    if there := [str(to) for _, to in pairs if to.exists()]:
        raise AlreadyExists(f"{there[0]} exists; choose another folder with --directory, or move it away")
    for file, to in pairs:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)
        if words:
            text = _EITHER.sub(r"\1" if github else r"\2", file.read_text(encoding="utf-8"))
            to.write_text(_filled(text, words), encoding="utf-8")


def action_reference() -> str:
    """Say how a workflow names the Action of this very Pushpoint.

    Returns:
        `OWNER/REPOSITORY@COMMIT`, with OWNER to be filled in where it was not installed from GitHub.
    """
    url, commit = "", "0" * 40
    with contextlib.suppress(PackageNotFoundError, ValueError, KeyError):
        installed = json.loads(distribution("pushpoint").read_text("direct_url.json") or "{}")
        url, commit = installed["url"], installed["vcs_info"]["commit_id"]
    checkout = Path(__file__).parents[3]
    if not url and (checkout / "action.yml").is_file():
        with contextlib.suppress(ConfigError):
            commit = git.text(["rev-parse", "HEAD"], directory=checkout, isolated=False)
            url = git.text(["remote", "get-url", "origin"], directory=checkout, isolated=False)
    found = re.search(r"github\.com[/:]([\w.-]+/[\w.-]+?)(?:\.git)?/?$", url)
    return f"{found[1] if found else 'OWNER/pushpoint'}@{commit}"


def _github_user() -> str:
    with contextlib.suppress(ConfigError):
        return git.text(["config", "github.user"], directory=Path.cwd(), isolated=False)
    return "OWNER"


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text


def _shipped(what: str) -> Path:
    inside = Path(str(resources.files("pushpoint"))) / "_laid_down" / what
    if inside.is_dir():
        return inside
    checkout = Path(__file__).parents[3]  # src/pushpoint/cli/new.py, installed in place
    return checkout / ("template" if what == "template" else f"examples/{what}")
