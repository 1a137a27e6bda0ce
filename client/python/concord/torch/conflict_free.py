"""A training step of several losses: gradients, their combination, `.grad`.

    network = DistributedDataParallel(Network())
    cf = ConflictFree(network, PseudoMomentumOperator(num_vectors=2))
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    for batch in batches:
        output = network(batch)
        cf.step([heat(output), edge(output)])
        optimizer.step()

`step` takes every loss's gradient (concord.torch.gradients: ranks, heads, missing losses,
micro-batches, checkpointing), averages it over the ranks, combines, and makes the update
the parameters' gradients, whatever they were: no zero_grad() is needed. Every rank gets
the same bits, so replicas stay equal. It works the same with one process.

**Who combines.** An embedded operator computes on every rank. A concord.Session that all
ranks are in (`rank=`, `num_workers=`; concord.torch.SharedServer makes one) gets each
vector from one rank and answers all. An operator with `server=` is used by one rank,
which hands the update on. With average="server" nothing is averaged here: each rank sends
its own gradients, with their weights, to a Session with num_workers=R and
max_ranks_per_vector=R.

**NaN and Inf**, in any rank's gradients or losses, count for all ranks. "raise": all of
them raise the same error. "skip": nothing is committed anywhere, `skipped_nonfinite` of
the result says which rank and loss it was, and the step leaves no gradients, so that
optimizer.step() does nothing.

**AMP.** Give the GradScaler as `scaler`: losses are scaled here, vectors are combined
unscaled, and `.grad` is scaled again, as after any backward():

        cf.step(losses)          # Not scaler.scale(loss), no backward().
        scaler.step(optimizer)
        scaler.update()

With on_nonfinite="skip" a skipped step leaves NaN in `.grad`: the scaler skips its
optimizer's step on every rank and lowers the scale. Scales are powers of two unless one
was chosen that is not, so scaling there and back is exact.

**Optimizers.** After a momentum operator SGD without momentum: its update is rescaled
like Adam's already. Adam, and optimizers like it, get a warning, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Literal, NoReturn, Optional

import torch

from concord.errors import InvalidArgumentError, invalid
from concord.torch._agreement import Agreement
from concord.torch._combining import Combined, combiner_of, has_momentum, num_losses_of
from concord.torch._parameters import Named, Parameters
from concord.torch._rank_group import RankGroup
from concord.torch._second_rescaling import warn_of_second_rescaling
from concord.torch.gradients import Collected, GradientAccumulator, Losses, Weights
from concord.torch.replicas import compare_layouts, compare_values

__all__ = ["ConflictFree", "Step"]


@dataclass(frozen=True)
class Step:
    """One step's outcome, the same on every rank."""

    # None where the step was skipped. Its memory is that of the parameters' gradients.
    update: Optional[torch.Tensor]
    indexes: list[int]  # Losses that took part.
    losses: list[float]  # Their means over ranks and micro-batches.
    # (rank, loss) of NaN and Inf that the step was skipped for.
    skipped_nonfinite: tuple[tuple[int, int], ...] = ()


