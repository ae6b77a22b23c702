"""The peers: others that make HTTP endpoints of Python functions, each in an environment of its own.

What one needs, and how it serves an algorithm, stands in its file below `servers`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.load import Target
from bench.serving import NoAnswer, Questions, Started, free_port, started
from pushpoint.environments import make_environment

SERVERS = Path(__file__).with_name("servers")
MONTH = 30 * 86400.0
"""Seconds for which the versions of a peer stay what they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One way to serve with one of them.

    Attributes:
        name: Of the file in `servers`.
        title: What it is called in tables.
        path: Of its calls.
        body: Makes the JSON of a request from an input.
        form: Which way, if there are several: `async`, `batched`.
        saves: Whether the file is run once before, to save the model as the peer wants it.
    """

    name: str
    title: str
    path: str
    body: Callable[[str], object]
    form: str = ""
    saves: bool = False

    @property
    def is_batched(self) -> bool:
        """Whether it answers calls together; with an algorithm that does nothing there is no use in that."""
        return self.form == "batched"


def _field(name: str) -> Callable[[str], object]:
    return lambda text: {name: text}


def _fields(name: str) -> Callable[[str], object]:
    return lambda text: {name: [text]}


def _tensor(text: str) -> object:
    return {"inputs": [{"name": "input", "shape": [1], "datatype": "BYTES", "data": [text]}]}


_INFER = "/v2/models/algorithm/infer"
PEERS = (
    Peer(name="fastapi", title="FastAPI + uvicorn", path="/", body=str),
    Peer(name="fastapi", title="FastAPI + uvicorn, async", path="/", body=str, form="async"),
    Peer(name="litserve", title="LitServe", path="/predict", body=_field("input")),
    Peer(name="litserve", title="LitServe, batched", path="/predict", body=_field("input"), form="batched"),
    Peer(name="bentoml", title="BentoML", path="/answer", body=_field("input")),
    Peer(name="bentoml", title="BentoML, batched", path="/answer", body=_fields("inputs"), form="batched"),
    Peer(name="mlserver", title="MLServer", path=_INFER, body=_tensor),
    Peer(name="mlserver", title="MLServer, batched", path=_INFER, body=_tensor, form="batched"),
    Peer(name="mlflow", title="mlflow models serve", path="/invocations", body=_fields("inputs"), saves=True),
)


def cache() -> Path:
    """Say where is kept what takes long to make.

    Returns:
        A folder.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "pushpoint", "bench")


def dependencies(name: str) -> list[str]:
    """Read what a peer needs, from its file.

    Returns:
        Requirements.

    Source:
        Packaging's specification "Inline script metadata" (PEP 723).
    """
    lines = _program(name).read_text().splitlines()
    begin = lines.index("# /// script")
    block = lines[begin + 1 : lines.index("# ///", begin)]
    said = tomllib.loads("\n".join(line.removeprefix("#").removeprefix(" ") for line in block))
    found: list[str] = said["dependencies"]
    return found


def environment_of(name: str, requirements: Path, *, place: Path, say: Callable[[str], None]) -> Path:
    """Make the environment of a peer and a model, or find the one that was made before.

    Args:
        name: Of the peer.
        requirements: What the model needs.
        place: A folder to work in.
        say: Told what is installed.

    Returns:
        Its interpreter.

    Raises:
        RequirementsFailed: It cannot be installed here.
    """
    file = place / f"{name}.txt"
    file.write_text("\n".join([*dependencies(name), requirements.read_text()]))
    made = make_environment(file, root=cache() / "peers", lock_age=MONTH, say=say)
    if not made.reused:  # as pip does; else the first start would take the time that all others do not
        subprocess.run([made.python, "-m", "compileall", "-q", "-j", "0", made.path / "lib"], check=False)
    return made.python


@contextlib.contextmanager
def serving(
    peer: Peer, questions: Questions, *, python: Path, directory: Path, variables: Mapping[str, str]
) -> Iterator[Started]:
    """Serve an algorithm.

    Args:
        peer: By whom.
        questions: What it is asked.
        python: The peer's interpreter.
        directory: Where it works, beside the model.
        variables: Its environment.

    Yields:
        The server.

    Raises:
        NoAnswer: It does not start, or does not answer as it should.
    """
    port = free_port()
    command = [str(python), str(_program(peer.name))]
    path = os.pathsep.join([str(python.parent), variables["PATH"]])
    own = {**variables, "PATH": path, "ALGORITHM": questions.algorithm, "PORT": str(port), "FORM": peer.form}
    if peer.saves:
        saving = own | {"FORM": "saving"}
        saved = subprocess.run(command, cwd=directory, env=saving, capture_output=True, text=True, check=False)
        if saved.returncode:
            raise NoAnswer(f"the model could not be saved: {saved.stderr[-2000:]}")
    bodies = [json.dumps(peer.body(text)).encode() for text in questions.answers]
    target = Target(port=port, path=peer.path, headers={}, bodies=bodies, marker=questions.marker)
    with started(command, target, list(questions.answers.values()), directory=directory, variables=own) as server:
        yield server


def _program(name: str) -> Path:
    return SERVERS / f"with_{name}.py"
