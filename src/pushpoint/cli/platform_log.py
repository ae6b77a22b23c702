"""The platform's own log: HOME/platform.log, a line of JSON for each thing that happened."""

from __future__ import annotations

from pathlib import Path

import structlog


def open_log(home: Path) -> None:
    """Have all that is logged in this process go to the log of a home, unless it does already."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=(home / "platform.log").open("a")),
    )


def note_failed_start(home: Path, error: Exception) -> None:
    """Write down why this process did not become the platform, with the traceback."""
    open_log(home)
    structlog.get_logger().error("did not take over", reason=str(error), exc_info=error)
