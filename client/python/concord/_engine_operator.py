"""Base classes of gradient operators: of all, and of those that the engine has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Optional, TypeVar, Union

import torch

from concord import _native
from concord._embedded import EmbeddedBackend
from concord._inputs import HALF_DTYPES, SESSION_DTYPES, Rows, parse_gradients, parse_losses
from concord._options import as_json, combiner_message, refuse_derived, resolve_server
from concord.utils import put_gradients


class GradientOperator:
    """Base class. A class derived from it works embedded, not against a server."""

    def __init__(self) -> None:
        pass

    def calculate_gradient(
        self,
        grads: Union[torch.Tensor, Sequence[torch.Tensor]],
        losses: Optional[Sequence] = None,
    ) -> torch.Tensor:
        """The combination of the rows of `grads`: (m, n), or m vectors (n,)."""
        raise NotImplementedError(f"{type(self).__name__} has to define calculate_gradient")

    def update_gradient(
        self,
        network: torch.nn.Module,
        grads: Union[torch.Tensor, Sequence[torch.Tensor]],
        losses: Optional[Sequence] = None,
    ) -> None:
        """Makes the combination the network's gradients."""
        combined = self.calculate_gradient(grads, losses)
        # A derived class may return a tensor that it, or the caller, keeps.
        if type(self) not in EngineOperator.known:
            combined = combined.detach().clone()
        put_gradients(network, combined, "skip", "pad_value")


class EngineOperator(GradientOperator):
    """Base class of the operators whose arithmetic is the engine's.

    `server` (default: CONCORD_SERVER) lets a server combine; "" never does. A
    momentum operator has a server of its own and does not look at this one.
    """

    # The classes themselves: what a user derives from one may compute anything.
    known: ClassVar[set[type]] = set()
    # Whether a step depends on the steps before it.
    stateful = False
    # Whether a step needs the losses.
    needs_losses = False

    def __init__(self, *, server: Optional[str] = None) -> None:
        super().__init__()
        self.server = server
        self._backend: Optional[EmbeddedBackend] = None
        self._shape: Any = None
        if type(self) in self.known:
            # Says what is wrong with an option before any gradient is there.
            _native.check_combiner(combiner_message(self))

    def _message(self) -> dict[str, Any]:
        """The options: a concord.v1.CombinerOptions in JSON's terms."""
        raise NotImplementedError

    def _derived_part(self) -> Optional[object]:
        """A part of the operator that the engine does not have."""
        return None

    def calculate_gradient(
        self,
        grads: Union[torch.Tensor, Sequence[torch.Tensor]],
        losses: Optional[Sequence] = None,
    ) -> torch.Tensor:
        """The combination of the rows of `grads`: (m, n), or m vectors (n,), torch's,
        numpy's, or any that offer DLPack. In the gradients' own type."""
        server = resolve_server(self.server)
        rows = parse_gradients(grads, None, HALF_DTYPES if server is None else ())
        if server is not None and type(self) in self.known:
            refuse_derived(self._derived_part())
            if self.stateful:
                raise ValueError(
                    f"{type(self).__name__} remembers its steps, and a single combination on a "
                    "server does not: use it in a momentum operator or a Session with "
                    "momentum='none', or embedded (server='')"
                )
            from concord.session import combine

            return combine(server, self, rows).to(device=rows.device, dtype=rows.dtype)
        return self._combine(rows, losses).to(rows.dtype)

    def _combine(self, rows: Rows, losses: Optional[Sequence]) -> torch.Tensor:
        return self._step(rows, self._message(), losses if self.needs_losses else None)

    def combine_from(self, rows: Rows, state: list[float]) -> tuple[torch.Tensor, dict[str, Any]]:
        """One embedded step of a method that remembers `state` (empty: nothing yet).

        The combination in the session's element type, and what the engine found;
        its "state" is what the method remembers now.
        """
        combined = self._step(rows, self._message(), state=state if self.stateful else None)
        assert self._backend is not None
        found = dict(self._backend.engine.committed() or {})
        found["state"] = self._backend.method_state() if self.stateful else []
        return combined, found

    def _step(
        self,
        rows: Rows,
        message: dict[str, Any],
        losses: Optional[Sequence] = None,
        state: Optional[list[float]] = None,
    ) -> torch.Tensor:
        count = len(rows.rows)
        methods: dict[str, Any] = {"combiner": message, "momentum": {"none": {}}}
        values = None
        if losses is not None:
            methods["loss_recorder"] = {"latest": {}}
            values = parse_losses(losses, count)
        text = as_json(methods)
        shape = (count, rows.length, SESSION_DTYPES[rows.dtype], rows.device, text)
        backend = self._backend if shape == self._shape else None
        if backend is None:
            backend = EmbeddedBackend({"num_vectors": count, "methods": text}, rows)
        if state is not None:
            backend.restore_method(state)
        combined = backend.step(list(range(count)), rows, values)
        self._backend, self._shape = backend, shape
        return combined

    def __getstate__(self) -> dict[str, Any]:
        if self.stateful:
            return dict(self.__dict__)
        return {**self.__dict__, "_backend": None, "_shape": None}


_Class = TypeVar("_Class", bound=type[EngineOperator])


def engine_operator(cls: _Class) -> _Class:
    """Marks a class as one of the engine's own."""
    EngineOperator.known.add(cls)
    return cls
