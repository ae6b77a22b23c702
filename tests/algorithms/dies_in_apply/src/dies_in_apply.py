import os
import signal


def apply(input):
    if input == "print and exit":
        print("going now", flush=True)
        os._exit(3)
    if input == "exit":
        os._exit(3)
    if input == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if input == "abort":
        os.abort()
    return os.getpid()
