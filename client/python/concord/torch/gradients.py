"""Each loss's own gradient, in jobs of one or several ranks.

    losses = [heat(network(x)), edge(network(x))]
    indexes, vectors = per_loss_gradients(losses, network)
    update = operator.calculate_gradient(indexes, vectors)

A vector is the gradient of one loss over the trainable parameters, row by row and in
the order of `named_parameters()`, as concord.utils has them. Parameters that a loss does
not use count as zeros, frozen ones have no part in it, one that several modules share
has one.

**Ranks.** With reduce="mean" vectors are averaged over the ranks of `process_group` (of a
DDP module its own; else all ranks of a distributed job): one all_reduce a loss, which
runs beside the backward pass of the next one, and two exchanges of a few numbers. The
same bits come to every rank. With reduce=None they are this rank's own: for a Session
that averages them. The model may be wrapped in DistributedDataParallel or not; DDP's
own reduction, which would take the first loss's gradient alone, does not run, with or
without no_sync(). static_graph=True is refused: there it does.

**Losses that a batch does not have** are None, and have no vector. A loss that only
some ranks bring is averaged over those. Weights (default 1: numbers of samples, say) are
a rank's share in an average, for each loss of its own.

**Heads.** With `shared=` (a module or parameters) only those make vectors. The others
get into `.grad` what backward() of the losses' sum would leave there (each loss averaged
as its vector is); None where no loss of any rank reaches a parameter.

**Micro-batches.** GradientAccumulator adds gradients up, and a mean over micro-batches is
taken as one over ranks is: by weights. So micro-batches give the large batch's gradient,
to rounding, and always the same bits.

**Activation checkpointing.** use_reentrant=False works as it is: every loss's backward
pass computes the activations anew. use_reentrant=True needs use_backward=True, which
takes gradients from `.grad` after loss.backward() (what was there is put back); under DDP
the forward pass must then be inside no_sync(). Both are checked: without it
torch.autograd.grad would find zeros for all that is inside a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Optional, Union

import torch

from concord.errors import invalid
from concord.torch._backward import (
    check_backward,
    check_no_reentrant_checkpoint,
    gradient,
    gradient_by_backward,
)
from concord.torch._parameters import Named, Split, check_whole, dense
from concord.torch._rank_group import RankGroup

__all__ = ["GradientAccumulator", "LossGradients", "per_loss_gradients"]

# One scalar for each loss, None for those that the batch does not have; or by index.
Losses = Union[Sequence[Optional[torch.Tensor]], Mapping[int, torch.Tensor]]
# The same for all losses, or one each, as the losses are given.
Weights = Union[None, float, Sequence[float], Mapping[int, float]]


class LossGradients(NamedTuple):
    """What a momentum operator's calculate_gradient and Session.step take."""

    indexes: list[int]  # The losses that have a vector, ascending.
    vectors: list[torch.Tensor]  # (n,) each.


class Collected(NamedTuple):
    """Vectors, and what is known beside them."""

    gradients: LossGradients
    weights: list[float]  # Of this rank's part in each of them.
    present: list[int]  # Losses that any rank has brought.
    losses: list[float]  # Their means.
    heads: list[Optional[torch.Tensor]]
    # (rank, loss) of gradients and losses with NaN or Inf, before anything was averaged,
    # or of all where heads' sums have overflowed. Nothing of it is to be used then.
    nonfinite: tuple[tuple[int, int], ...]
    brought: tuple[tuple[int, int], ...]  # (rank, loss) of everything that went in.


