"""Pushpoint as one of the servers: a platform whose algorithm is live, started anew and called with a key."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from bench.filling import OWNER, fill
from bench.harness import Platform, platform
from bench.load import Target
from bench.memory import resident, tree
from bench.serving import Questions, Started, check_answers, wait_for_answer
from pushpoint import Client
from pushpoint.digests import describe

ROOT = Path(__file__).parents[1]
ALGORITHMS = Path(__file__).with_name("algorithms")
EXAMPLE = ROOT / "examples" / "sentiment"
_WHO = {f"GIT_{role}_{what}": "bench@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def train(place: Path, cache: Path, variables: Mapping[str, str]) -> Path:
    """Run the notebook of the sentiment example, or find the model that the same notebook made before.

    Args:
        place: A folder that does not exist.
        cache: Where models are kept.
        variables: Its environment.

    Returns:
        The model.

    Raises:
        SystemExit: It could not be trained; what it said is on standard error.
    """
    made_from = place.with_name("made-from")
    texts = [(EXAMPLE / name).read_bytes() for name in ("model_training.ipynb", "requirements.txt")]
    made_from.write_bytes(b"".join(texts))
    model = cache / f"{describe(made_from).hex}.pkl"
    if not model.exists():
        shutil.copytree(EXAMPLE, place, ignore=shutil.ignore_patterns("__pycache__", ".pushpoint", "model.pkl"))
        commands = ["init --quiet --initial-branch=main", "add --all", "commit --quiet --message First"]
        for command in commands:
            subprocess.run(["git", *command.split()], cwd=place, env={**variables, **_WHO}, check=True)
        preview = [sys.executable, "-m", "pushpoint", "preview"]
        done = subprocess.run(preview, cwd=place, env=variables, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise SystemExit("the model could not be trained; why stands above")
        model.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place / "model.pkl", model.with_suffix(".draft"))
        model.with_suffix(".draft").replace(model)
    return model


def deploy(home: Path, algorithm: str, model: Path | None, *, variables: Mapping[str, str]) -> Path:
    """Make a platform on which the algorithm is live, and stop it.

    Args:
        home: Of the platform.
        algorithm: Its name.
        model: Its model, with which it gets the sentiment example's requirements; none for one without.
        variables: The platform's environment.

    Returns:
        The interpreter of the algorithm's own environment.
    """
    folder = home.with_name(f"{algorithm}-code")
    (folder / "src").mkdir(parents=True)
    shutil.copy(ALGORITHMS / f"{algorithm}.py", folder / "src")
    if model:
        shutil.copy(EXAMPLE / "sentiment" / "requirements.txt", folder)
    with platform(home, environment=variables) as server, Client(server.url, server.key) as client:
        there = client.algorithm(algorithm).create()
        stored = there.upload(model) if model else None
        there.push(folder, model=stored).publish(sample_input="It works great.")
    (environment,) = home.glob("environments/*/bin/python")
    return environment


@contextlib.contextmanager
def serving(home: Path, questions: Questions, *, variables: Mapping[str, str]) -> Iterator[Started]:
    """Start the platform.

    Args:
        home: Of a platform that was stopped.
        questions: What it is asked.
        variables: Its environment.

    Yields:
        The platform.

    Raises:
        NoAnswer: It does not answer as it should.
    """
    began = time.perf_counter()
    with platform(home, environment=variables) as server:
        target = target_of(server, questions.algorithm, list(questions.answers), marker=questions.marker)
        wait_for_answer(target)
        seconds = time.perf_counter() - began
        check_answers(target, list(questions.answers.values()))
        yield Started(target=target, pid=server.pid, seconds=seconds)


def target_of(server: Platform, algorithm: str, texts: list[str], *, marker: str) -> Target:
    """Say how an algorithm of the first account is called.

    Returns:
        The target.
    """
    port = urlsplit(server.url).port
    assert port
    return Target(
        port=port,
        path=f"/v1/algo/{OWNER}/{algorithm}",
        headers={"authorization": f"Simple {server.key}"},
        bodies=[json.dumps(text).encode() for text in texts],
        marker=marker,
    )


def registered(home: Path, releases: int, *, variables: Mapping[str, str]) -> int:
    """Say how much memory the gateway has on a platform with many releases, each live, and some with a worker.

    Args:
        home: A folder that does not exist.
        releases: How many, at least 2.
        variables: The platform's environment.

    Returns:
        Resident bytes of the gateway alone, once all workers have started and each of some has answered.
    """
    filled = fill(home, copies=releases - 1, each=1, long=1)
    names = [one.name.name for one in filled.some]
    filled.database.dispose()
    with platform(home, environment=variables) as server:
        for name in names[:20]:
            wait_for_answer(target_of(server, name, ["x"], marker="hello"))
        count = 0
        while count < (count := len(tree(server.pid))):
            time.sleep(2)
        return resident([server.pid])
