"""`pushpoint demo`: the whole line once, on real data, in a temporary place."""

from __future__ import annotations

import contextlib
import json as jsonlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from pushpoint.cli.new import lay_down
from pushpoint.errors import IntegrityError, Unavailable

_INPUT = "It was a great purchase"
_STOP_TIMEOUT = 40.0


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the platform running when done.")] = False,
    directory: Annotated[
        Path | None, typer.Option("--directory", "-C", help="Where to work [default: a temporary folder]")
    ] = None,
) -> None:
    """Start a platform, deploy the sentiment example to it, call the endpoint, and say how to go on by hand."""
    from pushpoint.client import Client
    from pushpoint.names import algorithm_name, reference

    say = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    place = directory or Path(tempfile.mkdtemp(prefix="pushpoint-demo-"))
    home, repository = place / "home", place / "sentiment"
    began = time.monotonic()

    def step(text: str) -> None:
        say.print(Text.assemble((f"{time.monotonic() - began:6.1f}s  ", "dim"), (text, "bold")))

    step(f"working in {place}")
    step("lay down the sentiment example as a git repository with one commit")
    lay_down("sentiment", repository)
    _commit(repository)
    step("start a platform")
    with _platform(home, keep=keep) as (url, process_id):
        key = (home / "api-key").read_text().strip()
        environment = os.environ | {"PUSHPOINT_URL": url, "PUSHPOINT_API_KEY": key}
        step(f"deploy the commit to {url}")
        deploy = [sys.executable, "-m", "pushpoint", "deploy", "--json"]
        done = subprocess.run(deploy, cwd=repository, env=environment, stdout=subprocess.PIPE, check=False)
        if done.returncode:
            say.print(Text(f"the deploy ended with {done.returncode}; what was made is in {place}", "red"))
            raise typer.Exit(done.returncode)
        deployed = jsonlib.loads(done.stdout)
        step(f"call the endpoint with {_INPUT!r}")
        with Client(url, key) as client:
            name = algorithm_name(deployed["algorithm"])
            body = jsonlib.dumps(_INPUT).encode()
            result = client.call(reference(str(name)), body, content_type="application/json")
        if result.error:
            raise Unavailable(f"the endpoint failed: {result.error.get('message')}; read {home}/platform.log")
        trained = deployed["deployment"]["release"]["model"]["sha256"]
        if result.lineage.get("model-sha256") != trained:
            answered = str(result.lineage.get("model-sha256"))
            raise IntegrityError(f"the answer came from the model {answered}, not from {trained}; run the demo again")
        step("done")
        typer.echo(jsonlib.dumps(result.value, indent=2))
        steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in deployed["steps"].items())
        say.print(Text(f"steps: {steps}", "dim"))
        _say_how_to_go_on(say, url, home, repository, str(name), kept=process_id if keep else None)


def _commit(repository: Path) -> None:
    who = {"GIT_AUTHOR_NAME": "Pushpoint demo", "GIT_AUTHOR_EMAIL": "demo@localhost"}
    who |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in who.items()}
    for arguments in (["init", "--quiet", "--initial-branch=main"], ["add", "--all"], ["commit", "-qm", "Sentiment"]):
        subprocess.run(["git", *arguments], cwd=repository, env=os.environ | who, check=True)


@contextlib.contextmanager
def _platform(home: Path, *, keep: bool) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "pushpoint", "serve", "--home", str(home), "--port", "0", "--account", "demo"]
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    process = subprocess.Popen([*command, "--no-profile"], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout  # noqa: S101 - it is a pipe
    finished = False
    try:
        line = process.stdout.readline()
        if not line.startswith("ready at "):
            raise Unavailable("the platform did not start; what it said stands above")
        yield line.removeprefix("ready at ").strip(), process.pid
        finished = True
    finally:
        process.stdout.close()
        if not (keep and finished):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _say_how_to_go_on(say: Console, url: str, home: Path, repository: Path, name: str, *, kept: int | None) -> None:
    program = f"{Path(sys.executable).parent}/pushpoint"
    say.print()
    say.print(Text("to go on by hand:", "bold"))
    if kept:
        say.print(f"  the platform runs at {url}; its key is in {home}/api-key")
    else:
        port = url.rpartition(":")[2]
        say.print(f"  {program} serve --home {home} --port {port} --no-profile     # in another terminal")
    say.print(f"  export PUSHPOINT_URL={url} PUSHPOINT_API_KEY=$(cat {home}/api-key)")
    say.print(f"  {program} call {name} --text 'It broke after a week'")
    say.print(f"  cd {repository}      # change the notebook, commit, and:")
    say.print(f"  {program} deploy")
    say.print(f"  {program} releases {name}")
    say.print(f"  {program} rollback {name}")
    if kept:
        say.print(f"  kill {kept}     # stops the platform")
    say.print(f"  rm -r {home.parent}     # when you are done")
