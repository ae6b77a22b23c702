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


def main(lock: str) -> int:
    """Wait for the platform's end.

    Args:
        lock: File that has the number of the process that is the platform.

    Returns:
        The platform's exit code; 128 and the signal's number if one has ended it.
    """

    def pass_on(number: int, _: object) -> None:
        for child in _children():
            os.kill(child, number)

    for number in SIGNALS:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # what came while the program was exchanged comes now
    code = 0
    try:
        while True:
            ended, status = os.wait()
            code = os.waitstatus_to_exitcode(status)
            platform = _read(lock)
            if platform == [ended] or not platform or not os.path.exists(f"/proc/{platform[0]}"):
                break
    except ChildProcessError:
        pass
    for child in _children():  # workers whose platform did not come to its end
        os.kill(child, signal.SIGKILL)
    return 128 - code if code < 0 else code


def _children() -> list[int]:
    return _read(f"/proc/self/task/{os.getpid()}/children")


def _read(file: str) -> list[int]:
    with open(file) as text:
        return [int(word) for word in text.read().split()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
