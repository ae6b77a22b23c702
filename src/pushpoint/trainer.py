"""Make the environment and execute the notebook, as a program of its own, so that it can be confined.

It knows nothing of a platform and is given no credential. The job comes as a line on standard input, which stays open:
its end means stop. What happens goes to standard output, one JSON object a line; whoever reads that must not trust it,
because the notebook could write there too.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from io import RawIOBase
from pathlib import Path
from typing import Any

import msgspec

from pushpoint import errors
from pushpoint.environments import make_environment

KERNEL = ("ipykernel", "pip")
"""What a notebook needs besides its requirements: a kernel, and what `%pip` calls."""
_DAY = 86400.0


_OURS = re.compile(
    r"(PUSHPOINT|ALGORITHMIA|INPUT|GIT_CONFIG)_.*"
    r"|GITHUB_(TOKEN|ENV|PATH|OUTPUT|STEP_SUMMARY|STATE)|GH_TOKEN|GH_ENTERPRISE_TOKEN|GITHUB_ENTERPRISE_TOKEN"
    r"|ACTIONS_.*(TOKEN|URL).*"
    r"|CI_\w*(TOKEN|PASSWORD|JWT)\w*|CI_REPOSITORY_URL"
    r"|(GIT|SSH)_ASKPASS|SSH_(AUTH_SOCK|AGENT_PID)|GIT_SSH(_COMMAND)?|DOCKER_HOST"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done; all paths are absolute.

    Attributes:
        notebook: It is executed in its own folder.
        output: Where the executed notebook goes.
        requirements: What it needs installed, if anything.
        environments: Folder of the environments that were made before.
        runtime: Folder for `PYTHONPATH`.
        cell_timeout: Seconds; 0 is no limit.
        timeout: Seconds; 0 is no limit.
    """

    notebook: str
    output: str
    requirements: str | None
    environments: str
    runtime: str
    cell_timeout: float
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of what happens; of the fields after `kind`, those that it has.

    Attributes:
        kind: `line`, `environment`, a kind of `notebooks.CellEvent`, `done` or `failed`.
        text: Untrusted.
        cell: Number of the cell.
        seconds: How long it took so far.
        facts: What was learned, or the attributes of the error.
    """

    kind: str
    text: str = ""
    cell: int = 0
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What an execution to the end says of itself."""

    started: datetime
    finished: datetime
    python: str
    lock_sha256: str
    cells: float
    metrics: dict[str, float]


def scrub(environment: Mapping[str, str], secrets: Sequence[str]) -> dict[str, str]:
    """Take out of an environment what belongs to the deploy and not to the notebook.

    Args:
        environment: Variables by name.
        secrets: Texts that no value may contain; empty ones are ignored.

    Returns:
        The other variables: the user's own data credentials stay.

    Example:
        >>> scrub({"PATH": "/bin", "GITHUB_TOKEN": "t", "URL": "https://s3cret@host"}, ["s3cret"])
        {'PATH': '/bin'}
    """
    return {
        name: value
        for name, value in environment.items()
        if not _OURS.fullmatch(name) and not any(secret in value for secret in secrets if secret)
    }


def main() -> None:
    """Do the job on standard input."""
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        os.dup2(2, 1)  # what a library prints is no event
        given = os.fdopen(0, "rb", buffering=0, closefd=False)
        job = msgspec.json.decode(given.readline(), type=Job)
        threading.Thread(target=_stop_at_end_of, args=(given,), daemon=True).start()

        def tell(event: Event) -> None:
            out.write(msgspec.json.encode(event) + b"\n")

        try:
            trained = _train(job, tell)
        except errors.Error as error:
            tell(Event(kind="failed", text=type(error).__name__, facts=_facts(error)))
        except KeyboardInterrupt:
            sys.exit(130)
        else:
            tell(Event(kind="done", facts=msgspec.to_builtins(trained)))


def raised(event: Event) -> errors.Error:
    """Read the error of a `failed` event.

    Returns:
        The same error; a TrainingError that says so where the event names none that training can end with.
    """
    kind = getattr(errors, event.text, None)
    if not (isinstance(kind, type) and issubclass(kind, (errors.TrainingError, errors.ConfigError))):
        return errors.TrainingError("the training ended with something that is no error of training; deploy again")
    try:
        if "message" in event.facts:
            return kind(str(event.facts["message"]))
        return kind(**event.facts)
    except TypeError:
        return errors.TrainingError(f"the training ended with a {event.text} that says nothing; deploy again")


def _facts(error: errors.Error) -> dict[str, Any]:
    names = list(_parameters(type(error)))
    if all(hasattr(error, name) for name in names) and names:
        return {name: _text(getattr(error, name)) for name in names}
    return {"message": _text(str(error))}


def _parameters(kind: type[errors.Error]) -> Iterator[str]:
    if kind.__init__ is not Exception.__init__:
        yield from list(inspect.signature(kind.__init__).parameters)[1:]


def _text(value: object) -> object:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _stop_at_end_of(given: RawIOBase) -> None:
    given.read()
    os.kill(os.getpid(), signal.SIGINT)


def _train(job: Job, tell: Callable[[Event], None]) -> Trained:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(import_module, "pushpoint.notebooks")  # the slowest import of all, while uv works
        environment = make_environment(
            Path(job.requirements) if job.requirements else None,
            root=Path(job.environments),
            extra=KERNEL,
            lock_age=_DAY,
            say=lambda line: None if line.startswith(" + ") else tell(Event(kind="line", text=str(_text(line)))),
        )
    how = "reused" if environment.reused else "made"
    tell(Event(kind="environment", text=how, seconds=environment.seconds))
    from pushpoint.notebooks import execute
    from pushpoint.notebooks.evidence import Evidence, gather

    variables = dict(os.environ)
    variables["PATH"] = f"{environment.path / 'bin'}{os.pathsep}{variables.get('PATH', os.defpath)}"
    variables["VIRTUAL_ENV"] = str(environment.path)
    variables.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait do not spin: CI machines are shared
    variables["PYTHONPATH"] = job.runtime
    notebook = Path(job.notebook)
    threading.Thread(target=import_module, args=("pushpoint.notebooks.rendering",), daemon=True).start()  # it is slow
    evidence, output = Evidence(metrics={}), Path(job.output)
    try:
        execution = execute(
            notebook,
            output=output,
            python=environment.python,
            directory=notebook.parent,
            variables=variables,
            cell_timeout=job.cell_timeout or None,
            timeout=job.timeout or None,
            say=lambda event: tell(
                Event(kind=event.kind, text=str(_text(event.text)), cell=event.cell, seconds=event.seconds)
            ),
        )
    finally:
        if output.exists():
            evidence = gather(output, say=lambda line: tell(Event(kind="line", text=str(_text(line)))))
    return Trained(
        started=execution.started,
        finished=execution.finished,
        python=platform.python_version(),
        lock_sha256=hashlib.sha256(environment.lock.encode()).hexdigest(),
        cells=sum(cell.seconds for cell in execution.cells),
        metrics=evidence.metrics,
    )


if __name__ == "__main__":
    main()