def per_loss_gradients(
    losses: Losses,
    params: Named,
    reduce: Optional[Literal["mean"]] = "mean",
    *,
    shared: Optional[Named] = None,
    weights: Weights = None,
    process_group: Any = None,
    use_backward: bool = False,
    retain_graph: bool = False,
) -> LossGradients:
    """Each loss's gradient as a vector, from one forward pass (see the module).

    Args:
        losses: A scalar for each loss, None for one that this batch does not have.
        params: A module, parameters, or (name, parameter) pairs.
        reduce: "mean": averaged over the ranks. None: this rank's own.
        shared: Those of params that vectors are made of; the others are heads, whose
            gradients are put into `.grad`.
        weights: This rank's share in the averages, for all losses or for each.
        process_group: The ranks; None: see the module.
        use_backward: Take gradients from `.grad` after loss.backward().
        retain_graph: Keep the graph after the last loss, too.

    With reduce="mean" every rank calls it, with as many losses.
    """
    if isinstance(losses, Mapping):
        raise TypeError("losses must be a sequence here: ranks have to agree on their number")
    accumulator = GradientAccumulator(
        params, len(losses), shared=shared, process_group=process_group, use_backward=use_backward
    )
    return accumulator.take(losses, reduce, weights=weights, retain_graph=retain_graph)