class ConflictFree:
    """Conflict-free training of a model, on every rank that holds a replica of it.

    Args:
        model: The module, in DistributedDataParallel or not; or parameters.
        operator: A momentum operator, a gradient operator, or a concord.Session.
        shared: Modules' or parameters' part that is combined; the rest are heads, which
            get their losses' own gradients. None: everything trainable.
        process_group: The ranks; None: those of the DDP module, else all of the job.
        average: Who averages the ranks' gradients: the "ranks", or the "server".
        on_nonfinite: "raise" or "skip", see the module.
        scaler: A torch.amp.GradScaler.
        verify: Every so many steps the ranks' parameters are compared
            (concord.torch.verify_replicas); 0: never. Names, shapes and order are compared
            here and now in any case.
        num_losses: For a gradient operator, which does not know; default: as many as the
            first step brings.
        use_backward: For activation checkpointing with use_reentrant=True.

    Collective, like `step`. Used by one thread at a time. A step that raises leaves
    parameters' gradients and the operator as they were, and what was accumulated is gone.
    """

    def __init__(
        self,
        model: Named,
        operator: Any,
        *,
        shared: Optional[Named] = None,
        process_group: Any = None,
        average: Literal["ranks", "server"] = "ranks",
        on_nonfinite: Literal["raise", "skip"] = "raise",
        scaler: Optional[torch.amp.GradScaler] = None,
        verify: int = 0,
        num_losses: Optional[int] = None,
        use_backward: bool = False,
    ) -> None:
        if average not in ("ranks", "server"):
            raise invalid("INVALID_OPTION", "average", average, "ranks or server")
        if on_nonfinite not in ("raise", "skip"):
            raise invalid("INVALID_OPTION", "on_nonfinite", on_nonfinite, "raise or skip")
        if isinstance(verify, bool) or not isinstance(verify, int) or verify < 0:
            raise invalid("INVALID_OPTION", "verify", verify, "a count >= 0")
        if not isinstance(model, torch.nn.Module):
            model = list(model)  # type: ignore[assignment]
        if shared is not None and not isinstance(shared, torch.nn.Module):
            shared = list(shared)  # type: ignore[assignment]
        known = num_losses_of(operator)
        if known is not None and num_losses not in (None, known):
            raise invalid("INVALID_OPTION", "num_losses", num_losses, f"the operator's {known}")
        self.operator = operator
        self._model = model
        self._shared, self._use_backward = shared, use_backward
        self._accumulator = self._make_accumulator(known or num_losses or 1)
        self._count_is_known = known is not None or num_losses is not None
        self._group = RankGroup.of(model, process_group)
        self._parameters = self._agreed_parameters(self._accumulator)
        self._combiner = combiner_of(
            operator, self._accumulator.parameters.shared, self._group, average == "server"
        )
        self._server_averages = average == "server"
        self._on_nonfinite = on_nonfinite
        self._scaler = scaler
        self._verify = verify
        self._steps = 0
        if has_momentum(operator):
            warn_of_second_rescaling(self, self._accumulator.parameters.shared.tensors)

    def accumulate(self, losses: Losses, *, weights: Weights = None) -> None:
        """One of several micro-batches, whose last one `step` brings: their gradients and
        losses are averaged by weight. Not collective."""
        self._accumulator_for(losses).add(self._scaled(losses), weights=weights)

    def step(
        self,
        losses: Losses,
        *,
        weights: Weights = None,
        active: Optional[Sequence[int]] = None,
        retain_graph: bool = False,
    ) -> Step:
        """One step: the update is in `.grad`, for optimizer.step().

        Args:
            losses: A scalar for each loss, None for one that this batch does not have; or
                {index: scalar}. All ranks call it, each with those it has.
            weights: This rank's share in the averages, for all losses or for each: the
                numbers of samples, where they differ.
            active: Losses that count in this step's combination; None: all.
            retain_graph: Keep the graph, for more backward passes.
        """
        accumulator = self._accumulator_for(losses)
        if self._verify and self._steps % self._verify == 0:
            compare_values(self._parameters, self._group)
        self._steps += 1
        found = accumulator.collect(
            self._scaled(losses),
            weights,
            self._group,
            average_vectors=not self._server_averages,
            scale=self._scale,
            retain_graph=retain_graph,
        )
        if found.nonfinite:
            return self._refuse(found, found.nonfinite)
        if not found.present:
            raise invalid("EMPTY_ROUND", "losses", "none on any rank", "at least one loss")
        try:
            combined: Combined = self._combiner.combine(found, active)
        except InvalidArgumentError as error:
            # Finite on each rank, but not their sum, which all ranks have.
            if error.reason != "NON_FINITE" or self._server_averages:
                raise
            return self._refuse(found, self._bringing(found), error)
        if combined.skipped_nonfinite:
            skipped = combined.skipped_nonfinite
            if not self._server_averages:
                # The operator has been given sums, and knows of no ranks.
                skipped = self._bringing(found) or skipped
            return self._refuse(found, skipped)
        update = combined.update if self._scale == 1 else combined.update * self._scale
        accumulator.parameters.shared.put(update)
        accumulator.put_heads(found.heads)
        return Step(combined.update, found.present, found.losses)

    def update_layout(self) -> None:
        """To be called when parameters were frozen, unfrozen or added. By name, the momenta
        of those that stay in the vectors are kept bit for bit, new ones begin with zeros.
        Frozen ones lose their `.grad`, which optimizers would go on to apply. What was
        accumulated is gone. Collective; on an error nothing changed."""
        accumulator = self._together(lambda: self._make_accumulator(self._accumulator.num_losses))
        parameters = self._agreed_parameters(accumulator)
        old, new = (part.parameters.shared for part in (self._accumulator, accumulator))
        if old.layout != new.layout:
            self._together(lambda: self._combiner.update_layout(old, new))
        for tensor in self._parameters.tensors:
            if not tensor.requires_grad:
                tensor.grad = None
        self._accumulator, self._parameters = accumulator, parameters

    def _together(self, action: Callable[[], Any]) -> Any:
        """What it returns on this rank; where one rank fails, all raise its error."""
        result, error = None, None
        try:
            result = action()
        except Exception as raised:
            error = raised
        Agreement(self._group).agree({}, error)
        return result

    def _make_accumulator(self, num_losses: int) -> GradientAccumulator:
        return GradientAccumulator(
            self._model, num_losses, shared=self._shared, use_backward=self._use_backward
        )

    def _agreed_parameters(self, accumulator: GradientAccumulator) -> Parameters:
        """All that is trained; the same on every rank."""
        split = accumulator.parameters
        parameters = Parameters(list(zip(split.names, split.tensors)))
        compare_layouts(parameters, self._group)
        return parameters

    def _accumulator_for(self, losses: Losses) -> GradientAccumulator:
        """The accumulator, for as many losses as there are."""
        if not self._count_is_known:
            if not isinstance(losses, Sequence):
                raise TypeError("losses by index need num_losses= with this operator")
            self._accumulator.num_losses = len(losses)
            self._accumulator.restart()
            self._count_is_known = True
        return self._accumulator

    @property
    def _scale(self) -> float:
        return 1.0 if self._scaler is None else self._scaler.get_scale()

    def _scaled(self, losses: Losses) -> Losses:
        if self._scaler is None:
            return losses
        scale = self._scaler.scale
        if isinstance(losses, Sequence):
            return [None if loss is None else scale(loss) for loss in losses]
        return {index: scale(loss) for index, loss in losses.items()}

    def _refuse(
        self,
        found: Collected,
        nonfinite: tuple[tuple[int, int], ...],
        error: Optional[InvalidArgumentError] = None,
    ) -> Step:
        """The outcome of a step with NaN or Inf, on every rank."""
        if self._on_nonfinite == "raise":
            _raise(nonfinite, error)
        for tensor in self._parameters.tensors:
            tensor.grad = None
            if self._scaler is not None and self._scaler.is_enabled():
                # What makes a GradScaler skip.
                tensor.grad = torch.full_like(tensor, torch.nan, requires_grad=False)
        return Step(None, found.present, found.losses, nonfinite)

    def _bringing(self, found: Collected) -> tuple[tuple[int, int], ...]:
        """(rank, loss) of everything that went into sums which are not finite."""
        indexes, vectors = found.gradients
        bad = {j for j, row in zip(indexes, vectors) if not torch.isfinite(row).all()}
        return tuple(pair for pair in found.brought if pair[1] in bad)


def _raise(
    nonfinite: tuple[tuple[int, int], ...], error: Optional[InvalidArgumentError]
) -> NoReturn:
    where = "; ".join(f"rank {rank}: loss {loss}" for rank, loss in nonfinite)
    raise InvalidArgumentError(
        f"NON_FINITE: gradients = NaN or Inf of {where}; accepted: finite numbers, or "
        "on_nonfinite='skip'",
        reason="NON_FINITE",
        field="gradients",
        value=where,
        accepted="finite numbers, or on_nonfinite='skip'",
        metadata={"ranks": ", ".join(str(rank) for rank in sorted({r for r, _ in nonfinite}))},
    ) from error
