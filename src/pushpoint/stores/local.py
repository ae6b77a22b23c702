"""A directory of blobs, keyed by digest.

The atomic step is `os.link`: a blob is written under another name, synced, and only then given its own, so a key either
names all of the bytes or does not exist. Acknowledged means synced: the file's bytes and the folder's entry.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import BinaryIO

from pushpoint.digests import Descriptor, Digest
from pushpoint.errors import NotFound


class LocalStore:
    """Blobs below one directory.

    Attributes:
        drafts: Directory for files on their way in, on the same file system.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.drafts = root / "drafts"
        self.drafts.mkdir(parents=True, exist_ok=True)
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
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        for folder in (path.parent, path.parent.parent, self._root):
            _sync(folder)
        draft.unlink()

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


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