class GradientAccumulator:
    """Gradients of several micro-batches, added up loss by loss in the order they come.

        accumulator = GradientAccumulator(network, num_losses=2)
        for part in parts[:-1]:
            accumulator.add(losses_of(network, part))
        indexes, vectors = accumulator.take(losses_of(network, parts[-1]))

    `add` exchanges nothing with other ranks. Arguments are those of per_loss_gradients.
    """

    def __init__(
        self,
        params: Named,
        num_losses: int,
        *,
        shared: Optional[Named] = None,
        process_group: Any = None,
        use_backward: bool = False,
    ) -> None:
        if num_losses < 1:
            raise invalid("INVALID_OPTION", "num_losses", num_losses, ">= 1")
        if getattr(params, "static_graph", False):
            raise ValueError(
                "DistributedDataParallel(static_graph=True) reduces what it finds after its first "
                "backward pass, whatever loss that is of; make it without static_graph"
            )
        check_whole(params)
        self.num_losses = num_losses
        self.parameters = Split(params, shared)
        self._model = params
        self._asked = process_group
        self._use_backward = use_backward
        self._rows: list[torch.Tensor] = []
        self._scratch: Optional[torch.Tensor] = None
        self.restart()

    def restart(self) -> None:
        """Forgets what was added."""
        m = self.num_losses
        self._weights = [0.0] * m
        self._losses = [0.0] * m  # Sums of weighted values.
        self._heads: list[dict[int, torch.Tensor]] = [{} for _ in range(m)]
        # Smallest and largest elements of what was added.
        self._bounds: list[list[torch.Tensor]] = [[] for _ in range(m)]

    def add(self, losses: Losses, *, weights: Weights = None, retain_graph: bool = False) -> None:
        """One micro-batch's gradients."""
        given = self._given(losses, weights)
        self._count(given)
        for _ in self._passes(given, range(self.num_losses), retain_graph):
            pass

    def take(
        self,
        losses: Optional[Losses] = None,
        reduce: Optional[Literal["mean"]] = "mean",
        *,
        weights: Weights = None,
        retain_graph: bool = False,
    ) -> LossGradients:
        """The means of what was added and of `losses`, a last micro-batch; begins anew.
        Heads get theirs. The vectors are this object's memory, and stay as they are until
        its next call. With reduce="mean" collective."""
        if reduce not in ("mean", None):
            raise ValueError(f"reduce = {reduce!r}; accepted: 'mean', None")
        group = RankGroup.of(self._model, self._asked) if reduce else RankGroup(None)
        found = self.collect(losses, weights, group, retain_graph=retain_graph)
        self.put_heads(found.heads)
        return found.gradients

    def put_heads(self, gradients: Sequence[Optional[torch.Tensor]]) -> None:
        """Makes `gradients` those of the heads."""
        for tensor, own in zip(self.parameters.heads.tensors, gradients):
            tensor.grad = own

    def collect(
        self,
        losses: Optional[Losses],
        weights: Weights,
        group: RankGroup,
        *,
        average_vectors: bool = True,
        scale: float = 1.0,
        retain_graph: bool = False,
    ) -> Collected:
        """As `take`, but for the heads, which are not put. `average_vectors`: over the
        ranks; losses and heads always are. `scale`: what the losses were multiplied with;
        vectors and `losses` are without it, heads have it."""
        try:
            return self._collect(losses, weights, group, average_vectors, scale, retain_graph)
        finally:
            self.restart()

    def _collect(
        self,
        losses: Optional[Losses],
        weights: Weights,
        group: RankGroup,
        average_vectors: bool,
        scale: float,
        retain_graph: bool,
    ) -> Collected:
        m = self.num_losses
        given = self._given(losses, weights)
        self._count(given)
        ranks = group.gather([*self._weights, *self._losses])
        totals = [sum(rank[j] for rank in ranks) for j in range(m)]
        sums = [sum(rank[m + j] for rank in ranks) for j in range(m)]
        mine = self._weights
        present = [j for j in range(m) if totals[j] > 0]
        rowed = [j for j in present if average_vectors or mine[j] > 0]
        rows = self._all_rows()
        works = []
        finite = [1.0] * m
        for j in self._passes(given, range(m), retain_graph):
            if mine[j] > 0:
                finite[j] = float(self._is_finite(j))
            if j not in rowed:
                continue
            if mine[j] == 0:
                rows[j].zero_()
            share = (totals if average_vectors else mine)[j] * scale
            if mine[j] > 0 and share != 1:
                rows[j].mul_(1 / share)
            if average_vectors:
                works.append(group.begin_sum(rows[j]))
        heads = self._mean_heads(totals, group)
        flags = group.gather(finite)
        for work in works:
            if work is not None:
                work.wait()
        brought = [(rank, j) for rank, own in enumerate(ranks) for j in range(m) if own[j] > 0]
        bad = [(rank, j) for rank, j in brought if not flags[rank][j]]
        if not bad and not all(
            bool(torch.isfinite(head).all()) for head in heads if head is not None
        ):
            # Each rank's were finite, their sum is not.
            bad = brought
        return Collected(
            LossGradients(rowed, [rows[j] for j in rowed]),
            [mine[j] for j in rowed],
            present,
            [sums[j] / (totals[j] * scale) for j in present],
            heads,
            tuple(bad),
            tuple(brought),
        )

    def _given(self, losses: Optional[Losses], weights: Weights) -> dict[int, tuple[Any, float]]:
        """{loss: (value, weight)} of those that there are, checked."""
        if losses is None:
            return {}
        if isinstance(losses, Mapping):
            pairs: list[tuple[Any, Any]] = sorted(losses.items())
        else:
            pairs = list(enumerate(losses))
            if len(pairs) != self.num_losses:
                raise invalid(
                    "LENGTH_MISMATCH", "len(losses)", len(pairs),
                    f"{self.num_losses}, with None for losses that the batch does not have",
                )  # fmt: skip
        given = {}
        for j, loss in pairs:
            if isinstance(j, bool) or not isinstance(j, int) or not 0 <= j < self.num_losses:
                raise invalid("INDEX_OUT_OF_RANGE", "losses", j, f"0 ... {self.num_losses - 1}")
            if loss is None:
                continue
            if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
                shape = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
                raise invalid("LENGTH_MISMATCH", f"losses[{j}]", shape, "a tensor of one element")
            if not loss.requires_grad:
                raise invalid(
                    "INVALID_OPTION", f"losses[{j}]", "requires_grad=False",
                    "a loss that depends on the parameters, or None",
                )  # fmt: skip
            given[j] = (loss if loss.dim() == 0 else loss.reshape(()), _weight(weights, j))
        return given

    def _count(self, given: Mapping[int, tuple[Any, float]]) -> None:
        values = [loss.detach().reshape(()) for loss, _ in given.values()]
        # One transfer from a device.
        on_host = all(value.is_cpu for value in values)
        numbers = [x.item() for x in values] if on_host else torch.stack(values).tolist()
        for (j, (_, weight)), number in zip(given.items(), numbers):
            self._weights[j] += weight
            self._losses[j] += weight * number

    def _all_rows(self) -> list[torch.Tensor]:
        """Memory for every loss's vector."""
        if not self._rows:
            shared = self.parameters.shared
            matrix = torch.empty(
                self.num_losses, shared.length, dtype=shared.dtype, device=shared.device
            )
            self._rows = list(matrix.unbind(0))
        return self._rows

    def _passes(
        self, given: Mapping[int, tuple[Any, float]], indexes: Sequence[int], retain_graph: bool
    ) -> Iterator[int]:
        """Goes through the losses; each one's gradient, if it has one, is in its row when
        its index comes."""
        if given and self._use_backward:
            check_backward(self._model)
        self.parameters.check_unchanged()
        last = max(given, default=-1)
        differentiate = gradient_by_backward if self._use_backward else gradient
        missed = set(range(len(self.parameters.tensors)))
        for j in indexes:
            if j in given:
                loss, weight = given[j]
                found = differentiate(
                    loss,
                    self.parameters.tensors,
                    retain_graph=retain_graph or j != last,
                )
                missed = {i for i in missed if found[i] is None}
                with torch.no_grad():
                    self._put(j, found, weight)
                del found
            yield j
        if missed and given and not self._use_backward:
            check_no_reentrant_checkpoint(loss for loss, _ in given.values())

    def _put(self, j: int, found: Sequence[Optional[torch.Tensor]], weight: float) -> None:
        """Adds one backward pass's gradients to the row and heads of a loss."""
        shared = self.parameters.shared
        count = len(shared.tensors)
        row = self._all_rows()[j]
        if not self._bounds[j]:  # Its first.
            shared.flat(found[:count], row)
            self._bounds[j] += torch.aminmax(row)
            if weight != 1:
                row.mul_(weight)
        else:
            if self._scratch is None:
                self._scratch = torch.empty_like(row)
            shared.flat(found[:count], self._scratch)
            self._bounds[j] += torch.aminmax(self._scratch)
            row.add_(self._scratch, alpha=weight)
        heads = self._heads[j]
        for position, part in enumerate(found[count:]):
            if part is None or not part.numel():
                continue
            part = dense(part)
            self._bounds[j] += torch.aminmax(part)
            if position in heads:
                heads[position].add_(part, alpha=weight)
            else:
                heads[position] = part * weight if weight != 1 else part.clone()

    def _is_finite(self, j: int) -> bool:
        """Whether a loss that this rank has brought is, with all its gradients."""
        bounds = torch.stack(self._bounds[j]).tolist()
        return math.isfinite(self._losses[j]) and all(map(math.isfinite, bounds))

    def _mean_heads(self, totals: Sequence[float], group: RankGroup) -> list[Any]:
        """The sum over the losses of each one's mean; None where nobody has one."""
        heads = self.parameters.heads
        if not heads.tensors:
            return []
        flat = torch.zeros(
            heads.length + len(heads.tensors), dtype=heads.dtype, device=heads.device
        )
        # One vector for all of them, with the number of losses that reached each behind.
        reached = flat[heads.length :]
        parts = flat[: heads.length].split([tensor.numel() for tensor in heads.tensors])
        for j, found in enumerate(self._heads):
            for position, part in found.items():
                parts[position].add_(part.reshape(-1), alpha=1 / totals[j])
                reached[position] = 1
        group.add_up(flat)
        return [
            part.view(tensor.shape).to(tensor.dtype) if count else None
            for tensor, part, count in zip(heads.tensors, parts, reached.tolist())
        ]


def _weight(weights: Weights, j: int) -> float:
    if weights is None:
        return 1.0
    if isinstance(weights, Mapping):
        value = weights.get(j, 1.0)
    elif isinstance(weights, Sequence):
        value = weights[j]
    else:
        value = weights
    if not 0 < value < math.inf:
        raise invalid("INVALID_OPTION", f"weights[{j}]", value, "a finite number > 0")
    return float(value)
