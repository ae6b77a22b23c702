"""An error leads to the line that has to change, in the file as it stands in the repository."""

from __future__ import annotations

import json

import pytest

from pushpoint.deploy.blame import cell_lines


def notebook(*cells: tuple[str, list[str] | str], indent: int | None = 1) -> str:
    made = [
        {
            "cell_type": kind,
            "metadata": {"tags": ["cells", "source"], "deep": {"source": ["x", {"cell_type": "code"}]}},
            "outputs": [{"text": ["first\n", "second"], "data": {"source": ["second"]}}],
            "source": source,
        }
        for kind, source in cells
    ]
    return json.dumps({"cells": made, "metadata": {"source": ["first\n"]}, "nbformat": 4}, indent=indent)


def line_of(text: str, number: int) -> str:
    return text.splitlines()[number - 1].strip().rstrip(",")


def test_each_line_of_a_cell_is_found_where_it_stands() -> None:
    text = notebook(
        ("markdown", ["first\n"]),
        ("code", ["first\n", "second"]),
        ("raw", []),
        ("code", ['a "quoted" [line]\n', "{}\n", "last"]),
    )
    assert [line_of(text, number) for number in cell_lines(text, 1)] == ['"first\\n"', '"second"']
    assert [json.loads(line_of(text, number)) for number in cell_lines(text, 2)] == [
        'a "quoted" [line]\n',
        "{}\n",
        "last",
    ]
    outputs = text.index('"outputs"', text.index('"code"'))
    assert all(text.index("\n", outputs) < sum(map(len, text.splitlines(True)[: n - 1])) for n in cell_lines(text, 1))


def test_a_source_that_is_one_string_has_one_place() -> None:
    text = notebook(("code", "first\nsecond"))
    (found,) = cell_lines(text, 1)
    assert line_of(text, found) == '"source": "first\\nsecond"'


def test_a_notebook_on_one_line_has_one_line() -> None:
    assert set(cell_lines(notebook(("code", ["a\n", "b"]), indent=None), 1)) == {1}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"cells": 3}', '{"cells": [[]]}', '}{"cells"', '"cells'])
def test_what_is_no_notebook_has_no_lines(text: str) -> None:
    assert list(cell_lines(text, 1)) == []


@pytest.mark.parametrize("cell", [0, -1, 2, 99])
def test_a_cell_that_is_not_there_has_no_lines(cell: int) -> None:
    assert list(cell_lines(notebook(("code", ["a"])), cell)) == []
