"""Processes that are the ranks of torch.distributed jobs on gloo, for many tests.

    def work(rank, size, ...): ...          # At a test module's top level.
    results = ranks.run(work, 4, ...)       # One result a rank.

They stay from test to test, because what takes long is to import torch. Every run has a
process group of its own. A run that fails, or takes too long, ends them all; the next
one begins with new ones.
"""

import datetime
import multiprocessing
import multiprocessing.connection
import os
import tempfile
import time
import traceback

import pytest

_RUN = 120.0  # Seconds; a busy machine takes long to import torch.


def _serve(pipe):
    # Ranks are on this machine, whatever its name resolves to.
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    while True:
        try:
            order = pipe.recv()
        except EOFError:
            return
        work, rank, size, store, arguments = order
        try:
            dist.init_process_group(
                "gloo",
                init_method=f"file://{store}",
                rank=rank,
                world_size=size,
                timeout=datetime.timedelta(seconds=_RUN),
            )
            result = ("done", work(rank, size, *arguments))
            dist.destroy_process_group()
        except BaseException:
            result = ("failed", f"rank {rank} of {size}:\n{traceback.format_exc()}")
        pipe.send(result)


class Ranks:
    def __init__(self):
        self._workers = []

    def run(self, work, size, *arguments):
        """`work(rank, size, *arguments)` on ranks 0 ... size - 1; their results."""
        self._start(size)
        with tempfile.TemporaryDirectory() as directory:
            for rank, (_, pipe) in enumerate(self._workers[:size]):
                pipe.send((work, rank, size, f"{directory}/store", arguments))
            try:
                return self._results(size)
            except BaseException:
                self.stop()
                raise

    def _results(self, size):
        deadline = time.monotonic() + _RUN
        results = {}
        while len(results) < size:
            waiting = {
                pipe: rank
                for rank, (_, pipe) in enumerate(self._workers[:size])
                if rank not in results
            }
            left = deadline - time.monotonic()
            ready = multiprocessing.connection.wait(waiting, max(left, 0))
            if not ready:
                pytest.fail(f"ranks {sorted(waiting.values())} are not done after {_RUN} s")
            for pipe in ready:
                try:
                    said, result = pipe.recv()
                except EOFError:
                    pytest.fail(f"rank {waiting[pipe]} has died")
                if said == "failed":
                    pytest.fail(result)
                results[waiting[pipe]] = result
        return [results[rank] for rank in range(size)]

    def _start(self, size):
        context = multiprocessing.get_context("spawn")
        while len(self._workers) < size:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._workers.append((process, ours))

    def stop(self):
        workers, self._workers = self._workers, []
        for process, pipe in workers:
            pipe.close()
            process.kill()
        for process, _ in workers:
            process.join(20)
            process.close()
