"""Notebooks run in real kernels; `tests/notebooks` has one for each way to fail."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest

from pushpoint.environments import make_environment
from pushpoint.errors import (
    CellFailed,
    CellTimedOut,
    KernelDied,
    NotebookMissing,
    NotebookUnreadable,
    TrainingError,
)
from pushpoint.notebooks import CellEvent, Execution, execute, kernel
from pushpoint.trainer import scrub

NOTEBOOKS = Path(__file__).parent / "notebooks"


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "environments"
    return make_environment(None, root=root, extra=("ipykernel", "pip"), say=print).python


class Desk:
    """A directory with a notebook, and what became of it."""

    def __init__(self, directory: Path, python: Path) -> None:
        self.directory, self.python = directory, python
        self.output = directory / "kept" / "executed.ipynb"
        self.events: list[CellEvent] = []

    def lay(self, *cells: str) -> Path:
        code: list[Any] = [
            {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": cell}
            for cell in cells
        ]
        path = self.directory / "laid.ipynb"
        path.write_text(json.dumps({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
        return path

    def run(self, notebook: Path, variables: Mapping[str, str] | None = None, **options: Any) -> Execution:
        usual: dict[str, Any] = {"output": self.output, "python": self.python, "directory": self.directory}
        usual["variables"] = variables or {"PATH": os.environ["PATH"]}
        usual["say"] = self.events.append
        return execute(notebook, **(usual | options))

    def told(self, kind: str) -> str:
        return "".join(event.text for event in self.events if event.kind == kind)

    @property
    def cells(self) -> list[Any]:
        node = nbformat.read(str(self.output), as_version=4)  # type: ignore[no-untyped-call]
        return [cell for cell in node.cells if cell.cell_type == "code"]

    def shown(self, number: int) -> str:
        return re.sub(r"\\u001b\[[\d;]*m", "", json.dumps(self.cells[number - 1].outputs))


@pytest.fixture
def desk(tmp_path: Path, python: Path) -> Desk:
    directory = tmp_path / "work"
    shutil.copytree(NOTEBOOKS, directory)
    return Desk(directory, python)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def eventually_gone(process: int) -> bool:
    deadline = time.monotonic() + 5
    while is_running(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(process)


def test_a_notebook_runs_to_its_end(desk: Desk) -> None:
    before = (desk.directory / "succeeds.ipynb").read_bytes()
    execution = desk.run(desk.directory / "succeeds.ipynb")

    assert [cell.number for cell in execution.cells] == [1, 3, 5, 6, 7, 8], "empty and skipped cells count"
    assert execution.cells[1].source == "2 + 2"
    assert all(cell.seconds > 0 for cell in execution.cells)
    assert execution.started < execution.finished
    assert execution.started.utcoffset() == execution.finished.utcoffset() is not None
    assert [cell.execution_count for cell in desk.cells] == [1, None, 2, None, 3, 4, 5, 6]
    assert "'text/plain': '4'" in str(desk.cells[2].outputs)
    assert "expected" in desk.shown(5)
    assert (desk.directory / "succeeds.ipynb").read_bytes() == before
    assert [cell.source for cell in desk.cells][-1] == "print('end')"


def test_outputs_are_told_as_they_come(desk: Desk) -> None:
    desk.run(desk.lay("import time\nprint('now', flush=True)\ntime.sleep(1)\nprint('then')", "2 + 2"))

    kinds = [(event.cell, event.kind) for event in desk.events]
    assert kinds[0] == (1, "started")
    assert kinds[-3:] == [(2, "started"), (2, "display"), (2, "finished")]
    now, then = (event for event in desk.events if event.kind == "stdout")
    assert now.text == "now\n"
    assert now.seconds < 0.8 < 1.0 <= then.seconds
    assert desk.told("display") == "4"
    assert [output.text for output in desk.cells[0].outputs] == ["now\nthen\n"], "one stream, not pieces of it"


FAILURES = {
    "raises": ("ZeroDivisionError", "division by zero"),
    "command_fails": ("CalledProcessError", "'exit 3' returned non-zero exit status 3"),
    "captured_command_fails": ("CalledProcessError", "exit status 3"),
    "pip_fails": ("CalledProcessError", "pip install ./nowhere"),
    "bash_fails": ("CalledProcessError", "'bash' returned non-zero exit status 4"),
    "program_missing": ("FileNotFoundError", "no-such-program"),
    "script_raises": ("LookupError", "no data"),
    "script_exits": ("SystemExit", "3"),
    "module_raises": ("LookupError", "no data"),
    "script_missing": ("Exception", "nowhere.py"),
    "exits": ("SystemExit", "2"),
    "error_shown": ("ZeroDivisionError", "division by zero"),
    "timed_raises": ("ZeroDivisionError", "division by zero"),
    "asks": ("StdinNotImplementedError", "input"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_the_failing_cell_is_named_and_kept(desk: Desk, name: str) -> None:
    kind, value = FAILURES[name]
    with pytest.raises(CellFailed) as caught:
        desk.run(desk.directory / f"{name}.ipynb")

    failed = caught.value
    assert (failed.cell, failed.name) == (2, kind)
    assert value in failed.value
    assert failed.notebook.endswith(f"{name}.ipynb")
    assert kind in failed.traceback
    assert "\x1b" not in failed.traceback + desk.told("error")
    assert "before" in desk.shown(1)
    assert kind in desk.shown(2)
    assert sum(output.output_type == "error" for output in desk.cells[1].outputs) == 1
    assert desk.cells[2].outputs == [], "neither run, nor left from an earlier run"
    assert desk.cells[2].execution_count is None


def test_what_a_captured_command_said_is_told(desk: Desk) -> None:
    with pytest.raises(CellFailed):
        desk.run(desk.directory / "captured_command_fails.ipynb")
    assert "so far" in desk.shown(2)


def test_commands_and_scripts_that_succeed_do(desk: Desk) -> None:
    desk.run(
        desk.lay(
            "!true\nassert _exit_code == 0",
            "files = !ls *.py\nassert files == ['exits.py', 'exits_well.py', 'raises.py'], files\nassert files.n",
            "%run exits_well.py\nassert learned == 5",
            "%run -e exits.py",
            "%run -m exits_well",
            "%%bash --out said\necho hello",
            "assert said == 'hello\\n'",
            "%%bash --no-raise-error\nexit 1",
            "def shout(word):\n    !echo {word} $word; true\nshout('hey')",
            "assert 'x' not in dir() and '_strict' not in dir() and 'subprocess' not in dir()",
            "_exit_code = 7\n!true",
            "!exit 3\nassert _exit_code == 3, 'who reads the status looks after it'",
            "assert open('exits.py').read() and In[1].startswith('get_ipython')",
            "%%capture caught\n!echo quiet",
            "assert 'quiet' in caught.stdout",
            "ls *.py",
        )
    )
    assert "hey hey" in desk.shown(9)


def test_a_cell_that_takes_too_long_is_stopped_with_its_children(desk: Desk) -> None:
    with pytest.raises(CellTimedOut) as caught:
        desk.run(desk.directory / "too_slow.ipynb", cell_timeout=1.5, timeout=100)

    assert (caught.value.cell, caught.value.seconds, caught.value.setting) == (2, 1.5, "cell-timeout")
    assert "time.sleep(600)" in desk.shown(2), "it is seen where it was"
    assert "CellTimedOut" in desk.shown(2)
    assert eventually_gone(int(desk.told("stdout").split()[1]))


def test_a_notebook_that_takes_too_long_is_stopped(desk: Desk) -> None:
    with pytest.raises(CellTimedOut) as caught:
        desk.run(desk.lay("import time\ntime.sleep(2)", "time.sleep(600)"), cell_timeout=60, timeout=6)
    assert (caught.value.cell, caught.value.seconds, caught.value.setting) == (2, 6, "notebook-timeout")
    assert desk.events[-1].seconds < 5, "the cells before count"


def test_a_cell_that_ignores_interrupts_is_stopped_all_the_same(desk: Desk) -> None:
    began = time.monotonic()
    with pytest.raises(CellTimedOut):
        desk.run(desk.directory / "deaf.ipynb", cell_timeout=1)
    assert time.monotonic() - began < 15
    assert "CellTimedOut" in desk.shown(2)


DEATHS = {
    "killed": "SIGKILL; often this means that memory ran out; it had used",
    "crashes": "SIGSEGV",
    "leaves": "code 7",
}


@pytest.mark.parametrize("name", DEATHS)
def test_a_dead_kernel_is_noticed_and_explained(desk: Desk, name: str) -> None:
    began = time.monotonic()
    with pytest.raises(KernelDied) as caught:
        desk.run(desk.directory / f"{name}.ipynb")

    assert caught.value.cell == 2
    assert DEATHS[name] in caught.value.reason
    assert time.monotonic() - began < 10
    assert "before" in desk.shown(1)
    assert DEATHS[name] in desk.shown(2)
    if name == "killed":
        assert "last words" in desk.shown(2)


def test_memory_that_ran_out_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = iter([3, 4])
    monkeypatch.setattr(kernel, "_killings", lambda: next(counted))
    with pytest.raises(KernelDied, match="memory ran out, and the system killed it; it had used"):
        desk.run(desk.directory / "killed.ipynb")


@pytest.mark.parametrize("broken", ["no interpreter", "no kernel"])
def test_a_kernel_that_does_not_start_is_explained(desk: Desk, broken: str) -> None:
    interpreter = desk.directory / "python" if broken == "no interpreter" else Path(sys.executable)
    with pytest.raises(
        KernelDied, match=r"No such file" if broken == "no interpreter" else "No module named ipykernel"
    ):
        desk.run(desk.directory / "raises.ipynb", python=interpreter)
    assert "KernelDied" in desk.shown(1)


def test_an_interrupt_stops_the_kernel_and_keeps_the_notebook(desk: Desk) -> None:
    desk.lay("import os\nprint('pid', os.getpid())", "import time\ntime.sleep(600)")
    code = f"""
