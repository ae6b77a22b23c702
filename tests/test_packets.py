"""Packet lines, well and badly written."""

from __future__ import annotations

import pytest

from pushpoint import packets
from pushpoint.errors import InvalidRequest
from pushpoint.packets import FLUSH, Command, commands, packet

A, B = "a" * 40, "b" * 40
PUSH = packet(f"{A} {B} refs/heads/master\0 report-status side-band-64k\n".encode())


def test_commands_are_read_up_to_the_flush_and_what_follows_is_not_looked_at() -> None:
    first = Command(A, B, b"refs/heads/master", b" report-status side-band-64k")
    assert commands(PUSH + FLUSH + b"PACK....garbage") == [first]
    more = packet(f"{packets.NOTHING} {B} refs/tags/\u00e9 x".encode())
    assert commands(packet(f"shallow {A}\n".encode()) + PUSH + more + FLUSH) == [
        first,
        Command(packets.NOTHING, B, "refs/tags/\u00e9 x".encode()),
    ]
    assert commands(FLUSH) == []


@pytest.mark.parametrize("length", range(len(PUSH) + 4))
def test_a_push_that_is_not_all_there_needs_more(length: int) -> None:
    assert commands((PUSH + FLUSH)[:length]) is None


@pytest.mark.parametrize(
    "written",
    [
        *(b"garbage", b"0001", b"0002", b"0003", b"-001", b"00 5x", b"+005x"),
        *map(packet, (b"", b"x", f"{A} {B}".encode(), f"{A} {B} \0".encode(), f"{A} {B} a\nb".encode())),
        *map(packet, (b"push-cert\0x", b"shallow x", f"{A.upper()} {B} refs/heads/x".encode())),
        packet(f"{A[:39]} {B} refs/heads/x".encode()),
    ],
)
def test_what_is_no_push_is_refused(written: bytes) -> None:
    with pytest.raises(InvalidRequest, match="push with git"):
        commands(written + FLUSH)


def test_a_refusal_is_said_in_the_band_that_the_client_can_read() -> None:
    assert packets.refusal(b" report-status", "no") == b"000eunpack no\n0000"
    assert packets.refusal(b" report-status side-band-64k agent=x", "no") == b"0007\3no0000"
