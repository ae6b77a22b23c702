"""Packs and pushes that no git would write: made byte by byte."""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Iterable, Iterator

from pushpoint.packets import FLUSH, NOTHING, packet

COMMIT, TREE, BLOB, TAG, REF_DELTA = 1, 2, 3, 4, 7
NAMES = {COMMIT: "commit", TREE: "tree", BLOB: "blob", TAG: "tag"}
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
WHO = "x <x@y> 1700000000 +0000"


def object_id(kind: int, content: bytes) -> str:
    return hashlib.sha1(f"{NAMES[kind]} {len(content)}\0".encode() + content).hexdigest()


def entry(kind: int, content: bytes, *, size: int | None = None, base: str = "") -> bytes:
    """Write an object into a pack; `size` is what it claims."""
    return head(kind, len(content) if size is None else size, base) + zlib.compress(content, 1)


def head(kind: int, size: int, base: str = "") -> bytes:
    written = bytearray([(kind << 4) | (size & 15)])
    size >>= 4
    while size:
        written[-1] |= 0x80
        written.append(size & 0x7F)
        size >>= 7
    return bytes(written) + bytes.fromhex(base)


def zeros(kind: int, size: int, start: bytes = b"", *, end: bytes = b"", filler: bytes = b"\0") -> tuple[bytes, str]:
    """Write an object that is little packed and much unpacked; return it and its name."""
    packer, name = zlib.compressobj(9), hashlib.sha1(f"{NAMES[kind]} {size}\0".encode())
    block = filler * (1 << 20)
    left = size - len(start) - len(end)
    written = [head(kind, size)]
    for piece in itertools.chain([start], itertools.repeat(block, left >> 20), [block[: left % (1 << 20)], end]):
        name.update(piece)
        written.append(packer.compress(piece))
    return b"".join([*written, packer.flush()]), name.hexdigest()


def pack(entries: Iterable[bytes], *, count: int | None = None) -> bytes:
    """Write a pack; `count` is how many objects it claims."""
    entries = list(entries)
    number = len(entries) if count is None else count
    content = b"PACK" + (2).to_bytes(4, "big") + number.to_bytes(4, "big") + b"".join(entries)
    return content + hashlib.sha1(content).digest()


def commit(tree: str, *parents: str, message: str = "x") -> bytes:
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {WHO}", f"committer {WHO}"]
    return ("\n".join(lines) + f"\n\n{message}\n").encode()


def tree(*entries: tuple[str, bytes, str]) -> bytes:
    """Write a tree of mode, name and object."""
    return b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(one) for mode, name, one in entries)


def size(number: int) -> bytes:
    """Write a length as deltas have it."""
    written = bytearray()
    while True:
        written.append(number & 0x7F | (0x80 if number > 0x7F else 0))
        number >>= 7
        if not number:
            return bytes(written)


def growing(base: int, times: int) -> tuple[bytes, int]:
    """Write a delta that repeats its base; return it and what it makes."""
    copy = bytes([0x80 | 0x10 | 0x20 | 0x40]) + base.to_bytes(3, "little")
    return size(base) + size(base * times) + copy * times, base * times


def push(old: str, new: str, packed: bytes = b"", *, ref: bytes = b"refs/heads/master") -> bytes:
    """Write the whole body of a push of one reference."""
    line = f"{old} {new} ".encode() + ref + b"\0 report-status side-band-64k\n"
    return packet(line) + FLUSH + packed


def many(number: int, new: str) -> Iterator[bytes]:
    """Write a push of so many branches, piece by piece."""
    for start in range(0, number, 1000):
        lines = (f"{NOTHING} {new} refs/heads/b{each}\n" for each in range(start, min(start + 1000, number)))
        yield b"".join(packet(line.encode()) for line in lines)
    yield FLUSH
