"""The benches run and say what they promise to say; how fast they find us is not for a test to judge."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bench import load, peers, web
from bench.load import Target

ROOT = Path(__file__).parents[1]


def test_bench_upload_ends_with_a_line_of_json() -> None:
    with TemporaryDirectory(prefix="bench-") as folder:  # short, for the platform's socket is inside
        options = ["--size", "3MiB", "--rounds", "2", "--directory", folder]
        done = subprocess.run(
            [sys.executable, "-m", "bench.upload", *options], cwd=ROOT, capture_output=True, text=True, check=False
        )
        left = list(Path(folder).iterdir())
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["size"] == 3 << 20
    assert {name: len(seconds) for name, seconds in said["seconds"].items()} == {
        "MD5 alone": 2,
        "describe": 2,
        "cp and fsync": 2,
        "stream": 2,
        "upload": 2,
    }
    assert said["memory"]["client"] > 0
    assert {check["name"] for check in said["checks"]} == {
        "describe, speed beside MD5 alone",
        "stream, speed beside cp and fsync",
        "memory of the client",
        "memory of the platform",
    }
    for check in said["checks"]:
        assert f"{'PASS' if check['passed'] else 'MISS'}  {check['name']}" in done.stdout
    assert not left  # it cleans up after itself


def test_bench_listing_sees_every_file_and_ends_with_a_line_of_json() -> None:
    command = [sys.executable, "-m", "bench.listing", "--files", "2500", "--rounds", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["files"], len(said["pages"])) == (2500, 3)
    assert len(said["checks"]) == 2


def test_bench_registry_ends_with_a_line_of_json() -> None:
    with TemporaryDirectory(prefix="bench-") as folder:
        options = ["--algorithms", "3", "--versions", "40", "--rounds", "2", "--seconds", "0.1", "--directory", folder]
        done = subprocess.run(
            [sys.executable, "-m", "bench.registry", *options], cwd=ROOT, capture_output=True, text=True, check=False
        )
        left = list(Path(folder).iterdir())
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(said["lookups"]) > 30
    assert all(found["full"] > 0 for found in said["lookups"].values())
    assert set(said["calls"]) == set(said["start"]) == {"small", "full", "full, nothing remembered"}
    for check in said["checks"]:
        assert f"{'PASS' if check['passed'] else 'MISS'}  {check['name']}" in done.stdout
    assert not left


def test_bench_idle_ends_with_a_line_of_json() -> None:
    with TemporaryDirectory(prefix="bench-") as folder:
        options = ["--rounds", "0", "--releases", "3", "--directory", folder]
        done = subprocess.run(
            [sys.executable, "-m", "bench.idle", *options], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert 10e6 < said["few"] < 1e9
    assert [check["name"] for check in said["checks"]] == ["memory of one more idle release"]


needs_wrk = pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed; scripts/test does it")


@needs_wrk
def test_bench_overload_ends_with_a_line_of_json() -> None:
    with TemporaryDirectory(prefix="bench-") as folder:
        options = ["--seconds", "1", "--directory", folder]
        done = subprocess.run(
            [sys.executable, "-m", "bench.overload", *options], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["refused"] > said["best"] > 0
    checks = {check["name"]: check for check in said["checks"]}
    assert checks["failed otherwise than by a refusal"]["passed"], done.stdout
    assert checks["health that was not well"]["passed"], done.stdout


@needs_wrk
def test_bench_calls_without_peers_ends_with_a_line_of_json() -> None:
    with TemporaryDirectory(prefix="bench-") as folder:
        options = ["--peers", "none", "--algorithms", "echo", "--seconds", "1", "--releases", "0"]
        done = subprocess.run(
            [sys.executable, "-m", "bench.calls", *options, "--directory", folder],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        left = list(Path(folder).iterdir())
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    points = said["servers"]["echo"]["Pushpoint"]["points"]
    assert set(points) == {"1", "8", "64"}
    for point in points.values():
        assert point["rate"] > 0
        assert not point["errors"]  # each answer of the first second was looked at
    assert 0 < said["servers"]["echo"]["Pushpoint"]["worker"] < said["servers"]["echo"]["Pushpoint"]["idle"]
    assert {check["name"] for check in said["checks"]} == {
        "echo: calls that went wrong",
        "echo: p50 at 1, over apply",
        "echo: a worker over its imports",
    }
    for check in said["checks"]:
        assert f"{'PASS' if check['passed'] else 'MISS'}  {check['name']}" in done.stdout
    assert not left


@needs_wrk
def test_bench_web_with_ours_alone_ends_with_a_line_of_json() -> None:
    with TemporaryDirectory(prefix="bench-") as folder:
        options = ["--servers", "pushpoint", "--seconds", "1", "--directory", folder]
        done = subprocess.run(
            [sys.executable, "-m", "bench.web", *options], cwd=ROOT, capture_output=True, text=True, check=False
        )
        left = list(Path(folder).iterdir())
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert set(said["servers"]["Pushpoint"]["points"]) == {"1", "8", "64"}
    assert not said["absent"]
    assert [check["passed"] for check in said["checks"] if check["name"] == "calls that went wrong"] == [True]
    assert not left


class Unreliable(BaseHTTPRequestHandler):
    """Refuses every fifth call, and gives another answer to every other fifth."""

    protocol_version = "HTTP/1.1"
    calls = count()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        turn = next(self.calls) % 5
        body = b"another" if turn == 1 else b"as expected"
        self.send_response(429 if turn == 0 else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@needs_wrk
def test_calls_that_go_wrong_are_counted_and_are_no_speed() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Unreliable) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        target = Target(port=server.server_port, path="/", headers={}, bodies=[b"1"], marker="as expected")
        point = load.measure(target, 4, 1)
        server.shutdown()
    refused, wrong = point.errors["status"], point.errors["wrong"]
    assert refused > 0
    assert wrong > 0
    assert set(point.errors) == {"status", "wrong"}
    assert point.rate > refused  # the good ones alone, of one of two seconds


def test_each_peer_says_what_it_needs() -> None:
    for peer in (*peers.PEERS, *web.SERVERS):
        assert any(">=" in line for line in peers.dependencies(peer.name))
