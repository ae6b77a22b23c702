"""`pushpoint logs --follow`: as a person watches it, over a restart, until Ctrl-C."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pytest

from tests.conftest import Platform, start_platform, stop_platform
from tests.repositories import command, pushpoint
from tests.web.support import TEXT, ask, compile_head, publish, push, serve

CODE = """
print("loading {name}")


def apply(input):
    print("{name} was asked", input)
    return input
"""


class Following:
    """The command, while it runs."""

    def __init__(self, platform: Platform, folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            command("logs", *arguments),
            cwd=folder,
            env=platform.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (self.process.stdout, self.process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._lines.put(line)

    def until(self, text: str, seconds: float = 30.0) -> str:
        """Wait for a line of either stream; which of the two is read first is chance."""
        deadline = time.monotonic() + seconds
        while not (found := [line for line in self.seen if text in line]):
            self.seen.append(self._lines.get(timeout=max(0.01, deadline - time.monotonic())))
        return found[0]

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        for reader in self._readers:
            reader.join()
        return code


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start_platform(tmp_path_factory.mktemp("home"))
    serve(running, "ann/told", CODE.format(name="first"))
    yield running
    stop_platform(running)


def call(platform: Platform, text: str) -> None:
    assert ask(platform, "POST", "/v1/algo/ann/told", text.encode(), headers=TEXT).status == 200


def test_it_begins_with_as_many_lines_as_are_asked_for(followed: Platform, tmp_path: Path) -> None:
    for text in ("old", "new"):
        call(followed, text)

    def logs(*options: str) -> list[str]:
        ran = pushpoint("logs", "ann/told", *options, directory=tmp_path, platform=followed)
        assert ran.code == 0, ran.err
        return ran.out.splitlines()

    assert logs("--output")[-2:] == ["first was asked old", "first was asked new"]
    assert logs("--output", "--tail", "1") == ["first was asked new"]
    assert logs("--output", "--tail", "0") == []
    assert [line.split()[-2:] for line in logs("--tail", "1")] == [["build", "succeeded"]]
    assert logs("--tail", "100000") == logs()
    following = Following(followed, tmp_path, "ann/told", "--output", "--follow", "--tail", "1")
    following.until("first was asked new")
    call(followed, "later")
    following.until("first was asked later")
    assert following.interrupt() == 130
    assert not any("asked old" in line for line in following.seen)


def test_a_build_is_followed_to_its_end(followed: Platform, tmp_path: Path) -> None:
    commit = push(followed, "ann/told", {"src/told.py": f"import time\ntime.sleep(2)\n{CODE.format(name='slow')}"})
    ran = pushpoint("logs", "ann/told", "--build", commit, "-f", directory=tmp_path, platform=followed)
    assert ran.code == 0
    assert ran.out.endswith("build succeeded\n")


def test_machines_get_a_line_of_json_for_each_part(followed: Platform, tmp_path: Path) -> None:
    call(followed, "x")
    following = Following(followed, tmp_path, "ann/told", "--output", "--follow", "--json")
    part = json.loads(following.until("first was asked x"))
    assert following.interrupt() == 130
    assert (part["kind"], set(part)) == ("output", {"build", "kind", "text"})
    ran = pushpoint("logs", "ann/told", "--json", directory=tmp_path, platform=followed)
    assert json.loads(ran.out)["kind"] == "build"
    assert "build succeeded" in json.loads(ran.out)["text"]


def test_an_output_is_read_in_parts(followed: Platform) -> None:
    call(followed, "x")
    root = "/v1/algorithms/ann/told/builds"
    build = ask(followed, "GET", root).json["results"][0]["build_id"]
    log = followed.home / "builds" / build / "output.log"

    def read(offset: int) -> tuple[str, int, bool]:
        found = ask(followed, "GET", f"{root}/{build}/output?offset={offset}").json
        return found["logs"], found["next"], found["finished"]

    text, end, finished = read(0)
    assert (text.encode(), end, finished) == (log.read_bytes(), log.stat().st_size, True)
    with log.open("ab") as file:
        file.write("né".encode()[:-1])
    assert read(end) == ("n", end + 1, True), "a half character waits for its other half"
    with log.open("ab") as file:
        file.write("né".encode()[-1:] + b"x" * (3 << 20))
    text, end, finished = read(end + 1)
    assert (text[:2], finished) == ("éx", False)
    with log.open("rb+") as file:
        file.truncate(0)
        file.write(b"anew")
    assert read(end) == ("anew", 4, True), "it was emptied meanwhile"
    assert read(10**15) == ("anew", 4, True)
    assert read(-1) == ("anew", 4, True)


def test_it_goes_on_over_a_new_release_and_a_restart_until_it_is_interrupted(
    followed: Platform, tmp_path: Path
) -> None:
    following = Following(followed, tmp_path, "ann/told", "--follow")
    following.until("build succeeded")
    following.until("live: 0.1.0")
    following.until("loading first")
    call(followed, "one")
    following.until("first was asked one")
    push(followed, "ann/told", {"src/told.py": CODE.format(name="second")})
    assert compile_head(followed, "ann/told")["compilation"]["successful"]
    publish(followed, "ann/told")
    call(followed, "two")
    following.until("live: 0.2.0")
    following.until("second was asked two")
    stop_platform(followed)
    following.until("no answer from", 60)
    again = start_platform(followed.home, port=urlsplit(followed.url).port or 0)
    try:
        call(again, "three")
        following.until("second was asked three", 60)
        assert following.interrupt() == 130
    finally:
        stop_platform(again)
    said = "".join(following.seen)
    for once in ("first was asked one", "second was asked two", "second was asked three", "build succeeded"):
        assert said.count(once) == 1, said
    assert "Traceback" not in said
