"""What the tests of promises share: shared memory as it was before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.promises.machine import shared_memory


@pytest.fixture(autouse=True)
def nothing_left_in_shared_memory() -> Iterator[None]:
    yield
    shutil.rmtree(shared_memory(), ignore_errors=True)
