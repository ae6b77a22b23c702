"""Pushpoint turns `git push` into a live, verified model endpoint.

The command line is `pushpoint`; `pushpoint.Client` is the same platform from Python. A notebook may call
`pushpoint.metric`, and an algorithm's own code may use `pushpoint.runtime.model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pushpoint.library import Client
    from pushpoint.runtime.metrics import metric

__all__ = ["Client", "metric"]


def __getattr__(name: str) -> object:
    if name == "Client":  # late: a worker imports this package for `runtime` alone
        from pushpoint.library import Client

        return Client
    if name == "metric":
        from pushpoint.runtime.metrics import metric

        return metric
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
