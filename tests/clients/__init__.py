"""The old platform's own clients, unmodified, against a platform that really runs."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any


def load(name: str) -> Any:
    """Import a module of a client; their sources are older than the Python that runs them.

    Returns:
        The module.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "invalid escape sequence")
        return import_module(name)
