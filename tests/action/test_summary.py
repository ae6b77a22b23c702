"""The page of a run: what stands first, what is shown of which outcome, and that it stays below GitHub's limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from pushpoint.action.outputs import OUTPUTS, outputs
from pushpoint.action.summary import LIMIT, TITLES, Page, write
from pushpoint.deploy.blame import Place
from pushpoint.deploy.preview import Tried, compare


@pytest.mark.parametrize("status", TITLES)
def test_the_verdict_stands_first(status: str) -> None:
    assert write(Page(status=status, why="because")).splitlines()[0] == f"## {TITLES[status]}"


def test_a_failure_leads_with_its_cause_and_its_place() -> None:
    page = Page(
        status="failed", why="cell 3 failed; mend it", place=Place(file="a.ipynb", line=7), seconds={"plan": 1.0}
    )
    lines = [line for line in write(page).splitlines() if line]
    assert lines[1:4] == ["```text", "cell 3 failed; mend it", "```"]
    assert lines[4] == "**Look at** <code>a.ipynb</code>, line 7."
    assert lines[5] == "Nothing was made live; what was live before stays so."


def test_metrics_stand_beside_those_of_the_live_model() -> None:
    page = Page(
        status="previewed", why="", metrics=compare({"accuracy": 0.9, "new": 1.0}, {"accuracy": 0.8, "old": 2.0})
    )
    text = write(page)
    assert "| <code>accuracy</code> | 0.9 | 0.8 | +0.1 |" in text
    assert "| <code>new</code> | 1 |  |  |" in text
    assert "| <code>old</code> |  | 2 |  |" in text


def test_cases_plots_and_files_are_listed() -> None:
    page = Page(
        status="previewed",
        why="",
        cases=[Tried(name="good", wrong=None, seconds=0.1), Tried(name="bad", wrong="1 is not 2", seconds=0.1)],
        plots=[Path("a/plot-01-cell-3.png")],
        files=["a/n.ipynb"],
    )
    text = write(page)
    assert "| ✅ | <code>good</code> |  |" in text
    assert "| ❌ | <code>bad</code> | <code>1 is not 2</code> |" in text
    assert "- <code>plot-01-cell-3.png</code>" in text
    assert "<code>a/n.ipynb</code>" in text
    assert outputs(page)["notebook"] == "a/n.ipynb"


def test_a_page_stays_below_the_limit() -> None:
    cases = [Tried(name="n" * 3000, wrong="ü" * 3000, seconds=0.1) for _ in range(400)]
    text = write(Page(status="previewed", why="", cases=cases))
    assert len(text.encode()) <= LIMIT
    assert text.endswith("(cut: the page was too long)\n")


def test_every_output_is_there_whatever_happened() -> None:
    assert set(outputs(Page(status="failed", why=""))) == set(OUTPUTS)
