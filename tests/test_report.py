"""What strangers wrote is safe to print, and a report says what happened."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pushpoint.report import Report, printable, quiet, spoken


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, ünïcode, 模型, 🎉", "plain, ünïcode, 模型, 🎉"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("\x1b[1;38;5;196mbold", "bold"),
        ("\x1b[2J\x1b[H\x1b[?25lgone", "gone"),
        ("\x1b[>0c\x1b[=1hq", "q"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\\x1b_apc\x1b\\\x1b^pm\x1b\\x", "x"),
        ("\x1b]0;never ended", "]0;never ended"),
        ("\x1b]0;ended\nelsewhere\x07", "]0;ended\nelsewhere"),
        ("\x9b31mC1\x85", "31mC1"),
        ("a\x00b\x07c\x08d\x7f", "abcd"),
        ("10%\r50%\r\n100%\r\n", "10%\n50%\n100%\n"),
        ("user\u202egnp.exe\u202c", "usergnp.exe"),
        ("\u2066a\u2069\u200e\u200f\u061c", "a"),
        ("\ud800lone\udfff", "lone"),
        ("\x1b\x1b[31m[31m", "[31m"),
        ("", ""),
    ],
)
def test_what_moves_the_cursor_or_turns_the_text_around_is_taken_out(text: str, expected: str) -> None:
    assert printable(text) == expected


@given(st.text(st.characters() | st.sampled_from("\x1b[]\\;m\x07\r\x9b\u202e\u2066\x00"), max_size=80))
def test_nothing_dangerous_is_left_of_any_text(text: str) -> None:
    found = printable(text)
    assert printable(found) == found
    assert not [char for char in found if char not in "\n\t" and (ord(char) < 32 or 127 <= ord(char) < 160)]
    assert not set(found) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    found.encode()


def test_a_flood_of_openings_is_cleaned_in_time() -> None:
    assert printable("\x1b]" * 200_000) == "]" * 200_000
    assert len(printable("\x1b[" + "0" * 1_000_000)) == 1_000_001


def console() -> tuple[Console, io.StringIO]:
    said = io.StringIO()
    return Console(file=said, width=80), said


def test_a_step_says_its_name_and_its_time_and_keeps_it() -> None:
    made, said = console()
    report = Report(made)
    with report.step("train"):
        report.line("cell 1\x1b[2J of [bold]3[/bold]\nnext")
    assert "train" in said.getvalue()
    assert "  cell 1 of [bold]3[/bold]\n  next\n" in said.getvalue()
    assert "✓" in said.getvalue()
    assert report.seconds["train"] >= 0


def test_a_step_that_fails_says_so_and_lets_the_error_through() -> None:
    made, said = console()
    report = Report(made)
    with pytest.raises(OSError, match="full"), report.step("upload"):
        raise OSError("full")
    assert "upload failed" in said.getvalue()
    with pytest.raises(KeyboardInterrupt), report.step("push"):
        raise KeyboardInterrupt
    assert "push was interrupted" in said.getvalue()
    assert "upload" in report.seconds


@pytest.mark.parametrize("size", [10, 20 << 20])
def test_progress_may_be_told_whether_or_not_there_is_a_bar(size: int) -> None:
    for terminal in (False, True):
        report = Report(Console(file=io.StringIO(), force_terminal=terminal))
        with report.progress("model.pkl [red]", size) as told:
            told(size)


def test_a_quiet_report_says_nothing_and_a_spoken_one_speaks_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    silent = quiet()
    with silent.step("plan"):
        silent.line("something")
    assert capfd.readouterr() == ("", "")
    assert "plan" in silent.seconds
    with spoken().step("plan"):
        pass
    out, err = capfd.readouterr()
    assert out == ""
    assert "plan" in err
