"""The smoke test of a release: its sample input and its `TEST_CASES.json`, judged before it gets traffic.

The format is that of the old platform's CI action (platform API, section 6.6): a list of objects with `case_name`,
`input`, `expected_output`, `type` and `tree`, the way into the answer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pushpoint.errors import RolloutFailed
from pushpoint.runtime.messages import Answer, Call, Failure, Outcome

FILE = "TEST_CASES.json"
_TYPES = ("EXACT_MATCH", "GREATER_OR_EQUAL", "LESS_OR_EQUAL", "NO_EXCEPTION", "EXCEPTION")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One call, and what its answer must be."""

    name: str
    input: Any
    type: str
    expected: Any = None
    tree: tuple[str | int, ...] = ()

    def call(self) -> Call:
        """Return the call to make.

        Returns:
            The input as JSON.
        """
        return Call(content_type="json", data=json.dumps(self.input).encode())


def cases(test_cases: str | None, sample_input: str | None) -> list[Case]:
    """Read what is to be tried.

    Args:
        test_cases: Text of `TEST_CASES.json`, if the release has one.
        sample_input: JSON text, or plain text that is taken as a string.

    Returns:
        The cases; none at all means that nothing is tried but import and load.

    Raises:
        RolloutFailed: The file is not of its format.
    """
    found = []
    if sample_input is not None:
        try:
            sample = json.loads(sample_input)
        except (ValueError, RecursionError):
            sample = sample_input
        found.append(Case(name="sample input", input=sample, type="NO_EXCEPTION"))
    if test_cases is None:
        return found
    try:
        listed = json.loads(test_cases)
    except (ValueError, RecursionError) as error:
        raise RolloutFailed(f"{FILE} is not JSON ({error}); correct it and deploy again") from error
    if not isinstance(listed, list) or not all(isinstance(case, dict) and "input" in case for case in listed):
        raise RolloutFailed(f"{FILE} is not a list of objects with an `input`; correct it and deploy again")
    for number, case in enumerate(listed, start=1):
        name = str(case.get("case_name", f"case {number}"))
        kind = case.get("type", "EXACT_MATCH")
        if kind not in _TYPES:
            raise RolloutFailed(f"{name} in {FILE} has the type {kind!r}; use one of {', '.join(_TYPES)}")
        tree = case.get("tree") or []
        steps = tree.split(".") if isinstance(tree, str) else tree
        if not isinstance(steps, list):
            raise RolloutFailed(f"{name} in {FILE} has a tree that is no list; write the keys that lead to the value")
        found.append(
            Case(name=name, input=case["input"], type=kind, expected=case.get("expected_output"), tree=tuple(steps))
        )
    return found


def judge(case: Case, outcome: Outcome) -> str | None:
    """Say what is wrong with the outcome of a case.

    Returns:
        A sentence, or none if the case passed.

    Example:
        >>> case = Case(name="two", input=1, type="GREATER_OR_EQUAL", expected=2, tree=("n",))
        >>> judge(case, Answer("json", b'{"n": 1}', 0.0))
        'two: 1 is not at least 2'
    """
    if isinstance(outcome, Failure):
        if case.type == "EXCEPTION":
            return None
        return f"{case.name}: failed with {outcome.error_type}: {outcome.message}{_where(outcome)}"
    if case.type == "EXCEPTION":
        return f"{case.name}: an exception was expected, and it answered"
    if case.type == "NO_EXCEPTION":
        return None
    try:
        value = _walk(_value(outcome), case.tree)
    except (KeyError, IndexError, TypeError, ValueError):
        return f"{case.name}: the answer has nothing at {'.'.join(map(str, case.tree))}"
    if case.type == "EXACT_MATCH":
        return None if value == case.expected else f"{case.name}: {_short(value)} is not {_short(case.expected)}"
    try:
        good = value >= case.expected if case.type == "GREATER_OR_EQUAL" else value <= case.expected
    except TypeError:
        good = False
    word = "at least" if case.type == "GREATER_OR_EQUAL" else "at most"
    return None if good else f"{case.name}: {_short(value)} is not {word} {_short(case.expected)}"


def _where(failure: Failure) -> str:
    """Say where an algorithm's own code failed, and with what class of exception.

    Returns:
        A part of a sentence; empty where its stack does not tell.
    """
    frames = re.findall(r'File "(?:[^"\n]*/)?(src/[^"\n]+)", line (\d+)', failure.stacktrace)
    last = re.match(r"\w[\w.]*", failure.stacktrace.rstrip().rpartition("\n")[2])
    return f" ({last[0] if last else 'raised'} in {frames[-1][0]}, line {frames[-1][1]})" if frames else ""


def _value(answer: Answer) -> Any:
    return json.loads(answer.data) if answer.content_type == "json" else answer.data.decode("utf-8", "replace")


def _walk(value: Any, tree: tuple[str | int, ...]) -> Any:
    for step in tree:
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