from pathlib import Path
from pushpoint.notebooks import execute
execute(Path("laid.ipynb"), output=Path({str(desk.output)!r}), python=Path({str(desk.python)!r}), directory=Path("."),
    variables={{}}, cell_timeout=None, timeout=None, say=lambda event: print(event.kind, event.text, flush=True))
"""
    program = [sys.executable, "-c", code]
    with subprocess.Popen(
        program, cwd=desk.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        process = 0
        for line in run.stdout:
            process = int(line.split()[-1]) if "pid" in line and "print" not in line else process
            if "import time" in line:
                break
        assert is_running(process)
        run.send_signal(signal.SIGINT)
        errors = run.communicate(timeout=20)[1]

    assert "KeyboardInterrupt" in errors
    assert eventually_gone(process)
    assert "pid" in desk.shown(1)
    assert "KeyboardInterrupt" in desk.shown(2)


def test_a_killed_deploy_leaves_no_kernel(desk: Desk) -> None:
    where = "ipykernel.get_connection_file()"
    desk.lay(f"import ipykernel, os, time\nprint(os.getpid(), {where}, flush=True)\ntime.sleep(600)")
    code = f"""
from pathlib import Path
from pushpoint.notebooks import execute
execute(Path("laid.ipynb"), output=Path("out.ipynb"), python=Path({str(desk.python)!r}), directory=Path("."),
    variables={{}}, say=lambda event: event.kind == "stdout" and print(event.text, flush=True))
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=desk.directory, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        process, connection = run.stdout.readline().split()
        run.kill()
    assert eventually_gone(int(process))
    shutil.rmtree(Path(connection).parent)  # nobody is left who could


