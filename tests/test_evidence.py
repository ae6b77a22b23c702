"""What is read off executed notebooks: some by real kernels, some that no kernel would leave behind."""

from __future__ import annotations

import base64
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pushpoint import runtime
from pushpoint.errors import CellFailed, NotebookUnreadable
from pushpoint.notebooks import drawings, evidence, execute
from pushpoint.notebooks.evidence import Evidence, gather
from pushpoint.notebooks.rendering import render
from pushpoint.runtime.metrics import MEDIA_TYPE
from tests.test_notebooks import NOTEBOOKS
from tests.test_notebooks import python as python

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>'


def run(name: str, folder: Path, python: Path) -> tuple[Evidence, list[str], str]:
    """Execute one of the notebooks as a deploy does; return its evidence, what was said, and the failure's name."""
    executed, said, failure = folder / "kept" / f"{name}.ipynb", list[str](), ""
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(runtime.lay_down(folder / "runtime"))}
    source = NOTEBOOKS / f"{name}.ipynb"
    try:
        execute(source, output=executed, python=python, directory=folder, variables=variables, say=lambda event: None)
    except CellFailed as problem:
        failure = f"{problem.name}: {problem.value}"
    return gather(executed, say=said.append), said, failure


def test_a_kernel_leaves_metrics_plots_and_a_page(tmp_path: Path, python: Path) -> None:
    found, said, failure = run("measures", tmp_path, python)
    assert failure == ""
    assert found.metrics == {"val/loss": 1 / 3, "accuracy": 0.97, "test.precision": 0.9, "test.recall": 1.0}
    kept = tmp_path / "kept"
    assert found.plots == (str(kept / "plot-01-cell-5.png"), str(kept / "plot-02-cell-5.svg"))
    assert Path(found.plots[0]).read_bytes().startswith(b"\x89PNG")
    assert Path(found.plots[1]).read_text().startswith("<svg")
    assert said == ["plot-01-cell-5.png: one pixel", "plot-02-cell-5.svg: two pictures"]
    assert found.rendering == str(kept / "measures.html")
    page = Path(found.rendering).read_text()
    assert "val/loss = 0.333333" in page
    assert "97.3%" in page
    assert {path.name for path in kept.iterdir()} == {
        "measures.ipynb",
        "measures.html",
        *(Path(p).name for p in found.plots),
    }


def test_a_value_that_is_no_number_stops_the_notebook_with_advice(tmp_path: Path, python: Path) -> None:
    found, _, failure = run("measures_text", tmp_path, python)
    assert failure == "TypeError: the metric 'accuracy' is a str, which is not one number; pass a float"
    assert found.metrics == {}
    assert found.rendering
    assert "pass a float" in Path(found.rendering).read_text()


def test_evidence_is_gathered_of_a_notebook_that_failed(tmp_path: Path, python: Path) -> None:
    found, _, failure = run("measures_then_raises", tmp_path, python)
    assert failure.startswith("NameError")
    assert found.metrics == {"accuracy": 0.5}
    assert found.rendering
    assert "NameError" in Path(found.rendering).read_text()


