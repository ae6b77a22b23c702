"""The /v1 API's JSON, both ways."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pushpoint import wire
from pushpoint.digests import OCTETS, Descriptor, Digest
from pushpoint.errors import InvalidRequest
from pushpoint.lifecycle import BuildState
from pushpoint.names import AlgorithmName, Version
from pushpoint.records import Algorithm, Build, File, Release

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def algorithm(**settings: object) -> Algorithm:
    return Algorithm(
        id="a",
        name=AlgorithmName("ann", "sentiment"),
        label="L",
        summary="S",
        tagline="T",
        settings=settings,
        sample_input=None,
        created=NOW,
        generation=0,
        live=None,
    )


def build(state: BuildState = BuildState.SUCCEEDED) -> Build:
    return Build(
        id="b",
        algorithm_id="a",
        commit="c" * 40,
        state=state,
        manifest=None,
        environment="e",
        sandbox=None,
        started=NOW,
        finished=None if state is BuildState.IN_PROGRESS else NOW,
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"a=b&c", b"  ", b"details=label&settings=license", b"null", b"5", b"\xff\xfe", b"true", b"{}", b" \n{ } "],
)
def test_what_old_clients_send_without_meaning_reads_as_nothing(body: bytes) -> None:
    assert wire.lenient(body) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1]",
        b'"x"',
        b'{"a": }',
        b'{"a": 1} {"b": 2}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": 1e999}',
        b'{"a": NaN}',
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_looks_like_json_and_is_not_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="see the HTTP reference"):
        wire.lenient(body)


def test_an_object_is_read_to_the_letter() -> None:
    assert wire.lenient(b'{"a": [1, 1.0, null, "\xc3\xa9"], "a": 2}') == {"a": 2}
    assert wire.lenient(b'{"n": 123456789012345678901234567890}')["n"] == pytest.approx(1.2345678901234568e29)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"{}", "version"),
        (b'{"version": 1, "deploy_id": "d"}', r"\$\.version"),
        (b'{"version": "1", "deploy_id": "d", "is_rollback": "yes"}', r"\$\.is_rollback"),
        (b"null", "object"),
        (b"", "truncated"),
    ],
)
def test_a_body_of_another_shape_is_refused_with_its_place(body: bytes, place: str) -> None:
    with pytest.raises(InvalidRequest, match=place):
        wire.decode(body, wire.RollOut)


def test_our_shapes_come_back_as_they_were() -> None:
    asked = wire.RollOut(version="0.1.0", deploy_id="d", is_rollback=True)
    assert wire.decode(wire.encode(asked), wire.RollOut) == asked
    log = wire.LogView(logs="\u00e9\x00", next=3, finished=False)
    assert wire.decode(wire.encode(log), wire.LogView) == log


def test_json_is_compact() -> None:
    assert wire.encode({"a": [1, "\u00e9"]}) == '{"a":[1,"\u00e9"]}'.encode()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (NOW, "2026-01-02T03:04:05.678Z"),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=5))), "2026-01-01T19:00:00.000Z"),
        (datetime(2026, 1, 2, 0, 0, 0, 999, tzinfo=UTC), "2026-01-02T00:00:00.000Z"),
    ],
)
def test_a_moment_has_three_digits(value: datetime, shown: str) -> None:
    assert wire.moment(value) == shown


def test_a_fresh_algorithm_shows_no_more_than_is_known() -> None:
    shown = wire.algorithm_object(algorithm(license="mit", language="r"))
    assert set(shown) == {"id", "name", "details", "settings", "source", "resource_type", "self_link"}
    assert shown["details"] == {"label": "L", "summary": "S", "tagline": "T"}
    assert shown["settings"]["license"] == "mit"
    assert shown["settings"]["language"] == "r"
    assert shown["settings"]["algorithm_callability"] == "private"
    assert shown["source"]["scm"]["id"] == "internal"
    assert shown["self_link"] == "/v1/algorithms/ann/sentiment"


def test_a_version_shows_its_build_and_its_release() -> None:
    release = Release(
        id="r",
        algorithm_id="a",
        version=Version(0, 1, 0),
        build=build(),
        is_public=False,
        notes="n",
        sample_input=None,
        published=NOW,
    )
    bare = wire.algorithm_object(algorithm(), build=build())
    assert bare["version_info"] == {"git_hash": "c" * 40, "version_uuid": "b"}, "not published: no semantic version"
    assert bare["self_link"].endswith("/versions/" + "c" * 40)
    assert "version_info" not in bare["build"]
    assert "compilation" not in bare
    shown = wire.algorithm_object(algorithm(), build=build(), release=release)
    assert shown["version_info"]["semantic_version"] == "0.1.0"
    assert shown["build"]["version_info"] == {"semantic_version": "0.1.0"}


@pytest.mark.parametrize("state", list(BuildState))
def test_a_compilation_says_how_it_went(state: BuildState) -> None:
    shown = wire.algorithm_object(algorithm(), build=build(state), log="said")
    assert shown["compilation"] == {"successful": state is BuildState.SUCCEEDED, "output": "said"}
    assert shown["build"]["status"] == state
    assert ("finished_at" in shown["build"]) is (state is not BuildState.IN_PROGRESS)
    json.dumps(shown)


def test_a_file_and_a_page() -> None:
    blob = Descriptor(media_type=OCTETS, digest=Digest("sha256:" + "0" * 64), size=5, md5="")
    assert wire.file_object(File(name="f", blob=blob, modified=NOW)) == {
        "filename": "f",
        "last_modified": "2026-01-02T03:04:05.678Z",
        "size": 5,
    }
    assert wire.page([1], marker=None, link=None) == {"marker": None, "next_link": None, "results": [1]}