def test_every_output_is_kept_however_slowly_it_is_read(desk: Desk) -> None:
    def dawdle(event: CellEvent) -> None:
        if event.text == "10":
            time.sleep(2)

    desk.run(
        desk.lay(
            "for number in range(4000):\n    display(number)",
            "for number in range(5000):\n    print('line', number)",
            "from IPython.display import clear_output\nprint('gone')\nclear_output()\nprint('stays')",
        ),
        say=dawdle,
    )
    numbers, lines, cleared = desk.cells
    assert len(numbers.outputs) == 4000
    assert sum(output.text.count("line") for output in lines.outputs) == 5000
    assert "gone" not in str(cleared.outputs)
    assert "stays" in str(cleared.outputs)


def test_the_kernel_inherits_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", "planted-secret")
    home = desk.directory / "home"
    startup = home / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "first.py").write_text("started_up = True")
    before = sorted(home.rglob("*"))
    look = """
import os, json, ipykernel
from pathlib import Path
theirs = Path("/proc/self/environ")
inherited = theirs.read_text().split("\\0")[:-1] if theirs.exists() else [f"HOME={os.environ['HOME']}"]
print(json.dumps([inherited, ipykernel.get_connection_file(), json.loads(ipykernel.get_connection_info()), os.getcwd(),
    "started_up" in globals(), os.getpgid(0) == os.getpid()]))
"""
    desk.run(desk.lay(look), variables={"HOME": str(home)})

    inherited, connection, facts, directory, started_up, leads = json.loads(desk.told("stdout"))
    assert inherited == [f"HOME={home}"]
    assert "planted-secret" not in desk.output.read_text()
    assert facts["transport"] == "ipc"
    assert not Path(connection).parent.exists()
    assert Path(directory).samefile(desk.directory)
    assert not started_up
    assert leads
    assert sorted(home.rglob("*")) == before


