"""What an executed notebook proves: its metrics, its plots, and a page for people to read.

Everything in it was written by the notebook, so nothing is believed: numbers are counted, pictures are looked at, and
what a person opens holds nothing that runs. A notebook that stopped half-way is as good as one that ended.
"""

from __future__ import annotations

import ast
import binascii
import json
import math
import re
import uuid
import warnings
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushpoint.errors import NotebookUnreadable
from pushpoint.notebooks import drawings
from pushpoint.runtime.metrics import MEDIA_TYPE, NAME, NAME_RULE

LARGEST = 64 << 20
"""Bytes of an executed notebook that is looked at."""
MOST_METRICS = 100
MOST_PLOTS = 20
LARGEST_PLOT = 4 << 20
"""Bytes."""
_LONGEST = 10_000
"""Characters of a text that is read as a number or as code."""
_WRAPPED = re.compile(r"\b[a-zA-Z_][\w.]*\(([-+\w.]+)(?:,[^()]*)?\)")
"""How numpy and torch print a number: `np.float64(0.5)`, `tensor(0.5, device='cpu')`."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture that a cell tagged `plot` has shown.

    Attributes:
        cell: Number of the cell, counted from 1 over code cells.
        media_type: `image/png` or `image/svg+xml`.
        content: The picture; an SVG holds nothing that runs.
        alt: What it shows, in words.
    """

    cell: int
    media_type: str
    content: bytes
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was found in an executed notebook, and what was left beside it.

    Attributes:
        metrics: Numbers by name.
        plots: Paths of the pictures.
        rendering: Path of the notebook as HTML; none where it could not be made.
    """

    metrics: dict[str, float]
    plots: tuple[str, ...] = ()
    rendering: str | None = None


def gather(executed: Path, *, say: Say) -> Evidence:
    """Find what an executed notebook holds, and write its plots and its rendering beside it.

    It never fails: a training is not lost for its evidence, and no error hides the notebook's own.

    Args:
        executed: The executed notebook, with whatever outcome.
        say: Told what was found, and what was not kept for which reason.

    Returns:
        What was found.
    """
    from pushpoint.notebooks.rendering import render

    found: dict[str, float] = {}
    kept: list[str] = []
    page = executed.with_suffix(".html")
    try:
        page.unlink(missing_ok=True)
        for old in executed.parent.glob("plot-*-cell-*.*"):
            old.unlink()
        found = metrics(executed, say=say)
        for number, plot in enumerate(plots(executed, say=say), start=1):
            ending = "png" if plot.media_type == "image/png" else "svg"
            path = executed.with_name(f"plot-{number:02}-cell-{plot.cell}.{ending}")
            kept.append(write(path, plot.content))
            say(f"{path.name}: {plot.alt}")
        return Evidence(metrics=found, plots=tuple(kept), rendering=render(executed, page))
    except (NotebookUnreadable, OSError) as problem:
        say(f"not all evidence was kept: {problem}")
        return Evidence(metrics=found, plots=tuple(kept))


def metrics(executed: Path, *, say: Say = lambda _: None) -> dict[str, float]:
    """Read the metrics: what `pushpoint.metric` showed, and the last numeric output of cells tagged as metrics.

    Args:
        executed: The executed notebook. A cell tagged `metric:NAME` gives one metric, one tagged `metric` too, named
            like the variable in its last line. A dictionary of numbers counts as several.
        say: Told of what was left out, and why.

    Returns:
        Finite numbers by name, at most `MOST_METRICS`; of the same name, the last.

    Raises:
        NotebookUnreadable: It is no notebook, or larger than `LARGEST`.
    """
    found: dict[str, float] = {}
    for number, cell in code_cells(executed):
        for name, value in [*_shown(cell), *_tagged(number, cell, say)]:
            amount = _finite(value)
            if not isinstance(name, str) or not NAME.fullmatch(name):
                say(f"cell {number}: {str(name)[:80]!r} cannot name a metric; {NAME_RULE}")
            elif amount is None:
                say(f"cell {number}: the metric {name} is {str(value)[:80]}, which is no finite number")
            elif name not in found and len(found) == MOST_METRICS:
                say(f"cell {number}: only the first {MOST_METRICS} metrics count; leave some out")
                return found
            else:
                found[name] = amount
    return found


def plots(executed: Path, *, say: Say = lambda _: None) -> list[Plot]:
    """Read the pictures of cells tagged `plot` or `plot:WHAT IT SHOWS`.

    Args:
        executed: The executed notebook.
        say: Told of what was left out, and why.

    Returns:
        PNG and SVG pictures in their order, at most `MOST_PLOTS`.

    Raises:
        NotebookUnreadable: It is no notebook, or larger than `LARGEST`.
    """
    found: list[Plot] = []
    for number, cell in code_cells(executed):
        tag = next((tag for tag in tags(cell) if tag == "plot" or tag.startswith("plot:")), None)
        for output in outputs(cell) if tag else ():
            data = mapping(output.get("data"))
            media_type = next((kind for kind in ("image/png", "image/svg+xml") if kind in data), None)
            if media_type is None:
                continue
            if len(found) == MOST_PLOTS:
                say(f"cell {number}: only the first {MOST_PLOTS} plots are kept; leave some out")
                return found
            try:
                content = _picture(media_type, text(data[media_type]))
            except ValueError as problem:
                say(f"cell {number}: a plot is not kept, since {problem}; show it as PNG")
                continue
            about = mapping(output.get("metadata"))
            given = mapping(about.get(media_type)).get("alt") or about.get("alt") or str(tag)[5:]
            alt = " ".join(text(given).split())[:200] or f"plot of cell {number}"
            found.append(Plot(cell=number, media_type=media_type, content=content, alt=alt))
    return found


def _picture(media_type: str, given: str) -> bytes:
    if len(given) > LARGEST_PLOT * 2:
        raise ValueError("it is too large")
    if media_type == "image/svg+xml":
        content = drawings.checked(given)
    else:
        try:
            content = b64decode("".join(given.split()), validate=True)
        except binascii.Error:
            content = b""
        if not content.startswith(b"\x89PNG\r\n\x1a\n"):
            raise ValueError("it is no PNG")
    if len(content) > LARGEST_PLOT:
        raise ValueError(f"it is larger than {LARGEST_PLOT >> 20} MiB")
    return content


def _shown(cell: Mapping[str, Any]) -> Iterator[tuple[object, object]]:
    for output in outputs(cell):
        if MEDIA_TYPE in (data := mapping(output.get("data"))):
            said = mapping(data[MEDIA_TYPE])
            yield said.get("name"), said.get("value")


def _tagged(number: int, cell: Mapping[str, Any], say: Say) -> Iterator[tuple[object, object]]:
    for tag in tags(cell):
        kind, _, name = tag.partition(":")
        if kind != "metric":
            continue
        value = next((value for output in reversed(outputs(cell)) if (value := _value(output)) is not None), None)
        if value is None:
            say(f"cell {number} is tagged {tag[:80]}, but shows no number; end it with the variable")
        elif isinstance(value, dict):
            yield from ((f"{name}.{key}" if name else key, one) for key, one in value.items())
        elif named := name or _last_variable(text(cell.get("source"))):
            yield named, value
        else:
            say(f"cell {number} is tagged metric, but its last line names no variable; tag it metric:NAME")


def _value(output: Mapping[str, Any]) -> object:
    """Read a number, or a dictionary of numbers, from what an output shows.

    Returns:
        It, or none.
    """
    data = mapping(output.get("data"))
    if MEDIA_TYPE in data:
        return None
    is_printed = output.get("output_type") == "stream" and output.get("name") == "stdout"
    shown = text(output.get("text")).strip().rpartition("\n")[2] if is_printed else text(data.get("text/plain"))
    if len(shown) > _LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of odd text it is asked to read
            value = ast.literal_eval(_WRAPPED.sub(r"\1", shown.strip()))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    numbers = value.values() if isinstance(value, dict) else [value]
    return value if numbers and all(_finite(number) is not None for number in numbers) else None


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _last_variable(source: str) -> str | None:
    lines = [line.strip() for line in source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            [statement] = ast.parse(lines[-1][:_LONGEST]).body
    except (IndexError, ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    found: ast.AST | None = None
    if isinstance(statement, ast.Assign):
        found = statement.targets[-1]
    elif isinstance(statement, ast.Expr):
        found = statement.value
        while isinstance(found, ast.Call) and found.args:  # print(accuracy), round(accuracy, 3)
            found = found.args[0]
    return found.id if isinstance(found, ast.Name) else found.attr if isinstance(found, ast.Attribute) else None


# -- reading a notebook that may be anything ----------------------------------------------------------------


def cells(executed: Path) -> list[Mapping[str, Any]]:
    """Read the cells of an executed notebook.

    Returns:
        Objects; of what is in them, nothing is known.

    Raises:
        NotebookUnreadable: It is no notebook, or larger than `LARGEST`.
    """
    try:
        with executed.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise NotebookUnreadable(str(executed), f"it is larger than {LARGEST >> 20} MiB")
        found = json.loads(content)["cells"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as problem:
        raise NotebookUnreadable(str(executed), str(problem) or type(problem).__name__) from problem
    return [cell for cell in found if isinstance(cell, dict)] if isinstance(found, list) else []


def code_cells(executed: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Read the code cells of an executed notebook.

    Returns:
        Each with its number, counted from 1.
    """
    return enumerate((cell for cell in cells(executed) if cell.get("cell_type") == "code"), start=1)


def tags(cell: Mapping[str, Any]) -> list[str]:
    """Read the tags of a cell.

    Returns:
        Its tags.
    """
    found = mapping(cell.get("metadata")).get("tags")
    return [tag for tag in found if isinstance(tag, str)] if isinstance(found, list) else []


def outputs(cell: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Read the outputs of a cell.

    Returns:
        Objects; of what is in them, nothing is known.
    """
    found = cell.get("outputs")
    return [output for output in found if isinstance(output, dict)] if isinstance(found, list) else []


def mapping(value: object) -> Mapping[str, Any]:
    """Take an object for what it is, and anything else for an empty one.

    Returns:
        The object.
    """
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """Read a text, which notebooks keep whole or as a list of lines.

    Returns:
        The text; empty where it is none.
    """
    if isinstance(value, list):
        value = "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def write(path: Path, content: bytes) -> str:
    """Write a file, whole or not at all.

    Returns:
        Its path.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return str(path)
