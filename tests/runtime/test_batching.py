"""What can be called with one argument is let through, whatever else it can be called with."""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import Any

import pytest

from pushpoint.runtime.batching import check


class Called:
    def __call__(self, input: Any, *, beam: int = 3) -> Any:
        return input


def with_more(input: Any, state: Any = None, *rest: Any, **named: Any) -> Any:
    return input


async def asynchronous(input: Any) -> Any:
    return input


@pytest.mark.parametrize(
    "function",
    [len, dict, itemgetter(0), str.upper, Called(), with_more, asynchronous, partial(max, 1), lambda *all: all],
    ids=lambda one: type(one).__name__,
)
def test_whatever_takes_one_argument_may_be_an_apply(function: Any) -> None:
    check(function, "apply", "the input")


@pytest.mark.parametrize("function", [lambda: 1, lambda a, b: 1, lambda *, a: 1, partial(Called(), 1)])
def test_what_would_fail_is_refused_by_name(function: Any) -> None:
    with pytest.raises(
        TypeError, match=r"apply\(.*\) is called with the input alone, and would fail: .*; let it take one"
    ):
        check(function, "apply", "the input")
