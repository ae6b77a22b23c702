"""A line in the platform's log for each call that failed or was refused, and none for one that went well.

It says what and how long, and nothing that a caller or an algorithm wrote but names: inputs, messages and keys are not
in it. Failed calls are kept with their messages for the algorithm's owner by `reports`.
"""

from __future__ import annotations

import time

import structlog

from pushpoint.runtime.messages import Failure
from pushpoint.serving.lookups import Target

MOST = 50
"""Lines a second; what is more is counted in the next one, so that a flood of bad calls does not fill the disk."""
_LONGEST = 200

log = structlog.get_logger()


class CallLog:
    """Writes lines; on the loop."""

    def __init__(self) -> None:
        self._second, self._written, self._left_out = 0, 0, 0

    def failed(self, target: Target, failure: Failure, seconds: float, request_id: str) -> None:
        """Note that an algorithm failed, or did not answer in time."""
        self._write(
            "a call failed",
            request_id=request_id,
            algorithm=str(target.algorithm.name),
            version=target.version or target.build.commit,
            error_type=failure.error_type[:_LONGEST],
            seconds=round(seconds, 6),
        )

    def refused(self, path: str, status: int, error_type: str, seconds: float, error_id: str) -> None:
        """Note that a call reached no algorithm.

        Args:
            path: What was asked for, without its query.
            status: Of the answer.
            error_type: Of the answer.
            seconds: What the refusal took.
            error_id: What the answer is known by.
        """
        self._write(
            "a call was refused",
            id=error_id,
            path=path[:_LONGEST],
            status=status,
            error_type=error_type,
            seconds=round(seconds, 6),
        )

    def _write(self, event: str, **facts: object) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._written = second, 0
        if self._written >= MOST:
            self._left_out += 1
            return
        self._written += 1
        if self._left_out:
            facts["left_out_before"], self._left_out = self._left_out, 0
        log.info(event, **facts)