def test_it_runs_outside_the_main_thread_too(desk: Desk) -> None:
    found: list[Execution] = []
    thread = threading.Thread(target=lambda: found.append(desk.run(desk.lay("1"))))
    thread.start()
    thread.join(60)
    assert len(found) == 1


def test_a_mistake_of_the_listener_is_not_swallowed(desk: Desk) -> None:
    def stumble(event: CellEvent) -> None:
        if event.kind == "stdout":
            raise RuntimeError("stumbled")

    with pytest.raises(RuntimeError, match="stumbled"):
        desk.run(desk.lay("print(1)"), say=stumble)
    assert desk.output.exists()


def test_a_notebook_without_code_needs_no_kernel(desk: Desk) -> None:
    execution = desk.run(desk.directory / "only_text.ipynb", python=Path("/nowhere"))
    assert execution.cells == ()
    assert desk.output.exists()


@pytest.mark.parametrize(("name", "version"), [("version_3", (4, 5)), ("without_ids", (4, 5)), ("succeeds", (4, 4))])
def test_older_notebooks_are_understood(desk: Desk, name: str, version: tuple[int, int]) -> None:
    desk.run(desk.directory / f"{name}.ipynb")
    kept = json.loads(desk.output.read_text())
    assert (kept["nbformat"], kept["nbformat_minor"]) == version
    assert kept["cells"][0]["outputs"]
    assert ("id" in kept["cells"][0]) == (version >= (4, 5))
    assert kept["metadata"]["language_info"]["name"] == "python"


UNREADABLE = {
    "empty": "Expecting value",
    "not_json": "Expecting value",
    "a_list": "no nbformat version",
    "no_version": "no nbformat version",
    "version_9": "9",
    "no_cells": "cells",
    "odd_cells": "",
    "surrogate": "surrogates not allowed",
    "in_r": "written in R",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_notebook_is_refused(tmp_path: Path, name: str) -> None:
    desk = Desk(tmp_path, Path("/nowhere"))
    with pytest.raises(NotebookUnreadable) as caught:
        desk.run(NOTEBOOKS / f"{name}.ipynb")
    assert UNREADABLE[name] in caught.value.reason
    assert len(caught.value.reason) < 300
    assert not desk.output.exists()


@pytest.mark.parametrize("name", ["nowhere.ipynb", "."])
def test_a_notebook_that_is_not_there_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotebookMissing):
        Desk(tmp_path, Path("/nowhere")).run(tmp_path / name)


def test_every_notebook_here_is_used() -> None:
    used = {*FAILURES, *DEATHS, *UNREADABLE, "succeeds", "without_ids", "version_3", "only_text", "too_slow", "deaf"}
    used |= {"measures", "measures_then_raises", "measures_text", "shows_scripts"}  # by test_evidence.py
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == used
    assert issubclass(CellFailed, TrainingError)


SCRUBBED = [
    *("PUSHPOINT_API_KEY", "PUSHPOINT_URL", "ALGORITHMIA_API_KEY", "INPUT_API-KEY", "GITHUB_TOKEN", "GH_TOKEN"),
    *("GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_STATE"),
    *("ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL"),
    *("ACTIONS_RUNTIME_URL", "ACTIONS_CACHE_URL", "ACTIONS_RESULTS_URL"),
    *("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_PARAMETERS", "GIT_ASKPASS", "SSH_ASKPASS"),
    *("CI_JOB_TOKEN", "CI_REGISTRY_PASSWORD", "CI_REPOSITORY_URL", "CI_JOB_JWT_V2", "DOCKER_HOST"),
    *("SSH_AUTH_SOCK", "SSH_AGENT_PID", "GIT_SSH_COMMAND"),
]
KEPT = [
    "PATH",
    "HOME",
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_SHA",
    "GITHUB_REPOSITORY",
    "GITHUB_WORKSPACE",
    "HF_TOKEN",
    "CI",
]


@pytest.mark.parametrize("name", SCRUBBED)
def test_what_belongs_to_the_deploy_is_taken_out(name: str) -> None:
    assert scrub({name: "x", "PATH": "/bin"}, []) == {"PATH": "/bin"}


@pytest.mark.parametrize("name", KEPT)
def test_what_belongs_to_the_user_stays(name: str) -> None:
    assert scrub({name: "x"}, ["", "secret"]) == {name: "x"}


def test_a_secret_is_taken_out_under_any_name() -> None:
    assert scrub({"A": "https://user:s3cret@host", "B": "s3cre", "C": "s3cret"}, ["s3cret"]) == {"B": "s3cre"}
