"""`mlflow models serve` with one worker, of a model that was saved before."""

# /// script
# dependencies = ["mlflow>=3.6"]
# ///

import os
import sys
from importlib import import_module
from typing import Any

import mlflow

FOLDER = os.path.abspath("mlflow-" + os.environ["ALGORITHM"])


class Algorithm(mlflow.pyfunc.PythonModel):
    """One algorithm."""

    def load_context(self, context):
        """Load it."""
        self.algorithm = import_module(os.environ["ALGORITHM"])
        getattr(self.algorithm, "load", lambda: None)()

    def predict(self, context, model_input: list[str]) -> list[Any]:
        """Answer what is in one request."""
        return self.algorithm.apply_batch(model_input)


if __name__ == "__main__":
    if os.environ["FORM"] == "saving":
        mlflow.pyfunc.save_model(FOLDER, python_model=Algorithm(), pip_requirements=[])
        sys.exit()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", FOLDER, "--env-manager", "local"]
    os.execv(sys.executable, [*command, "--host", "127.0.0.1", "--port", os.environ["PORT"], "--workers", "1"])
