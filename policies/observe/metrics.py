"""What one layer measures of itself, for Prometheus: one registry for each app, handed on by the composition.

A label is a word of the catalogue or of ours, never one that a caller sends: an operation, a client that the catalogue
knows, a platform, a type of problem, a status. What is not known is the empty text. So the exposition is as large as
the catalogue lets it be, whatever is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from math import inf
from time import perf_counter

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from policies.catalogue.model import Layer
from policies.policy import Call, Policy, Rules

disable_created_metrics()  # when each series began is half of an exposition, and nobody asks for it
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)
"""Bounds in seconds: from a read that is passed through to a call that nobody waits for any longer."""
Find = Callable[[], Iterable[Metric]]
"""Finds measures at the moment at which somebody asks for them, in a thread."""
Values = Mapping[tuple[str, ...], float]
"""Values by their labels."""


class Metrics:
    """The measures of one layer. Those of requests are here; others are added by what they are of."""

    def __init__(self, layer: Layer) -> None:
        self.layer: Layer = layer
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._requests = Counter(
            "tiergate_requests",
            "Requests that were answered.",
            ("layer", "operation", "client", "status"),
            registry=self.registry,
        )
        self._durations = Histogram(
            "tiergate_request_duration_seconds",
            "From a request's head to the beginning of its answer.",
            ("layer", "operation", "tier"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._refusals = Counter(
            "tiergate_refusals",
            "Requests that were answered with a problem, by its type.",
            ("layer", "operation", "client", "problem"),
            registry=self.registry,
        )
        self._missed = Counter(
            "tiergate_objective_missed",
            "Requests that were answered later than their service tier promises, or with a server error.",
            ("layer", "operation", "tier"),
            registry=self.registry,
        )
        self._answered: dict[tuple[str, str, int], Counter] = {}
        """What counts each kind of answer: to look it up by its labels each time takes five times as long."""

    def count(self, operation_id: str, client: str, status: int) -> None:
        """Count an answer. The operation and the client are empty when they are not known."""
        kind = operation_id, client, status
        counter = self._answered.get(kind)
        if counter is None:
            counter = self._requests.labels(self.layer, operation_id, client, str(status))
            self._answered[kind] = counter
        counter.inc()

    def refused(self, operation_id: str, client: str, problem: str) -> None:
        """Count a refusal, by the name of a type of problem that is ours."""
        self._refusals.labels(self.layer, operation_id, client, problem).inc()

    def durations_of(self, operation_id: str, service_tier: str) -> Histogram:
        """Return what takes the durations of an operation's requests, in seconds."""
        return self._durations.labels(self.layer, operation_id, service_tier)

    def missed_of(self, operation_id: str, service_tier: str) -> Counter:
        """Return what counts the requests of an operation that miss what is promised for its service tier."""
        return self._missed.labels(self.layer, operation_id, service_tier)

    def find(self, find: Find) -> None:
        """Let `find` be asked whenever somebody asks for the measures. It must not wait for anything."""
        self.registry.register(_Found(find))

    def exposition(self, accept: str, found: Iterable[Metric] = ()) -> tuple[bytes, str]:
        """Return all measures, those that were `found` for this time too, and their media type: what `accept` asks for
        (the text format of Prometheus, or OpenMetrics)."""
        encode, media_type = choose_encoder(accept)
        return encode(_Found(partial(self._all, found))), media_type

    def _all(self, found: Iterable[Metric]) -> Iterator[Metric]:
        yield from self.registry.collect()
        yield from found


class _Found(Collector):
    """What is found at the moment at which somebody asks."""

    def __init__(self, find: Find) -> None:
        self._find = find

    def collect(self) -> Iterable[Metric]:
        return self._find()


class Measured(Policy):
    """A call is counted when its answer begins, with how long that took."""

    def __init__(self, rules: Rules, metrics: Metrics) -> None:
        self._operation_id = rules.operation_id
        self._count = metrics.count
        self._durations = metrics.durations_of(rules.operation_id, rules.operation.tier)
        self._missed = metrics.missed_of(rules.operation_id, rules.operation.tier)
        self._promised = rules.service_tier.answered_within or inf

    def enter(self, call: Call) -> None:
        call.began = perf_counter()

    def answered(self, call: Call) -> None:
        self._count(self._operation_id, call.client_name, call.status)
        took = perf_counter() - call.began
        self._durations.observe(took)
        if took > self._promised or call.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._missed.inc()


def gauge(name: str, says: str, labels: tuple[str, ...], values: Values) -> Metric:
    """Return a measure that goes up and down, `tiergate_` before its name, with its values by their labels."""
    made = GaugeMetricFamily(f"tiergate_{name}", says, labels=labels)
    for each, value in values.items():
        made.add_metric(each, float(value))
    return made


def counter(name: str, says: str, labels: tuple[str, ...], values: Values) -> Metric:
    """Return a measure that only grows, as `gauge` does. Its samples end in `_total`."""
    made = CounterMetricFamily(f"tiergate_{name}", says, labels=labels)
    for each, value in values.items():
        made.add_metric(each, float(value))
    return made
