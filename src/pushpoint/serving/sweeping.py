"""What is over is taken away: what calls kept while they lasted, temporary files, uploads that nobody went on with."""

from __future__ import annotations

from pushpoint.databases import Database
from pushpoint.registry import data, uploads
from pushpoint.serving.tokens import Tokens
from pushpoint.stores.local import LocalStore

EVERY = 60.0
"""Seconds between two looks; nobody can reach what is over in the meantime. A start ends all calls, and so looks."""


def sweep(database: Database, store: LocalStore, tokens: Tokens) -> None:
    """Take away what is over now."""
    data.sweep(database, sessions=tokens.sessions())
    uploads.sweep(database, store.uploads)
