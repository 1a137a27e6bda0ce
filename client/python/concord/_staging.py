"""How CUDA tensors travel to a server and back: through page-locked memory of this
host, which the device copies to and from by itself while the processor does other
things. A session keeps its own from step to step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import torch


class Staging:
    """One rank's memory for gradients on their way out and updates on their way in.
    Used by one thread at a time, as its session is."""

    def __init__(self) -> None:
        self._sent: dict[int, torch.Tensor] = {}
        self._landing: Optional[torch.Tensor] = None
        self._fetched: Any = None  # The event behind the last copy from _landing.

    def send(self, rows: Sequence[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
        """The rows in this host's memory, as `dtype`: those that are there as they are,
        others until the next call in memory of this object."""
        sent = []
        devices = set()
        for position, row in enumerate(rows):
            if row.device.type == "cpu":
                sent.append(row.to(dtype))
                continue
            buffer = self._sent.get(position)
            if buffer is None or buffer.dtype is not dtype or buffer.numel() != row.numel():
                buffer = _page_locked(row.numel(), dtype)
                self._sent[position] = buffer
            # Converted where the device's memory is fast, and half the bytes travel.
            sent.append(buffer.copy_(row.to(dtype), non_blocking=True))
            devices.add(row.device)
        for device in devices:
            torch.cuda.current_stream(device).synchronize()
        return sent

    def landing(self, length: int, dtype: torch.dtype) -> torch.Tensor:
        """Memory for an update that `fetch` takes to a device."""
        if self._fetched is not None:
            self._fetched.synchronize()
            self._fetched = None
        landing = self._landing
        if landing is None or landing.dtype is not dtype or landing.numel() != length:
            landing = self._landing = _page_locked(length, dtype)
        return landing

    def fetch(self, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """What landed, on `device`, for whoever uses its current stream."""
        assert self._landing is not None
        update = torch.empty_like(self._landing, device=device, pin_memory=False)
        update.copy_(self._landing, non_blocking=True)
        self._fetched = torch.cuda.current_stream(device).record_event()
        return update.to(dtype)


def _page_locked(length: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(length, dtype=dtype, pin_memory=True)
