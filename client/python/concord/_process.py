"""What belongs to this process: its kernels, and whether it was forked.

A forked child has the parent's objects but none of its threads. `generation`
grows in every child, so that an object can see that it comes from a parent.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import torch

from concord import _native

generation = 0
# Native objects of a parent, never destroyed here: their threads are not.
abandoned: list[Any] = []

_kernels: dict[str, _native.Kernels] = {}
_lock = threading.Lock()


def _after_fork() -> None:
    global generation, _kernels, _lock
    generation += 1
    abandoned.append(_kernels)
    _kernels = {}
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def threads() -> int:
    """Threads of the embedded engine: CONCORD_THREADS, else as many as torch uses.

    A forked child computes with one: the results are the same bits.
    """
    if generation:
        return 1
    text = os.environ.get("CONCORD_THREADS", "")
    if not text:
        return torch.get_num_threads()
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"CONCORD_THREADS = {text!r}; accepted: a whole number >= 1")
    return int(text)


def kernels(device: torch.device) -> _native.Kernels:
    """The process's kernels on `device`, made at first use."""
    name = "cpu" if device.type == "cpu" else str(device)
    with _lock:
        found = _kernels.get(name)
        if found is None:
            if device.type == "cpu":
                found = _native.cpu_kernels(threads())
            else:
                found = _native.device_kernels(name)
            _kernels[name] = found
        return found
