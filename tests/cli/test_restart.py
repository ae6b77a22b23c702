"""Switches and restarts while calls come: none fails, and what does not start leaves everything as it was."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.repositories import command, pushpoint
from tests.web.support import JSON, address, ask, compile_head, publish, push, serve

CODE = """
import time


def apply(input):
    time.sleep(3 if input == "slow" else 0)
    return [input, "{version}"]
"""
LEFT = """
import ctypes, os, signal, sys, time
from pushpoint.cli import stand_in
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
if not os.fork():
    platform = os.fork()
    if not platform:
        time.sleep(30)
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(sys.argv[1], "w") as lock:
        lock.write(str(platform))
    print("ready", flush=True)
    time.sleep(0.5)
    os._exit(0)
os.execv(sys.executable, [sys.executable, "-I", "-S", stand_in.__file__, sys.argv[1]])
"""
"""A process that stands in, with one that leaves and hears nothing any more, and the platform below it."""
PATH = "/v1/algo/ann/turns"
IMPATIENT = """
import os
import signal
import sys
import time
from pathlib import Path
from pushpoint.cli import handover, main, opening

def open_platform(home, *rest):
    how = Path(home, "how")
    if handover_under_way and how.exists():
        eval(how.read_text())
    return opened(home, *rest)

def slowly(*arguments, **named):
    Path(home, "leaving").write_text(str(os.getpid()))
    time.sleep(1)
    leave(*arguments, **named)

home = sys.argv[sys.argv.index("--home") + 1]
leave = handover.leave
if Path(home, "slowly").exists():
    handover.leave = slowly
