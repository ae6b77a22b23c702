"""Git hosts that never answer leave threads for everybody else."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

from pushpoint.serving.fetching import PLACES, Fetcher


def test_only_so_many_requests_wait_for_git_hosts_at_once() -> None:
    nothing = cast(Any, None)
    fetcher = Fetcher(nothing, nothing, nothing, nothing, frozenset())
    for _ in range(2):  # and places are given back
        with ExitStack() as stack:
            assert [stack.enter_context(fetcher.place()) for _ in range(PLACES + 1)] == [True] * PLACES + [False]
    fetcher.close()