class Running(HTMLParser):
    """Collects whatever of a page could run or load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "iframe", "object", "embed", "form", "base", "link", "svg", "math", "button", "input"}:
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name in {"srcdoc", "formaction"}:
                self.found.append(name)
            if name == "style" and not re.fullmatch(
                r"(background-)?color: rgb\([\d,]+\)", value or ""
            ):  # of a terminal
                self.found.append(f"style={value}")
            if name in {"src", "href"} and not re.match(r"data:image/|#|https?://|mailto:", value or ""):
                self.found.append(f"{name}={value}")


def test_nothing_runs_when_a_person_opens_the_page(tmp_path: Path, python: Path) -> None:
    found, said, failure = run("shows_scripts", tmp_path, python)
    assert failure.startswith("ValueError")
    assert found.rendering
    page = Path(found.rendering).read_text()
    assert Running(page).found == []
    assert Running("<p onclick=x><script>").found == ["onclick", "script"], "the check bites"
    head = page.partition("<style")[0]
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'" in head
    for shown in ("cell", "png", "mermaid", "widget", "latex", "&lt;script&gt;document.title = 9", "title = 11"):
        assert shown in page
    assert found.plots == ()
    assert any("holds <script>" in line for line in said), said


# -- notebooks that no kernel would leave ---------------------------------------------------------------------


def code(*outputs: Any, tags: Any = (), source: Any = "x") -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {"tags": tags}, "source": source, "outputs": list(outputs)}


def shown(**data: Any) -> dict[str, Any]:
    renamed = {
        "plain": "text/plain",
        "png": "image/png",
        "svg": "image/svg+xml",
        "html": "text/html",
        "ours": MEDIA_TYPE,
    }
    return {"output_type": "display_data", "data": {renamed[name]: value for name, value in data.items()}}


def printed(text: Any, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def lay(folder: Path, *cells: Any) -> Path:
    path = folder / "executed.ipynb"
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 4}))
    return path


TAGGED: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "a number": (code(shown(plain="0.5"), source="accuracy", tags=["metric"]), {"accuracy": 0.5}),
    "lines": (code(shown(plain=["0.5"]), source=["a = 1\n", "accuracy  # of all"], tags=["metric"]), {"accuracy": 0.5}),
    "numpy's number": (code(shown(plain="np.float64(0.5)"), source="a", tags=["metric"]), {"a": 0.5}),
    "torch's number": (code(shown(plain="tensor(0.5, device='cpu')"), source="a", tags=["metric"]), {"a": 0.5}),
    "numpy's numbers": (code(shown(plain="{'a': np.float32(0.5), 'b': 2}"), tags=["metric"]), {"a": 0.5, "b": 2.0}),
    "an attribute": (code(shown(plain="1"), source="search.best_score_", tags=["metric"]), {"best_score_": 1.0}),
    "a printed one": (code(printed("hello\n0.5\n"), source="print(a)", tags=["metric"]), {"a": 0.5}),
    "nested calls": (code(printed("0.5\n"), source="print(round(float(a), 2))", tags=["metric"]), {"a": 0.5}),
    "an assignment": (code(printed("0.5\n"), source="print(a)\nb = a", tags=["metric"]), {"b": 0.5}),
    "a name in the tag": (code(shown(plain="0.5"), source="f(1)[0]", tags=["metric:my one"]), {"my one": 0.5}),
    "two names": (code(shown(plain="1"), tags=["metric:a", "metric:b"]), {"a": 1.0, "b": 1.0}),
    "the last number": (code(shown(plain="1"), shown(plain="2"), printed("done\n"), tags=["metric"]), {"x": 2.0}),
    "warnings are not numbers": (code(shown(plain="1"), printed("3\n", "stderr"), tags=["metric"]), {"x": 1.0}),
    "ours and tagged": (
        code(shown(ours={"name": "a", "value": 1}, plain="7"), shown(plain="2"), tags=["metric"]),
        {"a": 1, "x": 2},
    ),
}


@pytest.mark.parametrize("case", TAGGED)
def test_a_tagged_cell_gives(case: str, tmp_path: Path) -> None:
    cell, expected = TAGGED[case]
    said: list[str] = []
    assert evidence.metrics(lay(tmp_path, cell), say=said.append) == expected
    assert said == []


LEFT_OUT: dict[str, tuple[dict[str, Any], str]] = {
    "no output": (code(tags=["metric"]), "shows no number; end it with the variable"),
    "text": (code(shown(plain="'0.5'"), tags=["metric"]), "shows no number"),
    "a bool": (code(shown(plain="True"), tags=["metric"]), "shows no number"),
    "nan": (code(shown(plain="nan"), tags=["metric"]), "shows no number"),
    "a dictionary of texts": (code(shown(plain="{'a': 'b'}"), tags=["metric"]), "shows no number"),
    "an empty dictionary": (code(shown(plain="{}"), tags=["metric"]), "shows no number"),
    "brackets without end": (code(shown(plain="(" * 9999), tags=["metric"]), "shows no number"),
    "a number without end": (code(shown(plain="9" * 9999), tags=["metric"]), "shows no number"),
    "an odd escape": (code(shown(plain="'\\d'"), tags=["metric"]), "shows no number"),
    "no variable": (code(shown(plain="1"), source="%time f()", tags=["metric"]), "tag it metric:NAME"),
    "no source": (code(shown(plain="1"), source=7, tags=["metric"]), "tag it metric:NAME"),
    "a bad name": (code(shown(plain="1"), tags=["metric:a|b"]), "'a|b' cannot name a metric; use 1 to 64"),
    "a key that is a number": (code(shown(plain="{1: 2}"), tags=["metric"]), "'1' cannot name a metric"),
    "ours, with a bad name": (code(shown(ours={"name": "<b>", "value": 1})), "'<b>' cannot name a metric"),
    "ours, without a name": (code(shown(ours={"value": 1})), "cannot name a metric"),
    "ours, with a text": (code(shown(ours={"name": "a", "value": "1"})), "no finite number"),
    "ours, with a bool": (code(shown(ours={"name": "a", "value": True})), "no finite number"),
    "ours, not finite": (code(shown(ours={"name": "a", "value": float("inf")})), "no finite number"),
    "ours, too large": (code(shown(ours={"name": "a", "value": 10**400})), "no finite number"),
    "ours, but a list": (code(shown(ours=[1])), "cannot name a metric"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_is_left_out_is_said(case: str, tmp_path: Path) -> None:
    cell, reason = LEFT_OUT[case]
    said: list[str] = []
    assert evidence.metrics(lay(tmp_path, code(printed("1")), cell), say=said.append) == {}
    assert len(said) == 1
    assert said[0].startswith("cell 2")
    assert reason in said[0]


def test_there_are_at_most_a_hundred_metrics(tmp_path: Path) -> None:
    many = shown(plain=str({f"m{number}": number for number in range(101)}))
    said: list[str] = []
    assert len(evidence.metrics(lay(tmp_path, code(many, tags=["metric"])), say=said.append)) == 100
    assert said == ["cell 1: only the first 100 metrics count; leave some out"]


ODD: dict[str, Any] = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "no cells": b"{}",
    "brackets without end": b"[" * 100_000,
    "no UTF-8": b"\xff\xff\xff",
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_no_notebook_is_said_and_nothing_is_raised(case: str, tmp_path: Path) -> None:
    path, said = tmp_path / "executed.ipynb", list[str]()
    path.write_bytes(ODD[case])
    assert gather(path, say=said.append) == Evidence(metrics={})
    assert len(said) == 1
    assert said[0].startswith("not all evidence was kept: ")
    with pytest.raises(NotebookUnreadable):
        render(path, tmp_path / "page.html")
    assert [file.name for file in tmp_path.iterdir()] == ["executed.ipynb"]


ODD_CELLS: list[Any] = [
    7,
    {},
    {"cell_type": "code"},
    {"cell_type": "code", "metadata": 7, "source": 7, "outputs": 7, "execution_count": "x"},
    {"cell_type": "code", "metadata": {"tags": 7}, "outputs": [7, {}, {"data": 7}, {"output_type": "error"}]},
    {"cell_type": "code", "metadata": {"tags": [7, "plot", "metric"]}, "outputs": [shown(png=7, svg=[7], html=[None])]},
    {
        "cell_type": "code",
        "outputs": [{"output_type": "stream", "text": {}}, {"output_type": "error", "traceback": [7]}],
    },
    {"cell_type": "markdown"},
    {"cell_type": "markdown", "source": "![a](attachment:gone.png)", "attachments": {"other.png": 7}},
    {"cell_type": "raw", "source": "<script>"},
    {"cell_type": "invented", "source": "x"},
    code(printed("\ud800")),
    code(shown(html="<b " * 30_000), shown(html="<div>" * 30_000)),
    code(shown(html="<script>1</script>")),
]


def test_odd_cells_do_no_harm(tmp_path: Path) -> None:
    path, said = lay(tmp_path, *ODD_CELLS, code(shown(ours={"name": "a", "value": 1}))), list[str]()
    found = gather(path, say=said.append)
    assert found.metrics == {"a": 1.0}
    for number, cell in enumerate(ODD_CELLS):
        single = render(lay(tmp_path, cell, code(printed("the end"))), tmp_path / "page.html")
        assert "the end" in Path(single).read_text(), number
        assert Running(Path(single).read_text()).found == [], number


def test_tables_and_headings_are_shown_as_such(tmp_path: Path) -> None:
    table = "<style scoped>th { color: #c0ffee }</style><table border='1'><thead><tr><th>h</th></tr></thead></table>"
    heading = {"cell_type": "markdown", "source": "# Title\n\n- one\n\n| a |\n|---|\n| 1 |"}
    page = Path(render(lay(tmp_path, heading, code(shown(html=table, plain="x"))), tmp_path / "page.html")).read_text()
    for part in ("<h1", "<li>one", "<th>a</th>", "<th>h</th>"):
        assert part in page
    assert "c0ffee" not in page
    assert "&lt;t" not in page


def test_no_template_of_the_checkout_is_code_for_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (tmp_path / "lab", tmp_path / "home" / "nbconvert" / "templates" / "lab"):
        folder.mkdir(parents=True)
        (folder / "conf.json").write_text('{"base_template": "planted"}')
        (folder / "index.html.j2").write_text("planted {{ ''.__class__ }}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "home"))
    page = Path(render(lay(tmp_path, code(printed("shown"))), tmp_path / "page.html")).read_text()
    assert "planted" not in page
    assert "shown" in page


# -- pictures -------------------------------------------------------------------------------------------------


def test_of_a_cell_tagged_plot_every_picture_counts_once(tmp_path: Path) -> None:
    both = shown(png=base64.b64encode(PNG).decode(), svg=SVG, plain="<Figure>")
    path = lay(tmp_path, code(both), code(both, shown(svg=[SVG]), printed("x"), tags=["plot"]))
    found = evidence.plots(path)
    assert [(plot.cell, plot.media_type, plot.alt) for plot in found] == [
        (2, "image/png", "plot of cell 2"),
        (2, "image/svg+xml", "plot of cell 2"),
    ]
    assert found[0].content == PNG
    assert found[1].content == SVG.encode()


REFUSED = {
    "no picture": (shown(png="AAAA"), "it is no PNG"),
    "no base64": (shown(png="?"), "it is no PNG"),
    "too large": (shown(png="A" * (9 << 20)), "it is too large"),
    "larger than it may be": (shown(png=base64.b64encode(PNG + b"\0" * (4 << 20)).decode()), "larger than 4 MiB"),
    "no SVG": (shown(svg="<html/>"), "it is not plain SVG"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_picture_is_not_kept(case: str, tmp_path: Path) -> None:
    output, reason = REFUSED[case]
    said: list[str] = []
    assert evidence.plots(lay(tmp_path, code(output, tags=["plot"])), say=said.append) == []
    assert said == [f"cell 1: a plot is not kept, since {reason}; show it as PNG"] or reason in said[0]


def test_there_are_at_most_twenty_plots_and_old_ones_are_gone(tmp_path: Path) -> None:
    many = [shown(svg=SVG)] * 21
    said: list[str] = []
    (tmp_path / "plot-99-cell-1.png").write_text("of the run before")
    found = gather(lay(tmp_path, code(*many, tags=["plot"])), say=said.append)
    assert len(found.plots) == 20
    assert "cell 1: only the first 20 plots are kept; leave some out" in said
    assert len(list(tmp_path.glob("plot-*"))) == 20


OPEN = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
ACTIVE = {
    "a script": f"{OPEN}<script>1</script></svg>",
    "a handler": f'{OPEN}<rect onload="x()"/></svg>',
    "HTML": f'{OPEN}<foreignObject><p xmlns="http://www.w3.org/1999/xhtml"/></foreignObject></svg>',
    "HTML without a frame": f'{OPEN}<b xmlns="http://www.w3.org/1999/xhtml"/></svg>',
    "no namespace": "<svg><rect/></svg>",
    "a link": f'{OPEN}<a href="javascript:x"><rect/></a></svg>',
    "an animation": f'{OPEN}<set attributeName="href" to="x"/></svg>',
    "another file": f'{OPEN}<use xlink:href="https://example.com/x.svg#a"/></svg>',
    "a picture from elsewhere": f'{OPEN}<image href="https://example.com/x.png"/></svg>',
    "a drawing inside": f'{OPEN}<image href="data:image/svg+xml;base64,AAAA"/></svg>',
    "an import": f"{OPEN}<style>@import 'x'</style></svg>",
    "an escape in a style": f"{OPEN}<style>* {{ fill: u\\72l(x) }}</style></svg>",
    "a style that loads": f'{OPEN}<rect style="fill: url(https://example.com)"/></svg>',
    "an entity": f'<!DOCTYPE svg [<!ENTITY a "b">]>{OPEN}</svg>',
    "a stylesheet": f'<?xml version="1.0"?><?xml-stylesheet href="x"?>{OPEN}</svg>',
    "no end": OPEN,
    "another encoding": f"{OPEN}\ud800</svg>",
    "something else": "GIF89a",
    "nothing": "",
}


@pytest.mark.parametrize("case", ACTIVE)
def test_a_drawing_that_could_do_something_is_refused(case: str) -> None:
    with pytest.raises(ValueError):
        drawings.checked(ACTIVE[case])


def test_a_drawing_of_matplotlib_is_taken() -> None:
    prolog = '<?xml version="1.0" encoding="utf-8" standalone="no"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"\n'
    prolog += '  "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">\n'
    drawing = (
        f"{OPEN}<metadata><rdf:RDF xmlns:dc='http://purl.org/dc/elements/1.1/' xmlns:cc='http://creativecommons.org/ns#'"
        " xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><cc:Work><dc:date>now</dc:date></cc:Work></rdf:RDF>"
        "</metadata><defs><style type='text/css'>*{stroke-linejoin: round}</style><clipPath id='p1'/></defs>"
        "<g clip-path='url(#p1)' style='fill: #ffffff; opacity: 0.8'><path d='M 0 0'/><use xlink:href='#p1'/>"
        "<image xlink:href='data:image/png;base64,\nAAAA' id='i'/><!-- Text --><text>ε</text></g></svg>"
    )
    assert drawings.checked(prolog + drawing) == drawing.encode()
