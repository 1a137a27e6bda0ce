"""The trace that calls belong to, where the program has one."""

from __future__ import annotations

import sys


def current() -> str:
    """OpenTelemetry's current span as W3C's traceparent; "" without one.

    A program that has not imported OpenTelemetry has no span, and pays nothing.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
