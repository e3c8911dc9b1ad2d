"""One trace id finds the way of an order through the three layers and the three platforms."""

from __future__ import annotations

import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from policies.observe.tracing import trace_id_of
from tests.support.environment import Environment
from tests.support.partners import NORD, Partner, customer_of
from tests.support.platforms import wait_until

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "Bearer of-the-collector"


class Collector:
    """Takes what is sent in OTLP over HTTP, as a collector does."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        """The spans, with the service of each."""
        self.authorizations: set[str | None] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.authorizations.add(self.headers.get("authorization"))
                for each in ExportTraceServiceRequest.FromString(body).resource_spans:
                    named = {one.key: one.value.string_value for one in each.resource.attributes}
                    spans = [span for scope in each.scope_spans for span in scope.spans]
                    collector.spans += [(named["service.name"], span) for span in spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the method's own
                """Keep the requests out of the tests' output."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def of(self, trace: str) -> list[tuple[str, Span]]:
        return [each for each in self.spans if each[1].trace_id.hex() == trace]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def collector() -> Generator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture(scope="module")
def traced(collector: Collector, tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Environment]:
    variables = {
        "TIERGATE_TRACING_ENDPOINT": collector.url,
        "TIERGATE_TRACING_AUTHORIZATION": SECRET,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    made = Environment(tmp_path_factory.mktemp("traced"), templates, variables=variables)
    yield made
    made.stop()


def attribute(span: Span, name: str) -> str:
    return next((each.value.string_value for each in span.attributes if each.key == name), "")


def test_one_trace_finds_an_order_in_three_layers_and_three_platforms(
    traced: Environment, collector: Collector
) -> None:
    first = customer_of(traced, NORD, "Traced")
    wanted = Partner(traced)
    headers = {"idempotency-key": "traced", "traceparent": f"00-{TRACE}-{CALLER}-01"}
    body = wanted.wanted(first.customer_id)
    answer = wanted.call("POST", "/partners/v2/orders", json=body, headers=headers)
    assert answer.is_success, answer.text
    assert answer.headers["x-correlation-id"] == TRACE
    order_id = answer.json()["id"]
    order = wait_until(lambda: found if (found := traced.channels.order(order_id)).state == "active" else None, 40)
    traced.settled(order)

    def whole() -> bool:
        spans = collector.of(TRACE)
        platforms = {attribute(each, "tiergate.platform") for _, each in spans}
        known = {each.span_id for _, each in spans}
        calls = [each for _, each in spans if attribute(each, "tiergate.platform")]
        is_posted = any(each.name == "posting: payment" for _, each in spans)
        has_parents = all(each.parent_span_id in known for each in calls)  # a parent ends after its children
        return platforms >= {"salesforce", "stripe", "tryton"} and is_posted and has_parents

    wait_until(whole, 20, "the way of the order is in its trace")
    spans = collector.of(TRACE)
    assert {service for service, _ in spans} == {"tiergate-experience", "tiergate-process", "tiergate-system"}
    assert order.correlation_id == TRACE
    assert {attribute(each, "tiergate.correlation_id") for _, each in spans} == {TRACE}
    (at_the_edge,) = (each for service, each in spans if service == "tiergate-experience")
    assert at_the_edge.parent_span_id.hex() == CALLER
    assert collector.authorizations == {SECRET}


def test_a_deal_that_is_sold_in_the_crm_has_a_trace_of_its_correlation_id(
    traced: Environment, collector: Collector
) -> None:

    order = traced.paid_order(traced.sale("Traced in the CRM"))
    trace = f"{trace_id_of(order.correlation_id):032x}"

    def platforms() -> set[str]:
        return {attribute(each, "tiergate.platform") for _, each in collector.of(trace)} - {""}

    wait_until(lambda: platforms() >= {"salesforce", "stripe", "tryton"}, 20, "all three platforms")
    assert {service for service, _ in collector.of(trace)} == {"tiergate-process", "tiergate-system"}
