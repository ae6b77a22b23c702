"""How many calls somebody may have at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pushpoint.errors import Overloaded
from pushpoint.records import EVERYDAY, Account, Actor
from pushpoint.serving.limits import Limits

ANN = Actor(account=Account(id="a", name="ann", created=datetime.now(UTC)), scopes=EVERYDAY)
BOB = replace(ANN, account=replace(ANN.account, name="bob"))


def test_an_account_and_a_call_have_places_of_their_own_and_give_them_back() -> None:
    limits = Limits(calls=2, children=1)
    child = replace(ANN, session="s")
    with limits.slot(ANN), limits.slot(ANN), limits.slot(BOB), limits.slot(child):
        for actor in (ANN, child):
            with pytest.raises(Overloaded) as refused, limits.slot(actor):
                pass
            assert refused.value.retry_after == 1
        with limits.slot(replace(child, session="t")):
            pass
    with pytest.raises(ZeroDivisionError), limits.slot(ANN):
        _ = 1 / 0
    with limits.slot(ANN), limits.slot(ANN), limits.slot(child):
        pass
