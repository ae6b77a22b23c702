"""Traces of calls, sent by OpenTelemetry's protocol to whom the operator names; none of it is loaded otherwise.

Source:
    OpenTelemetry's specification of environment variables, all of which its SDK reads; W3C Trace Context.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pushpoint.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
_LONGEST_WAIT = 3_000
"""Milliseconds for which the end of the platform waits until the last spans are sent."""


class Tracing:
    """Begins spans; on the loop."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("pushpoint")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, name: str, parent: Mapping[str, str]) -> tuple[Span, dict[str, str]]:
        """Begin a span.

        Args:
            name: What happens.
            parent: `traceparent` and `tracestate`, as far as a caller sent them; what is no trace context is none.

        Returns:
            The span, to be ended, and the `traceparent` and `tracestate` of what happens within it.
        """
        from opentelemetry.trace import SpanKind, set_span_in_context

        context = self._propagator.extract(dict(parent))
        span = self._tracer.start_span(name, context, SpanKind.SERVER)
        inner: dict[str, str] = {}
        self._propagator.inject(inner, set_span_in_context(span, context))
        return span, inner

    def close(self) -> None:
        """Send what is left, as far as somebody takes it."""
        self._provider.force_flush(_LONGEST_WAIT)


def open_tracing(environment: Mapping[str, str]) -> Tracing | None:
    """Set up traces, if the environment says where to send them.

    Args:
        environment: Of the platform's process.

    Returns:
        The tracing, or none.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    if not any(environment.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        found = next(name for name in ENDPOINTS if environment.get(name))
        raise ConfigError(f"{found} is set, but OpenTelemetry is not here; install pushpoint[otel]") from error
    named = "OTEL_SERVICE_NAME" in environment or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(
        resource=Resource.create({} if named else {"service.name": "pushpoint"}), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