handover.HEAD = handover.UNREAD = 1.5
handover.SILENCE = 4
handover_under_way = handover.VARIABLE in os.environ
opened, opening.open_platform = opening.open_platform, open_platform
main()
"""
"""A platform with less patience, of which a successor does what is written in the home."""
UNDER_WAY = {"starting", "verifying"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(tmp_path_factory.mktemp("home"))
    serve(running, "ann/turns", CODE.format(version="0.1.0"))
    push(running, "ann/turns", {"src/turns.py": CODE.format(version="0.2.0")})
    assert compile_head(running, "ann/turns")["compilation"]["successful"]
    publish(running, "ann/turns")
    yield running
    stop_platform(running)


@dataclass(frozen=True)
class Seen:
    sent: float
    version: str
    wrong: str


@contextmanager
def load(platform: Platform) -> Iterator[list[Seen]]:
    """Call all the time: over three connections that are kept, and over new ones."""
    seen: list[Seen] = []
    over = threading.Event()
    numbers = count()

    def call(*, keep: bool) -> None:
        connection = http.client.HTTPConnection(*address(platform), timeout=30)
        while not over.is_set():
            number, sent, version = next(numbers), time.monotonic(), ""
            try:
                headers = JSON | {"authorization": platform.key} | ({} if keep else {"connection": "close"})
                connection.request("POST", PATH, json.dumps(number), headers)
                answer = connection.getresponse()
                said = answer.read().decode()
                version = answer.headers["x-pushpoint-version"] or ""
                wrong = "" if answer.status == 200 and json.loads(said)["result"] == [number, version] else said
                if keep and connection.sock is None:
                    wrong = "the connection was closed"
            except (OSError, http.client.HTTPException) as error:
                wrong = repr(error)
            seen.append(Seen(sent, version, wrong))
            time.sleep(0.005)
        connection.close()

    threads = [threading.Thread(target=call, kwargs={"keep": keep}) for keep in (True, True, True, False)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


@dataclass(frozen=True)
class Switch:
    began: float
    live: float
    version: str


def switch(platform: Platform, version: str, deploy_id: str) -> Switch:
    began = time.monotonic()
    asked = {"version": version, "deploy_id": deploy_id, "is_rollback": True}
    answer = ask(platform, "POST", "/v1/algorithms/ann/turns/deployments", json.dumps(asked).encode(), headers=JSON)
    found = answer.json
    while found["state"] in UNDER_WAY:
        time.sleep(0.02)
        found = ask(platform, "GET", f"/v1/algorithms/ann/turns/deployments/{found['id']}").json
    assert found["state"] == "live", found
    return Switch(began, time.monotonic(), version)


def wait_for_the_stand_in(platform: Platform) -> None:
    deadline = time.monotonic() + 20
    while b"stand_in" not in Path(f"/proc/{platform.process.pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the one before does not end"
        time.sleep(0.05)


def test_no_call_fails_and_none_is_answered_by_what_was_live_before(platform: Platform, tmp_path: Path) -> None:
    switches = []
    slow: list[list[object]] = []
    body = b'"halves"'
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    head += f"authorization: {platform.key}\r\n\r\n"
    with load(platform) as seen, socket.create_connection(address(platform), timeout=30) as halves:
        for number, version in enumerate(("0.1.0", "0.2.0")):
            switches.append(switch(platform, version, f"before-{number}"))
        calling = threading.Thread(
            target=lambda: slow.append(ask(platform, "POST", PATH, b'"slow"', headers=JSON).json["result"])
        )
        calling.start()
        restarting = subprocess.Popen(
            command("restart", "--home", str(platform.home)), stderr=subprocess.PIPE, cwd=tmp_path, text=True
        )
        halves.sendall(head.encode() + body[:3])
        time.sleep(0.3)
        switches.append(switch(platform, "0.1.0", "meanwhile"))
        said = " ".join(restarting.communicate()[1].split())
        assert "workers load; those of 0 of" in said
        platform_now = (platform.home / "lock").read_text().strip()
        assert f"restarted: process {platform_now} answers now; signals still go to {platform.process.pid}" in said
        halves.sendall(body[3:])
        assert b'["halves","0.1.0"]' in halves.recv(4096)
        calling.join()
        halves.sendall(head.encode() + body)  # the same connection, and another process
        assert b'["halves","0.1.0"]' in halves.recv(4096)
        switches.append(switch(platform, "0.2.0", "after"))
        time.sleep(0.2)
    assert [one for one in seen if one.wrong] == []
    assert len(seen) > 100
    for done, following in pairwise([*switches, Switch(time.monotonic(), 0, "")]):
        assert {one.version for one in seen if done.live < one.sent < following.began} <= {done.version}
    assert slow == [["slow", "0.2.0"]]
    errors = (platform.home / "stderr.log").read_text()
    assert (
        f"handed over: process {platform_now} answers now; {platform.process.pid} finishes what it has begun" in errors
    )
    assert f"took over from process {platform.process.pid}" in errors
    wait_for_the_stand_in(platform)


def test_a_successor_that_cannot_serve_leaves_the_platform_as_it_was(platform: Platform, tmp_path: Path) -> None:
    before = (platform.home / "lock").read_text()
    live = ask(platform, "POST", PATH, b"1", headers=JSON).json["result"][1]
    (other,) = {"0.1.0", "0.2.0"} - {live}
    for folder in (platform.home / "builds").iterdir():
        (folder / "code").rename(folder / "hidden")
    ran = pushpoint("restart", "--home", str(platform.home), directory=tmp_path, platform=platform)
    for folder in (platform.home / "builds").iterdir():
        (folder / "hidden").rename(folder / "code")
    assert ran.code == 11
    assert "the platform goes on as it was" in ran.err
    assert (platform.home / "lock").read_text() == before
    assert ask(platform, "POST", PATH, b"1", headers=JSON).json["result"] == [1, live]
    assert "not restarted" in (platform.home / "platform.log").read_text()
    switch(platform, other, "still")
    assert ask(platform, "POST", PATH, b"2", headers=JSON).json["result"] == [2, other]


def test_a_signal_restarts_it_too_and_its_end_is_the_end_of_the_process_it_was_started_as(
    platform: Platform, tmp_path: Path
) -> None:
    before = (platform.home / "lock").read_text().strip()
    platform.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 60
    while (found := (platform.home / "lock").read_text().strip()) == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ask(platform, "POST", PATH, b"3", headers=JSON).json["result"][0] == 3
    while Path(f"/proc/{before}").exists() and before != str(platform.process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(int(found), signal.SIGKILL)
    assert platform.process.wait(20) == 128 + signal.SIGKILL
    ran = pushpoint("restart", "--home", str(platform.home), directory=tmp_path, platform=platform)
    assert ran.code == 10
    assert "no platform runs" in ran.err
    assert f"serve --home {platform.home}" in " ".join(ran.err.split())


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that serves nothing, and waits for clients less long."""
    running = start_platform(tmp_path_factory.mktemp("impatient"), program=("-c", IMPATIENT))
    yield running
    stop_platform(running)


