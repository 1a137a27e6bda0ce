"""Puts the examples on the path, also for the processes they start."""

import os
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "client" / "examples"))
# The fork server of multiprocessing looks for what it preloads here.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT / "client" / "examples"), *filter(None, [os.environ.get("PYTHONPATH")])]
)

torch.set_num_threads(1)


@pytest.fixture
def server(tmp_path):
    """The address of a server of the test's own."""
    from burgers.server import Server

    program = Path(os.environ.get("CONCORD_BUILD", ROOT / "build")) / "bin" / "concord-server"
    with Server(program, tmp_path / "server.log") as running:
        yield running.address
