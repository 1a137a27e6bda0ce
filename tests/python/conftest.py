"""A concord-server for the tests, on a TCP port and a Unix socket."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

ROOT = Path(__file__).resolve().parents[2]
SERVER = Path(os.environ.get("CONCORD_BUILD", ROOT / "build")) / "bin" / "concord-server"


# The machine has few cores, and idle OpenMP threads of torch spin on them.
torch.set_num_threads(1)


class Server:
    """A running concord-server; `tcp` and `unix` are its addresses."""

    def __init__(self, directory, *options, shared_memory=True, device="cpu"):
        self.unix = f"unix:{directory}/concord.sock"
        command = [
            SERVER,
            "--listen=127.0.0.1:0",
            f"--listen={self.unix}",
            f"--device={device}",
            f"--shared-memory={'on' if shared_memory else 'off'}",
        ]
        self.process = subprocess.Popen(
            [*map(str, command), "--threads=1", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log = []
        for line in self.process.stdout:
            self.log.append(line)
            found = re.search(r'listening(?: on |","address":")127\.0\.0\.1:([1-9]\d*)', line)
            if found:
                self.tcp = f"127.0.0.1:{found[1]}"
                break
        else:
            raise RuntimeError(f"{SERVER} did not start:\n{''.join(self.log)}")
        # The pipe must not fill up.
        self._reader = threading.Thread(target=self.log.extend, args=(self.process.stdout,))
        self._reader.start()

    def stop(self):
        self.process.terminate()
        code = self.process.wait(timeout=20)
        self._reader.join()
        self.process.stdout.close()
        return code


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("server"), shared_memory=False)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def sharing_server(tmp_path_factory):
    """One whose workers pass vectors in shared memory."""
    running = Server(tmp_path_factory.mktemp("sharing_server"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def durable_server(tmp_path):
    """A server of the test's own, whose sessions' steps are kept."""
    running = Server(tmp_path, f"--state-dir={tmp_path}/state")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def ranks():
    """Processes for distributed jobs; see rank_processes."""
    from rank_processes import Ranks

    running = Ranks()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _no_server_by_default(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("CONCORD_SERVER", "CONCORD_TLS_", "CONCORD_TOKEN")):
            monkeypatch.delenv(name)


@pytest.fixture(params=["embedded", "tcp", "unix", "shared"])
def where(request):
    """Keywords for an operator: embedded, over TCP, a Unix socket, in shared memory."""
    if request.param == "embedded":
        return {"server": ""}
    if request.param == "shared":
        return {"server": request.getfixturevalue("sharing_server").tcp}
    return {"server": getattr(request.getfixturevalue("server"), request.param)}


@pytest.fixture
def float64_default():
    """conflictfree computes in torch's default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
