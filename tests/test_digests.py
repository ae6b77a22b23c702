"""Digests: the same ones whichever way the bytes come, and bytes that are no file's are refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpoint.digests import OCTETS, Hasher, describe, describe_bytes
from pushpoint.errors import ModelMissing


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_bytes_in_pieces_have_the_digests_of_the_whole(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    found = describe_bytes(pieces)
    assert found.digest == f"sha256:{hashlib.sha256(whole).hexdigest()}"
    assert found.hex == hashlib.sha256(whole).hexdigest()
    assert found.md5 == hashlib.md5(whole, usedforsecurity=False).hexdigest()
    assert found.size == len(whole)
    assert found.media_type == OCTETS


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_a_file_has_the_digests_of_its_bytes(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "model.pkl").write_bytes(content)
    assert describe(tmp_path / "model.pkl") == describe_bytes([content])


def test_the_size_of_the_pieces_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(os.urandom(10_007))
    assert describe(file, chunk=1 << 10) == describe(file)


def test_one_changed_bit_changes_the_digest() -> None:
    assert describe_bytes([b"\x00" * 1000]).digest != describe_bytes([b"\x00" * 999 + b"\x01"]).digest


def test_progress_adds_up_to_the_size(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(bytes(3_000_001))
    told: list[int] = []
    assert describe(tmp_path / "model.pkl", progress=told.append).size == sum(told) == 3_000_001


def test_the_media_type_is_recorded_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    assert describe(tmp_path / "a.json").media_type == OCTETS
    assert describe(tmp_path / "a.json", media_type="application/json").media_type == "application/json"


def test_a_buffer_may_be_reused_after_each_piece() -> None:
    hasher, buffer = Hasher(), bytearray(1 << 16)
    whole = hashlib.sha256()
    for value in range(50):
        buffer[:] = bytes([value]) * len(buffer)
        whole.update(buffer)
        hasher.update(memoryview(buffer))
    assert hasher.finish().hex == whole.hexdigest()


def test_a_link_to_a_file_is_read_through(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"model")
    (tmp_path / "link").symlink_to("real")
    assert describe(tmp_path / "link") == describe_bytes([b"model"])


def test_what_is_no_regular_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("nothing", "folder", "dangling"):
        with pytest.raises(ModelMissing) as caught:
            describe(tmp_path / name)
        assert caught.value.path == str(tmp_path / name)
    with pytest.raises(ModelMissing, match="set `model-path`"):
        describe(Path("/dev/null"))
