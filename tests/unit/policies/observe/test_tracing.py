"""Traces: off they are nothing, on they follow the correlation id."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from policies.context.correlation import correlated
from policies.observe import tracing
from policies.observe.tracing import Traced, Tracer, trace_id_of
from tests.support.governed_app import READER, Door

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"


@pytest.fixture
def exporter() -> Generator[InMemorySpanExporter]:
    made = InMemorySpanExporter()
    tracing.turn_on(Tracer("experience", 1.0, SimpleSpanProcessor(made)))
    yield made
    tracing.turn_off()


def test_off_no_call_passes_it_and_the_trace_of_a_caller_is_ignored(tmp_path: Path) -> None:
    door = Door(tmp_path)

    answer = door.client.get("/shop/v1/read", headers=door.headers(READER) | {"traceparent": PARENT})

    assert answer.headers["x-correlation-id"].startswith("cor_")
    assert [each for each in door.gate.pipelines.values() if Traced.applies(each.rules)] == []
    with correlated("cor_12345678"), tracing.span("nothing"):
        assert tracing.outgoing() == ""


def test_a_call_is_a_span_below_that_of_its_caller_and_has_its_trace(
    tmp_path: Path, exporter: InMemorySpanExporter
) -> None:
    door = Door(tmp_path)

    answer = door.client.get("/shop/v1/read", headers=door.headers(READER) | {"traceparent": PARENT})
    door.client.get("/shop/v1/fail/away", headers=door.headers())
    door.client.get("/health/live")

    read, failed = exporter.get_finished_spans()
    assert answer.headers["x-correlation-id"] == TRACE
    assert read.context is not None
    assert read.parent is not None
    assert (f"{read.context.trace_id:032x}", f"{read.parent.span_id:016x}") == (TRACE, CALLER)
    assert (read.name, dict(read.attributes or {})["http.response.status_code"]) == ("read", 200)
    assert (failed.name, failed.status.is_ok, failed.parent) == ("fail", False, None)


def test_a_caller_with_a_correlation_id_of_its_own_is_linked(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    door = Door(tmp_path)
    headers = door.headers(READER) | {"traceparent": PARENT, "x-correlation-id": "of-the-caller"}

    answer = door.client.get("/shop/v1/read", headers=headers)

    (made,) = exporter.get_finished_spans()
    assert answer.headers["x-correlation-id"] == "of-the-caller"
    assert made.context is not None
    assert made.context.trace_id == trace_id_of("of-the-caller")
    assert [f"{each.context.trace_id:032x}" for each in made.links] == [TRACE]


@pytest.mark.parametrize(
    "sent",
    ["", "x", f"00-{'0' * 32}-{CALLER}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{CALLER}-01", f"{PARENT}-more"],
)
def test_what_is_no_trace_is_ignored(tmp_path: Path, exporter: InMemorySpanExporter, sent: str) -> None:
    door = Door(tmp_path)

    answer = door.client.get("/shop/v1/read", headers=door.headers(READER) | {"traceparent": sent})

    assert answer.headers["x-correlation-id"].startswith("cor_")
    assert [each.parent for each in exporter.get_finished_spans()] == [None]


def test_work_inside_work_is_below_it_and_a_fault_says_its_type_alone(exporter: InMemorySpanExporter) -> None:
    sent: list[str] = []

    def work() -> None:
        with correlated("cor_12345678", "outside"):
            with tracing.span("call", to_platform="stripe"):
                sent.append(tracing.outgoing())
            raise ValueError("somebody@example.com")

    with pytest.raises(ValueError, match="somebody"):
        work()

    call, outside = exporter.get_finished_spans()
    assert call.parent == outside.context
    assert call.context is not None
    trace = trace_id_of("cor_12345678")
    assert [each.rpartition("-")[0] for each in sent] == [f"00-{trace:032x}-{call.context.span_id:016x}"]
    assert dict(call.attributes or {})["tiergate.platform"] == "stripe"
    assert dict(outside.attributes or {})["error.type"] == "ValueError"
    assert outside.events == ()
