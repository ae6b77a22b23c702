"""How many workers a release has, from none to what the machine bears."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

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
        """Change what an owner asks to be changed.

        Args:
            wanted: By the names of the attributes. What is no number changes nothing. A `max_replicas` below the rest
                is raised to it.

        Returns:
            The bounds of that owner's release.

        Example:
            >>> one = Scaling(max_replicas=2).asked({"min_replicas": 3, "idle_seconds": 5})
            >>> one.min_replicas, one.max_replicas, one.idle_seconds
            (3, 3, 5.0)
        """

        def number(name: str, now: float, most: float = math.inf) -> float:
            value = wanted.get(name)
            return now if not isinstance(value, int | float) or value < 0 else min(value, most)

        least = int(number("min_replicas", self.min_replicas, MOST_REPLICAS))
        spare = int(number("spare_replicas", self.spare_replicas, MOST_REPLICAS))
        most = int(number("max_replicas", self.max_replicas, MOST_REPLICAS))
        return Scaling(
            min_replicas=least,
            max_replicas=max(most, least, spare + 1 if spare else 1),
            spare_replicas=spare,
            idle_seconds=float(number("idle_seconds", self.idle_seconds)),
        )

    @property
    def at_start(self) -> int:
        """How many workers a release begins with."""
        return min(max(self.min_replicas, 1) + self.spare_replicas, self.max_replicas)
