"""Memory that a session adds to the server, from /proc/PID/smaps_rollup.

    .venv/bin/python tests/bench/bench_memory.py [n]

m = 3 losses of n float32 parameters (default 1e7), k = 1 and 3 of them per step, a
few steps each; then the session is deleted. The bound is (m + k + 2) * 4n bytes
and 64 MiB.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import concord
import torch

ROOT = Path(__file__).resolve().parents[2]
MIB = 2**20


def resident(pid: int) -> int:
    """Private and shared pages of a process that are its own, in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no Pss in smaps_rollup")


def main() -> None:
    n = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10**7
    m = 3
    server = subprocess.Popen(
        [
            ROOT / "build/bin/concord-server",
            "--listen=127.0.0.1:0",
            "--device=cpu",
            "--shared-memory=off",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        gradients = torch.randn(m, n)
        print("| k | added, MiB | bound, MiB | left after deletion, MiB |")
        print("|---|---|---|---|")
        for k in (1, 3):
            before = resident(server.pid)
            session = concord.Session(
                address, f"memory-{k}", num_vectors=m, max_vectors_per_step=k
            )
            for step in range(6):
                if k == 1:
                    session.step({step % m: gradients[step % m]})
                else:
                    session.step((list(range(m)), gradients))
            added = resident(server.pid) - before
            session.delete()
            left = resident(server.pid) - before
            bound = (m + k + 2) * 4 * n + 64 * MIB
            print(f"| {k} | {added / MIB:.0f} | {bound / MIB:.0f} | {left / MIB:.0f} |")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
