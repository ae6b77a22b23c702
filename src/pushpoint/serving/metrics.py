"""Numbers of calls and workers, for Prometheus: counted during calls in plain lists, given their names when asked for.

What a release is called is looked up when the numbers are read, by its build: a call pays for no label, the engine
need not know versions, and what was deleted is dropped then.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from pushpoint.databases import Database
from pushpoint.engines.local import LocalPool
from pushpoint.registry import releases
from pushpoint.runtime.messages import Failure, Outcome
from pushpoint.serving.lookups import Target
from pushpoint.serving.pools import Pools
from pushpoint.serving.processes import resident

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the histograms of seconds: from what the platform itself takes to what a call takes at most."""
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
"""Upper bounds of the histogram of batches."""
MOST = 1_000
"""Releases that are counted; the one that was first called longest ago makes room, and begins at zero again."""
ERROR_TYPES = 20
"""Types of errors of one release that are told apart; an algorithm names them as it likes."""
REST = "other"
_LONGEST = 100
_RELEASE = ("algorithm", "version")


class Histogram:
    """Counts by upper bound.

    `prometheus_client`'s own takes 2.3 microseconds to observe, and a counter beside it 0.7: it takes a lock, and walks
    the bounds. This takes 0.3. Its lists are changed on the loop alone, and copied by whoever reads them.
    """

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds, self._counts, self._total = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Copy what was counted.

        Returns:
            Upper bounds with how many values were not above them, and the sum of the values.
        """
        found, so_far = [], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts.copy(), strict=True):
            so_far += count
            found.append((bound, float(so_far)))
        return found, self._total


class Tally:
    """What was counted of one release.

    Attributes:
        calls: Seconds from a call's input to its outcome, with the wait for a worker.
        algorithm: Seconds that the algorithm itself took, in all.
        errors: How many, by type.
        batches: Calls that the algorithm took at once.
        cold_starts: Seconds that calls waited for a pool to start.
    """

    __slots__ = ("algorithm", "batches", "calls", "cold_starts", "errors")

    def __init__(self) -> None:
        self.calls = Histogram(SECONDS)
        self.algorithm = 0.0
        self.errors: dict[str, int] = {}
        self.batches = Histogram(SIZES)
        self.cold_starts = Histogram(SECONDS)

    def failed(self, error_type: str) -> None:
        """Count an error; when there are too many types, under one name."""
        error_type = error_type[:_LONGEST].encode("utf-8", "replace").decode()  # a worker may send half characters
        if error_type not in self.errors and len(self.errors) >= ERROR_TYPES:
            error_type = REST
        self.errors[error_type] = self.errors.get(error_type, 0) + 1


class Metrics(Collector):
    """Counts on the loop, and is read from any thread."""

    def __init__(self, database: Database, pools: Pools, went_out: Mapping[str, int]) -> None:
        self._database, self._pools, self._went_out = database, pools, went_out
        self._tallies: dict[str, Tally] = {}
        self._refused: dict[str, int] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)  # of the platform itself

    def answered(self, target: Target, outcome: Outcome, seconds: float) -> None:
        """Count a call; costs less than a microsecond."""
        tally = self._tallies.get(target.build.id) or self._begin(target.build.id)
        tally.calls.observe(seconds)
        duration = outcome.duration  # as the worker says, which may be anything
        tally.algorithm += duration if 0.0 <= duration <= seconds else seconds
        if isinstance(outcome, Failure):
            tally.failed(outcome.error_type)
        elif outcome.batch:
            tally.batches.observe(outcome.batch)

    def refused(self, error_type: str) -> None:
        """Count a call that reached no algorithm; the type is one of ours."""
        self._refused[error_type] = self._refused.get(error_type, 0) + 1

    def cold_start(self, target: Target, seconds: float) -> None:
        """Count a call that had to wait for its pool to start."""
        (self._tallies.get(target.build.id) or self._begin(target.build.id)).cold_starts.observe(seconds)

    def _begin(self, build_id: str) -> Tally:
        if len(self._tallies) >= MOST:
            self._tallies.pop(next(iter(self._tallies.copy())), None)  # a reader may drop one meanwhile
        tally = self._tallies[build_id] = Tally()
        return tally

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Write all numbers; never on the loop, since it asks the database and the kernel.

        Args:
            accept: The request's Accept; OpenMetrics where it asks for that, Prometheus' text otherwise.

        Returns:
            The text and its media type.
        """
        encoder, media_type = choose_encoder(accept)
        return encoder(self._registry), media_type

    def describe(self) -> list[Metric]:
        """Tell the registry no names: to collect them would ask the database.

        Returns:
            Nothing.
        """
        return []

    def collect(self) -> Iterator[Metric]:
        """Read what was counted and what runs.

        Yields:
            Every family, those without a sample too.
        """
        tallies, pools = self._tallies.copy(), self._pools.all()
        names = releases.names(self._database, tallies.keys() | pools.keys())
        for build_id in tallies.keys() - names.keys():  # deleted
            self._tallies.pop(build_id, None)
        counted = {names[one]: tally for one, tally in tallies.items() if one in names}
        yield from _of_calls(counted)
        refused = CounterMetricFamily(
            "pushpoint_refused_calls", "Calls that reached no algorithm, by type of error.", labels=("error_type",)
        )
        for error_type, count in self._refused.copy().items():
            refused.add_metric((error_type,), count)
        yield refused
        went_out = CounterMetricFamily(
            "pushpoint_egress_connections",
            "Connections that workers and builds asked for, by what became of them.",
            labels=("outcome",),
        )
        for outcome, count in self._went_out.items():
            went_out.add_metric((outcome,), count)
        yield went_out
        yield from _of_workers({names[one]: (one, pool) for one, pool in pools.items() if one in names})


