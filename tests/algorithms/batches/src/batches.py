"""Answers each input with the size of the batch it was in; some inputs spoil theirs."""

import os
import signal
import time

max_batch_size = 16
max_batch_delay = 0.002


def apply_batch(inputs):
    if "slow" in inputs:
        time.sleep(0.3)
    if "raise" in inputs:
        raise ValueError("this one cannot be")
    if "die" in inputs:
        os.kill(os.getpid(), signal.SIGKILL)
    if "hang" in inputs:
        time.sleep(1000)
    if "short" in inputs:
        return inputs[1:]
    if "print" in inputs:
        print("printed in a batch of", len(inputs))
    return [ValueError("in its place") if one == "in place" else [one, len(inputs)] for one in inputs]
