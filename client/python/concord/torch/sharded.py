"""Parameters sharded over ranks: only dot products travel.

Everything that a combination needs is a function of the Gram matrix K of the losses'
vectors, and K of a whole vector is the sum of the parts' own. So every rank of a
torch.distributed group runs the engine on its own part, and a step costs one all_reduce
of m (m + 1) / 2 numbers and a few more, whatever the number of parameters is. With the
same sum all ranks find the same coefficients, bit for bit; the updates are the parts of
the whole update.

    operator = PseudoMomentumOperator(3, process_group=dist.group.WORLD)
    update = operator.calculate_gradient(indexes, grads)  # This rank's part.

`process_group=` makes PseudoMomentumOperator and SeparateMomentumOperator sharded, and
ShardedGradientOperator any gradient operator without momentum; methods that work element
by element (GradDrop, TrimmedMean) are refused. `replicated=` names slices of this rank's
vector that every rank has too: they count once. Ranks' parts may differ in length, or be
empty. concord.torch.fsdp gives the parts of a model under fully_shard.

Collective are: making an operator, and every step, with the same losses on every rank.
Losses' values are averaged over the ranks. What one rank refuses (NaN in its part, a
wrong length, another set of losses, another option) every rank raises, as the same error
naming the rank, and no state moves anywhere.

`state_dict()` and `load_state_dict()` are not collective. A state has this rank's vectors
under names of its own ("momentum.0.rank2"), and what is the same on every rank under
common ones, so that torch.distributed.checkpoint saves it as it is; it is for as many
ranks with the same parts. An operator made with `like=` has a state from the start, for
`dcp.load({"operator": operator}, ...)` to load into. Ranks that have loaded states of
different steps are told so by the next step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

import torch

from concord._engine_operator import EngineOperator, GradientOperator
from concord.loss_recorder import LatestLossRecorder
from concord.momentum_operator import EngineMomentumOperator
from concord.results import StepResult

__all__ = ["ShardedGradientOperator"]


class _WithoutMomentum(EngineMomentumOperator):
    """The gradients of a step alone."""

    _method = "none"

    def _momentum_message(self) -> dict[str, Any]:
        return {"none": {}}


class ShardedGradientOperator(GradientOperator):
    """A gradient operator on parameters that are sharded over ranks.

    Args:
        gradient_operator: One of concord's own that a Gram matrix is enough for. What it
            remembers of its steps, if anything, is kept here, not in it.
        num_vectors: Number of losses m.
        process_group: Of torch.distributed, or a DeviceMesh of one dimension.
        replicated: Slices of this rank's vector that every rank has too.
        counts: Whether this rank counts what is `replicated`; default: the first rank does.
        like: A tensor of this rank's length, type and device; needed to load a state into
            an operator that has not stepped.
    """

    def __init__(
        self,
        gradient_operator: EngineOperator,
        num_vectors: int,
        *,
        process_group: Any,
        replicated: Sequence[Any] = (),
        counts: Optional[bool] = None,
        like: Optional[torch.Tensor] = None,
    ) -> None:
        super().__init__()
        self._losses = bool(getattr(gradient_operator, "needs_losses", False))
        recorder = None
        # A number that is none is refused below, on every rank.
        if self._losses and isinstance(num_vectors, int) and num_vectors > 0:
            recorder = LatestLossRecorder(num_vectors)
        self._steps = _WithoutMomentum(
            num_vectors,
            gradient_operator=gradient_operator,
            loss_recorder=recorder,
            server="",
            process_group=process_group,
            replicated=replicated,
            counts=counts,
            like=like,
        )

    def calculate_gradient(
        self,
        grads: Union[torch.Tensor, Sequence[torch.Tensor]],
        losses: Optional[Sequence] = None,
    ) -> torch.Tensor:
        """This rank's part of the combination; `grads` are its parts of the m gradients.
        Collective."""
        return self._steps.calculate_gradient(None, grads, losses if self._losses else None)

    def update_layout(
        self,
        old: Sequence[Any],
        new: Sequence[Any],
        *,
        replicated: Optional[Sequence[Any]] = None,
    ) -> None:
        """Vectors of another layout from the next step on, as with a momentum operator; what
        the method remembers goes on."""
        self._steps.update_layout(old, new, replicated=replicated)

    @property
    def last_step(self) -> Optional[StepResult]:
        """What the last combination found; None before the first."""
        return self._steps.last_step

    def state_dict(self) -> dict[str, Any]:
        """What the method remembers of its steps; empty before the first."""
        return self._steps.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state; on an error nothing changed."""
        self._steps.load_state_dict(state)
