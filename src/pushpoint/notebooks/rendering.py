"""An executed notebook as a page of HTML that a person may open, whoever wrote the notebook.

Three walls, each enough alone. The page forbids itself everything that runs or loads (Content Security Policy). What a
notebook brings as HTML is reduced to harmless tags. And nbconvert is given a notebook made anew from plain texts and
pictures, because its own cleaning leaves gaps (metadata becomes attributes, widgets become scripts).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from html import escape
from importlib.metadata import files
from pathlib import Path
from typing import Any

import bleach  # type: ignore[import-untyped]
import nbformat
from nbconvert.exporters import HTMLExporter

from pushpoint.errors import NotebookUnreadable
from pushpoint.notebooks.evidence import cells, mapping, outputs, text, write

_PAGE = """
{%- extends 'index.html.j2' -%}
{%- block header -%}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1.0">
<title>{{ resources.metadata.name | escape_html }}</title>
{% for css in resources.inlining.css %}<style>{{ css }}</style>{% endfor %}
{{ resources.include_css("static/index.css") }}
{{ resources.include_css("static/theme-light.css") }}
<style>.jp-Collapser { display: none } .jp-OutputArea-output pre { line-height: inherit }</style>
</head>
{%- endblock header -%}
{%- block footer -%}</html>{%- endblock footer -%}
"""
_TAGS = (
    "a abbr b blockquote br caption code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img ins kbd li ol p pre s"
    " samp small span strong sub summary sup table tbody td tfoot th thead tr u ul var"
)
_TAG = re.compile(r"<(/?)(?!br\b|hr\b|img\b)[a-zA-Z]")
_DEEPEST = 200
_MOST_TAGS = 50_000
_ATTRIBUTES = {"td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"}, "img": {"alt", "width", "height"}}
_STYLE = re.compile(r"<style\b.*?</style\s*>", re.IGNORECASE | re.DOTALL)
_ALIVE = re.compile(r"<(script|button|input|iframe|form|object|embed|link|svg)\b", re.IGNORECASE)
"""HTML that wants to do something: its plain text says more than what would be left of it."""
_MARKUP = ("text/html", "text/markdown")
_PICTURES = ("image/svg+xml", "image/png", "image/jpeg")
_BASE64 = re.compile(r"[a-zA-Z0-9+/=\s]+")
_LARGEST_PICTURE = 16 << 20
_LONGEST_TEXT = 1 << 20
"""Characters of one output."""
_LONGEST_MARKUP = 1 << 18
_ALL_MARKUP = 1 << 21
"""Characters of HTML and Markdown in the whole page: cleaning takes a second for each million."""


def render(executed: Path, to: Path) -> str:
    """Write an executed notebook as HTML.

    Args:
        executed: The executed notebook; it may have stopped half-way.
        to: The page, written whole or not at all.

    Returns:
        The page's path.

    Raises:
        NotebookUnreadable: It is no notebook, or nbconvert cannot cope with it.
    """
    notebook = _harmless(cells(executed))
    try:
        exporter = _Exporter()
        html, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": executed.stem}})
    except Exception as problem:  # a template engine and three parsers let every kind of error through
        reason = str(problem).strip().split("\n")[0] or type(problem).__name__
        raise NotebookUnreadable(str(executed), f"it cannot be shown as HTML: {reason}") from problem
    return write(to, html.encode("utf-8", "replace"))


class _Exporter(HTMLExporter):
    """nbconvert's, with its own templates alone: one that lies in the checkout or a home would be code that we run."""

    def __init__(self) -> None:
        shipped = [file for file in files("nbconvert") or () if str(file).endswith("templates/lab/index.html.j2")]
        self._root = Path(os.path.abspath(str(shipped[0].locate()))).parents[3]
        super().__init__(  # type: ignore[no-untyped-call]
            raw_template=_PAGE,
            template_name="lab",
            template_data_paths=[str(self._root / "nbconvert" / "templates")],
            extra_template_basedirs=[],
            extra_template_paths=[],
            sanitize_html=True,
            exclude_anchor_links=True,
        )
        self.register_filter("clean_html", _clean)  # type: ignore[no-untyped-call]

    def get_prefix_root_dirs(self) -> list[str]:
        return [str(self._root)]


