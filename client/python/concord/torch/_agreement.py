"""What the ranks of a process group do together: sums, agreement, and errors.

A step's exchange is one all_reduce of a few float64 numbers. Beside what is to be
summed it carries a count of the ranks that refuse, and a digest of what has to be the
same on every rank, as words w with their squares: the words are equal everywhere when
ranks * sum(w^2) is sum(w)^2, and 16-bit words keep both sums exact. Only where a rank
refused, or ranks differ, a second exchange tells all of them why, and every rank raises
the same error.
"""

from __future__ import annotations

import builtins
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Optional

import torch
import torch.distributed as dist

from concord.errors import ConcordError, from_status
from concord.torch._rank_group import RankGroup

__all__ = ["Agreement"]

_WORDS = 4

# What ranks can differ in: code and reason of the error. Anything else is an option.
_DIFFERENCES = {
    "committed_step": ("FAILED_PRECONDITION", "STEP_AHEAD"),
    "state": ("FAILED_PRECONDITION", "EPOCH_CHANGED"),
    "active": ("INVALID_ARGUMENT", "ACTIVE_MISMATCH"),
    "data_type": ("INVALID_ARGUMENT", "DATA_TYPE_MISMATCH"),
    "replicated": ("INVALID_ARGUMENT", "LENGTH_MISMATCH"),
}


class Agreement:
    """A process group, as one of its ranks sees it. Everything here is collective."""

    def __init__(self, group: RankGroup) -> None:
        self._group = group
        self.rank, self.size = group.rank, group.size

    @classmethod
    def of(cls, process_group: Any) -> Agreement:
        """`process_group`: of torch.distributed, or a DeviceMesh of one dimension."""
        if isinstance(process_group, dist.DeviceMesh):
            process_group = process_group.get_group()
        if not isinstance(process_group, dist.ProcessGroup):
            raise TypeError(
                "process_group must be a torch.distributed.ProcessGroup (dist.group.WORLD is all "
                f"ranks) that this rank is in, not {process_group!r}"
            )
        return cls(RankGroup(process_group))

    def agree(self, settings: Mapping[str, Any], error: Optional[Exception] = None) -> None:
        """Raises on every rank where `settings` differ, or where a rank brings an error."""
        self._raise_if_any(settings, error, always=False)

    def sum(
        self,
        numbers: Sequence[float],
        header: Mapping[str, Any],
        error: Optional[Exception] = None,
    ) -> list[float]:
        """The sums of `numbers` over the ranks, the same bits on each. Raises on every rank
        where headers differ, or where a rank brings an error; then `numbers` are as many
        as ever, and not looked at."""
        words = (0,) * _WORDS if error is not None else _digest(header)
        message = torch.tensor(
            [
                *(numbers if error is None else (0.0,) * len(numbers)),
                *words,
                *(word * word for word in words),
                float(error is not None),
            ],
            dtype=torch.float64,
            device=self._group.host,
        )
        self._group.add_up(message)
        total = message.tolist()
        sums, found = total[: len(numbers)], total[len(numbers) :]
        refusals = found.pop()
        alike = all(
            self.size * int(square) == int(word) ** 2
            for word, square in zip(found[:_WORDS], found[_WORDS:])
        )
        if refusals or not alike:
            self._raise_if_any(header, error, always=True)
        return sums

    def gather(self, value: Any) -> list[Any]:
        """Every rank's `value`, by rank."""
        return self._group.gather_objects(value)

    def _raise_if_any(
        self, header: Mapping[str, Any], error: Optional[Exception], always: bool
    ) -> None:
        gathered = self.gather((_describe(error), dict(header)))
        refused = {rank: said for rank, (said, _) in enumerate(gathered) if said is not None}
        if refused:
            _raise_refusal(refused, error)
        _raise_difference([header for _, header in gathered])
        if always:
            raise RuntimeError("the ranks' digests differ, and what they were made of does not")


def _digest(header: Mapping[str, Any]) -> list[int]:
    text = json.dumps(header, sort_keys=True).encode()
    found = hashlib.blake2b(text, digest_size=2 * _WORDS).digest()
    return [int.from_bytes(found[i : i + 2], "little") for i in range(0, 2 * _WORDS, 2)]


def _describe(error: Optional[Exception]) -> Optional[dict[str, Any]]:
    if error is None:
        return None
    if not isinstance(error, ConcordError):
        return {"type": type(error).__name__, "message": str(error)}
    return {
        "code": error.code,
        "message": error.message,
        "reason": error.reason,
        "field": error.field,
        "value": error.value,
        "accepted": error.accepted,
        "metadata": error.metadata,
    }


def _raise_refusal(refused: Mapping[int, Mapping[str, Any]], own: Optional[Exception]) -> NoReturn:
    """The error of the first rank that has one."""
    rank, said = min(refused.items())
    message = f"rank {rank}: {said['message']}"
    if "type" in said:
        kind = getattr(builtins, said["type"], RuntimeError)
        plain = kind in (TypeError, ValueError, MemoryError, NotImplementedError)
        raise (kind if plain else RuntimeError)(message) from own
    metadata = {
        **said["metadata"],
        "rank": str(rank),
        "ranks": ", ".join(map(str, sorted(refused))),
    }
    raise from_status(**{**said, "message": message, "metadata": metadata}) from own


def _raise_difference(headers: Sequence[Mapping[str, Any]]) -> None:
    first = headers[0]
    for name in dict.fromkeys(name for header in headers for name in header):
        values = [header.get(name) for header in headers]
        others = [rank for rank, value in enumerate(values) if value != values[0]]
        if not others:
            continue
        at = others[0]
        code, reason = _DIFFERENCES.get(name, ("INVALID_ARGUMENT", "INVALID_OPTION"))
        value, accepted = str(values[at]), f"{first.get(name)}, as on rank 0"
        raise from_status(
            code,
            f"{reason}: {name} = {value} on rank {at}; accepted: {accepted}",
            reason=reason,
            field=name,
            value=value,
            accepted=accepted,
            metadata={"rank": str(at), "ranks": ", ".join(map(str, others))},
        )
