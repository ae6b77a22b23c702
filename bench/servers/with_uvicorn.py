"""uvicorn, one process, with the loop and the parser that FORM names: `LOOP PARSER`."""

# /// script
# dependencies = ["uvicorn>=0.38", "uvloop>=0.22", "httptools>=0.7", "h11>=0.16"]
# ///

import os

import uvicorn
from echoing import application

loop, parser = os.environ["FORM"].split()
uvicorn.run(
    application,
    port=int(os.environ["PORT"]),
    loop=loop,
    http=parser,
    lifespan="off",
    log_level="warning",
    access_log=False,
)
