"""From the trace of a Python program to the server's log."""

import json

import pytest
import torch

import concord
from conftest import Server

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ROWS = torch.eye(2, 5)


@pytest.fixture(params=[False, True], ids=["gRPC", "shared memory"])
def traced_server(request, tmp_path):
    server = Server(tmp_path, shared_memory=request.param)
    yield server
    if server.process.poll() is None:
        server.stop()


def connect(server, **options):
    session = concord.Session(server.tcp, "heat", num_vectors=2, num_parameters=5, **options)
    return session.connect(timeout=20)


def logged(server, event):
    """The event's entries, after the server has ended."""
    assert server.stop() == 0
    entries = [json.loads(line) for line in server.log if line.startswith("{")]
    return [entry for entry in entries if entry["event"] == event]


def test_a_sampled_step_is_told_with_its_phases(traced_server):
    with connect(traced_server) as session:
        session.step({0: ROWS[0], 1: ROWS[1]})
        session.step({0: ROWS[0]}, traceparent=f"00-{TRACE}-{SPAN}-01")
        session.step({0: ROWS[0]}, traceparent=f"00-{TRACE}-{SPAN}-00")
    (step,) = logged(traced_server, "step_answered")
    assert (step["trace_id"], step["span_id"]) == (TRACE, SPAN)
    assert (step["session"], step["rank"], step["step"]) == ("sessions/heat", 0, 2)
    phases = ["receive_s", "ingest_s", "wait_s", "solve_s", "commit_s", "send_s"]
    assert all(0 <= step[phase] < 60 for phase in phases)
    assert step["ingest_s"] <= step["receive_s"]


def test_opentelemetrys_current_span_is_the_steps(traced_server):
    trace = pytest.importorskip("opentelemetry.trace", reason="opentelemetry-api is not installed")
    context = trace.SpanContext(
        int(TRACE, 16), int(SPAN, 16), is_remote=False, trace_flags=trace.TraceFlags(1)
    )
    operator = concord.PseudoMomentumOperator(2, server=traced_server.tcp)
    operator.calculate_gradient([0, 1], ROWS)
    with trace.use_span(trace.NonRecordingSpan(context)):
        operator.calculate_gradient([1], ROWS[1:])
        operator.calculate_gradient(0, ROWS[0])
    operator.calculate_gradient([1], ROWS[1:])
    operator.close()
    told = logged(traced_server, "step_answered")
    assert [(step["step"], step["trace_id"], step["span_id"]) for step in told] == [
        (2, TRACE, SPAN),
        (3, TRACE, SPAN),
    ]


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_a_sessions_trace_is_in_the_lines_of_its_calls(traced_server, monkeypatch, by):
    traceparent = f"00-{TRACE}-{SPAN}-01"
    if by == "environment":
        monkeypatch.setenv("TRACEPARENT", traceparent)
    with connect(traced_server, traceparent=traceparent if by == "argument" else "") as session:
        session.step({0: ROWS[0], 1: ROWS[1]})
    (created,) = logged(traced_server, "session_created")
    assert (created["trace_id"], created["span_id"]) == (TRACE, SPAN)
    # Its steps have none of their own.
    assert not [line for line in traced_server.log if "step_answered" in line]


def test_one_that_is_malformed_is_refused_by_the_client(traced_server):
    with pytest.raises(concord.errors.InvalidArgumentError) as refused:
        connect(traced_server, traceparent="00-nonsense-01")
    assert refused.value.field == "traceparent"
    with connect(traced_server) as session, pytest.raises(concord.errors.InvalidArgumentError):
        session.step({0: ROWS[0], 1: ROWS[1]}, traceparent="nonsense")
