"""How the calls to platforms go: counted by platform and operation, and what each platform's client is at now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from prometheus_client import Counter, Histogram
from prometheus_client.core import Metric

from policies.observe.metrics import BUCKETS, Metrics, Values, gauge

Result = Literal["answered", "rejected", "throttled", "broken", "no_answer", "unknown", "resting", "not_asked"]
"""How a try ends: with an answer of 2xx or 3xx, of 4xx, of 429 or 503, of another 5xx; without one, so that it may be
tried again, or so that it may have acted; at the open circuit breaker; for want of time, a connection, or our own
rate."""


class ClientState:
    """What one platform's client is at. `breaker` is `closed`, `opened` or `half-opened`; `quota_left` is the part of
    the platform's own quota that is left, from 0 to 1, None when nothing is known of one."""

    def __init__(self) -> None:
        self.breaker = "closed"
        self.running = 0
        self.slots = 0
        self.quota_left: float | None = None


class PlatformMetrics:
    """The measures of all platforms of a layer."""

    def __init__(self, metrics: Metrics) -> None:
        labels = ("platform", "operation")
        self._calls = Counter(
            "tiergate_platform_calls",
            "Requests that were sent to a platform, or could not be.",
            (*labels, "result"),
            registry=metrics.registry,
        )
        self._durations = Histogram(
            "tiergate_platform_call_duration_seconds",
            "How long a platform took to answer a request, or not to.",
            labels,
            buckets=BUCKETS,
            registry=metrics.registry,
        )
        self._states: dict[str, ClientState] = {}
        metrics.find(self._now)

    def of(self, instance: str) -> ClientState:
        """Return where a platform's client keeps what it is at."""
        return self._states.setdefault(instance, ClientState())

    def count(self, instance: str, operation: str, result: Result) -> None:
        """Count a try. `operation` is empty outside any call to us: in a change feed, a poll."""
        self._calls.labels(instance, operation, result).inc()

    def took(self, instance: str, operation: str, seconds: float) -> None:
        """Keep how long an exchange took."""
        self._durations.labels(instance, operation).observe(seconds)

    def _now(self) -> Iterator[Metric]:
        states = {(name,): state for name, state in self._states.items()}
        by = ("platform",)
        opened = {name: float(each.breaker != "closed") for name, each in states.items()}
        yield gauge("platform_breaker_open", "Whether a platform is left alone after failures.", by, opened)
        running: Values = {name: each.running for name, each in states.items()}
        yield gauge("platform_calls_running", "Connections to a platform in use.", by, running)
        slots: Values = {name: each.slots for name, each in states.items()}
        yield gauge("platform_calls_most", "Connections to a platform that may be in use at once.", by, slots)
        left = {name: each.quota_left for name, each in states.items() if each.quota_left is not None}
        yield gauge("platform_quota_left_ratio", "The part of a platform's own quota that is left.", by, left)
