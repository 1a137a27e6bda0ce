"""The ranks of a job, or this process alone, as one of them sees them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Optional

import torch
import torch.distributed as dist


class RankGroup:
    """A process group of torch.distributed, or this process alone. Everything but `rank`
    and `size` is collective."""

    def __init__(self, group: Optional[dist.ProcessGroup]) -> None:
        """`group`: None for this process alone."""
        self.group = group
        self.rank = 0 if group is None else dist.get_rank(group)
        self.size = 1 if group is None else dist.get_world_size(group)
        # "cpu:gloo,cuda:nccl", or what a single backend stands for.
        on_cpu = group is None or "cpu:" in dist.get_backend_config(group)
        self._device = torch.device("cpu") if on_cpu else None

    @classmethod
    def of(cls, params: Any, group: Optional[dist.ProcessGroup] = None) -> RankGroup:
        """`group`, else that of a DDP module, else all ranks of a distributed job, else
        this process."""
        if group is None and isinstance(params, torch.nn.parallel.DistributedDataParallel):
            group = params.process_group
        if group is None and dist.is_available() and dist.is_initialized():
            group = dist.group.WORLD
        return cls(group)

    def gather(self, numbers: Sequence[float]) -> list[list[float]]:
        """Every rank's `numbers`, as many on each, by rank."""
        if self.size == 1:
            return [list(numbers)]
        own = torch.tensor(numbers, dtype=torch.float64, device=self.host)
        found = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(found, own, group=self.group)
        return [numbers.tolist() for numbers in found]

    def gather_objects(self, value: Any) -> list[Any]:
        """Every rank's `value`, by rank."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        with self._pickling():
            dist.all_gather_object(found, value, group=self.group)
        return found

    def hand_out(self, value: Any) -> Any:
        """Rank 0's `value`."""
        if self.size == 1:
            return value
        found = [value]
        assert self.group is not None
        with self._pickling():
            dist.broadcast_object_list(found, dist.get_global_rank(self.group, 0), self.group)
        return found[0]

    def broadcast(self, vector: torch.Tensor) -> None:
        """Makes rank 0's elements those of `vector` everywhere."""
        if self.size > 1:
            assert self.group is not None
            dist.broadcast(vector, dist.get_global_rank(self.group, 0), self.group)

    def begin_sum(self, vector: torch.Tensor) -> Optional[dist.Work]:
        """Adds `vector` up over the ranks, in place; done once the work has been waited
        for. The same bits on every rank."""
        if self.size == 1:
            return None
        return dist.all_reduce(vector, group=self.group, async_op=True)

    def add_up(self, vector: torch.Tensor) -> None:
        """Makes `vector` the sum over the ranks, the same bits on every one."""
        work = self.begin_sum(vector)
        if work is not None:
            work.wait()

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier(group=self.group)

    @property
    def host(self) -> torch.device:
        """Where a few numbers of this process are put to travel."""
        return self._device or torch.device("cuda", torch.cuda.current_device())

    @contextlib.contextmanager
    def _pickling(self) -> Iterator[None]:
        """Objects travel from the current device, which NCCL wants to be this rank's."""
        if self._device is not None:
            yield
            return
        with torch.cuda.device(self.host):
            yield
