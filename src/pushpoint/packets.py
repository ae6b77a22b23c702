"""Packet lines, the frames of git's protocol, as far as the platform reads a push before git does.

Source:
    gitprotocol-common(5), gitprotocol-pack(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pushpoint.errors import InvalidRequest

FLUSH = b"0000"
NOTHING = "0" * 40
"""The commit of a reference that is not there."""
_LENGTH = re.compile(rb"[0-9a-fA-F]{4}")
_COMMAND = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) ([^\0\n]+)(?:\0([^\n]*))?\n?")
_SHALLOW = re.compile(rb"shallow [0-9a-f]{40}\n?")
_LONGEST = 65516  # bytes of a packet without its length


@dataclass(frozen=True, slots=True)
class Command:
    """What a push wants of one reference.

    Attributes:
        capabilities: What the client can do; only the first command tells.
    """

    old: str
    new: str
    ref: bytes
    capabilities: bytes = b""


def packet(content: bytes) -> bytes:
    """Frame a packet.

    Returns:
        Its length in four hexadecimal digits, and the content.
    """
    return f"{len(content) + 4:04x}".encode() + content


def commands(received: bytes) -> list[Command] | None:
    """Read the commands that a push begins with.

    Args:
        received: The first bytes of it.

    Returns:
        The commands, or none if more bytes are needed to know them all.

    Raises:
        InvalidRequest: No push begins so.
    """
    found: list[Command] = []
    for content in _packets(received):
        if content is None:
            return found
        if _SHALLOW.fullmatch(content):
            continue
        command = _COMMAND.fullmatch(content)
        if not command:
            raise InvalidRequest("this is not how a push begins; push with git")
        old, new, ref, capabilities = command.groups(b"")
        found.append(Command(old.decode(), new.decode(), ref, capabilities))
    return None


def refusal(capabilities: bytes, why: str) -> bytes:
    """Answer a push as git would that could not unpack it.

    Args:
        capabilities: Of the client.
        why: One line, which the client shows.

    Returns:
        The body of the answer.
    """
    report = packet(f"unpack {why}\n".encode()) + FLUSH
    offered = capabilities.split()
    if b"side-band-64k" not in offered:
        return report
    # the third band is for what ends it all, and shown as the remote's
    return packet(b"\3" + why.encode()[: _LONGEST - 1]) + FLUSH


def _packets(received: bytes) -> Iterator[bytes | None]:
    """Take packets apart.

    Yields:
        The content of each whole packet, and none for a flush.

    Raises:
        InvalidRequest: These are no packets.
    """
    start = 0
    while len(received) >= start + 4:
        head = received[start : start + 4]
        length = int(head, 16) if _LENGTH.fullmatch(head) else 1
        if length in {1, 2, 3}:
            raise InvalidRequest("this is not git's protocol; push with git")
        if len(received) < start + length:
            return
        yield received[start + 4 : start + length] if length else None
        start += length or 4
