"""Bytes on their way in: written, hashed and synced while more arrive, and what their sender said of them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

from pushpoint.digests import Descriptor, Hasher
from pushpoint.errors import InvalidRequest
from pushpoint.stores.local import Writer
from pushpoint.web.raw import Gone

PIECE = 1 << 20
"""Bytes that are hashed and written at a time."""
AHEAD = 8
"""Pieces that may wait for the slowest of that; then the sender has to wait."""
_DIGEST = re.compile(r"([a-z0-9-]+)=:([A-Za-z0-9+/=]*):")


async def gathered(parts: AsyncIterator[bytes], piece: int = PIECE) -> AsyncIterator[bytes]:
    """Gather small parts into pieces that are worth a thread's while.

    Yields:
        About `piece` bytes at a time; the last ones may be fewer.

    Raises:
        Gone: The client went away; what it sent was given out before.
    """
    held, size = [], 0
    try:
        async for part in parts:
            held.append(part)
            size += len(part)
            if size >= piece:
                yield b"".join(held)
                held, size = [], 0
    except Gone:
        if held:
            yield b"".join(held)
        raise
    if held:
        yield b"".join(held)


async def keep(parts: AsyncIterator[bytes], draft: Path) -> Descriptor:
    """Write everything to a new file and sync it; digests, writing and syncing go on while the rest arrives.

    Returns:
        What was written.
    """
    with Writer(draft) as file, contextlib.closing(Hasher(file.write, ahead=AHEAD)) as hasher:
        async for piece in gathered(parts):
            await asyncio.to_thread(hasher.update, piece)
        found = await asyncio.to_thread(hasher.finish)
        await asyncio.to_thread(file.sync)
        return found


def announced_digests(header: str | None) -> dict[str, str]:
    """Read a Content-Digest header (RFC 9530).

    Returns:
        Those of `md5` and `sha-256` that it names, in hexadecimal digits.

    Raises:
        InvalidRequest: It is none; taken for nothing, it would acknowledge bytes that nobody compared.
    """
    found = {}
    for part in header.split(",") if header else ():
        written = _DIGEST.fullmatch(part.strip())
        if not written:
            raise InvalidRequest("Content-Digest is not `sha-256=:BASE64:` or `md5=:BASE64:`; see RFC 9530")
        name, value = written.groups()
        if name in {"md5", "sha-256"}:
            try:
                found[name] = base64.b64decode(value, validate=True).hex()
            except binascii.Error as error:
                raise InvalidRequest("Content-Digest is not base64; see RFC 9530") from error
    return found
