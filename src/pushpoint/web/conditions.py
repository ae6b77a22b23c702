"""Conditions and ranges of a GET (RFC 9110, sections 13 and 14): whether to answer, and with which bytes.

One range is served; several in one header are answered with the whole, as the standard allows, since taking lists of
ranges apart has cost other servers dearly.
"""

from __future__ import annotations

import re

from litestar.types import HTTPScope

from pushpoint.web import raw

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII | re.IGNORECASE)


def status(scope: HTTPScope, etag: str) -> int:
    """Say what the request's conditions lead to.

    Args:
        scope: The request.
        etag: The file's, with its quotes.

    Returns:
        200 to go on; 304 where the asker has these bytes, 412 where it wants others only.
    """
    wanted, known = raw.header(scope, b"if-match"), raw.header(scope, b"if-none-match")
    if wanted is not None and not _names(wanted, etag):
        return 412
    return 304 if known is not None and _names(known, etag, weakly=True) else 200


def part(scope: HTTPScope, etag: str, modified: str, size: int) -> tuple[int, int] | None:
    """Say which bytes of a file the request is for.

    Args:
        scope: The request.
        etag: The file's, with its quotes.
        modified: The file's, as in Last-Modified.
        size: The file's, in bytes.

    Returns:
        The first byte and the one after the last; the same number twice where there are none, and none for the whole.
    """
    found = _RANGE.fullmatch((raw.header(scope, b"range") or "").strip())
    condition = raw.header(scope, b"if-range")
    if not found or scope["method"] != "GET" or condition not in {None, etag, modified}:
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        return (size, size) if int(last) == 0 else (max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None  # no range at all, by the standard
    return min(int(first), size), min(int(last) + 1, size) if last else size


def _names(header: str, etag: str, *, weakly: bool = False) -> bool:
    tags = [tag.strip() for tag in header.split(",")]
    return "*" in tags or etag in ([tag.removeprefix("W/") for tag in tags] if weakly else tags)
