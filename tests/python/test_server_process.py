"""The server as a process: it says where it listens, serves, and leaves with 0."""

import os
import pathlib
import signal
import socket
import stat
import subprocess
import threading

import pytest

import concord
from conftest import Server

SERVER = pathlib.Path(__file__).parents[2] / "build/bin/concord-server"


class Process:
    """A concord-server whose addresses are known when this returns."""

    def __init__(self, *listen):
        self.process = subprocess.Popen(
            [SERVER, "--device=cpu", *(f"--listen={address}" for address in listen)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addresses = []
        for _ in listen:
            line = self.process.stdout.readline()
            assert line.startswith("listening on "), self.process.stderr.read()
            self.addresses.append(line.removeprefix("listening on ").strip())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def health(address):
    grpc = pytest.importorskip("grpc")
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        return check(b"", timeout=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_and_leaves_with_zero_on_a_signal(number):
    with Process("127.0.0.1:0") as server:
        assert not server.addresses[0].endswith(":0")
        assert health(server.addresses[0]) == b"\x08\x01"  # SERVING
        server.process.send_signal(number)
        assert server.process.wait(timeout=30) == 0
        assert '"event":"stopped"' in server.process.stderr.read()


def test_a_unix_socket_is_private_replaces_a_stale_one_and_goes_with_the_server(tmp_path):
    path = tmp_path / "socket"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with Process(f"unix:{path}") as server:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert health(f"unix:{path}") == b"\x08\x01"
        server.process.terminate()
        assert server.process.wait(timeout=30) == 0
    assert not path.exists()


def test_a_socket_in_use_is_left_alone(tmp_path):
    path = tmp_path / "socket"
    with Process(f"unix:{path}"):
        second = subprocess.run(
            [SERVER, "--device=cpu", f"--listen=unix:{path}"],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert second.returncode == 1
        assert "another server listens" in second.stderr
        assert health(f"unix:{path}") == b"\x08\x01"


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--listen=0.0.0.0:0"], "--allow-insecure-remote"),
        (["--listen=nonsense"], "HOST:PORT"),
        (["--device=tpu"], "auto, cpu, cuda"),
        (["--idle-ttl=soon"], "a duration like"),
        (["--threads=0"], "--threads"),
    ],
)
def test_says_what_is_wrong_with_an_argument(arguments, text):
    run = subprocess.run([SERVER, *arguments], capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    assert text in run.stderr


def test_a_server_that_comes_late_is_found_as_soon_as_it_is_there(tmp_path):
    """gRPC looks after a channel by itself every five seconds; that is too late here."""
    found = []

    def connect():
        session = concord.Session(f"unix:{tmp_path}/concord.sock", num_parameters=10)
        found.append(session.connect(timeout=4))

    early = threading.Thread(target=connect)
    early.start()
    running = Server(tmp_path)
    early.join()
    assert running.stop() == 0
    assert len(found) == 1
