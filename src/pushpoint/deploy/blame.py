"""An error -> the place in the repository that has to change, for whoever shows errors beside the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pushpoint import errors, smoke
from pushpoint.config import FILE
from pushpoint.deploy.plan import Plan

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_CELL_LINE = re.compile(r"Cell In\[\d+\], line (\d+)")
_FRAME = re.compile(r'File "(?:[^"]*/)?(src/[^"]+)", line (\d+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A file of the ML repository and, where it is known, a line of it, counted from 1."""

    file: str
    line: int | None = None


def blame(error: errors.Error, plan: Plan) -> Place | None:
    """Find the place that an error is about.

    Args:
        error: Why the deploy ended.
        plan: What was deployed.

    Returns:
        The place, or none where the repository is not to blame.
    """
    root = Path(plan.root)
    match error:
        case errors.CellFailed() | errors.CellTimedOut() | errors.KernelDied():
            traceback = getattr(error, "traceback", "")
            inside = _CELL_LINE.search(traceback) or re.search(r"^-+> (\d+) ", traceback, re.MULTILINE)
            lines = list(cell_lines(_text(root / str(plan.notebook)), error.cell))
            wanted = int(inside[1]) - 1 if inside else 0
            found = lines[min(wanted, len(lines) - 1)] if lines else None
            return Place(file=str(plan.notebook), line=found)
        case errors.RequirementsFailed() if plan.requirements:
            return _requirement(root, plan.requirements, error.log)
        case errors.ModelMissing() if plan.notebook:
            return Place(file=plan.notebook)
        case errors.BuildFailed() if plan.inference:
            frames = _FRAME.findall(error.log)
            own = [(name, line) for name, line in frames if (root / plan.inference / name).is_file()]
            if own:
                return Place(file=f"{plan.inference}/{own[-1][0]}", line=int(own[-1][1]))
            if "could not be installed" in error.log:
                return _requirement(root, f"{plan.inference}/requirements.txt", error.log)
            return Place(file=f"{plan.inference}/src/{plan.name.name}.py")
        case errors.RolloutFailed() if plan.inference:
            named = re.match(rf"({re.escape(plan.inference)}/[^:\n]+):(\d+): ", error.reason)
            if named and (root / named[1]).is_file():
                return Place(file=named[1], line=int(named[2]))
            if (inside := re.search(r" in (src/[^,\n]+), line (\d+)\)", error.reason)) and (
                root / plan.inference / inside[1]
            ).is_file():
                return Place(file=f"{plan.inference}/{inside[1]}", line=int(inside[2]))
            for number, line in enumerate(_text(root / plan.inference / smoke.FILE).splitlines(), 1):
                name = re.search(r'"case_name"\s*:\s*"([^"]+)"', line)
                if name and f"{name[1]}: " in error.reason:
                    return Place(file=f"{plan.inference}/{smoke.FILE}", line=number)
            if "sample input: " in error.reason:
                return Place(file=FILE)
            return Place(file=f"{plan.inference}/src/{plan.name.name}.py")
    return None


def cell_lines(notebook: str, cell: int) -> Iterator[int]:
    """Find where in a notebook's file the lines of a code cell stand.

    Args:
        notebook: Text of the file.
        cell: Number of the cell, counted from 1 over code cells.

    Yields:
        For each line of its source the line of the file; one for all where the source is one string.
    """
    path: list[str | int] = []
    key: str | None = None
    kinds: dict[int, str] = {}
    sources: dict[int, list[int]] = {}
    for token in _TOKEN.finditer(notebook):
        text = token[0]
        if text in "{[":
            path.append(key if key is not None else 0)
            path.append(-1 if text == "{" else 0)
            key = None
        elif text in "}]":
            del path[-2:]
        elif text == ",":
            if path and path[-1] != -1:
                path[-1] = int(path[-1]) + 1
            key = None
        elif text != ":":
            is_key = bool(path) and path[-1] == -1 and key is None
            if is_key:
                key = text[1:-1]
                continue
            match path:  # [root, -1, "cells", INDEX, 0, -1] is the object of a cell
                case [_, -1, "cells", int(index), _, -1] if key == "cell_type":
                    kinds[index] = text
                case [_, -1, "cells", int(index), _, -1] if key == "source":
                    sources.setdefault(index, []).append(token.start())
                case [_, -1, "cells", int(index), _, -1, "source", int()]:
                    sources.setdefault(index, []).append(token.start())
    code = [index for index in sorted(kinds) if kinds[index] == '"code"']
    for start in sources.get(code[cell - 1], []) if 0 < cell <= len(code) else []:
        yield notebook.count("\n", 0, start) + 1


def _requirement(root: Path, file: str, log: str) -> Place:
    for number, line in enumerate(_text(root / file).splitlines(), 1):
        name = re.match(r"\s*([A-Za-z0-9][\w.-]*)", line)
        if name and re.search(
            rf"(?<![\w.-]){re.escape(name[1])}(?![\w-])", log.partition("Correct ")[0], re.IGNORECASE
        ):
            return Place(file=file, line=number)
    return Place(file=file)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
