"""`pushpoint new`: lay down a repository to start from."""

from __future__ import annotations

import shutil
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pushpoint.errors import AlreadyExists, InvalidName
from pushpoint.names import check_name

TOKEN = "ALGORITHM"  # noqa: S105 - what the template says where the name belongs

_IMPORTED = frozenset({"IPython", "joblib", "numpy", "pushpoint", "scipy", "sklearn", "threadpoolctl"})


def new(
    name: Annotated[str, typer.Argument(help="Name of the algorithm.")],
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
    lay_down("template", target, name=name)
    say = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    say.print(f"laid down {target}/; next: cd {target}, git init, commit, and pushpoint deploy")


def lay_down(what: str, target: Path, *, name: str | None = None) -> None:
    """Copy one of the folders that ship with Pushpoint.

    Args:
        what: `template` or `sentiment`.
        target: Where to; files that are there are never overwritten.
        name: Put where the template says ALGORITHM.

    Raises:
        AlreadyExists: One of the files is there already; nothing was written.
    """
    source = _shipped(what)
    pairs = []
    for file in sorted(source.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts and ".pushpoint" not in file.parts:
            inside = str(file.relative_to(source))
            pairs.append((file, target / (inside.replace(TOKEN, name) if name else inside)))
    if there := [str(to) for _, to in pairs if to.exists()]:
        raise AlreadyExists(f"{there[0]} exists; choose another folder with --directory, or move it away")
    for file, to in pairs:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)
        if name:
            to.write_text(file.read_text(encoding="utf-8").replace(TOKEN, name), encoding="utf-8")


def _shipped(what: str) -> Path:
    inside = Path(str(files("pushpoint"))) / "_laid_down" / what
    if inside.is_dir():
        return inside
    checkout = Path(__file__).parents[3]  # src/pushpoint/cli/new.py, installed in place
    return checkout / ("template" if what == "template" else f"examples/{what}")