def _clean(markup: object) -> str:
    source = str(markup)
    if _is_tangled(source):
        return escape(source)
    protocols = {"http", "https", "mailto", "data"}
    return str(bleach.clean(source, tags=set(_TAGS.split()), attributes=_may_stay, protocols=protocols))


def _is_tangled(source: str) -> bool:
    # An HTML parser needs time that grows with the square of what is left open: minutes, for a page made for it.
    depth = 0
    for count, tag in enumerate(_TAG.finditer(source)):
        depth = max(depth - 1, 0) if tag[1] else depth + 1
        if depth > _DEEPEST or count > _MOST_TAGS:
            return True
    return False


def _may_stay(tag: str, name: str, value: str) -> bool:
    if (tag, name) == ("a", "href"):
        return value.startswith(("http://", "https://", "mailto:", "#"))
    if (tag, name) == ("img", "src"):
        return value.startswith(("data:image/png;base64,", "data:image/jpeg;base64,"))
    return name in {"class", "id", "title"} or name in _ATTRIBUTES.get(tag, ())


def _harmless(found: list[Mapping[str, Any]]) -> nbformat.NotebookNode:
    left = _ALL_MARKUP
    made = []
    for cell in found:
        source = text(cell.get("source"))[:_LONGEST_MARKUP]
        if cell.get("cell_type") == "markdown" and len(source) <= left:
            left -= len(source)
            made.append(_markdown(source, mapping(cell.get("attachments"))))
        elif cell.get("cell_type") == "code":
            shown = []
            for output in outputs(cell):
                one = _output(output, left)
                left -= sum(len(value) for kind, value in one.get("data", {}).items() if kind in _MARKUP)
                shown.append(one)
            count = cell.get("execution_count")
            made.append(
                {
                    "cell_type": "code",
                    "metadata": {},
                    "source": source,
                    "outputs": shown,
                    "execution_count": count if type(count) is int else None,
                }
            )
    metadata = {"language_info": {"name": "python", "pygments_lexer": "python"}}
    node: nbformat.NotebookNode = nbformat.from_dict(  # type: ignore[no-untyped-call]
        {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}
    )
    return node


def _markdown(source: str, attachments: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: dict(_pictures(mapping(data))) for name, data in attachments.items()}
    if not any(kept.values()):
        source = source.replace("attachment:", "")  # nbconvert gives up on one that is not there
    return {"cell_type": "markdown", "metadata": {}, "source": source, "attachments": kept}


def _output(output: Mapping[str, Any], left: int) -> dict[str, Any]:
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return {"output_type": "stream", "name": name, "text": text(output.get("text"))[:_LONGEST_TEXT]}
    if kind == "error":
        trace = [line[:_LONGEST_TEXT] for line in output.get("traceback") or () if isinstance(line, str)]
        said = {"ename": text(output.get("ename")), "evalue": text(output.get("evalue"))}
        return {"output_type": "error", "traceback": trace, **said}
    data = mapping(output.get("data"))
    kept = dict(_pictures(data))
    plain = text(data.get("text/plain"))[:_LONGEST_TEXT]
    for markup in _MARKUP:
        source = _STYLE.sub("", text(data.get(markup)))
        if source and len(source) <= min(left, _LONGEST_MARKUP) and not (plain and _ALIVE.search(source)):
            kept[markup] = source
            break
    if plain or not kept:
        kept["text/plain"] = plain or f"({', '.join(sorted(map(str, data))) or 'nothing'}: not shown)"
    return {"output_type": "display_data", "metadata": {}, "data": kept}


def _pictures(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for media_type in _PICTURES:
        picture = text(data.get(media_type))
        is_sound = media_type == "image/svg+xml" or _BASE64.fullmatch(picture)
        if picture and is_sound and len(picture) <= _LARGEST_PICTURE:
            yield media_type, picture  # an SVG is shown by reference, as a picture: nothing in it runs
