"""How many workers a release has, from none to what the machine bears."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

MOST_REPLICAS = 100
"""That anybody may ask for of one release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """The bounds of the number of a release's workers.

    Between them calls decide: there is one when there is a call, more when calls wait for long, and none when there
    were no calls for `idle_seconds`. The words are those of Ray Serve and Modal.

    Attributes:
        min_replicas: Workers of a live release that stay when nobody calls.
        max_replicas: Workers at most. By default as many as there are processors: a worker that computes fills one.
        spare_replicas: Ready workers without a call that are kept beside those that have one, while there are calls.
        idle_seconds: Without a call, after which a release has `min_replicas` again. By default a quarter of an hour:
            to load most models takes seconds, and what is called less often may wait for them.
    """

    min_replicas: int = 0
    max_replicas: int = field(default_factory=lambda: os.cpu_count() or 1)
    spare_replicas: int = 0
    idle_seconds: float = 900.0

    def asked(self, wanted: Mapping[str, object]) -> Scaling:
        """Change what an owner asks to be changed, within `max_replicas`.

        Args:
            wanted: By the names of the attributes. What is no number, or a negative one, changes nothing.

        Returns:
            The bounds of that owner's release.

        Example:
            >>> one = Scaling(max_replicas=2).asked({"min_replicas": 3, "idle_seconds": 5})
            >>> one.min_replicas, one.max_replicas, one.idle_seconds
            (2, 2, 5.0)
        """
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        found |= {name: wanted[name] for name in found if isinstance(one := wanted.get(name), int | float) and one >= 0}
        most = max(int(min(found["max_replicas"], self.max_replicas)), 1)
        return Scaling(
            min_replicas=min(int(found["min_replicas"]), most),
            max_replicas=most,
            spare_replicas=min(int(found["spare_replicas"]), most),
            idle_seconds=float(found["idle_seconds"]),
        )

    @property
    def at_start(self) -> int:
        """How many workers a release begins with."""
        return min(max(self.min_replicas, 1) + self.spare_replicas, self.max_replicas)
