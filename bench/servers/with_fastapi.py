"""FastAPI on uvicorn, one process; a function without `async`, as its documentation has it for work that blocks."""

# /// script
# dependencies = ["fastapi>=0.163", "uvicorn[standard]>=0.38"]
# ///

import os
from importlib import import_module
from typing import Annotated, Any

import uvicorn
from fastapi import Body, FastAPI

algorithm = import_module(os.environ["ALGORITHM"])
getattr(algorithm, "load", lambda: None)()
app = FastAPI()


def call(input: Annotated[Any, Body()]):
    """Answer one call."""
    return {"result": algorithm.apply(input)}


async def call_on_the_loop(input: Annotated[Any, Body()]):
    """Answer one call, and nobody else meanwhile."""
    return {"result": algorithm.apply(input)}


app.post("/")(call_on_the_loop if os.environ["FORM"] == "async" else call)
uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning", access_log=False)
