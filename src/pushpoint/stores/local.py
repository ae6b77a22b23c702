"""A directory of blobs, keyed by digest.

The atomic step is `os.replace`: a blob is written under another name, synced, and only then given its own, so a key
either names all of the bytes or does not exist, and bytes that were damaged are whole again when they are sent again.
Acknowledged means synced: the file's bytes and the folder's entry.
"""

from __future__ import annotations

import os
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pushpoint.digests import Chunk, Descriptor, Digest
from pushpoint.errors import NotFound

WRITE = 128 << 10
"""Bytes written at a time: for more, Linux looks for large pages, which may take longer than all else."""
SYNC_EVERY = 64 << 20
"""Bytes after which a file that is being written is synced for the first time, and again."""


class LocalStore:
    """Blobs below one directory.

    Attributes:
        drafts: Directory for files on their way in, on the same file system.
        uploads: Directory for those that may take several requests, named by their ids. They never become blobs
            themselves: nobody must have a blob open for writing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.drafts = root / "drafts"
        self.uploads = root / "uploads"
        for folder in (self.drafts, self.uploads):
            folder.mkdir(parents=True, exist_ok=True)
        for left in self.drafts.iterdir():  # of a process that was killed
            left.unlink()

    def draft(self) -> Path:
        """Name a new file to write a blob into, before `put`.

        Returns:
            A path that nobody else has.
        """
        return self.drafts / secrets.token_hex(16)

    def path(self, digest: Digest) -> Path:
        """Say where a blob is.

        Returns:
            Path of the blob; it may not exist.
        """
        name = digest.removeprefix("sha256:")
        return self._root / "sha256" / name[:2] / name[2:]

    def put(self, draft: Path, expected: Descriptor) -> None:
        """Make a draft the blob of its digest; atomic, idempotent, durable when it returns.

        Args:
            draft: File made at `draft()`, already synced; it is gone afterwards.
            expected: What was written into it.
        """
        path = self.path(expected.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.chmod(0o444)
        draft.replace(path)
        for folder in (path.parent, path.parent.parent, self._root):
            _sync(folder)

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading.

        Returns:
            The blob, from its beginning.

        Raises:
            NotFound: There is no such blob.
        """
        try:
            return self.path(digest).open("rb", buffering=0)
        except FileNotFoundError as error:
            raise NotFound(f"the store has no blob {digest}; run `pushpoint verify`") from error


class Writer:
    """A file whose bytes go to disk while more are written, so that the last sync has little left to do."""

    def __init__(self, path: Path, *, start: int | None = None) -> None:
        """Begin a file, or go on with one.

        Args:
            path: Where it is.
            start: How many of its bytes stay; without it, there must be no such file.
        """
        self._file = path.open("xb" if start is None else "ab", buffering=0)
        if start is not None:
            self._file.truncate(start)
            _sync(path.parent)
        self._thread = ThreadPoolExecutor(1)
        self._syncing: Future[None] | None = None
        self._unsynced = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        self._file.close()

    def write(self, chunk: Chunk) -> None:
        """Write a chunk, all of it."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest[:WRITE]) :]
        self._unsynced += len(chunk)
        if self._unsynced >= SYNC_EVERY and (self._syncing is None or self._syncing.done()):
            self._settle()
            self._syncing, self._unsynced = self._thread.submit(os.fsync, self._file.fileno()), 0

    def sync(self) -> None:
        """Return when everything is on disk."""
        self._settle()
        os.fsync(self._file.fileno())

    def _settle(self) -> None:
        if self._syncing:
            self._syncing.result()  # the system tells of a failed write once, so it must be heard


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
