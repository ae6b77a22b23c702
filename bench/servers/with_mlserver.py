"""MLServer, one worker; batched, what comes within 2 ms of another is answered with it."""

# /// script
# dependencies = ["mlserver>=1.7", "uvloop<0.22"]  # a newer uvloop ends its worker
# ///

import json
import os
from importlib import import_module

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceResponse


class Algorithm(MLModel):
    """One algorithm."""

    async def load(self) -> bool:
        """Load it."""
        self.algorithm = import_module(os.environ["ALGORITHM"])
        getattr(self.algorithm, "load", lambda: None)()
        return True

    async def predict(self, payload):
        """Answer calls that came together; one, if nothing is batched."""
        answers = self.algorithm.apply_batch(StringCodec.decode_input(payload.inputs[0]))
        output = StringCodec.encode_output("output", [json.dumps(one) for one in answers])
        return InferenceResponse(model_name=self.name, outputs=[output])


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), os.environ["PYTHONPATH"]])
    folder = os.path.abspath("mlserver")
    os.makedirs(folder, exist_ok=True)
    model = {"name": "algorithm", "implementation": "with_mlserver.Algorithm"}
    if os.environ["FORM"] == "batched":
        model |= {"max_batch_size": 64, "max_batch_time": 0.002}
    settings = {"host": "127.0.0.1", "parallel_workers": 1, "debug": False, "access_log": False} | {
        f"{name}_port": int(os.environ["PORT"]) + more for more, name in enumerate(("http", "grpc", "metrics"))
    }
    for name, content in (("model-settings.json", model), ("settings.json", settings)):
        with open(os.path.join(folder, name), "w") as file:
            json.dump(content, file)
    os.execvp("mlserver", ["mlserver", "start", folder])
