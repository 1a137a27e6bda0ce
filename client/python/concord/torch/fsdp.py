"""The parameters of a sharded model (fully_shard, DTensor) as one vector per rank.

    fully_shard(model)                     # FSDP2, torch.distributed.fsdp
    part = ShardedParameters(model.named_parameters())
    operator = PseudoMomentumOperator(
        3, process_group=part.process_group, replicated=part.replicated
    )
    for batch in batches:
        grads = part.gradients(losses(model, batch))   # (3, n of this rank)
        part.put(operator.calculate_gradient(grads))   # Makes the update .grad.
        optimizer.step()                               # Plain SGD.

One forward pass is enough: `gradients` goes backward once per loss through the same
graph, and FSDP reduces and scatters every loss's gradient as it does any. Its averages
over the ranks' batches are the gradients that are combined.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Shard

from concord.layout import Layout
from concord.layout import Segment as LayoutSegment

__all__ = ["ShardedParameters"]


class _Segment(NamedTuple):
    name: str
    parameter: torch.nn.Parameter
    begin: int
    end: int
    is_sharded: bool

    def wrap(self, part: torch.Tensor) -> torch.Tensor:
        """A stretch of this rank's vector, as a tensor like the parameter."""
        parameter = self.parameter
        if not isinstance(parameter, DTensor):
            return part.view(parameter.shape)
        return DTensor.from_local(
            part.view(parameter.to_local().shape),
            parameter.device_mesh,
            parameter.placements,
            run_check=False,
            shape=parameter.shape,
            stride=parameter.stride(),
        )

    def local(self, tensor: torch.Tensor) -> torch.Tensor:
        """The other way round, of a tensor that is perhaps placed otherwise."""
        if isinstance(tensor, DTensor):
            assert isinstance(self.parameter, DTensor)
            tensor = tensor.redistribute(placements=self.parameter.placements).to_local()
        return tensor.reshape(-1)


