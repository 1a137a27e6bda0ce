"""What a worker keeps on the disk, so that a new process goes on where it was ended.

After every step: parameters, state of the points' generator, number of the step.
The server keeps the momenta, and the update of the last committed step; so a
worker that dies between commit and `keep` gets that update again when it comes
back, and no step is lost or applied twice.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from burgers.network import Network
from burgers.problem import PointSampler


class Memory:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = path.with_name(f"{path.name}.next")

    def recall(self, network: Network, sampler: PointSampler) -> int:
        """Puts both back to where they were; the last step that was applied."""
        if not self._path.exists():
            # From the first step on a new process must be able to say that it is none
            # of another run's.
            self.keep(0, network, sampler)
            return 0
        kept = torch.load(self._path, weights_only=True)
        network.flat.copy_(kept["parameters"])
        sampler.state = kept["sampler"]
        return kept["step"]

    def keep(self, step: int, network: Network, sampler: PointSampler) -> None:
        """The old file or the new one, whole, is there at every instant."""
        torch.save({"step": step, "parameters": network.flat, "sampler": sampler.state}, self._next)
        os.replace(self._next, self._path)
