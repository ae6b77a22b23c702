"""Tiny ML repositories, and the command line that works on them: a program of its own, as users run it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pushpoint.names import algorithm_name, reference
from tests.conftest import Platform

INFERENCE = """\
import hashlib

from pushpoint.runtime import model


def load():
    global found
    with open(model.path, "rb") as file:
        found = {"model": hashlib.sha256(file.read()).hexdigest()}
    found["commit"] = model.manifest["model_origin_commit_SHA"]


def apply(input):
    if input == "fail":
        raise ValueError("asked to fail")
    return {**found, "input": input}
"""

TRAINING = """\
import pathlib, subprocess
commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
pathlib.Path("model.pkl").write_text("trained at " + commit)
print("trained")"""


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def version(self) -> str:
        assert self.code == 0, self.err
        return str(self.json["deployment"]["release"]["version"])

    @property
    def model(self) -> str:
        return str(self.json["deployment"]["release"]["model"]["sha256"])

    @property
    def error(self) -> str:
        return str(self.json["error"]["message"])


def pushpoint(*arguments: str, directory: Path, platform: Platform, **variables: str) -> Ran:
    """Run a command of ours to its end."""
    done = subprocess.run(
        command(*arguments),
        cwd=directory,
        env=platform.environment() | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def command(*arguments: str) -> list[str]:
    """Say how the program is started."""
    return [sys.executable, "-m", "pushpoint", *arguments]


class Repository:
    """An ML repository with one commit."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory, self.name = directory, name
        directory.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str, stdin: bytes | None = None, variables: Mapping[str, str] | None = None) -> str:
        who = {"GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@localhost"}
        who |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in who.items()}
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.directory,
            env=os.environ | who | dict(variables or {}),
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def write(self, path: str, content: str | bytes) -> None:
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def settings(self, **values: Any) -> None:
        lines = [f"{name.replace('_', '-')} = {json.dumps(value)}\n" for name, value in values.items()]
        self.write("pushpoint.toml", "".join([f'algorithm = "{self.name}"\n', *lines]))

    def notebook(self, *cells: str, path: str = "model_training.ipynb") -> None:
        code: list[dict[str, Any]] = [
            {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": cell}
            for cell in cells
        ]
        self.write(path, json.dumps({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))

    def inference(self, source: str = INFERENCE) -> None:
        self.write(f"{self.name}/src/{self.name}.py", source)
        self.write(f"{self.name}/src/__init__.py", "")
        self.write(f"{self.name}/requirements.txt", "")

    def commit(self, message: str = "Change", *, time: int | None = None) -> str:
        when = {"GIT_COMMITTER_DATE": f"@{time} +0000"} if time else {}
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--file=-", stdin=message.encode(), variables=when)
        return self.git("rev-parse", "HEAD")

    def deploy(self, platform: Platform, *flags: str, **variables: str) -> Ran:
        return self.run(platform, "deploy", "--json", *flags, **variables)

    def run(self, platform: Platform, *arguments: str, **variables: str) -> Ran:
        return pushpoint(*arguments, directory=self.directory, platform=platform, **variables)

    def call(self, platform: Platform, input: object = "x", version: str = "") -> Any:
        """Return what the algorithm answers."""
        name = f"ann/{self.name}" + (f"/{version}" if version else "")
        with platform.client() as client:
            result = client.call(reference(name), json.dumps(input).encode(), content_type="application/json")
        assert result.error is None, result.error
        return result.value

    def versions(self, platform: Platform) -> list[str]:
        with platform.client() as client:
            return [release.version for release in client.releases(algorithm_name(f"ann/{self.name}"))]

    def pushed(self, platform: Platform) -> Path:
        """Return the algorithm's own repository, on the platform's disk."""
        with sqlite3.connect(platform.home / "platform.db") as database:
            (found,) = database.execute("select id from algorithms where name = ?", (self.name,)).fetchone()
        database.close()
        return platform.home / "repositories" / f"{found}.git"

    def tip(self, platform: Platform) -> str:
        """Return the head of the algorithm's own repository."""
        return self.git("--git-dir", str(self.pushed(platform)), "rev-parse", "master")


def checked_in(directory: Path, name: str, model: str = "a model") -> Repository:
    """Make a repository with a model and no notebook."""
    made = Repository(directory, name)
    made.settings()
    made.write("model.pkl", model)
    made.inference()
    made.commit("First")
    return made


def trained(directory: Path, name: str) -> Repository:
    """Make a repository with a notebook that writes another model at each commit."""
    made = Repository(directory, name)
    made.settings()
    made.notebook(TRAINING)
    made.write(".gitignore", "model.pkl\n")
    made.inference()
    made.commit("First")
    return made
