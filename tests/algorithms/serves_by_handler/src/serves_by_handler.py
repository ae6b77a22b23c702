import os

import Algorithmia


def load():
    if os.environ.get("FAIL_LOAD"):
        raise ValueError("no weights")
    return {"factor": 2}


def apply(input, state):
    print("seen", input)
    if input == "raise":
        raise KeyError("missing")
    return state if input == "state" else input


if __name__ == "__main__":
    Algorithmia.handler(apply, load).serve()
