"""The journal: what is done is not done again, in this process or the next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pushpoint.deploy.journal import Journal
from pushpoint.report import quiet


@dataclass(frozen=True)
class Made:
    text: str
    at: datetime
    parts: tuple[int, ...]


class Steps:
    """Steps that count how often they are done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def make(self, text: str, *, adapter: object) -> Made:
        self.done.append(text)
        return Made(text, datetime(2026, 1, 2, tzinfo=UTC), (1, 2))

    def use(self, made: Made) -> str:
        self.done.append(f"use {made.text}")
        return made.text.upper()

    def fail(self, text: str) -> str:
        self.done.append(text)
        raise ValueError(text)


def journal(path: Path) -> Journal:
    return Journal(path / "state" / "journal.jsonl", report=quiet())


def test_a_second_run_replays_values_of_their_own_type(tmp_path: Path) -> None:
    steps = Steps()
    first = journal(tmp_path)
    made = first.step(steps.make, "a", adapter=object())
    assert not first.replayed
    assert first.step(steps.use, made) == "A"

    second = journal(tmp_path)
    assert second.step(steps.make, "a", adapter=object()) == made, "adapters are no part of the key"
    assert second.replayed
    assert second.step(steps.use, made) == "A"
    assert steps.done == ["a", "use a"]
    second.step(steps.make, "b", adapter=object())
    assert not second.replayed
    assert steps.done == ["a", "use a", "b"]


def test_values_and_names_are_the_key(tmp_path: Path) -> None:
    steps = Steps()
    notes = journal(tmp_path)
    notes.step(steps.use, Made("a", datetime(2026, 1, 1, tzinfo=UTC), ()))
    notes.step(steps.use, Made("a", datetime(2026, 1, 1, tzinfo=UTC), (3,)))
    assert steps.done == ["use a", "use a"]


def test_a_step_that_fails_is_not_noted(tmp_path: Path) -> None:
    steps = Steps()
    for _ in range(2):
        with pytest.raises(ValueError, match="x"):
            journal(tmp_path).step(steps.fail, "x")
    assert steps.done == ["x", "x"]


@pytest.mark.parametrize("keep", range(0, 40, 7))
def test_a_torn_last_line_is_cut_off(tmp_path: Path, keep: int) -> None:
    steps = Steps()
    first = journal(tmp_path)
    made = first.step(steps.make, "a", adapter=None)
    file = tmp_path / "state" / "journal.jsonl"
    whole = file.read_bytes()
    first.step(steps.use, made)
    file.write_bytes(file.read_bytes()[: len(whole) + keep])

    second = journal(tmp_path)
    assert file.read_bytes() == whole
    assert second.step(steps.make, "a", adapter=None) == made
    assert second.step(steps.use, made) == "A"
    assert steps.done == ["a", "use a", "use a"]
    assert journal(tmp_path).step(steps.use, made) == "A"
    assert len(steps.done) == 3


def test_what_is_forgotten_is_done_again(tmp_path: Path) -> None:
    steps = Steps()
    notes = journal(tmp_path)
    notes.step(steps.make, "a", adapter=None)
    notes.forget()
    notes.forget()
    assert not (tmp_path / "state" / "journal.jsonl").exists()
    notes.step(steps.make, "a", adapter=None)
    assert journal(tmp_path).step(steps.make, "a", adapter=None).text == "a"
    assert steps.done == ["a", "a"]


def test_every_step_is_on_disk_before_the_next(tmp_path: Path) -> None:
    steps, seen = Steps(), []
    notes = journal(tmp_path)
    file = tmp_path / "state" / "journal.jsonl"

    def look(text: str) -> str:
        seen.append(len(file.read_bytes().splitlines()))
        return text

    notes.step(steps.make, "a", adapter=None)
    notes.step(look, "1")
    notes.step(look, "2")
    assert seen == [1, 2]
