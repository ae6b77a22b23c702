"""Execute a notebook in a real kernel, keep every output, name the failing cell.

What is executed is the notebook as it is. The one difference to Jupyter is that `!command`, `%run script.py` and their
kin fail when the command or the script does.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from pushpoint.errors import CellFailed, CellTimedOut, KernelDied, NotebookMissing, NotebookUnreadable
from pushpoint.notebooks.kernel import GRACE, Died, Kernel, start

_STARTUP = 60.0  # seconds a kernel may take to answer for the first time
_SAVE_EVERY = 5.0  # seconds between two savings of an unfinished notebook
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEvent:
    """Something that happened while a cell ran.

    Attributes:
        cell: Number of the cell, counted from 1 over code cells.
        kind: What happened.
        text: First line of the source (started), what was printed or shown, or the traceback (error). Untrusted.
        seconds: How long the cell has been running.
    """

    cell: int
    kind: Literal["started", "stdout", "stderr", "display", "error", "finished"]
    text: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A code cell that was executed.

    Attributes:
        number: Counted from 1 over code cells.
        seconds: How long it took.
        source: Its first line.
    """

    number: int
    seconds: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A notebook that ran to its end.

    Attributes:
        cells: The code cells that were executed, in order; empty and skipped ones are not among them.
        started: UTC.
        finished: UTC.
    """

    cells: tuple[Cell, ...]
    started: datetime
    finished: datetime


def execute(
    notebook: Path,
    *,
    output: Path,
    python: Path,
    directory: Path,
    variables: Mapping[str, str],
    cell_timeout: float | None = None,
    timeout: float | None = None,
    say: Callable[[CellEvent], None],
) -> Execution:
    """Execute every code cell of `notebook`, in order, until one fails.

    A cell tagged `raises-exception` may fail; one tagged `skip-execution` is skipped. An error that is shown is a
    failure, also where IPython would go on (`%%time`). A command whose cell reads `_exit_code` may fail: it is looked
    after.

    Args:
        notebook: The notebook; it is not changed.
        output: Where the executed notebook is written, whole or not at all, whatever the outcome. It holds the
            outputs up to the failure, and the failure.
        python: Interpreter whose environment has `ipykernel`.
        directory: Working directory of the kernel.
        variables: The environment of the kernel, all of it.
        cell_timeout: Seconds a cell may take.
        timeout: Seconds the notebook may take, the start of the kernel included.
        say: Called with every output as it comes.

    Returns:
        The cells with their times.

    Raises:
        NotebookMissing: `notebook` is not a file.
        NotebookUnreadable: It is not a notebook, or not one in Python.
        CellFailed: A cell raised, or a command or script in it failed.
        CellTimedOut: A cell or the notebook took too long.
        KernelDied: The kernel did not start, or ended by itself.
    """
    node = _read(notebook)
    started = datetime.now(UTC)
    run = _Run(node, notebook=notebook, output=output, cell_timeout=cell_timeout, timeout=timeout, say=say)
    try:
        asyncio.run(run.all_cells(python, directory, variables))
    finally:
        run.save()
    return Execution(cells=tuple(run.cells), started=started, finished=datetime.now(UTC))


def _read(notebook: Path) -> NotebookNode:
    if not notebook.is_file():
        raise NotebookMissing(str(notebook))
    try:
        raw = json.loads(notebook.read_text(encoding="utf-8-sig"))
        if not isinstance(raw, dict) or not isinstance(raw.get("nbformat"), int):
            raise ValueError("it has no nbformat version")
        version = (raw["nbformat"], raw.get("nbformat_minor", 0))
        seen: set[str] = set()
        for cell in raw.get("cells", ()) if version >= (4, 5) else ():
            # nbformat warns of absent and repeated identifiers, and then does this.
            if cell.get("id") in seen | {None}:
                cell["id"] = uuid.uuid4().hex[:8]
            seen.add(cell["id"])
        text = json.dumps(raw, ensure_ascii=False).encode().decode()  # a lone surrogate would not reach the kernel
        node: NotebookNode = nbformat.convert(nbformat.reader.reads(text), 4)  # type: ignore[no-untyped-call]
        nbformat.validate(node)
    except Exception as problem:  # the parsers of a format for everything let every kind of error through
        reason = str(problem).strip().split("\n")[0] or type(problem).__name__
        raise NotebookUnreadable(str(notebook), reason) from problem
    metadata = node.metadata
    language = metadata.get("kernelspec", {}).get("language") or metadata.get("language_info", {}).get("name")
    if language and not str(language).lower().startswith(("python", "ipython")):
        raise NotebookUnreadable(str(notebook), f"it is written in {language}, not in Python")
    return node


class _Run:
    """One execution: what is to be saved at any moment, and what has been learned so far."""

    def __init__(
        self,
        node: NotebookNode,
        *,
        notebook: Path,
        output: Path,
        cell_timeout: float | None,
        timeout: float | None,
        say: Callable[[CellEvent], None],
    ) -> None:
        self.node, self.name, self.output, self.say = node, str(notebook), output, say
        self.cell_timeout, self.timeout = cell_timeout or None, timeout or None
        self.began = time.monotonic()
        self.saved = 0.0
        self.cells: list[Cell] = []
        code = [(index, cell) for index, cell in enumerate(node.cells) if cell.cell_type == "code"]
        for _, cell in code:
            cell.outputs, cell.execution_count = [], None  # those of another run prove nothing about this one
        self.todo = [
            (number, index, cell)
            for number, (index, cell) in enumerate(code, 1)
            if cell.source.strip() and "skip-execution" not in cell.metadata.get("tags", ())
        ]

    async def all_cells(self, python: Path, directory: Path, variables: Mapping[str, str]) -> None:
        if not self.todo:
            return
        number, _, cell = self.todo[0]
        try:
            async with start(python, directory, variables) as kernel:
                await self._ready(kernel)
                listener = _Listener(self.node, kernel, self.say)
                for number, index, cell in self.todo:  # noqa: B007 the handlers below want the last one
                    await self._one_cell(kernel, listener, number, index)
                    if time.monotonic() - self.saved > _SAVE_EVERY:
                        self.save()
                listener.set_widgets_metadata()
        except Died as problem:
            death = KernelDied(number, str(problem), notebook=self.name)
            _note(cell, death)
            raise death from None
        except BaseException as problem:
            _note(cell, problem)
            raise

    async def _ready(self, kernel: Kernel) -> None:
        limit = min(self.timeout or _STARTUP, _STARTUP)
        task = asyncio.ensure_future(kernel.set_up())
        try:
            if await kernel.finished(task, limit):
                self.node.metadata.language_info = task.result()
                return
        finally:
            task.cancel()
        if limit == self.timeout:
            raise CellTimedOut(self.todo[0][0], limit, notebook=self.name, setting="notebook-timeout")
        raise Died(f"it did not answer within {limit:g} s of its start")

    async def _one_cell(self, kernel: Kernel, listener: _Listener, number: int, index: int) -> None:
        cell = self.node.cells[index]
        source = cell.source.strip().split("\n")[0]
        began = listener.begin(number)
        self.say(CellEvent(cell=number, kind="started", text=source, seconds=0.0))
        limits = [(self.cell_timeout, self.cell_timeout, "cell-timeout")]
        limits += [(self.timeout and max(0.0, self.began + self.timeout - began), self.timeout, "notebook-timeout")]
        left, limit, setting = min((each for each in limits if each[0] is not None), default=(None, None, ""))
        task = asyncio.ensure_future(listener.async_execute_cell(cell, index))
        try:
            if not await kernel.finished(task, left):
                kernel.signal(signal.SIGINT)  # so that the notebook shows where it was
                with suppress(Died):
                    await kernel.finished(task, GRACE)
                raise CellTimedOut(number, limit or 0.0, notebook=self.name, setting=setting)
            try:
                task.result()
            except CellExecutionError as problem:
                raise self._failed(number, problem.ename, problem.evalue, problem.traceback) from None
            if listener.error and "raises-exception" not in cell.metadata.get("tags", ()):
                raise self._failed(number, *listener.error)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            seconds = time.monotonic() - began
            self.cells.append(Cell(number=number, seconds=seconds, source=source))
            self.say(CellEvent(cell=number, kind="finished", text="", seconds=seconds))

    def _failed(self, number: int, name: str, value: str, traceback: str) -> CellFailed:
        return CellFailed(number, name, _plain(value), notebook=self.name, traceback=_plain(traceback))

    def save(self) -> None:
        text = nbformat.writes(self.node)  # type: ignore[no-untyped-call]
        self.output.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.output.with_name(f".{self.output.name}.{uuid.uuid4().hex}")
        try:
            # A lone surrogate, which a cell may print, is written as its JSON escape.
            temporary.write_bytes(text.encode("utf-8", "backslashreplace") + b"\n")
            temporary.replace(self.output)
        finally:
            temporary.unlink(missing_ok=True)
        self.saved = time.monotonic()


def _note(cell: NotebookNode, problem: BaseException) -> None:
    shown = any(output.output_type == "error" for output in cell.outputs)
    if shown and isinstance(problem, CellFailed):
        return
    stopped = isinstance(problem, (asyncio.CancelledError, KeyboardInterrupt))
    name, value = ("KeyboardInterrupt", "stopped") if stopped else (type(problem).__name__, str(problem))
    error = NotebookNode(  # type: ignore[no-untyped-call]
        output_type="error", ename=name, evalue=value, traceback=[f"{name}: {value}"]
    )
    cell.outputs.append(error)


def _plain(text: str) -> str:
    return _ANSI.sub("", text)


class _Listener(NotebookClient):
    """nbclient, telling every output as it comes, and joining what was printed in pieces."""

    def __init__(self, node: NotebookNode, kernel: Kernel, say: Callable[[CellEvent], None]) -> None:
        super().__init__(node, timeout=None, iopub_timeout=60)
        self.kc, self._say = kernel.client, say

    def begin(self, number: int) -> float:
        self._number, self._began = number, time.monotonic()
        self.error: tuple[str, str, str] | None = None
        return self._began

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        content = msg["content"]
        match msg["msg_type"]:
            case "stream":
                self._tell(content["name"], content["text"])
            case "display_data" | "execute_result" | "update_display_data":
                self._tell("display", str(content["data"].get("text/plain", "")))
            case "error":
                traceback = _plain("\n".join(content["traceback"]))
                self.error = content["ename"], content["evalue"], traceback
                self._tell("error", traceback)
        return super().process_message(msg, cell, cell_index)

    def _tell(self, kind: Literal["stdout", "stderr", "display", "error"], text: str) -> None:
        seconds = time.monotonic() - self._began
        self._say(CellEvent(cell=self._number, kind=kind, text=text, seconds=seconds))

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        out = super().output(outs, msg, display_id, cell_index)
        if out is not None and out.output_type == "stream" and len(outs) > 1 and outs[-1] is out:
            before = outs[-2]
            if before.output_type == "stream" and before.name == out.name:
                before.text += outs.pop().text
        return out
