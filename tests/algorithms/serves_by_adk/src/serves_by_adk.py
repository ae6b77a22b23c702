import os

import Algorithmia
from Algorithmia import ADK

client = Algorithmia.client()


def load(models=None):
    if os.environ.get("FAIL_LOAD"):
        raise ValueError("no weights")
    return {"factor": 2, "owner": client.algo("owner/other").pipe("loading").result}


def apply(input, state):
    print("seen", input)
    if input == "raise":
        raise KeyError("missing")
    if input == "exit":
        raise SystemExit(3)
    if input == "die":
        os._exit(4)
    if input == "who":
        return client.algo("owner/other").pipe("calling").result
    return state if input == "state" else input


algorithm = ADK(apply, load, client)
algorithm.init("tried at home")
