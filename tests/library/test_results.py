"""What results look like on a page: facts, and nothing that somebody else wrote as markup."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import stamina

from pushpoint import wire
from pushpoint.digests import describe_bytes
from pushpoint.library import Algorithm, Answer, Build, Model, Release, Releases
from pushpoint.library.results import release
from pushpoint.names import AlgorithmName
from pushpoint.report import quiet

HOSTILE = "</td><script>alert(1)</script>\x1b[31m\u202e&\"'"
NOW = datetime(2026, 6, 1, 8, 30, tzinfo=UTC)
NAME = AlgorithmName("ann", "iris")


def a_release(text: str = "plain") -> Release:
    view = wire.ReleaseView(
        version="0.1.0",
        commit="c" * 40,
        build_id="b",
        is_public=False,
        is_live=True,
        state=None,
        notes=text,
        published=NOW,
        sample_input=None,
        model=wire.Model(uri=f"data://ann/iris/{text}", sha256="d" * 64, md5="e" * 32, size=3),
        source=wire.Source(repository=text, ref="r", commit="f" * 40, message=text, committed=NOW),
        inputs=None,
        provenance={},
        metrics={text: 0.94321},
    )
    return release(NAME, view)


def an_answer(value: object, text: str = "plain") -> Answer:
    return Answer(
        value=value,
        seconds=0.5,
        algorithm=text,
        version="0.1.0",
        commit="c" * 40,
        model_sha256="",
        source_commit="",
        stdout=text,
    )


def a_model(text: str) -> Model:
    described = describe_bytes([b"abc"])
    return Model(uri=f"data://{text}", descriptor=described, format=text, uploaded=NOW, metrics={text: 1.0})


def nowhere() -> Algorithm:
    from pushpoint.client import Client

    return Algorithm(NAME, wire=Client("http://127.0.0.1:1", "simkey"), report=quiet())


@pytest.mark.parametrize(
    "drawn",
    [
        a_release(HOSTILE),
        Releases([a_release(HOSTILE)]),
        an_answer(HOSTILE, HOSTILE),
        an_answer({HOSTILE: [HOSTILE]}, HOSTILE),
        a_model(HOSTILE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_text_of_others_is_text(drawn: Release | Releases | Answer | Model) -> None:
    page = drawn._repr_html_()
    assert set(re.findall(r"</?(\w+)", page)) <= {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert "&lt;script&gt;" in page
    assert not re.search("[\x1b\u202e]", page)


def test_facts_are_shown_and_what_is_not_known_is_left_out() -> None:
    page = a_release()._repr_html_()
    for fact in ("ann/iris 0.1.0", "live", "2026-06-01 08:30:00", "d" * 64, "f" * 40, "0.9432", "its owner"):
        assert fact in page
    unknown = replace(a_release(), source=None, model=None, metrics={})
    assert not re.search("source|sha256", unknown._repr_html_())
    assert "None" not in Releases([unknown])._repr_html_()
    assert repr(unknown) == "<Release ann/iris 0.1.0, live>"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a text", ">a text<"),
        (b"\x00" * 2000, ">2.0 kB of bytes<"),
        ({"müde": [1]}, "&quot;müde&quot;: [\n    1"),
        ("x" * 6000, "... (6,000 characters)"),
        (None, ">null<"),
    ],
)
def test_an_answer_is_shown_by_its_kind(value: object, shown: str) -> None:
    page = an_answer(value)._repr_html_()
    assert shown in page
    assert len(page) < 7000


def test_what_a_platform_out_of_reach_cannot_tell_is_said_and_does_not_fail_the_cell() -> None:
    algorithm = nowhere()
    with stamina.set_testing(True):  # without the waits between its tries
        drawn_both = algorithm._repr_html_(), Build(algorithm=algorithm, commit="c" * 40)._repr_html_()
    for drawn in drawn_both:
        assert "not known: no answer from http://127.0.0.1:1" in drawn