class ShardedParameters:
    """This rank's part of a model's parameters, in the order in which they are given.

    Args:
        named_parameters: Of the model; those that require no gradient are left out. They
            may be DTensors, sharded along one dimension of their mesh and replicated along
            the others, and plain tensors, which every rank has (FSDP's `ignored_params`,
            what tensor parallelism leaves whole).
        average: Whether plain tensors' gradients, which nobody reduces, are averaged over
            the mesh's ranks (one all_reduce a step); False where all ranks have the same
            batch.
    """

    def __init__(
        self, named_parameters: Iterable[tuple[str, torch.nn.Parameter]], *, average: bool = True
    ) -> None:
        self._segments: list[_Segment] = []
        self._average = average
        meshes, dimensions, types = set(), set(), set()
        end = 0
        for name, parameter in named_parameters:
            if not parameter.requires_grad:
                continue
            local: torch.Tensor = parameter
            shards = []
            if isinstance(parameter, DTensor):
                local = parameter.to_local()
                shards = [i for i, p in enumerate(parameter.placements) if isinstance(p, Shard)]
                meshes.add(parameter.device_mesh)
                dimensions.update(shards)
            types.add((local.dtype, local.device))
            begin, end = end, end + local.numel()
            self._segments.append(_Segment(name, parameter, begin, end, bool(shards)))
        if len(meshes) != 1 or len(dimensions) != 1:
            raise ValueError(
                f"parameters on {len(meshes)} meshes, sharded along {len(dimensions)} of their "
                "dimensions; accepted: one mesh, one dimension. Else make each rank's vector by "
                "hand, and say with replicated= and counts= what others have too"
            )
        if len(types) != 1:
            raise ValueError(f"parameters of one type on one device are needed, not {types}")
        ((self._dtype, self._device),) = types
        (self._mesh,), (dimension,) = meshes, dimensions
        self.length = end
        self._dimension = dimension

    @property
    def process_group(self) -> dist.ProcessGroup:
        """The ranks that have the parts of one set of parameters."""
        return self._mesh.get_group(self._dimension)

    @property
    def replicated(self) -> list[slice]:
        """What every rank of that group has."""
        return [slice(s.begin, s.end) for s in self._segments if not s.is_sharded]

    @property
    def layout(self) -> Layout:
        """Of this rank's part: names and this rank's shapes. Where parameters are frozen or
        unfrozen, make another ShardedParameters and hand both layouts, and the new one's
        `replicated`, to the operator's update_layout."""
        return tuple(LayoutSegment(s.name, (s.end - s.begin,)) for s in self._segments)

    def like(self) -> torch.Tensor:
        """A tensor of this rank's length, type and device."""
        return torch.empty(self.length, dtype=self._dtype, device=self._device)

    def gradients(self, losses: Sequence[torch.Tensor]) -> torch.Tensor:
        """(m, n): this rank's part of every loss's gradient. Collective. `losses` come of
        one forward pass or of several; their graphs are freed, and the parameters' .grad is
        None afterwards."""
        rows = torch.empty(len(losses), self.length, dtype=self._dtype, device=self._device)
        for i, loss in enumerate(losses):
            self._clear()
            loss.backward(retain_graph=i + 1 < len(losses))
            for segment in self._segments:
                gradient = segment.parameter.grad
                stretch = rows[i, segment.begin : segment.end]
                if gradient is None:
                    stretch.zero_()
                else:
                    stretch.copy_(segment.local(gradient))
        self._clear()
        if self._average:
            self._average_plain(rows)
        return rows

    def put(self, update: torch.Tensor) -> None:
        """Makes this rank's part of an update the parameters' .grad, where it lies."""
        if tuple(update.shape) != (self.length,):
            raise ValueError(f"update.shape = {tuple(update.shape)}; accepted: ({self.length},)")
        for segment in self._segments:
            segment.parameter.grad = segment.wrap(update[segment.begin : segment.end])

    def state_dict(self, operator: Any) -> dict[str, Any]:
        """The operator's state with every vector as tensors like the parameters
        ("momentum.0/layers.1.weight"): torch.distributed.checkpoint loads it on another
        number of ranks, too."""
        state: dict[str, Any] = {}
        for name, value in operator.state_dict().items():
            vector, own, _ = name.rpartition(".rank")
            if own:
                for segment in self._segments:
                    part = value[segment.begin : segment.end].to(self._device)
                    state[f"{vector}/{segment.name}"] = segment.wrap(part)
            else:
                state[name] = value
        if "metadata" in state:
            state["metadata"] = {"options": state["metadata"]["options"]}
        return state

    def load_state_dict(self, operator: Any, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave, perhaps on another number of ranks."""
        group = self.process_group
        rank, ranks = dist.get_rank(group), dist.get_world_size(group)
        first = self._segments[0].name
        whole: dict[str, Any] = {}
        for name, value in state.items():
            vector, of_parameter, parameter = name.partition("/")
            if not of_parameter:
                whole[name] = value
            elif parameter == first:
                pieces = [s.local(state[f"{vector}/{s.name}"]) for s in self._segments]
                whole[f"{vector}.rank{rank}"] = torch.cat(pieces)
        if whole:
            whole["metadata"] = {**whole["metadata"], "ranks": str(ranks)}
        operator.load_state_dict(whole)

    def stateful(self, operator: Any) -> Stateful:
        """The operator as torch.distributed.checkpoint wants it: `state_dict()` and
        `load_state_dict(state)`."""
        return Stateful(self, operator)

    def _clear(self) -> None:
        for segment in self._segments:
            segment.parameter.grad = None

    def _average_plain(self, rows: torch.Tensor) -> None:
        plain = [s for s in self._segments if not isinstance(s.parameter, DTensor)]
        if not plain:
            return
        together = torch.cat([rows[:, s.begin : s.end] for s in plain], dim=1)
        for dimension in range(self._mesh.ndim):
            dist.all_reduce(together, group=self._mesh.get_group(dimension))
            together /= self._mesh.size(dimension)
        for segment, part in zip(plain, together.split([s.end - s.begin for s in plain], dim=1)):
            rows[:, segment.begin : segment.end] = part


class Stateful:
    """An operator's state by parameters; see ShardedParameters.stateful."""

    def __init__(self, parameters: ShardedParameters, operator: Any) -> None:
        self._parameters, self._operator = parameters, operator

    def state_dict(self) -> dict[str, Any]:
        return self._parameters.state_dict(self._operator)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self._parameters.load_state_dict(self._operator, state_dict)
