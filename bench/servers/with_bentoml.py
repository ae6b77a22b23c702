"""BentoML, one worker; batched, as its own dispatcher sees fit, up to 64."""

# /// script
# dependencies = ["bentoml>=1.4.30"]
# ///

import os
import sys
from importlib import import_module
from typing import Any

import bentoml


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Service:
    """One algorithm."""

    def __init__(self):
        """Load it."""
        self.algorithm = import_module(os.environ["ALGORITHM"])
        getattr(self.algorithm, "load", lambda: None)()

    if os.environ["FORM"] == "batched":

        @bentoml.api(batchable=True, max_batch_size=64)
        def answer(self, inputs: list[str]) -> list[Any]:
            """Answer calls that came together."""
            return self.algorithm.apply_batch(inputs)

    else:

        @bentoml.api
        def answer(self, input: str) -> Any:
            """Answer one call."""
            return self.algorithm.apply(input)


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(__file__))
    os.environ["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), os.environ["PYTHONPATH"]])
    command = [sys.executable, "-m", "bentoml", "serve", "with_bentoml:Service", "--host", "127.0.0.1"]
    os.execv(sys.executable, [*command, "--port", os.environ["PORT"]])
