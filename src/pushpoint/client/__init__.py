"""The /v1 API as methods of one class, `Client`."""

from pushpoint.client.api import Client, Result
from pushpoint.client.connection import EXCHANGE, exchange

__all__ = ["EXCHANGE", "Client", "Result", "exchange"]
