"""LitServe, one worker; batched, what comes within 2 ms of another is answered with it."""

# /// script
# dependencies = ["litserve>=0.2.17"]
# ///

import os
from importlib import import_module

import litserve


class Api(litserve.LitAPI):
    """One algorithm."""

    def setup(self, device):
        """Load it."""
        algorithm = import_module(os.environ["ALGORITHM"])
        getattr(algorithm, "load", lambda: None)()
        self.answer = algorithm.apply_batch if self.max_batch_size > 1 else algorithm.apply

    def decode_request(self, request):
        """Take the input out of a request."""
        return request["input"]

    def predict(self, input):
        """Answer one call, or a list of them."""
        return self.answer(input)

    def encode_response(self, output):
        """Wrap an answer."""
        return {"result": output}


if __name__ == "__main__":
    batching = {"max_batch_size": 64, "batch_timeout": 0.002} if os.environ["FORM"] == "batched" else {}
    server = litserve.LitServer(Api(**batching), accelerator="cpu", devices=1, workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
