"""The steps of a momentum operator whose parameters are sharded over ranks.

A step is: ingest on every rank; one all_reduce (concord.torch._agreement) of the products,
the losses and what has to agree; solve and commit on every rank, with the same numbers.
Whatever a rank has to refuse, in its arguments or its gradients, it says in that
all_reduce. What a solve refuses it refuses on every rank. So either all commit or none.
With on_nonfinite="skip" all skip a step for which a rank has NaN or Inf.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, Optional

import torch

from concord._inputs import Rows, parse_gradients
from concord._options import as_json, derived_part
from concord.errors import invalid
from concord.layout import parse_layout
from concord.loss_recorder import EngineLossRecorder
from concord.torch._agreement import Agreement
from concord.torch._shard import Shard, Staged

__all__ = ["ShardedSteps"]


@dataclasses.dataclass
class _Attempt:
    numbers: list[float]  # The triangle of K, and the losses where they are recorded.
    triangle: int
    header: dict[str, Any] = dataclasses.field(default_factory=dict)
    call: Any = None
    shard: Optional[Shard] = None
    staged: Optional[Staged] = None
    error: Optional[Exception] = None


class ShardedSteps:
    """What an operator with a process_group= does differently. One step at a time."""

    def __init__(
        self, process_group: Any, replicated: Sequence[Any], counts: Optional[bool]
    ) -> None:
        self._ranks = Agreement.of(process_group)
        self._replicated = tuple(replicated)
        self._counts = self._ranks.rank == 0 if counts is None else bool(counts)
        # With counts= the stretches may be some ranks' alone.
        self._same_length = counts is None

    @contextlib.contextmanager
    def beginning(self, owner: Any, like: Optional[torch.Tensor]) -> Iterator[None]:
        """Around the constructor of `owner`: collective. Raises on every rank what is wrong
        on one, or where options differ."""
        settings: dict[str, Any] = {}
        error = None
        try:
            yield
            if like is not None:
                owner._backend = self.shard(owner, parse_gradients([like], 1, empty=True))
            settings = self._settings(owner)
        except Exception as raised:
            error = raised
        self._ranks.agree(settings, error)

    def check(self, owner: Any) -> None:
        """Refuses what cannot be sharded."""
        if owner.server is not None:
            raise ValueError(
                "process_group= is for the engine in this process; server='' says so where "
                "CONCORD_SERVER is set"
            )
        part = derived_part(owner.gradient_operator, owner.loss_recorder)
        if part is not None:
            raise TypeError(
                f"{type(part).__module__}.{type(part).__qualname__} is defined in Python and sees "
                "whole vectors; with a process_group use concord's own operators, weights, "
                "lengths and recorders"
            )

    def step(
        self, owner: Any, parse: Callable[[], Any], out: Optional[torch.Tensor]
    ) -> torch.Tensor:
        """One step of `owner`; `parse` gives its checked arguments."""
        fresh = owner._backend is None
        attempt = self._attempt(owner, parse)
        try:
            sums = self._ranks.sum(attempt.numbers, attempt.header, attempt.error)
            update = self._finish(owner, attempt, sums)
        except BaseException as raised:
            if attempt.shard is not None:
                attempt.shard.reset()
            if fresh:
                owner._forget()
            update = self._skip(owner, attempt, raised)
        return attempt.call.result(update, out)

    def _attempt(self, owner: Any, parse: Callable[[], Any]) -> _Attempt:
        """What this rank brings to the exchange of a step: its part, staged, or its error."""
        triangle = owner.num_vectors * (owner.num_vectors + 1) // 2
        recorded = 0 if owner.loss_recorder is None else owner.num_vectors
        attempt = _Attempt([0.0] * (triangle + recorded), triangle)
        try:
            call = attempt.call = parse()
            attempt.shard = self.shard(owner, call.rows)
            attempt.staged = attempt.shard.stage(call.indexes, call.rows, call.direct)
            attempt.header = self._header(owner, attempt.shard, call)
            attempt.numbers[:triangle] = attempt.staged.products
            for index, loss in zip(call.indexes, call.losses or ()):
                if not math.isfinite(loss):
                    raise invalid("NON_FINITE", f"losses[{index}]", loss, "a finite number")
                attempt.numbers[triangle + index] = loss
        except Exception as raised:
            attempt.error = raised
        return attempt

    def _finish(self, owner: Any, attempt: _Attempt, sums: Sequence[float]) -> torch.Tensor:
        """Solves and commits with what all ranks have brought."""
        call, shard, staged = attempt.call, attempt.shard, attempt.staged
        assert shard is not None and staged is not None
        products = sums[: attempt.triangle]
        if call.losses is None:
            return shard.finish(staged, products, None, call.active)
        losses = [sums[attempt.triangle + index] / self._ranks.size for index in call.indexes]
        with owner._recording(call.indexes, losses) as recorded:
            return shard.finish(staged, products, recorded, call.active)

    def _skip(self, owner: Any, attempt: _Attempt, refused: BaseException) -> torch.Tensor:
        """The update of a step that all ranks skip, as one of them has `refused` it. Where
        a rank has refused it for anything else too, that is raised."""
        if getattr(refused, "reason", "") != "NON_FINITE" or not owner._skips:
            raise refused
        own = attempt.error
        is_other = own is not None and getattr(own, "reason", "") != "NON_FINITE"
        found = self._ranks.gather(None if is_other else attempt.call.nonfinite())
        if None in found or not any(found):
            raise refused
        pairs = [(rank, index) for rank, indexes in enumerate(found) for index in indexes]
        return owner._note_skipped(pairs, attempt.call)

    def update_layout(
        self, owner: Any, old: Any, new: Any, replicated: Optional[Sequence[Any]]
    ) -> None:
        """The state under another layout of this rank's part, from the next step on.
        Collective; on an error nothing changed on any rank."""
        shard = owner._backend
        moved: Optional[Shard] = None
        error = None
        stretches = self._replicated
        products = [0.0] * (owner.num_vectors * (owner.num_vectors + 1) // 2)
        header: dict[str, Any] = {"stepped": shard is not None}
        try:
            previous = parse_layout("old", old, empty=True)
            layout = parse_layout("new", new, empty=True)
            if owner._closed:
                raise RuntimeError("the operator is closed")
            if replicated is not None:
                stretches = tuple(replicated)
            elif stretches and previous != layout:
                raise invalid(
                    "INVALID_OPTION", "replicated", "none",
                    "where `replicated` stretches lie under the new layout",
                )  # fmt: skip
            if shard is not None:
                moved = shard.moved(previous, layout, stretches)
                products = moved.products()
                header.update(self._agreed(shard), replicated=self._replicated_length(moved))
        except Exception as raised:
            error = raised
        try:
            sums = self._ranks.sum(products, header, error)
            if moved is not None:
                moved.take_products(sums)
        except BaseException:
            if moved is not None:
                moved.close()
            raise
        self._replicated = stretches
        owner._skipped = None
        if moved is not None:
            owner._backend = moved
            shard.close()

    def shard(self, owner: Any, like: Optional[Rows]) -> Shard:
        """The owner's, made for rows like these where there is none."""
        if owner._backend is None:
            if like is None:
                raise invalid(
                    "INVALID_OPTION", "like", "none",
                    "a tensor like this rank's part, as the state has no vectors",
                )  # fmt: skip
            owner._backend = Shard(
                owner._engine_settings(),
                like,
                self._replicated,
                self._counts,
                self._ranks.rank,
                self._ranks.size,
            )
        return owner._backend

    def vector_of(self, state: Mapping[str, Any]) -> Optional[Rows]:
        """A vector of this rank's in a state_dict, if there is one."""
        for name, vector in state.items():
            if name.endswith(f".rank{self._ranks.rank}"):
                return parse_gradients([vector], 1, empty=True)
        return None

    def _settings(self, owner: Any) -> dict[str, Any]:
        """What has to be the same on every rank, by the names of the arguments."""
        ((method, momentum),) = owner._momentum_message().items()
        recorder = owner.loss_recorder
        return {
            "num_vectors": owner.num_vectors,
            "max_vectors_per_step": owner._max_vectors_per_step,
            "momentum": method,
            **momentum,
            "gradient_operator": as_json(owner.gradient_operator._message()),
            "loss_recorder": None if recorder is None else as_json(recorder._message()),
            "on_nonfinite": "skip" if owner._skips else "raise",
        }

    def _agreed(self, shard: Shard) -> dict[str, Any]:
        """Of a state: what is the same on every rank."""
        return {
            "data_type": str(shard.dtype),
            "committed_step": shard.committed_steps,
            "state": f"{shard.numbers_checksum():016x}",
        }

    def _replicated_length(self, shard: Shard) -> Optional[int]:
        return shard.replicated_length if self._same_length else None

    def _header(self, owner: Any, shard: Shard, call: Any) -> dict[str, Any]:
        recorder = owner.loss_recorder
        return {
            **self._settings(owner),
            **self._agreed(shard),
            "replicated": self._replicated_length(shard),
            "recorded": recorder.state() if isinstance(recorder, EngineLossRecorder) else None,
            "indexes": sorted(call.indexes),
            "active": sorted(call.active),
            "losses": "none" if call.losses is None else "given",
        }
