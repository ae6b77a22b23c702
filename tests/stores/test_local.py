"""The local store, on a real disk."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pushpoint.digests import Descriptor, Digest
from pushpoint.errors import NotFound
from pushpoint.stores.local import LocalStore


def descriptor(content: bytes) -> Descriptor:
    return Descriptor(
        media_type="application/octet-stream",
        digest=Digest(f"sha256:{hashlib.sha256(content).hexdigest()}"),
        size=len(content),
        md5=hashlib.md5(content).hexdigest(),
    )


def put(store: LocalStore, content: bytes) -> Descriptor:
    draft, blob = store.draft(), descriptor(content)
    draft.write_bytes(content)
    store.put(draft, blob)
    return blob


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_a_blob_is_found_by_its_digest_and_cannot_be_written_to(store: LocalStore) -> None:
    blob = put(store, b"content")
    with store.open(blob.digest) as file:
        assert file.read() == b"content"
    assert store.path(blob.digest).stat().st_mode & 0o777 == 0o444
    assert list(store.drafts.iterdir()) == []


def test_to_put_again_is_to_have_put_once(store: LocalStore) -> None:
    for _ in range(3):
        blob = put(store, b"content")
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: put(store, b"content").digest, range(16)))) == 1
    assert store.path(blob.digest).read_bytes() == b"content"
    assert list(store.drafts.iterdir()) == []


def test_damaged_bytes_are_whole_again_when_they_are_sent_again(store: LocalStore) -> None:
    blob = put(store, b"content")
    path = store.path(blob.digest)
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    with path.open("rb") as reader:
        put(store, b"content")
        assert reader.read() == b"damaged", "who reads already reads on"
    assert path.read_bytes() == b"content"


def test_what_is_not_there_is_not_found(store: LocalStore) -> None:
    with pytest.raises(NotFound, match="pushpoint verify"):
        store.open(Digest("sha256:" + "0" * 64))


def test_drafts_of_a_process_that_was_killed_are_cleared_and_blobs_stay(store: LocalStore, tmp_path: Path) -> None:
    blob = put(store, b"content")
    left = [store.draft() for _ in range(3)]
    for path in left:
        path.write_bytes(b"half")
    again = LocalStore(tmp_path / "store")
    assert list(again.drafts.iterdir()) == []
    with again.open(blob.digest) as file:
        assert file.read() == b"content"


def test_no_two_drafts_share_a_name(store: LocalStore) -> None:
    assert len({store.draft() for _ in range(1000)}) == 1000


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_put_is_acknowledged_after_the_folders_are_synced(store: LocalStore, tmp_path: Path) -> None:
    """The order matters: the name first, then the folder that holds it, and only then the answer."""
    code = """
import os, sys
from pathlib import Path
from pushpoint.stores.local import LocalStore
from pushpoint.digests import Descriptor

def hook(event, arguments):
    if event == "os.rename":
        print(event, *map(str, arguments[:2]), file=sys.stderr)

real = os.fsync
def fsync(handle):
    print("fsync", os.readlink(f"/proc/self/fd/{handle}"), file=sys.stderr)
    real(handle)
os.fsync = fsync
store = LocalStore(Path(sys.argv[1]))
draft = store.draft()
draft.write_bytes(b"x")
sys.addaudithook(hook)
store.put(draft, Descriptor(media_type="a/b", digest="sha256:" + "ab" * 32, size=1, md5=""))
"""
    root = tmp_path / "other"
    ran = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    calls = [line.split(" ") for line in ran.stderr.splitlines() if line.startswith(("os.rename", "fsync"))]
    assert calls[0][0] == "os.rename"
    assert [call[1] for call in calls[1:]] == [
        os.path.realpath(root / "sha256" / "ab"),
        os.path.realpath(root / "sha256"),
        os.path.realpath(root),
    ]