def test_clients_that_stand_still_keep_the_one_before_for_a_while_and_the_next_restart_says_so(
    impatient: Platform, tmp_path: Path
) -> None:
    with socket.socket() as half, socket.socket() as unread:
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for one in (half, unread):
            one.connect(address(impatient))
        half.sendall(b"POST /v1/x HTTP/1.1\r\nhost: x\r\n")
        unread.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 200)
        time.sleep(0.2)
        assert pushpoint("restart", "--home", str(impatient.home), directory=tmp_path, platform=impatient).code == 0
        again = pushpoint("restart", "--home", str(impatient.home), directory=tmp_path, platform=impatient)
        assert again.code == 11
        assert f"process {impatient.process.pid}, which handed over last, still finishes" in " ".join(again.err.split())
        wait_for_the_stand_in(impatient)
        assert half.recv(1) == b""
    said = [json.loads(line) for line in (impatient.home / "platform.log").read_text().splitlines()]
    assert [line["connections"] for line in said if "cut off" in line["event"]] == [2]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("os.kill(os.getpid(), signal.SIGSTOP)", "it said nothing for 4 seconds and was ended"),
        ("os._exit(1)", "it ended before it was ready"),
        ("1 / 0", "ZeroDivisionError: division by zero; platform.log has its traceback"),
    ],
)
def test_a_successor_that_is_stuck_or_broken_is_ended_and_everybody_told(
    impatient: Platform, tmp_path: Path, how: str, why: str
) -> None:
    errors, log = impatient.home / "stderr.log", impatient.home / "platform.log"
    before = errors.read_text()
    (impatient.home / "how").write_text(how)
    ran = pushpoint("restart", "--home", str(impatient.home), directory=tmp_path, platform=impatient)
    (impatient.home / "how").unlink()
    assert ran.code == 11
    assert "the new process starts" in ran.err
    why = f"the platform goes on as it was, since its successor did not start: {why}"
    assert why in ran.err
    assert errors.read_text().startswith(f"{before}starting\nnot restarted: {why}")
    assert "Traceback" not in errors.read_text().removeprefix(before)
    logged = json.loads(log.read_text().splitlines()[-1])
    assert ("ZeroDivisionError" in logged.get("exception", "")) == ("ZeroDivisionError" in why)
    assert ask(impatient, "GET", "/v1/algorithms/ann/none", headers=JSON).status == 404


def test_a_signal_that_comes_while_a_process_leaves_reaches_the_platform(impatient: Platform, tmp_path: Path) -> None:
    lock, leaving = impatient.home / "lock", impatient.home / "leaving"

    def restart() -> str:
        before = lock.read_text().strip()
        assert pushpoint("restart", "--home", str(impatient.home), directory=tmp_path, platform=impatient).code == 0
        return before

    if lock.read_text().strip() == str(impatient.process.pid):
        restart()
    wait_for_the_stand_in(impatient)
    (impatient.home / "slowly").touch()
    deadline = time.monotonic() + 20
    while not leaving.exists():  # the one in the middle, which is one more when this one was started before `slowly`
        assert time.monotonic() < deadline
        before = restart()
        while Path(f"/proc/{before}").exists() and not leaving.exists():
            time.sleep(0.02)
    impatient.process.send_signal(signal.SIGTERM)
    assert impatient.process.wait(10) == 0


def test_a_signal_that_nobody_passed_on_is_sent_again(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LEFT, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.2)  # until it is the program that stands in
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 128 + signal.SIGTERM
