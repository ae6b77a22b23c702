"""The benches run and say what they promise to say; how fast they find us is not for a test to judge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

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
