"""The data API as methods: collections, and files streamed both ways."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx2

from pushpoint import errors
from pushpoint.client.uploads import Uploads
from pushpoint.digests import OCTETS, Descriptor, Digest
from pushpoint.names import DataPath

PIECE = 1 << 20
ABOVE = 64 << 20
"""Bytes above which a file is sent in a way that can be gone on with."""


class Files(Uploads):
    """The files of a platform."""

    def create_collection(self, path: DataPath) -> None:
        """Create a collection, unless it is there."""
        with contextlib.suppress(errors.AlreadyExists):
            self._ask("POST", f"/v1/data/{path.owner}", json={"name": path.collection})

    def stat(self, path: DataPath) -> Descriptor | None:
        """Look up what a file holds.

        Returns:
            Its descriptor, or none if there is no such file.
        """
        answer = self._send("HEAD", _data(path))
        if answer.status_code == 404:
            return None
        self._checked(answer)
        try:
            digests = dict(part.split("=:", 1) for part in answer.headers["repr-digest"].split(", "))
            found = {name: base64.b64decode(value.rstrip(":")).hex() for name, value in digests.items()}
            return Descriptor(
                media_type=OCTETS,
                digest=Digest(f"sha256:{found['sha-256']}"),
                size=int(answer.headers["content-length"]),
                md5=found["md5"],
            )
        except (KeyError, ValueError) as error:
            raise self._strange() from error

    def link(self, path: DataPath, blob: Descriptor) -> bool:
        """Give bytes that the owner has stored before another name, without sending them.

        Returns:
            Whether the platform had them.
        """
        headers = {
            "content-digest": blob.field,
            "if-none-match": "*",
            "pushpoint-link": blob.digest,
            "content-length": "0",
        }
        answer = self._send("PUT", _data(path), headers=headers, content=b"")
        if answer.status_code == 404:
            return False
        self._checked(answer)
        return True

    def put(
        self, path: DataPath, source: Path, blob: Descriptor, *, progress: Callable[[int], object] | None = None
    ) -> int:
        """Create a file from a local one; a large one in parts, so that a broken attempt can be gone on with.

        Args:
            path: A file that must not exist, or hold the same bytes.
            source: Local file.
            blob: What `source` holds.
            progress: Told the size of each piece, in bytes.

        Returns:
            How many bytes were sent.
        """
        if blob.size > ABOVE:
            return self.upload(path, source, blob, progress=progress)
        self.stream(path, source, blob, progress=progress)
        return blob.size

    def stream(
        self, path: DataPath, source: Path, blob: Descriptor, *, progress: Callable[[int], object] | None = None
    ) -> None:
        """Create a file from a local one by one request; the platform checks the digests before it acknowledges.

        Args:
            path: A file that must not exist, or hold the same bytes.
            source: Local file.
            blob: What `source` holds.
            progress: Told the size of each piece, in bytes.

        Raises:
            AlreadyExists: The file holds other bytes.
            IntegrityError: What arrived is not `blob`.
        """

        def pieces() -> Iterator[bytes]:
            left = blob.size
            with source.open("rb", buffering=0) as file:
                while piece := file.read(PIECE):
                    left -= len(piece)
                    if left < 0:
                        break
                    yield piece
                    if progress:
                        progress(len(piece))
            if left:
                raise errors.IntegrityError(
                    f"{source.name} was changed while it was uploaded; run the same command again"
                )

        headers = {"content-digest": blob.field, "if-none-match": "*", "content-length": str(blob.size)}
        self._checked(self._send("PUT", _data(path), headers=headers, content=pieces, timeout=3600.0))

    @contextlib.contextmanager
    def open(self, path: DataPath) -> Iterator[Iterator[bytes]]:
        """Read a file, streaming.

        Yields:
            Its pieces.
        """
        self._renew_before(0.0)
        try:
            with self._http.stream("GET", _data(path)) as answer:
                if not answer.is_success:
                    answer.read()
                self._checked(answer)
                yield answer.iter_bytes(PIECE)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error


def _data(path: DataPath) -> str:
    return "/v1/data/" + "/".join(quote(part, safe="") for part in (path.owner, path.collection, path.file) if part)