def _of_calls(counted: Mapping[tuple[str, str], Tally]) -> Iterator[Metric]:
    calls = HistogramMetricFamily(
        "pushpoint_call_seconds", "From a call's input to its outcome, failures too.", labels=_RELEASE
    )
    inside = SummaryMetricFamily(
        "pushpoint_algorithm_seconds", "The part of it that the algorithm itself took.", labels=_RELEASE
    )
    errors = CounterMetricFamily(
        "pushpoint_call_errors", "Calls that failed, by type of error.", labels=(*_RELEASE, "error_type")
    )
    total = CounterMetricFamily("pushpoint_calls", "Calls that were answered, failures too.", labels=_RELEASE)
    batches = HistogramMetricFamily("pushpoint_batch_size", "Calls that the algorithm took at once.", labels=_RELEASE)
    cold = HistogramMetricFamily(
        "pushpoint_cold_start_seconds", "What calls waited for a pool to start.", labels=_RELEASE
    )
    for label, tally in counted.items():
        buckets, seconds = tally.calls.read()
        calls.add_metric(label, buckets, seconds)
        total.add_metric(label, buckets[-1][1])
        inside.add_metric(label, int(buckets[-1][1]), tally.algorithm)
        for error_type, count in tally.errors.copy().items():
            errors.add_metric((*label, error_type), count)
        for family, histogram in ((batches, tally.batches), (cold, tally.cold_starts)):
            found, amount = histogram.read()
            if found[-1][1]:  # most releases have none, and a histogram is many lines
                family.add_metric(label, found, amount)
    yield from (total, errors, calls, inside, batches, cold)


def _of_workers(running: Mapping[tuple[str, str], tuple[str, LocalPool]]) -> Iterator[Metric]:
    def gauge(name: str, meaning: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"pushpoint_{name}", meaning, labels=_RELEASE)

    in_flight = gauge("calls_in_flight", "Calls that were taken and are not answered yet.")
    queued = gauge("calls_queued", "Those of them that no worker has.")
    replicas = gauge("replicas", "Workers that can answer.")
    load = gauge("load_seconds", "What verifying the model, import and load took in the newest worker.")
    memory = gauge("worker_memory_bytes", "Resident memory of the workers, where the system tells (/proc).")
    lost = CounterMetricFamily(
        "pushpoint_lost_workers", "Workers that ended though nobody asked them to; the log says why.", labels=_RELEASE
    )
    used = resident()
    for label, (build_id, pool) in running.items():
        in_flight.add_metric(label, pool.in_flight)
        queued.add_metric(label, pool.waiting)
        replicas.add_metric(label, pool.live_replicas)
        load.add_metric(label, pool.load_seconds)
        lost.add_metric(label, pool.lost)
        if build_id in used:
            memory.add_metric(label, used[build_id])
    yield from (in_flight, queued, replicas, load, lost, memory)
