"""Servers that are measured: one algorithm each, started anew, and asked until they give the right answers."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load import PATIENCE, Target

START = 60.0
"""Seconds until the first answer must have come."""


class NoAnswer(Exception):
    """A server did not start, or does not answer as the algorithm does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What an algorithm is asked, and how good answers are told from others.

    Attributes:
        algorithm: Its name.
        answers: Inputs, each with text that its answer must hold.
        marker: Text that every answer must hold.
    """

    algorithm: str
    answers: Mapping[str, str]
    marker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A server that has given every answer once.

    Attributes:
        target: How it is called.
        pid: Its process.
        seconds: From its start to the first answer.
    """

    target: Target
    pid: int
    seconds: float


@contextlib.contextmanager
def started(
    command: Sequence[str], target: Target, expected: Sequence[str], *, directory: Path, variables: Mapping[str, str]
) -> Iterator[Started]:
    """Start a server, and end it and all it has started afterwards.

    Args:
        command: Program and arguments.
        target: How it is called.
        expected: What its answers to the target's bodies must hold.
        directory: Where it works.
        variables: Its environment.

    Yields:
        The server.

    Raises:
        NoAnswer: It ended, or does not answer as it should.
    """
    with (directory / "server.log").open("w+") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=variables,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_for_answer(target, is_over=lambda: process.poll() is not None)
            seconds = time.perf_counter() - began
            check_answers(target, expected)
            yield Started(target=target, pid=process.pid, seconds=seconds)
        except NoAnswer as problem:
            log.seek(0)
            raise NoAnswer(f"{problem}; it said: {log.read()[-2000:].strip() or 'nothing'}") from None
        finally:
            _end(process)


def wait_for_answer(target: Target, *, is_over: Callable[[], bool] = lambda: False) -> None:
    """Ask until there is an answer.

    Raises:
        NoAnswer: There is none in time.
    """
    deadline = time.monotonic() + START
    while (got := _ask(target, target.bodies[0]))[0] != 200:
        if is_over():
            raise NoAnswer("it ended before it answered")
        if time.monotonic() > deadline:
            raise NoAnswer(f"it did not answer within {START:g} seconds; at last: {got[0]} {got[1][:500]}")
        time.sleep(0.01)


def check_answers(target: Target, expected: Sequence[str]) -> None:
    """Look at the answer to each body once.

    Raises:
        NoAnswer: One is not as expected.
    """
    for sent, looked_for in zip(target.bodies, expected, strict=True):
        status, body = _ask(target, sent)
        if status != 200 or looked_for not in body or target.marker not in body:
            raise NoAnswer(f"to {sent.decode()} it answers {status} {body[:500]}, without {looked_for!r}")


def free_port() -> int:
    """Find a port that nobody listens on, nor on the two above it.

    Returns:
        The port.
    """
    while True:
        with contextlib.ExitStack() as held, contextlib.suppress(OSError, OverflowError):
            first = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            port: int = first.getsockname()[1]
            for more in (1, 2):
                held.enter_context(socket.create_server(("127.0.0.1", port + more)))
            return port


def _ask(target: Target, body: bytes) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=PATIENCE)
    try:
        connection.request("POST", target.path, body, {"content-type": "application/json", **target.headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as problem:
        return 0, str(problem)
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
