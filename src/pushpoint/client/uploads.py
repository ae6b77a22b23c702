"""Large files, by tus 1.0.0: sent in parts side by side, and gone on with where an earlier attempt was broken off.

Nothing is kept on this side. What is under way is asked of the platform, which knows the parts by the file they are to
become and by the digest of the whole; where they begin follows from the size.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpx2

from pushpoint import errors, wire
from pushpoint.client.connection import Again, Connection, patiently
from pushpoint.digests import Descriptor
from pushpoint.names import DataPath

PARTS = 4
"""Parts of a file, which are sent side by side."""
AT_ONCE = 64 << 20
"""Bytes of a request; proxies have limits, and a request that is broken off should not have been half of the file."""
PIECE = 1 << 20
"""Bytes that are read at a time."""
TIMEOUT = 3600.0
"""Seconds to wait for an answer, of which putting a file together takes about 3 for each GiB."""
_ROOT = "/v1/uploads"
_TUS = {"tus-resumable": "1.0.0"}


class _Stopped(Exception):
    """Another part failed."""


@dataclass(frozen=True, slots=True)
class _Part:
    start: int
    size: int


class _Tally:
    """What was sent by all threads together."""

    def __init__(self, progress: Callable[[int], object] | None) -> None:
        self._progress, self._lock = progress, threading.Lock()
        self.stopped = threading.Event()
        self.sent = 0

    def count(self, done: int, *, sent: int = 0) -> None:
        with self._lock:
            self.sent += sent
            if self._progress and done:
                self._progress(done)


class Uploads(Connection):
    """Uploads that can be gone on with."""

    def upload(
        self, path: DataPath, source: Path, blob: Descriptor, *, progress: Callable[[int], object] | None = None
    ) -> int:
        """Create a file from a local one, in parts; the platform checks the digest before it acknowledges.

        Args:
            path: A file that must not exist, or hold the same bytes.
            source: Local file.
            blob: What `source` holds.
            progress: Told how many more bytes are done; less than none where some must be sent again.

        Returns:
            How many bytes were sent; the others were there from an attempt that was broken off.

        Raises:
            AlreadyExists: The file holds other bytes.
            IntegrityError: What arrived is not `blob`.
            NotFound: The collection, or a part that was sent, is gone.
        """
        said = {"path": str(path), "sha256": blob.hex}
        parts = _cut(blob.size)
        known = self._under_way(path, blob)
        tally = _Tally(progress)
        with ThreadPoolExecutor(PARTS) as threads:
            lanes = [threads.submit(self._part, source, part, said, known.get(part), tally) for part in parts]
            try:
                wait(lanes, return_when=FIRST_EXCEPTION)
            finally:
                tally.stopped.set()
        for error in (lane.exception() for lane in lanes):
            if error and not isinstance(error, _Stopped):
                raise error
        urls = " ".join(lane.result() for lane in lanes)
        headers = {"upload-concat": f"final;{urls}", "upload-metadata": _metadata(said), "if-none-match": "*"}
        try:
            self._checked(self._send("POST", _ROOT, headers=_TUS | headers, timeout=TIMEOUT))
        except errors.IntegrityError:
            if not known:
                raise
            tally.count(-blob.size)  # what an earlier attempt left was of other bytes; the platform has thrown it away
            return tally.sent + self.upload(path, source, blob, progress=progress)
        except errors.NotFound:
            # the answer to the same request a moment ago may have been lost: then the parts are a file already
            there = self._send("HEAD", f"/v1/data/{quote(str(path).removeprefix('data://'))}")
            if blob.md5 not in there.headers.get("etag", ""):
                raise
        return tally.sent

    def _under_way(self, path: DataPath, blob: Descriptor) -> dict[_Part, wire.UploadView]:
        found = self._ask("GET", f"{_ROOT}?path={quote(str(path), safe='')}", kind=wire.UploadsView)
        known = {}
        for upload in found.uploads:
            if upload.concat == "partial" and upload.metadata.get("sha256") == blob.hex:
                start = upload.metadata.get("start", "")
                known[_Part(int(start) if start.isdecimal() else -1, upload.size)] = upload
        return known

    def _part(
        self, source: Path, part: _Part, said: dict[str, str], known: wire.UploadView | None, tally: _Tally
    ) -> str:
        try:
            if known:
                url = f"{_ROOT}/{known.id}"
                offset = known.offset
                if offset < part.size:  # a request that still hangs gives way to this question
                    offset = _offset(self._checked(self._send("HEAD", url, headers=_TUS)))
            else:
                metadata = _metadata(said | {"start": str(part.start)})
                headers = {"upload-length": str(part.size), "upload-concat": "partial", "upload-metadata": metadata}
                url = self._checked(self._send("POST", _ROOT, headers=_TUS | headers)).headers["location"]
                offset = 0
            tally.count(offset)
            while offset < part.size:
                offset = self._some(source, part, url, offset, tally)
        except BaseException:
            tally.stopped.set()
            raise
        return url

    def _some(self, source: Path, part: _Part, url: str, offset: int, tally: _Tally) -> int:
        """Send a request's worth of a part; where that breaks off, again from where the platform is.

        Returns:
            The offset that the platform acknowledged.
        """
        begin, done, is_first = offset, 0, True

        def pieces(begin: int, end: int) -> Iterator[bytes]:
            nonlocal done
            tally.count(-done)  # of an attempt before
            done = 0
            for piece in _read(source, part.start + begin, part.start + end):
                if tally.stopped.is_set():
                    raise _Stopped
                yield piece
                done += len(piece)
                tally.count(len(piece), sent=len(piece))

        def send() -> httpx2.Response:
            nonlocal begin, is_first
            if not is_first:
                asked = self._with_key(lambda: self._http.head(url, headers=_TUS))
                if asked.status_code == 503:
                    return asked
                begin = _offset(self._checked(asked))
            is_first = False
            end = min(part.size, begin + AT_ONCE)
            headers = {"content-type": "application/offset+octet-stream", "content-length": str(end - begin)}
            answer = self._with_key(
                lambda: self._http.patch(
                    url,
                    content=pieces(begin, end),
                    headers=_TUS | headers | {"upload-offset": str(begin)},
                    timeout=httpx2.Timeout(TIMEOUT, connect=5.0),
                )
            )
            if answer.status_code == 409:  # the platform went on with an attempt that had failed here
                raise Again
            return answer

        try:
            answer = self._checked(patiently(send, httpx2.TransportError))
        except Again as error:
            raise self._unreachable(error.__cause__) from error
        now = _offset(answer)
        tally.count(now - offset - done)
        return now


def _offset(answer: httpx2.Response) -> int:
    return int(answer.headers["upload-offset"])


def _cut(size: int) -> list[_Part]:
    length = -(-size // PARTS)
    return [_Part(start, min(length, size - start)) for start in range(0, size, length)]


def _read(source: Path, begin: int, end: int) -> Iterator[bytes]:
    with source.open("rb", buffering=0) as file:
        file.seek(begin)
        for piece in iter(partial(file.read, PIECE), b""):
            some = piece[: end - begin]
            begin += len(some)
            yield some
            if begin == end:
                return
    raise errors.IntegrityError(f"{source.name} was changed while it was uploaded; run the same command again")


def _metadata(said: dict[str, str]) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in said.items())
