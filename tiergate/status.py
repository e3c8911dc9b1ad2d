"""What stands where, for who runs the layers: the business from the tables, the rest as the layers say it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import httpx
import msgspec
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from canonical.overview import Flow
from policies.catalogue.check import load as load_catalogue
from policies.catalogue.model import Layer
from process_apis.overview import flow_of
from tiergate.composition import metrics_token, process_tables, readiness_token
from tiergate.doctor import readiness_at
from tiergate.event_log import OPERATOR
from tiergate.settings import Settings
from tiergate.shared import SharedState

AWAY = "does not answer"
LAYERS: tuple[Layer, ...] = ("system", "process", "experience")


class LayerStatus(msgspec.Struct, frozen=True):
    """What a layer says of itself: whether it answers, and what it depends on. `requests`, `server_errors` and `missed`
    (the promise of their service tier) are counted since it has started, None where no token shows the metrics."""

    layer: Layer
    url: str
    answers: bool
    entries: dict[str, str] = {}
    requests: int | None = None
    server_errors: int | None = None
    missed: int | None = None


class PlatformStatus(msgspec.Struct, frozen=True):
    """A platform as the system layer meets it. Ages are in seconds; None is not known."""

    platform: str
    calls: int
    failed_calls: int
    breaker_open: bool
    feed_age: float | None
    quota_left: float | None


class Status(msgspec.Struct, frozen=True):
    """Where everything stands. The medians are bounds in seconds, of what the process layer has done by itself."""

    flow: Flow
    layers: tuple[LayerStatus, ...]
    platforms: tuple[PlatformStatus, ...]
    close_to_active: float | None
    finalized_to_posted: float | None

    @property
    def is_well(self) -> bool:
        """Return whether all layers answer."""
        return all(each.answers for each in self.layers)


class _Measures:
    """The samples of one layer, by name."""

    def __init__(self, families: list[Metric]) -> None:
        self._samples = defaultdict[str, list[tuple[dict[str, str], float]]](list)
        for family in families:
            for each in family.samples:
                self._samples[each.name].append((each.labels, each.value))

    def total(self, name: str, **labels: str) -> float:
        return sum(value for known, value in self._samples[name] if labels.items() <= known.items())

    def by(self, name: str, label: str) -> dict[str, float]:
        found = defaultdict[str, float](float)
        for known, value in self._samples[name]:
            found[known[label]] += value
        return dict(found)

    def of(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        yield from self._samples[name]

    def median(self, name: str) -> float | None:
        """Return the bound below which half of what a histogram has counted is, None where that is nothing."""
        buckets = sorted((float(bound), count) for bound, count in self.by(f"{name}_bucket", "le").items())
        half = buckets[-1][1] / 2 if buckets else 0.0
        return next((bound for bound, count in buckets if count >= half), None) if half else None


def status_of(settings: Settings) -> Status:
    """Return where everything stands. Raises as `process_tables` does."""
    catalogue = load_catalogue(settings.governance.path())
    token = metrics_token(settings).reveal()
    server = settings.server
    urls = dict(zip(LAYERS, (server.url_of_system(), server.url_of_process(), server.url_of_console()), strict=True))
    shared = SharedState(settings)
    try:
        with process_tables(settings) as database:
            flow = flow_of(database, shared.clock(), OPERATOR)
    finally:
        shared.close()
    measures = {layer: _measures(url, token) for layer, url in urls.items()}
    layers = [
        _layer(layer, url, readiness_at(url, readiness_token(layer, settings, catalogue)), measures[layer])
        for layer, url in urls.items()
    ]
    process = measures["process"] or _Measures([])
    return Status(
        flow,
        tuple(layers),
        tuple(_platforms(measures["system"] or _Measures([]))),
        process.median("tiergate_order_close_to_active_seconds"),
        process.median("tiergate_invoice_finalized_to_posted_seconds"),
    )


def _layer(layer: Layer, url: str, entries: dict[str, str] | str | None, measures: _Measures | None) -> LayerStatus:
    if not isinstance(entries, dict):
        return LayerStatus(layer, url, answers=False, entries={"layer": entries or AWAY})
    if measures is None:
        return LayerStatus(layer, url, answers=True, entries=entries)
    by_status = measures.by("tiergate_requests_total", "status")
    return LayerStatus(
        layer,
        url,
        answers=True,
        entries=entries,
        requests=int(sum(by_status.values())),
        server_errors=int(sum(count for status, count in by_status.items() if status.startswith("5"))),
        missed=int(measures.total("tiergate_objective_missed_total")),
    )


def _platforms(measures: _Measures) -> Iterator[PlatformStatus]:
    """Yield each platform that the system layer has a client of."""
    ages = measures.by("tiergate_feed_age_seconds", "platform")
    quotas = measures.by("tiergate_platform_quota_left_ratio", "platform")
    for labels, is_open in measures.of("tiergate_platform_breaker_open"):
        name = labels["platform"]
        calls = measures.total("tiergate_platform_calls_total", platform=name)
        well = sum(
            measures.total("tiergate_platform_calls_total", platform=name, result=result)
            for result in ("answered", "rejected")
        )
        yield PlatformStatus(name, int(calls), int(calls - well), bool(is_open), ages.get(name), quotas.get(name))


def _measures(url: str, token: str) -> _Measures | None:
    """Return what a layer measures of itself, None where it does not show it."""
    if not token:
        return None
    try:
        answer = httpx.get(f"{url}/metrics", headers={"authorization": f"Bearer {token}"}, timeout=5)
    except httpx.HTTPError:
        return None
    return _Measures(list(text_string_to_metric_families(answer.text))) if answer.is_success else None
