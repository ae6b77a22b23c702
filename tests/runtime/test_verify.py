from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from pushpoint.runtime import verify
from pushpoint.runtime.verify import ModelRefused

MODEL = bytes(range(256)) * 5000


def manifest(**changes: Any) -> dict[str, Any]:
    values = {
        "manifest_version": 2,
        "model_filepath": "data://owner/collection/model.pkl",
        "model_size_bytes": len(MODEL),
        "model_sha256_hash": hashlib.sha256(MODEL).hexdigest(),
        "model_md5_hash": hashlib.md5(MODEL).hexdigest(),
        **changes,
    }
    return {name: value for name, value in values.items() if value is not None}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(MODEL)
    return path


def test_the_verified_copy_has_the_bytes_and_nobody_can_write_it(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "copy"
    assert verify.verify(str(source), str(target), manifest()) == str(target)
    assert target.read_bytes() == MODEL
    assert target.stat().st_mode & 0o777 == 0o400
    source.write_bytes(b"other")
    assert target.read_bytes() == MODEL


@pytest.mark.parametrize("position", [0, 4321, len(MODEL) - 1])
def test_one_flipped_bit_names_both_digests_and_leaves_no_copy(tmp_path: Path, source: Path, position: int) -> None:
    other = bytearray(MODEL)
    other[position] ^= 1
    source.write_bytes(other)
    with pytest.raises(ModelRefused) as caught:
        verify.verify(str(source), str(tmp_path / "copy"), manifest())
    for text in (
        hashlib.sha256(MODEL).hexdigest(),
        hashlib.sha256(other).hexdigest(),
        hashlib.md5(MODEL).hexdigest(),
        "data://owner/collection/model.pkl",
    ):
        assert text in str(caught.value)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("content", [MODEL[:-1], MODEL + b"x", b"", MODEL * 3])
def test_another_length_is_refused(tmp_path: Path, source: Path, content: bytes) -> None:
    source.write_bytes(content)
    with pytest.raises(ModelRefused, match="was changed"):
        verify.verify(str(source), str(tmp_path / "copy"), manifest())
    assert not (tmp_path / "copy").exists()


def test_an_endless_model_is_read_to_one_byte_more_than_its_size(tmp_path: Path, source: Path) -> None:
    os.truncate(source, 1 << 36)  # sparse: 64 GiB that nobody reads
    with pytest.raises(ModelRefused, match="longer than"):
        verify.verify(str(source), str(tmp_path / "copy"), manifest())
    with source.open("rb", buffering=0) as reading, (tmp_path / "part").open("wb", buffering=0) as writing:
        assert verify._copy(reading.fileno(), writing.fileno(), 1001)[0] == 1001
        assert reading.tell() == 1001


def test_a_source_that_changes_during_the_copy_never_yields_other_bytes(tmp_path: Path, source: Path) -> None:
    flipped = bytes(byte ^ 1 for byte in MODEL)
    stop = threading.Event()

    def swap() -> None:
        with source.open("r+b", buffering=0) as file:
            while not stop.is_set():
                for content in (flipped, MODEL):
                    file.seek(0)
                    file.write(content)

    thread = threading.Thread(target=swap)
    thread.start()
    refused = 0
    try:
        for number in range(20):
            target = tmp_path / f"copy{number}"
            try:
                verify.verify(str(source), str(target), manifest())
                assert target.read_bytes() == MODEL
            except ModelRefused:
                refused += 1
                assert not target.exists()
    finally:
        stop.set()
        thread.join()
    assert refused


def test_right_sha256_with_wrong_md5_is_refused_and_md5_may_be_absent(tmp_path: Path, source: Path) -> None:
    with pytest.raises(ModelRefused, match="was changed"):
        verify.verify(str(source), str(tmp_path / "copy"), manifest(model_md5_hash="0" * 32))
    verify.verify(str(source), str(tmp_path / "copy"), manifest(model_md5_hash=None))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_sha256_hash": None}, "without its SHA-256.*deploy again"),
        ({"model_sha256_hash": "A" * 64}, "64 hexadecimal"),
        ({"model_sha256_hash": "0" * 64 + "\n"}, "64 hexadecimal"),
        ({"model_sha256_hash": 7}, "64 hexadecimal"),
        ({"model_md5_hash": "x"}, "32 hexadecimal"),
        ({"model_size_bytes": None}, "not a size"),
        ({"model_size_bytes": True}, "not a size"),
        ({"model_size_bytes": -1}, "not a size"),
        ({"model_size_bytes": "3"}, "not a size"),
        ({"manifest_version": None}, "manifest_version"),
        ({"manifest_version": 3}, "manifest_version"),
        ({"manifest_version": True}, "manifest_version"),
        ({"model_filepath": 7}, "not a string"),
        ({"model_filepath": ""}, "not a string"),
    ],
)
def test_a_manifest_that_does_not_say_enough_is_refused(
    tmp_path: Path, source: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelRefused, match=words):
        verify.verify(str(source), str(tmp_path / "copy"), manifest(**changes))
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "nothing"])
def test_only_a_regular_file_is_a_source(tmp_path: Path, source: Path, kind: str) -> None:
    odd = tmp_path / "odd"
    if kind == "link":
        odd.symlink_to(source)
    elif kind == "fifo":
        os.mkfifo(odd)
    elif kind == "folder":
        odd.mkdir()
    with pytest.raises(ModelRefused):
        verify.verify(str(odd), str(tmp_path / "copy"), manifest())


def test_a_planted_target_is_neither_followed_nor_written(tmp_path: Path, source: Path) -> None:
    victim, target = tmp_path / "victim", tmp_path / "copy"
    victim.write_text("mine")
    target.symlink_to(victim)
    with pytest.raises(FileExistsError):
        verify.verify(str(source), str(target), manifest())
    assert victim.read_text() == "mine"


def test_a_manifest_is_read_once_with_suspicion(tmp_path: Path) -> None:
    path = tmp_path / "model_manifest.json"
    assert verify.read_manifest(str(path)) is None
    for text, words in [
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"b": {"a": 1, "a": 2}}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b"[]", "object"),
        (b"{", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[" * 200_000, "cannot be read"),
        (b" " * verify.MANIFEST_LIMIT + b"{}", "larger"),
    ]:
        path.write_bytes(text)
        with pytest.raises(ModelRefused, match=words):
            verify.read_manifest(str(path))
    path.write_text(json.dumps(manifest()))
    assert verify.read_manifest(str(path)) == manifest()


def test_which_manifests_name_a_stored_model() -> None:
    assert verify.stored_model(None) is None
    assert verify.stored_model({"required_files": []}) is None
    assert verify.stored_model({"model_filepath": "./model.pkl"}) is None
    assert verify.stored_model({"model_filepath": "owner/c/model.pkl"}) == "owner/c/model.pkl"
    assert verify.stored_model({"model_filepath": "data://owner/c/m"}) == "data://owner/c/m"
