"""What a file of bytes is, without the bytes: digests and descriptors.

SHA-256 is the digest we trust. MD5 is computed beside it, in the same pass, because the manifest's old readers and the
data API's ETag want it; nothing is ever trusted for its MD5.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NewType

from pushpoint.errors import ModelMissing

Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hexadecimal digits."""

OCTETS = "application/octet-stream"
CHUNK = 1 << 20


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


class Hasher:
    """MD5 and SHA-256 of one stream, side by side in two threads.

    MD5 is the slower of the two, so the stronger digest costs nothing where there is a second core. Feed it large
    chunks (a mebibyte): hashlib releases the interpreter lock for the length of a chunk.
    """

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sha256")
        self.size = 0

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take in the next chunk; it may be reused when this returns."""
        self.size += len(chunk)
        other = self._pool.submit(self._sha256.update, chunk)
        self._md5.update(chunk)
        other.result()

    def finish(self, *, media_type: str = OCTETS) -> Descriptor:
        """Say what was taken in, and free the thread.

        Returns:
            Descriptor of all the chunks in order.
        """
        self._pool.shutdown()
        return Descriptor(
            media_type=media_type,
            digest=Digest(f"sha256:{self._sha256.hexdigest()}"),
            size=self.size,
            md5=self._md5.hexdigest(),
        )


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
        chunk: Bytes per read; also the most memory used.
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
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise ModelMissing(str(path), f"cannot be read ({error.strerror}); check its name and its mode") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ModelMissing(str(path), "is not a regular file; set `model-path` to the file to deploy")
        hasher = Hasher()
        buffer = memoryview(bytearray(chunk))
        while size := file.readinto(buffer):
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
