"""What a file of bytes is, without the bytes: digests and descriptors.

SHA-256 is the digest we trust. MD5 is computed beside it, in the same pass, because the manifest's old readers and the
data API's ETag want it; nothing is ever trusted for its MD5.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import NewType, TypeAlias

from pushpoint.errors import ModelMissing

Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hexadecimal digits."""

OCTETS = "application/octet-stream"
CHUNK = 1 << 20
AHEAD = 3
"""Chunks that are read ahead of the digests."""
Chunk: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a blob is, without the blob (OCI image-spec, descriptor.md).

    Attributes:
        media_type: RFC 6838 media type.
        digest: SHA-256 of the bytes.
        size: Bytes.
        md5: 32 hexadecimal digits, for readers of the old manifest and for ETags.
    """

    media_type: str
    digest: Digest
    size: int
    md5: str

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits of the digest."""
        return self.digest.removeprefix("sha256:")

    @property
    def field(self) -> str:
        """Both digests as the value of a Content-Digest or Repr-Digest header (RFC 9530)."""
        both = {"sha-256": self.hex, "md5": self.md5}
        parts = (f"{name}=:{base64.b64encode(bytes.fromhex(value)).decode()}:" for name, value in both.items())
        return ", ".join(parts)


class Hasher:
    """MD5 and SHA-256 of one stream, side by side in threads of their own; and whatever else is to see every chunk.

    MD5 is the slowest of them, so the stronger digest costs nothing where there is a second core. Feed it large chunks
    (a mebibyte): hashlib releases the interpreter lock for the length of a chunk.
    """

    def __init__(self, *others: Callable[[Chunk], object], ahead: int = 0) -> None:
        """Start with nothing.

        Args:
            others: Called with every chunk in order, each in a thread of its own.
            ahead: Chunks that may wait, so that one of the threads can be late without holding up the others.
        """
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._lines = [(line, ThreadPoolExecutor(1)) for line in (self._md5.update, self._sha256.update, *others)]
        self._pending: deque[list[Future[object]]] = deque()
        self._ahead = ahead
        self.size = 0

    def update(self, chunk: Chunk) -> None:
        """Take in the next chunk; it may be reused when `ahead` more have been taken in."""
        self.size += len(chunk)
        self._pending.append([threads.submit(line, chunk) for line, threads in self._lines])
        self._wait(self._ahead)

    def finish(self, *, media_type: str = OCTETS) -> Descriptor:
        """Say what was taken in, and free the threads.

        Returns:
            Descriptor of all the chunks in order.
        """
        self._wait(0)
        self.close()
        return Descriptor(
            media_type=media_type,
            digest=Digest(f"sha256:{self._sha256.hexdigest()}"),
            size=self.size,
            md5=self._md5.hexdigest(),
        )

    def close(self) -> None:
        """Free the threads; chunks that wait are forgotten, those under way are finished."""
        for _, threads in self._lines:
            threads.shutdown(cancel_futures=True)

    def _wait(self, left: int) -> None:
        while len(self._pending) > left:
            for done in self._pending.popleft():
                done.result()


def describe(
    path: Path,
    *,
    media_type: str = OCTETS,
    chunk: int = CHUNK,
    progress: Callable[[int], object] | None = None,
) -> Descriptor:
    """Describe the file at `path`, reading it once, front to back.

    Args:
        path: File to read.
        media_type: Media type to record; not guessed.
        chunk: Bytes per read.
        progress: Told the size of each chunk, in bytes.

    Returns:
        Descriptor whose digests and size come from the same read.

    Raises:
        ModelMissing: `path` is not a regular file.

    Source:
        OCI image-spec v1.1, descriptor.md, "Digests".

    Example:
        >>> from tempfile import NamedTemporaryFile
        >>> with NamedTemporaryFile() as empty:
        ...     describe(Path(empty.name)).size
        0
    """
    try:
        # not to wait for somebody to write into a named pipe
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)
    except IsADirectoryError as error:
        raise ModelMissing(str(path), "is a folder; set `model-path` to the file to deploy") from error
    except OSError as error:
        raise ModelMissing(str(path), f"cannot be read ({error.strerror}); check its name and its mode") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ModelMissing(str(path), "is not a regular file; set `model-path` to the file to deploy")
        hasher = Hasher(ahead=AHEAD)
        buffers = cycle([memoryview(bytearray(chunk)) for _ in range(AHEAD + 1)])
        while size := file.readinto(buffer := next(buffers)):
            hasher.update(buffer[:size])
            if progress:
                progress(size)
        return hasher.finish(media_type=media_type)


def describe_bytes(chunks: Iterable[bytes], *, media_type: str = OCTETS) -> Descriptor:
    """Describe bytes that are already in memory.

    Returns:
        Descriptor of all the chunks in order.

    Example:
        >>> describe_bytes([b"abc"]).md5
        '900150983cd24fb0d6963f7d28e17f72'
    """
    hasher = Hasher()
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.finish(media_type=media_type)
