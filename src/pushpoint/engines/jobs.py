"""Calls on their way to a worker, and who waits for what becomes of them; on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pushpoint.engines.streams import Stream
from pushpoint.runtime.messages import Call, Failure, Outcome

UNAVAILABLE = "Unavailable"
"""The type of a failure that is the platform's own affair, and over soon. No algorithm may say it of itself."""
STOPPED = Failure(UNAVAILABLE, "its worker was stopped before this call was answered; call again if it may run twice")


class Waiting(Protocol):
    """Whoever waits for the outcome of a call; a future is one."""

    def done(self) -> bool:
        """Say whether there is an outcome.

        Returns:
            True once it is there, and where nobody waits for it any more.
        """
        ...

    def set_result(self, result: Outcome, /) -> None:
        """Take the outcome; called once."""
        ...


class Reply:
    """Has a function called with the outcome as soon as it is there, without a turn of the loop between."""

    __slots__ = ("_is_there", "_take")

    def __init__(self, take: Callable[[Outcome], None]) -> None:
        self._is_there, self._take = False, take

    def done(self) -> bool:
        """Say whether there is an outcome.

        Returns:
            That.
        """
        return self._is_there

    def set_result(self, result: Outcome, /) -> None:
        """Hand it over. What goes wrong there is that caller's alone: whoever settles calls has others to settle."""
        self._is_there = True
        try:
            self._take(result)
        except Exception as error:
            context = {"message": "an outcome could not be handed over", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


@dataclass(slots=True, eq=False)
class Job:
    """A call on its way.

    Attributes:
        call: What the algorithm is called with.
        timeout: The seconds that the caller has given it.
        deadline: When they are over, in the loop's seconds.
        outcome: Where the outcome will be.
        alone: Whether it is to be with no other: it was among those that ended a worker.
        stream: Where its items go, if its caller takes them one by one.
    """

    call: Call
    timeout: float
    deadline: float
    outcome: Waiting
    alone: bool = False
    stream: Stream | None = None

    @property
    def began(self) -> float:
        """When it came, in the loop's seconds."""
        return self.deadline - self.timeout

    def settle(self, outcome: Outcome) -> None:
        """Answer the caller, if that is still waiting."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)
