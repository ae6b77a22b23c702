"""The smoke test's judgement, as tables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pushpoint.errors import RolloutFailed
from pushpoint.runtime.messages import Answer, Failure, Outcome
from pushpoint.smoke import Case, cases, judge

FAILED = Failure("ValueError", "too wide", "", 0.1)


def answer(value: Any) -> Answer:
    return Answer("json", json.dumps(value).encode(), 0.1)


JUDGED: list[tuple[str, Any, list[Any], Outcome, str | None]] = [
    ("EXACT_MATCH", 1, [], answer(1), None),
    ("EXACT_MATCH", 1, [], answer(2), "2 is not 1"),
    ("EXACT_MATCH", {"a": [1]}, [], answer({"a": [1]}), None),
    ("EXACT_MATCH", 1, ["a", 1, "b"], answer({"a": [0, {"b": 1}]}), None),
    ("EXACT_MATCH", 1, ["a", "1", "b"], answer({"a": [0, {"b": 1}]}), None),
    ("EXACT_MATCH", 1, ["a"], answer({"b": 1}), "has nothing at a"),
    ("EXACT_MATCH", 1, [3], answer([1]), "has nothing at 3"),
    ("EXACT_MATCH", 1, ["a"], answer([1]), "has nothing at a"),
    ("EXACT_MATCH", 1, ["a"], answer(None), "has nothing at a"),
    ("EXACT_MATCH", None, [], answer(None), None),
    ("EXACT_MATCH", "hello", [], Answer("text", b"hello", 0.1), None),
    ("EXACT_MATCH", 1, [], FAILED, "failed with ValueError: too wide"),
    ("GREATER_OR_EQUAL", 2, [], answer(2), None),
    ("GREATER_OR_EQUAL", 2, [], answer(1.9), "1.9 is not at least 2"),
    ("GREATER_OR_EQUAL", 2, [], answer("3"), "is not at least"),
    ("LESS_OR_EQUAL", 2, [], answer(2), None),
    ("LESS_OR_EQUAL", 2, [], answer(3), "3 is not at most 2"),
    ("LESS_OR_EQUAL", 2, [], answer(None), "is not at most"),
    ("NO_EXCEPTION", None, [], answer({"any": "thing"}), None),
    ("NO_EXCEPTION", None, [], FAILED, "failed with ValueError"),
    ("EXCEPTION", None, [], FAILED, None),
    ("EXCEPTION", None, [], answer(1), "an exception was expected"),
]


@pytest.mark.parametrize(("type", "expected", "tree", "outcome", "verdict"), JUDGED)
def test_an_outcome_is_judged(type: str, expected: Any, tree: list[Any], outcome: Outcome, verdict: str | None) -> None:
    said = judge(Case(name="it", input=0, type=type, expected=expected, tree=tuple(tree)), outcome)
    if verdict is None:
        assert said is None
    else:
        assert said is not None
        assert said.startswith("it: ")
        assert verdict in said


def test_every_type_is_judged() -> None:
    from pushpoint import smoke

    assert {row[0] for row in JUDGED} == set(smoke._TYPES)


def test_what_is_tried() -> None:
    assert cases(None, None) == []
    assert [case.input for case in cases(None, '{"a": 1}')] == [{"a": 1}]
    assert [case.input for case in cases(None, "plain text")] == ["plain text"]
    assert [case.input for case in cases("[]", "null")] == [None]
    listed = [{"input": 1, "expected_output": 2}, {"case_name": "n", "input": [], "type": "EXCEPTION", "tree": "a.0"}]
    first, second = cases(json.dumps(listed), None)
    assert first == Case(name="case 1", input=1, type="EXACT_MATCH", expected=2)
    assert second == Case(name="n", input=[], type="EXCEPTION", tree=("a", "0"))
    assert json.loads(second.call().data) == []
    assert second.call().content_type == "json"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "is not a list of objects"),
        ("[1]", "is not a list of objects"),
        ('[{"expected_output": 1}]', "with an `input`"),
        ('[{"input": 1, "type": "ROUGHLY"}]', "use one of EXACT_MATCH"),
        ('[{"input": 1, "type": ["EXACT_MATCH"]}]', "use one of"),
        ('[{"input": 1, "tree": 3}]', "a tree that is no list"),
        ('[{"input": 1, "tree": {"a": 1}}]', "a tree that is no list"),
    ],
)
def test_test_cases_that_are_none_say_so(text: str, says: str) -> None:
    with pytest.raises(RolloutFailed, match=r"TEST_CASES\.json") as caught:
        cases(text, None)
    assert says in caught.value.reason
