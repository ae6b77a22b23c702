"""A front before a platform, and the insistence that a test reached what it says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.front import Front, opened
from tests.clients.table import unanswered
from tests.conftest import Platform


@pytest.fixture(scope="module")
def front(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Where the client of this module is pointed at."""
    with opened(platform, tmp_path_factory.mktemp("front")) as found:
        yield found


@pytest.fixture(autouse=True)
def reached(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test whose client got no answer from an endpoint that the test is marked with."""
    marks = list(request.node.iter_markers("reaches"))
    if not marks:
        yield
        return
    front: Front = request.getfixturevalue("front")
    before, failed = len(front.seen), request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        return  # it says itself what is wrong
    for mark in marks:
        assert unanswered(mark.args, mark.kwargs["refused"], front.seen[before:]) == {}
