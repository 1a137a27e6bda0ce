"""Watching a session: from Python and from the command line."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import torch

import concord
from concord.errors import DeadlineExceeded, EpochChanged, SessionNotFound, UnavailableError
from concord.loss_recorder import LatestLossRecorder

ROOT = Path(__file__).resolve().parents[2]
CONCORD = Path(os.environ.get("CONCORD_BUILD", ROOT / "build")) / "bin" / "concord"
M, N = 2, 50


def gradients(step):
    return torch.randn(M, N, generator=torch.Generator().manual_seed(step))


@pytest.fixture
def session(server, request):
    one = concord.Session(
        server.tcp,
        request.node.name.replace("_", "-")[:60],
        num_vectors=M,
        loss_recorder=LatestLossRecorder(M),
        update_cosines=True,
    )
    yield one
    one.delete()


def take(session, step):
    return session.step(dict(enumerate(gradients(step))), [0.5, 0.25])


def test_a_watcher_is_told_what_the_worker_is_told(server, session):
    take(session, 1)
    with concord.watch(server.unix, session.name, timeout=20) as watch:
        for step in range(2, 5):
            told = next(watch)
            result = take(session, step)
            assert told.result.step == step - 1 and result.step == step
            assert told.steps == 1 and told.epoch == 1
        told = next(watch)
    assert told.result.update is None
    assert torch.equal(told.result.gram, result.gram)
    assert torch.equal(told.result.cosines, result.cosines)
    assert torch.equal(told.result.update_cosines, result.update_cosines)
    assert told.result.losses == result.losses == [0.5, 0.25]
    assert told.result.indexes == [0, 1] and told.result.missing_ranks == []
    assert told.ranks.keys() == {0} and told.ranks[0]["receive"] >= 0
    assert told.result.timings["commit"] > 0
    assert abs(told.commit_time - time.time()) < 3600
    assert list(watch) == []


def test_a_session_can_be_watched_by_its_own_worker(session):
    take(session, 1)
    assert next(session.watch(timeout=20)).result.step == 1


def test_a_watch_ends_with_the_session(server):
    session = concord.Session(server.tcp, "short-lived", num_vectors=M)
    session.step(dict(enumerate(gradients(1))))
    watch = concord.watch(server.tcp, "short-lived", timeout=20)
    assert next(watch).result.step == 1
    session.delete()
    for _ in range(2):
        with pytest.raises(SessionNotFound):
            next(watch)


def test_what_cannot_be_watched_says_why(server, session):
    with pytest.raises(SessionNotFound):
        next(concord.watch(server.tcp, "nobodys", timeout=20))
    with pytest.raises(UnavailableError):
        next(concord.watch("127.0.0.1:1", "heat", timeout=20))
    with pytest.raises(ValueError, match="server"):
        concord.watch(name="heat")
    take(session, 1)
    with pytest.raises(EpochChanged):
        next(concord.StepWatch(server.tcp, session.name, uid="another", timeout=20))


def test_a_watch_waits_no_longer_than_asked(server, session):
    take(session, 1)
    watch = concord.watch(server.tcp, session.name, timeout=0.2)
    assert next(watch).result.step == 1
    with pytest.raises(DeadlineExceeded):
        next(watch)


def test_ctrl_c_ends_a_watch_that_waits(server, session):
    take(session, 1)
    watch = concord.watch(server.tcp, session.name)
    next(watch)
    # A shell that starts this process behind its back lets it ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        next(watch)
    timer.join()
    signal.signal(signal.SIGINT, before)


# ---- concord watch ----


def test_the_command_prints_a_line_per_step(server, session):
    take(session, 1)
    command = [CONCORD, "watch", session.name.removeprefix("sessions/"), f"--server={server.tcp}"]
    with subprocess.Popen([*command, "--count=3"], stdout=subprocess.PIPE, text=True) as process:
        for step in range(1, 4):
            line = process.stdout.readline()
            assert line.startswith(f"step {step}  update's cosines ")
            assert "losses 0.5 0.25" in line
            take(session, step + 1)
        assert process.stdout.read() == ""
    assert process.returncode == 0


def test_the_command_prints_json_for_programs(server, session):
    result = take(session, 1)
    done = subprocess.run(
        [CONCORD, "watch", session.name, "--json", "--count=1"],
        env={**os.environ, "CONCORD_SERVER": server.unix},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert told["result"]["step"] == "1" and told["steps"] == "1"
    assert told["result"]["gram"]["values"] == result.gram.flatten().tolist()
    assert told["trailer"]["update_cosines"] == result.update_cosines.tolist()
    assert told["ranks"][0]["rank"] == 0


def test_the_command_says_what_is_wrong(server):
    for arguments, message in [
        (["nobodys", f"--server={server.tcp}"], "SESSION_NOT_FOUND"),
        (["heat", "--server=127.0.0.1:1"], ""),
        (["heat"], "--server"),
        ([f"--server={server.tcp}"], "NAME"),
    ]:
        done = subprocess.run(
            [CONCORD, "watch", *arguments], capture_output=True, text=True, timeout=60
        )
        assert done.returncode != 0 and done.stdout == "" and message in done.stderr
        assert done.stderr
