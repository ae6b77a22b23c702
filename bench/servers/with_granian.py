"""granian, one worker, with uvloop."""

# /// script
# dependencies = ["granian[uvloop]>=2.5"]
# ///

import os

from granian import Granian
from granian.constants import Interfaces, Loops

if __name__ == "__main__":
    Granian(
        "echoing:application",
        address="127.0.0.1",
        port=int(os.environ["PORT"]),
        interface=Interfaces.ASGINL,
        loop=Loops.uvloop,
        workers=1,
        log_enabled=False,
    ).serve()
