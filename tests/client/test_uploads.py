"""Large files through our client: broken off on either side, gone on with, and never taken for what they are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pushpoint import errors
from pushpoint.client import uploads
from pushpoint.client.files import ABOVE
from pushpoint.digests import describe
from pushpoint.names import data_path
from tests.conftest import Platform, start_platform, stop_platform
from tests.web.support import address, ask, stored

SEND = """
import json, sys
from pathlib import Path
from pushpoint.client import Client
from pushpoint.digests import describe
from pushpoint.names import data_path

url, key, model, target = sys.argv[1:]
done = 0
def progress(more):
    global done
    done += more
with Client(url, key) as client:
    blob = describe(Path(model))
    sent = client.put(data_path(target), Path(model), blob, progress=progress)
print(json.dumps({"sent": sent, "done": done, "size": blob.size}))
"""


def make(path: Path, size: int) -> Path:
    """A file whose every MiB is another one, and most of which takes no room on the disk."""
    with path.open("wb") as file:
        for start in range(0, size, 1 << 20):
            file.seek(start)
            file.write(start.to_bytes(8, "big"))
        file.truncate(size)
    return path


def under_way(platform: Platform, path: str) -> int:
    found = ask(platform, "GET", f"/v1/uploads?path={path}").json["uploads"]
    return sum(upload["offset"] for upload in found)


@contextmanager
def sending(platform: Platform, model: Path, path: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SEND, platform.url, platform.key, str(model), path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(platform: Platform, path: str, size: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while under_way(platform, path) < size:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def result(process: subprocess.Popen[str]) -> dict[str, int]:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    found: dict[str, int] = json.loads(out)
    return found


@pytest.mark.parametrize("size", [ABOVE + 1, ABOVE + (5 << 20) + 3])
def test_a_large_file_arrives_in_parts_and_whole(platform: Platform, tmp_path: Path, size: int) -> None:
    model, path = make(tmp_path / "model.bin", size), data_path(f"data://ann/parts/{size}.bin")
    blob, told = describe(model), list[int]()
    with platform.client() as client:
        client.create_collection(path)
        assert client.put(path, model, blob, progress=told.append) == size
        assert client.stat(path) == blob
        with client.open(path) as pieces, model.open("rb") as file:
            assert all(piece == file.read(len(piece)) for piece in pieces)
    assert sum(told) == size
    assert list((platform.home / "store" / "uploads").iterdir()) == []


def test_the_parts_of_a_file_are_all_of_it() -> None:
    for size in (1, 3, 4, 5, 1000, ABOVE + 1):
        parts = uploads._cut(size)
        assert [part.start for part in parts] == [sum(part.size for part in parts[:n]) for n in range(len(parts))]
        assert sum(part.size for part in parts) == size
        assert len(parts) <= uploads.PARTS


@pytest.mark.slow
def test_a_killed_client_goes_on_where_it_was(platform: Platform, tmp_path: Path) -> None:
    size = 256 << 20
    model, path = make(tmp_path / "model.bin", size), "data://ann/killed/model.bin"
    with platform.client() as client:
        client.create_collection(data_path(path))
    with sending(platform, model, path) as process:
        wait_for(platform, path, size // 3, process)
        process.kill()
        process.wait()
    there = under_way(platform, path)
    assert there >= size // 3
    assert ask(platform, "HEAD", "/v1/data/ann/killed/model.bin").status == 404
    with sending(platform, model, path) as process:
        found = result(process)
    assert found["sent"] <= size - there
    assert found["done"] == size, "the bar begins where the other one ended"
    with platform.client() as client:
        assert client.stat(data_path(path)) == describe(model)


@pytest.mark.slow
def test_a_killed_platform_costs_no_more_than_one_part(tmp_path: Path) -> None:
    size = 256 << 20
    model, path = make(tmp_path / "model.bin", size), "data://ann/killed/model.bin"
    platform = start_platform(tmp_path / "home")
    try:
        with platform.client() as client:
            client.create_collection(data_path(path))
        with sending(platform, model, path) as process:
            wait_for(platform, path, size // 3, process)
            there = under_way(platform, path)
            platform.process.kill()
            platform.process.wait()
            _, err = process.communicate(timeout=120)
            assert process.returncode != 0
            assert "start the platform" in err, err
        port = address(platform)[1]
        stop_platform(platform)
        platform = start_platform(tmp_path / "home", port=port)
        assert under_way(platform, path) >= there, "acknowledged"
        with sending(platform, model, path) as process:
            found = result(process)
        assert found["sent"] <= size - there
        with platform.client() as client:
            assert client.stat(data_path(path)) == describe(model)
    finally:
        stop_platform(platform)


def test_a_file_that_changes_under_way_becomes_nothing(platform: Platform, tmp_path: Path) -> None:
    model, path = make(tmp_path / "model.bin", ABOVE + 1), data_path("data://ann/changed/model.bin")
    blob = describe(model)
    with platform.client() as client:
        client.create_collection(path)
        with model.open("r+b") as file:
            file.write(b"other")
        with pytest.raises(errors.IntegrityError):
            client.put(path, model, blob)
        assert client.stat(path) is None
        os.truncate(model, ABOVE - 1)
        with pytest.raises(errors.IntegrityError, match="was changed while it was uploaded"):
            client.put(path, model, blob)
        make(model, ABOVE + 1)
        client.put(path, model, blob)
        assert client.stat(path) == blob
    assert stored(platform)[0] == set()


def test_a_large_file_is_refused_as_a_small_one_is(platform: Platform, tmp_path: Path) -> None:
    model, path = make(tmp_path / "model.bin", ABOVE + 1), data_path("data://ann/refused/model.bin")
    blob = describe(model)
    with platform.client() as client:
        with pytest.raises(errors.NotFound):
            client.put(path, model, blob)
        client.create_collection(path)
        ask(platform, "PUT", "/v1/data/ann/refused/model.bin", b"other bytes")
        with pytest.raises(errors.AlreadyExists):
            client.put(path, model, blob)
        with pytest.raises(errors.Refused):
            client.put(data_path("data://bob/c/f"), model, blob)
        assert client.stat(path) != blob
