"""Who combines a step's vectors, and how all ranks come to the same update.

An embedded operator computes on every rank: with the same vectors it finds the same
bits. Where a server combines, no vector is sent twice:

* a Session of all ranks gets each loss's vector from one of them, or, where the server
  is to average, every rank's own;
* an operator with server= is one rank's alone, which hands the update on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, Optional

import torch

from concord._engine_operator import EngineOperator, GradientOperator
from concord._inputs import SESSION_DTYPES
from concord._options import resolve_server
from concord.errors import LayoutMismatch, invalid
from concord.layout import bare
from concord.momentum_operator import EngineMomentumOperator, MomentumOperator
from concord.session import Session
from concord.torch._parameters import Parameters, first_difference
from concord.torch._rank_group import RankGroup
from concord.torch.gradients import Collected

__all__ = ["Combined", "combiner_of", "has_momentum", "num_losses_of"]


class Combined(NamedTuple):
    update: torch.Tensor
    # (rank, loss) for which the operator or session has skipped the step.
    skipped_nonfinite: tuple[tuple[int, int], ...] = ()


def num_losses_of(operator: Any) -> Optional[int]:
    """How many losses it is for, where it says so."""
    return getattr(operator, "num_vectors", None)


def has_momentum(operator: Any) -> bool:
    if isinstance(operator, Session):
        return "none" not in operator._options["momentum"]
    return isinstance(operator, MomentumOperator)


def combiner_of(
    operator: Any, parameters: Parameters, group: RankGroup, server_averages: bool
) -> Any:
    """The way for an operator or Session, with a method `combine`."""
    if isinstance(operator, Session):
        return _OfSession(operator, parameters, group, server_averages)
    if server_averages:
        raise ValueError("average='server' needs a concord.Session of all ranks")
    if not isinstance(operator, (MomentumOperator, GradientOperator)):
        raise TypeError(
            "operator must be a momentum operator, a gradient operator or a concord.Session, not "
            f"{type(operator).__name__}"
        )
    if group.size > 1 and _server_of(operator) is not None:
        return _OnOneRank(operator, group)
    return _OnEveryRank(operator)


def _server_of(operator: Any) -> Optional[str]:
    if isinstance(operator, EngineMomentumOperator):
        return operator.server
    if type(operator) in EngineOperator.known:
        return resolve_server(operator.server)
    return None


class _OnEveryRank:
    """Embedded; or on a server, where there is one rank."""

    def __init__(self, operator: Any) -> None:
        self._operator = operator
        # What a derived class returns it may keep.
        self._owns = (
            type(operator) in EngineOperator.known
            or type(operator).calculate_gradient is EngineMomentumOperator.calculate_gradient
        )

    def combine(self, found: Collected, active: Optional[Sequence[int]]) -> Combined:
        indexes, vectors = found.gradients
        operator = self._operator
        if isinstance(operator, MomentumOperator):
            losses = found.losses if operator.loss_recorder is not None else None
            extra = {} if active is None else {"active": active}
            update = operator.calculate_gradient(indexes, vectors, losses, **extra)
        else:
            if active is not None:
                raise TypeError("active= is for operators with momentum and sessions")
            update = operator.calculate_gradient(vectors, found.losses)
        skipped: tuple[tuple[int, int], ...] = ()
        if isinstance(operator, EngineMomentumOperator) and operator.skips_nonfinite:
            last = operator.last_step
            skipped = () if last is None else last.skipped_nonfinite
        return Combined(update if self._owns else update.detach().clone(), skipped)

    def update_layout(self, old: Parameters, new: Parameters) -> None:
        """Vectors are of other parameters from the next step on."""
        if isinstance(self._operator, EngineMomentumOperator):
            self._operator.update_layout(old.layout, new.layout)
        elif isinstance(self._operator, MomentumOperator):
            raise TypeError(
                f"{type(self._operator).__name__} keeps its momenta by itself, and has no "
                "update_layout"
            )


class _OnOneRank:
    """An operator on a server: rank 0 steps and hands out what it got, or its error."""

    def __init__(self, operator: Any, group: RankGroup) -> None:
        self._operator = _OnEveryRank(operator)
        self._group = group

    def combine(self, found: Collected, active: Optional[Sequence[int]]) -> Combined:
        combined: Optional[Combined] = None

        def combine() -> tuple[tuple[int, int], ...]:
            nonlocal combined
            combined = self._operator.combine(found, active)
            return combined.skipped_nonfinite

        skipped = self._on_rank_0(combine)
        update = (
            torch.empty_like(found.gradients.vectors[0]) if combined is None else combined.update
        )
        self._group.broadcast(update)
        return Combined(update, skipped)

    def update_layout(self, old: Parameters, new: Parameters) -> None:
        self._on_rank_0(lambda: self._operator.update_layout(old, new))

    def _on_rank_0(self, action: Callable[[], Any]) -> Any:
        """What it returns there, on all ranks; an error is one on all."""
        result, error = None, None
        if self._group.rank == 0:
            try:
                result = action()
            except Exception as raised:
                error = raised
        result, told = self._group.hand_out((result, error))
        if told is not None:
            raise error or told
        return result


class _OfSession:
    """A Session that all ranks, or those of one machine, are in."""

    def __init__(
        self,
        session: Session,
        parameters: Parameters,
        group: RankGroup,
        server_averages: bool,
    ) -> None:
        if server_averages and session.num_workers != group.size:
            raise invalid(
                "INVALID_OPTION", "session.num_workers", session.num_workers,
                f"{group.size}, the ranks whose gradients the server averages",
            )  # fmt: skip
        if session.num_workers == 1 and group.size > 1:
            raise invalid(
                "INVALID_OPTION", "session.num_workers", 1,
                f"that of all {group.size} ranks, or of those of one machine",
            )  # fmt: skip
        told = session._layout
        if told is not None and bare(told) != bare(parameters.layout):
            difference = first_difference(parameters.layout, told)
            raise LayoutMismatch(
                f"LAYOUT_MISMATCH: session.layout: {difference}; accepted: the layout of the "
                "parameters, or none",
                reason="LAYOUT_MISMATCH",
                field="session.layout",
                value=difference,
                accepted="the layout of the parameters, or none",
            )
        self._session = session
        self._parameters = parameters
        self._server_averages = server_averages

    def combine(self, found: Collected, active: Optional[Sequence[int]]) -> Combined:
        session = self._session
        indexes, vectors = found.gradients
        recording = session._options["loss_recorder"] is not None
        means = dict(zip(found.present, found.losses))
        mine = range(len(indexes))
        weights = None
        if self._server_averages:
            weights = dict(zip(indexes, found.weights))
        else:
            # Refused here by all ranks: the server would tell the one that sends it.
            _check_finite(indexes, vectors)
            mine = range(session.rank, len(indexes), session.num_workers)
        chosen = [indexes[i] for i in mine]
        if session._native is None and not session._closed:
            # This rank may bring nothing.
            dtype = SESSION_DTYPES[self._parameters.dtype]
            session.connect(layout=self._parameters.layout, dtype=dtype)
        result = session.step(
            (chosen, [vectors[i] for i in mine]),
            [means[j] for j in chosen] if recording else None,
            sample_weights=weights,
            active=active,
        )
        assert result.update is not None
        return Combined(result.update, result.skipped_nonfinite)

    def update_layout(self, old: Parameters, new: Parameters) -> None:
        self._session.update_layout(
            new.layout, old.layout if self._session._layout is None else None
        )
        self._parameters = new


def _check_finite(indexes: Sequence[int], vectors: Sequence[torch.Tensor]) -> None:
    for index, vector in zip(indexes, vectors):
        if not torch.isfinite(torch.stack(torch.aminmax(vector))).all():
            raise invalid("NON_FINITE", f"gradients[{index}]", "NaN or Inf", "finite numbers")
