"""What a release leaves for the next ones: the contract, and state files.

    .venv/bin/python tests/compatibility/release.py

writes tests/compatibility/VERSION/ from the build, once, when that version is
released; tests/python/test_compatibility.py holds every later build to it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "python"))

import concord  # noqa: E402

N, LOSSES = 48, 3
WRITTEN, LAST = 5, 9  # The files hold step 5; the steps behind it are recorded.
SESSIONS = {
    "pseudo-float32": {"dtype": torch.float32},
    "pseudo-float64": {"dtype": torch.float64},
    "separate": {"momentum": "separate", "dtype": torch.float32},
    "none": {"momentum": "none", "dtype": torch.float32},
}


def contract(path: Path) -> None:
    protos = sorted((ROOT / "proto" / "concord").rglob("*.proto"))
    subprocess.run(
        ["protoc", f"-I{ROOT / 'proto'}", f"--descriptor_set_out={path}", *protos],
        check=True,
        stderr=subprocess.DEVNULL,  # Unused imports.
    )


def gradients(step: int, dtype: torch.dtype) -> dict[int, torch.Tensor]:
    """Small integers, exact in every type; all losses in every third step."""
    losses = range(LOSSES) if step % 3 == 1 else [step % LOSSES]
    index = torch.arange(N, dtype=torch.int64)
    return {
        loss: ((index * index * (7 * step + 3) + 31 * index + 101 * loss) % 255 - 127).to(dtype)
        for loss in losses
    }


def open_session(server: str, name: str, **more) -> concord.Session:
    return concord.Session(
        server,
        name,
        num_vectors=LOSSES,
        num_parameters=N,
        durability="step",
        **{**SESSIONS[name.removeprefix("restored-")], **more},
    )


def digests(session: concord.Session, first: int, last: int, dtype: torch.dtype) -> list[str]:
    return [
        hashlib.sha256(session.step(gradients(step, dtype)).update.numpy().tobytes()).hexdigest()
        for step in range(first, last + 1)
    ]


def main() -> None:
    from conftest import Server

    target = HERE / concord.__version__
    if target.exists():
        sys.exit(f"{target} is there: a release is written once")
    target.mkdir()
    contract(target / "contract.binpb")
    expected = {}
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory) / "state"
        server = Server(directory, f"--state-dir={state}", shared_memory=False)
        for name, options in SESSIONS.items():
            with open_session(server.tcp, name) as session:
                digests(session, 1, WRITTEN, options["dtype"])
                session.checkpoint()
        server.stop()  # In order: the files are closed.
        with tarfile.open(target / "state.tar.gz", "w:gz") as archive:
            archive.add(state, "state")
        server = Server(directory, f"--state-dir={state}", shared_memory=False)
        for name, options in SESSIONS.items():
            with open_session(server.tcp, name, resume_step=WRITTEN) as session:
                expected[name] = digests(session, WRITTEN + 1, LAST, options["dtype"])
        server.stop()
    (target / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


if __name__ == "__main__":
    main()
