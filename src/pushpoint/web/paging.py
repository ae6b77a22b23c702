"""Pages of a list: `limit` and `marker` in, `marker` and `next_link` out (platform API, section 0)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pushpoint import wire
from pushpoint.web.errors import BadPage

LARGEST = 1000
T = TypeVar("T")


def paged(
    path: str, limit: int, marker: str | None, find: Callable[[int, int], list[Any]], show: Callable[[Any], T]
) -> wire.PageObject[T]:
    """Find one page and show it.

    Args:
        path: The list's own path, for the link to the next page.
        limit: How many at most, 1 to 1,000.
        marker: From the page before.
        find: Called with limit and offset.
        show: Makes the wire's shape of one.

    Returns:
        The page's shape.

    Raises:
        BadPage: The limit or the marker is out of range.
    """
    if not 1 <= limit <= LARGEST:
        raise BadPage(5003, f"limit is {limit}; use 1 to {LARGEST}")
    if marker and not (marker.isascii() and marker.isdigit() and len(marker) < 10):
        raise BadPage(5002, "the marker is not one of ours; take it from the page before")
    offset = int(marker or 0)
    found = find(limit + 1, offset)
    following = str(offset + limit) if len(found) > limit else None
    link = f"{path}?limit={limit}&marker={following}" if following else None
    return wire.page([show(one) for one in found[:limit]], marker=following, link=link)
