"""Traces, for a collector of OpenTelemetry. Off unless a start turns them on: then a process has one tracer.

The trace of a piece of work is that of its correlation id, which is kept with the work: so one trace has the way of an
order through all layers, also after the request that began it has ended, and through restarts. A caller that sends a
`traceparent` (W3C Trace Context) and no correlation id gives its trace's id to both.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING

from policies.context import correlation
from policies.policy import Call, Policy, Rules

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span, SpanContext, SpanKind

HEADER = "traceparent"
MARK = HEADER.encode()
FORM = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
"""Of versions to come, too: what they add stands at the end. https://www.w3.org/TR/trace-context/#versioning-of-traceparent"""
TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}")
NOTHING = b""


def trace_id_of(correlation_id: str) -> int:
    """Return the id of the trace of a correlation id: itself where it is one, else derived from it."""
    if TRACE.fullmatch(correlation_id):
        return int(correlation_id, 16)
    return int.from_bytes(hashlib.sha256(correlation_id.encode()).digest()[:16], "big") or 1


class Tracer:
    """Makes the spans of one layer."""

    def __init__(self, layer: str, share: float, processor: SpanProcessor) -> None:
        """Create the tracer of `layer`. `share` (0 to 1) of the traces are kept, the same ones in all layers."""
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - a tenth of a start, for who wants traces
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import TraceIdRatioBased  # noqa: PLC0415

        class OfCorrelation(RandomIdGenerator):
            """Gives a span without a parent the trace of its correlation id."""

            def generate_trace_id(self) -> int:
                current = correlation.current()
                return trace_id_of(current) if current else super().generate_trace_id()

        resource = Resource.create({"service.name": f"tiergate-{layer}", "service.namespace": "tiergate"})
        self._provider = TracerProvider(
            sampler=TraceIdRatioBased(share), resource=resource, id_generator=OfCorrelation(), shutdown_on_exit=True
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("tiergate")

    def start(self, name: str, kind: SpanKind, traceparent: bytes = NOTHING) -> Span:
        """Return a span of the present correlation id. Its parent is the present span or the caller's, where that is of
        the same trace; a caller's of another trace is linked."""
        from opentelemetry.trace import Link, NonRecordingSpan, set_span_in_context  # noqa: PLC0415

        current = correlation.current()
        trace, links, parent = trace_id_of(current), list[Link](), None
        if (asked := read(traceparent)) is not None:
            if asked.trace_id == trace:
                parent = NonRecordingSpan(asked)
            else:
                links = [Link(asked)]
        elif (present := _current.get()) is not None and present.get_span_context().trace_id == trace:
            parent = present
        context = set_span_in_context(parent) if parent is not None else _nowhere()
        return self._tracer.start_span(
            name, context, kind, attributes={"tiergate.correlation_id": current}, links=links
        )

    def shut_down(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


_tracer: Tracer | None = None
_current: ContextVar[Span | None] = ContextVar("span", default=None)


def _nowhere() -> Context:
    from opentelemetry.context import Context  # noqa: PLC0415

    return Context()


def read(traceparent: bytes) -> SpanContext | None:
    """Return what a `traceparent` names, None for one that is not valid."""
    found = FORM.fullmatch(traceparent.decode("latin-1")) if traceparent else None
    if found is None or traceparent.startswith(b"ff") or (traceparent.startswith(b"00") and found[3]):
        return None
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415

    context = SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(1))
    return context if context.is_valid else None


def turn_on(tracer: Tracer) -> None:
    """Let all work of this process from now on be traced. It comes before the policies of the layer are made."""
    global _tracer  # noqa: PLW0603 - a process has one, as it has one log
    _tracer = tracer
    correlation.observe(span)


def turn_off() -> None:
    """Trace nothing any more, and send what is left."""
    global _tracer
    former, _tracer = _tracer, None
    correlation.observe(None)
    if former is not None:
        former.shut_down()


def offered(headers: Mapping[bytes, bytes]) -> str:
    """Return the correlation id that a caller's trace gives, an empty text where it has none or nothing is traced."""
    asked = read(headers.get(MARK, NOTHING)) if _tracer is not None else None
    return f"{asked.trace_id:032x}" if asked is not None else ""


def outgoing() -> str:
    """Return the `traceparent` of the present span, an empty text outside of any."""
    present = _current.get()
    if present is None:
        return ""
    context = present.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def span(name: str, *, to_platform: str = "") -> AbstractContextManager[object]:
    """Let everything inside be a span: of our own work, or of a call `to_platform`. An exception marks it as failed, by
    its type and never its text, which may hold personal fields."""
    return nullcontext() if _tracer is None else _span(_tracer, name, to_platform)


@contextmanager
def _span(tracer: Tracer, name: str, to_platform: str) -> Generator[None]:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    made = tracer.start(name, SpanKind.CLIENT if to_platform else SpanKind.INTERNAL)
    if to_platform:
        made.set_attribute("tiergate.platform", to_platform)
    token = _current.set(made)
    try:
        yield
    except BaseException as error:
        _fail(made, type(error).__name__)
        raise
    finally:
        _current.reset(token)
        made.end()


def _fail(made: Span, why: str) -> None:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    made.set_attribute("error.type", why)
    made.set_status(StatusCode.ERROR)


class Traced(Policy):
    """A call is a span, from its head to the beginning of its answer."""

    def __init__(self, rules: Rules) -> None:
        from opentelemetry.trace import SpanKind  # noqa: PLC0415

        assert _tracer is not None
        self._tracer = _tracer
        self._name = rules.operation_id
        self._kind = SpanKind.SERVER

    @staticmethod
    def applies(rules: Rules) -> bool:
        """Return whether calls are traced: none is while that is off, and what probes ask never is."""
        return _tracer is not None and rules.operation.open != "health"

    def enter(self, call: Call) -> None:
        call.span = self._tracer.start(self._name, self._kind, call.headers.get(MARK, NOTHING))
        call.span_token = _current.set(call.span)

    def answered(self, call: Call) -> None:
        if call.span is None:
            return
        call.span.set_attribute("http.response.status_code", call.status)
        call.span.set_attribute("tiergate.client", call.client_name)
        if call.status >= 500:  # noqa: PLR2004 - a server error
            _fail(call.span, str(call.status))
        call.span.end()

    def leave(self, call: Call) -> None:
        if call.span_token is not None:
            _current.reset(call.span_token)
