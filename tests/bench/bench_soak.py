"""Steps for minutes over each transport, and deaths of either end: what is left behind.

    .venv/bin/python tests/bench/bench_soak.py [--seconds 600] [--kills 20] [--n 100000]

All transports at once, each with a worker process and (but for "embedded") a server of
its own. A transport's figures are the resident memory of its worker and of its server,
sampled every second: the median of the last tenth over that of the second tenth (the
first is the warm-up). Then, in turns, a stepping worker is killed and another one
begins, and the server is killed and started again; in the end come the counts of open
files, threads, files in the server's folder and processes, beside those from before.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "chaos"))

from job import ROOT, Server

MIB = 2**20
MAKE_CA = ROOT / "deploy" / "tls" / "make_ca.sh"
PAIR = (("cert", "pem"), ("key", "key"))
ALLOWED = 2.0  # MiB, either way.

# A worker: steps until it is told to end (its standard input closes), and says so. A
# session whose worker was killed is the server's for a second more.
WORKER = """
import os, sys, threading
os.environ["OMP_NUM_THREADS"] = "1"
import torch
torch.set_num_threads(1)
import concord
where, n = sys.argv[1], int(sys.argv[2])
gradients = torch.randn(3, n, generator=torch.Generator().manual_seed(1))
if where:
    session = concord.Session(where, num_vectors=3, durability="none", idle_ttl=1.0)
    step = lambda indexes: session.step((indexes, gradients[indexes]))
else:
    operator = concord.PseudoMomentumOperator(3, server="")
    step = lambda indexes: operator.calculate_gradient(indexes, gradients[indexes])
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
step([0, 1, 2])
print("steps", flush=True)
steps = 0
while not over.is_set():
    step([steps % 3])
    steps += 1
if where:
    session.delete()
print(steps, flush=True)
"""


def resident(pid: int) -> float:
    """MiB that the process holds in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def regions_of(pid: int) -> int:
    """Mappings of memory files and of shared memory."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return sum("memfd:" in line or "/dev/shm/" in line for line in lines)


def counts(pid: int) -> dict[str, int]:
    return {
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
        "regions": regions_of(pid),
    }


def free_address() -> str:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{bound.getsockname()[1]}"


class Worker:
    def __init__(self, where: str, n: int, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, where, str(n)],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "steps":
            raise RuntimeError(f"a worker on {where!r} did not begin")

    def end(self) -> int:
        """The steps that it took."""
        told, _ = self.process.communicate(timeout=120)
        return int(told)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=30)


def settled(server: Server, before: dict[str, int]) -> dict[str, int]:
    """The server's counts, once what hangs on dead connections had time to go."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        now = counts(server.pid)
        if all(now[key] <= before[key] for key in ("files", "regions")):
            break
        time.sleep(0.1)
    return now


def soak(name: str, seconds: float, kills: int, n: int, lines: list[str]) -> None:
    with contextlib.ExitStack() as stack:
        server, where = None, ""
        environment: dict[str, str] = {}
        if name != "embedded":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            where, options = f"unix:{folder}/socket", []
            if name in ("tcp", "tls"):
                where = free_address()
                options = [f"--listen={where}"]
            if name == "tls":
                subprocess.run([MAKE_CA, folder / "tls", "server"], check=True)
                options += [f"--tls-{it}={folder}/tls/server.{end}" for it, end in PAIR]
                environment["CONCORD_TLS_CA"] = f"{folder}/tls/ca.pem"
            server = Server(folder, *options, shared_memory=name == "shared")
            server.start()
            stack.callback(server.kill)
        # What comes with the first connection stays.
        Worker(where, n, environment).end()
        fresh = None if server is None else counts(server.pid)
        worker = Worker(where, n, environment)
        samples: dict[str, list[float]] = {"worker": [], "server": []}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            samples["worker"].append(resident(worker.process.pid))
            if server is not None:
                samples["server"].append(resident(server.pid))
            time.sleep(1)
        steps = worker.end()
        for side, values in samples.items():
            if not values:
                continue
            tenth = max(1, len(values) // 10)
            first = statistics.median(values[tenth : 2 * tenth] or values)
            last = statistics.median(values[-tenth:])
            verdict = "kept" if abs(last - first) <= ALLOWED else "MISSED"
            lines.append(
                f"{name:9} {side}: {steps} steps in {seconds:.0f} s, {first:.1f} MiB at first, "
                f"{last - first:+.2f} MiB at the end (within {ALLOWED:g}): {verdict}"
            )
        if server is None or fresh is None:
            return
        for _ in range(kills):
            Worker(where, n, environment).kill()
            left = settled(server, fresh)
            survivor = Worker(where, n, environment)
            server.kill()
            server.start()
            survivor.kill()
        files = sorted(path.name for path in folder.iterdir())
        lines.append(
            f"{name:9} after {kills} deaths of each side: a worker's death left files "
            f"{fresh['files']} -> {left['files']}, threads {fresh['threads']} -> "
            f"{left['threads']}, regions {fresh['regions']} -> {left['regions']}; "
            f"in the folder {', '.join(files)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--transports", default="embedded,unix,tcp,tls,shared")
    arguments = parser.parse_args()
    lines: list[str] = []
    threads = [
        threading.Thread(
            target=soak,
            args=(name, arguments.seconds, arguments.kills, arguments.n, lines),
        )
        for name in arguments.transports.split(",")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n".join(sorted(lines)))


if __name__ == "__main__":
    main()
