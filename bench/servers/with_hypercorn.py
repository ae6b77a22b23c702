"""hypercorn, one process, with uvloop."""

# /// script
# dependencies = ["hypercorn[uvloop]>=0.17"]
# ///

import asyncio
import os

import uvloop
from echoing import application
from hypercorn.asyncio import serve
from hypercorn.config import Config

config = Config()
config.bind = [f"127.0.0.1:{os.environ['PORT']}"]
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(serve(application, config))
