"""What one caller may have of a server, so that the others have some, too."""

import json
import re
import time
import urllib.request

import pytest
import torch

import concord
from concord.errors import ResourceExhausted
from conftest import Server

ROWS = torch.eye(2, 5)
WORKERS, OTHERS = (f"{name}-0123456789abcdef" for name in ("workers", "others"))


def write_tokens(path, **limits):
    """`limits` are those of "workers"; "others" has none of its own."""
    grants = [{"sessions": "*", "rights": ["step"]}]
    entry = {"name": "workers", "token": WORKERS, "grants": grants, "limits": limits}
    others = {"name": "others", "token": OTHERS, "grants": grants}
    replacement = path.with_suffix(".new")
    replacement.write_text(json.dumps({"tokens": [entry, others]}))
    replacement.rename(path)


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Starts a server whose caller "workers" has these limits; we are "workers"."""
    running = []

    def start(*options, shared_memory=True, **limits):
        write_tokens(tmp_path / "tokens.json", **limits)
        server = Server(
            tmp_path,
            f"--token-file={tmp_path}/tokens.json",
            "--metrics-listen=127.0.0.1:0",
            *options,
            shared_memory=shared_memory,
        )
        running.append(server)
        monkeypatch.setenv("CONCORD_TOKEN", WORKERS)
        return server

    yield start
    for server in running:
        assert server.stop() == 0


def connect(server, name, **options):
    session = concord.Session(server.tcp, name, num_vectors=2, num_parameters=5, **options)
    return session.connect(timeout=20)


def limited(server, limit):
    address = re.search(r'listening_for_metrics","address":"(.+?)"', "".join(server.log))[1]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return int(re.search(rf'^concord_limited_total{{limit="{limit}"}} (\d+)$', text, re.M)[1])


def refusals(server, event):
    entries = [json.loads(line) for line in server.log if line.startswith("{")]
    return [entry for entry in entries if entry["event"] == event]


def refused(limit, value, accepted, action):
    with pytest.raises(ResourceExhausted) as error:
        action()
    assert error.value.code == "RESOURCE_EXHAUSTED"
    said = error.value.metadata
    assert (said["limit"], error.value.value, error.value.accepted) == (limit, value, accepted)


@pytest.mark.parametrize("of", ["the token", "every caller"])
def test_a_callers_second_session_is_refused_and_anothers_is_not(serve, monkeypatch, of):
    server = serve(max_sessions=1) if of == "the token" else serve("--max-sessions-per-caller=1")
    with connect(server, "one") as one:
        refused("max_sessions_per_caller", "2", "1", lambda: connect(server, "two"))
        monkeypatch.setenv("CONCORD_TOKEN", OTHERS)
        connect(server, "three").delete()
        one.step({0: ROWS[0], 1: ROWS[1]})
    assert limited(server, "max_sessions_per_caller") == 1
    (entry,) = refusals(server, "session_refused")
    assert entry["caller"] == "workers"


def test_a_token_may_have_more_than_every_caller(serve):
    server = serve("--max-sessions-per-caller=1", max_sessions=2)
    with connect(server, "one"), connect(server, "two"):
        refused("max_sessions_per_caller", "3", "2", lambda: connect(server, "three"))


def test_memory_beyond_a_callers_is_refused_with_what_is_free(serve):
    server = serve(memory_budget_bytes=1_000_000)
    with connect(server, "small"), pytest.raises(ResourceExhausted) as error:
        concord.Session(server.tcp, "large", num_vectors=2, num_parameters=10**6).connect()
    assert error.value.metadata["limit"] == "memory_budget_per_caller_bytes"
    assert re.fullmatch(r"at most 9\d{5} bytes, .* free of 1000000", error.value.accepted)
    assert int(error.value.value) > 1_000_000


@pytest.mark.parametrize("shared_memory", [False, True])
def test_one_stream_too_many_is_refused(serve, shared_memory):
    server = serve(max_streams=1, shared_memory=shared_memory)
    with connect(server, "one", num_workers=2, min_workers=1) as one:
        refused(
            "max_streams_per_caller", "2", "1",
            lambda: connect(server, "one", num_workers=2, min_workers=1, rank=1),
        )  # fmt: skip
        one.step({0: ROWS[0], 1: ROWS[1]})
    connect(server, "two").delete()


@pytest.mark.parametrize("shared_memory", [False, True])
def test_a_worker_that_steps_too_fast_waits_and_every_step_counts_once(serve, shared_memory):
    server = serve(max_step_rate=20, shared_memory=shared_memory)
    reference = concord.PseudoMomentumOperator(2, server="")
    waited = 0
    with connect(server, "fast") as session:
        for step in range(24):
            result = session.step({step % 2: ROWS[step % 2] + step})
            expected = reference.calculate_gradient([step % 2], ROWS[step % 2][None] + step)
            assert torch.equal(result.update, expected)
            assert not result.repeated
            waited += result.attempts > 1
        assert session.applied_step == 24
    assert waited >= 1
    assert limited(server, "max_step_rate_per_caller") >= waited
    failed = refusals(server, "stream_failed")
    assert {entry["reason"] for entry in failed} == {"LIMIT_EXCEEDED"}


def test_new_limits_hold_from_the_next_call_on(serve, tmp_path):
    server = serve(max_sessions=1)
    with connect(server, "one"):
        refused("max_sessions_per_caller", "2", "1", lambda: connect(server, "two"))
        write_tokens(tmp_path / "tokens.json", max_sessions=2)
        until = time.monotonic() + 20
        while "tokens_reloaded" not in "".join(server.log) and time.monotonic() < until:
            time.sleep(0.05)
        with connect(server, "two"):
            pass


def test_without_tokens_everybody_on_the_machine_is_one_caller(tmp_path):
    server = Server(tmp_path, "--max-sessions-per-caller=1")
    try:
        with connect(server, "one"), pytest.raises(ResourceExhausted) as error:
            concord.Session(server.unix, "two", num_vectors=2, num_parameters=5).connect()
        assert error.value.metadata["caller"] == "local"
    finally:
        assert server.stop() == 0
