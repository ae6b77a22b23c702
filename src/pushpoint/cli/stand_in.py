"""A program that stands in for a platform's first process after a restart, and knows nothing of it but its lock.

It keeps the process's number, passes signals on to the platform, and ends with it and as it has ended. Each successor
becomes its child when the one before has ended (PR_SET_CHILD_SUBREAPER of prctl(2)). It is small because it imports
little.
"""

from __future__ import annotations

import os
import signal
import sys

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LOOK = 10.0
"""Seconds between two looks, should a signal have gone to a thread that is left of the platform."""


def main(lock: str) -> int:
    """Wait for the platform's end.

    Args:
        lock: File that has the number of the process that is the platform.

    Returns:
        The platform's exit code; 128 and the signal's number if one has ended it.
    """
    awaited = {*SIGNALS, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)  # each waits until it is asked for: none comes between two steps
    end, code = 0, 0
    try:
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                platform = _read(lock)
                if platform == [ended] or not platform or not os.path.exists(f"/proc/{platform[0]}"):
                    break
                if end:  # it may have come too late for the one that has ended to pass it on
                    _pass_on(end)
            elif (came := signal.sigtimedwait(awaited, LOOK)) and came.si_signo != signal.SIGCHLD:
                _pass_on(came.si_signo)
                end = end if came.si_signo == signal.SIGHUP else came.si_signo
    except ChildProcessError:
        pass
    for child in _children():  # workers whose platform did not come to its end
        os.kill(child, signal.SIGKILL)
    return 128 - code if code < 0 else code


def _pass_on(number: int) -> None:
    for child in _children():
        os.kill(child, number)


def _children() -> list[int]:
    return _read(f"/proc/self/task/{os.getpid()}/children")


def _read(file: str) -> list[int]:
    with open(file) as text:
        return [int(word) for word in text.read().split()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
