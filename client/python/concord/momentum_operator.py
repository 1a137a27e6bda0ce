"""Momentum operators: some losses' gradients per step in, one update out.

The update is rescaled element-wise like Adam's: use it with plain SGD.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Optional, Union

import torch

from concord import _process
from concord._embedded import EmbeddedBackend
from concord._inputs import Rows, is_gradients, parse_gradients, parse_indexes, parse_losses
from concord._options import (
    combiner_message,
    derived_from_engine,
    derived_part,
    make_options,
    refuse_derived,
)
from concord._options import resolve_server as _resolve_server
from concord._vectors import VectorBackend
from concord.errors import InvalidArgumentError, invalid
from concord.grad_operator import ConFIGOperator, GradientOperator
from concord.loss_recorder import LatestLossRecorder, LossRecorder
from concord.results import StepResult
from concord.utils import put_gradients

__all__ = ["MomentumOperator", "PseudoMomentumOperator", "LatestLossRecorder"]

_frombuffer = torch.frombuffer
_strided = torch.strided
_Tensor = torch.Tensor


class MomentumOperator:
    """Base class: options, checked at once."""

    def __init__(
        self,
        num_vectors: int,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        gradient_operator: GradientOperator = ConFIGOperator(),
        loss_recorder: Optional[LossRecorder] = None,
    ) -> None:
        if isinstance(num_vectors, bool) or not isinstance(num_vectors, int):
            raise TypeError(f"num_vectors must be an int, not {type(num_vectors).__name__}")
        if num_vectors < 1:
            raise invalid("INVALID_OPTION", "num_vectors", num_vectors, ">= 1")
        for name, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= beta < 1:
                raise invalid("INVALID_OPTION", name, beta, "in [0, 1)")
        if not callable(getattr(gradient_operator, "calculate_gradient", None)):
            raise TypeError(
                f"gradient_operator must be a GradientOperator, not {gradient_operator!r}"
            )
        if loss_recorder is not None:
            if not callable(getattr(loss_recorder, "record_loss", None)):
                raise TypeError(f"loss_recorder must be a LossRecorder, not {loss_recorder!r}")
            if loss_recorder.num_losses != num_vectors:
                raise invalid(
                    "INVALID_OPTION", "loss_recorder.num_losses", loss_recorder.num_losses,
                    f"num_vectors, {num_vectors}",
                )  # fmt: skip
        self.num_vectors = num_vectors
        self.beta_1 = float(beta_1)
        self.beta_2 = float(beta_2)
        self.gradient_operator = gradient_operator
        self.loss_recorder = loss_recorder

    def calculate_gradient(
        self, indexes: Any = None, grads: Any = None, losses: Any = None
    ) -> torch.Tensor:
        """The step's update; to be defined by derived classes."""
        raise NotImplementedError(f"{type(self).__name__} has to define calculate_gradient")

    def update_gradient(
        self,
        network: torch.nn.Module,
        indexes: Any = None,
        grads: Any = None,
        losses: Any = None,
    ) -> None:
        """Makes the step's update the network's gradients."""
        update = self.calculate_gradient(indexes, grads, losses)
        put_gradients(network, update, "skip", "pad_value")


class PseudoMomentumOperator(MomentumOperator):
    """M-ConFIG: a first momentum per loss, and one second momentum estimated from
    the pseudo gradient of the combined direction.

    Args:
        num_vectors: Number of losses m. `num_vector` is an alias.
        beta_1, beta_2: Decay of first and second momentum, in [0, 1).
        gradient_operator: Combines the momenta. It is configuration only and may
            be shared by several momentum operators.
        loss_recorder: Records losses that steps bring; without one they are
            refused. Embedded, the recorder's own object records; against a
            server it shows what the server has recorded.
        server: "HOST:PORT" or "unix:/path" of a concord-server. Default:
            CONCORD_SERVER; with neither, or with "", the engine runs here.
        session: Name of the server's session. Without one the operator makes a
            session of its own and deletes it when closed or forgotten.
        rank, num_workers: This worker among those that make a step together.
        max_vectors_per_step: Most losses that a step brings; default m.
        deadline: Seconds that a step against a server may take; default 15 min.
        resume_step: Last step that was applied, where a worker carries on.

    A pickled operator carries its state. Against a server the copy is another
    handle on the same session, which the operator then no longer deletes.
    """

    def __init__(
        self,
        num_vectors: Optional[int] = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        gradient_operator: GradientOperator = ConFIGOperator(),
        loss_recorder: Optional[LossRecorder] = None,
        *,
        num_vector: Optional[int] = None,
        server: Optional[str] = None,
        session: Optional[str] = None,
        rank: int = 0,
        num_workers: int = 1,
        max_vectors_per_step: Optional[int] = None,
        deadline: Optional[float] = None,
        resume_step: Optional[int] = None,
    ) -> None:
        if (num_vectors is None) == (num_vector is None):
            raise TypeError("give num_vectors, or its alias num_vector")
        m = num_vectors if num_vectors is not None else num_vector
        super().__init__(m, beta_1, beta_2, gradient_operator, loss_recorder)  # type: ignore[arg-type]
        self.server = _resolve_server(server)
        self._max_vectors_per_step = max_vectors_per_step or 0
        self._native = derived_from_engine(gradient_operator) is None
        if self._native:
            make_options(gradient_operator, num_parameters=1, **self._settings()).validate()
        if self.server is not None:
            refuse_derived(derived_part(gradient_operator, loss_recorder))
        elif session is not None:
            raise ValueError("session= needs a server, by server= or CONCORD_SERVER")
        self._remote = {
            "name": session,
            "rank": rank,
            "num_workers": num_workers,
            "deadline": deadline,
            "resume_step": resume_step,
        }
        self._backend: Any = None
        self._closed = False
        # The short way (see calculate_gradient), once the engine is there.
        self._step_one: Any = None
        self._dtype: Any = None
        self._generation = _process.generation

    def calculate_gradient(
        self,
        indexes: Union[int, Sequence[int], torch.Tensor, None] = None,
        grads: Union[torch.Tensor, Sequence[torch.Tensor], None] = None,
        losses: Union[float, Sequence, torch.Tensor, None] = None,
    ) -> torch.Tensor:
        """One step: the update, a tensor of its own like the gradients.

        Two forms: `(indexes, grads, losses=None)`, or `(grads, losses=None)` with
        one gradient for every loss in order. Gradients are vectors (n,), stacked
        (k, n), or a list. Zeros until every loss has been seen. A step that
        raises changes nothing.
        """
        # One plain contiguous vector on the CPU: no list, no copy.
        if (
            type(indexes) is int
            and type(grads) is _Tensor
            and losses is None
            and grads.dtype is self._dtype
            and grads.is_cpu
            and grads.layout is _strided
            and grads.dim() == 1
            and grads.is_contiguous()
            and not grads.is_neg()
            and self._generation == _process.generation
        ):
            buffer = self._step_one(indexes, grads.data_ptr(), grads.numel())
            return _frombuffer(buffer, dtype=self._dtype)
        return self._calculate(indexes, grads, losses)

    def _calculate(self, indexes: Any, grads: Any, losses: Any) -> torch.Tensor:
        if self._closed:
            raise RuntimeError("the operator is closed")
        if is_gradients(indexes):
            if grads is not None and losses is not None:
                raise TypeError(
                    "calculate_gradient(indexes, grads, losses): indexes must be integers"
                )
            grads, losses, indexes = indexes, grads if losses is None else losses, None
        if grads is None:
            raise TypeError("calculate_gradient needs grads")
        whole = range(self.num_vectors)
        checked = parse_indexes(whole if indexes is None else indexes, self.num_vectors)
        limit = self._max_vectors_per_step
        if limit and len(checked) > limit:
            raise invalid("TOO_MANY_VECTORS", "len(indexes)", len(checked), f"at most {limit}")
        rows = parse_gradients(grads, len(checked))
        values = None
        if losses is not None:
            if self.loss_recorder is None:
                raise invalid(
                    "LOSSES_WITHOUT_RECORDER", "losses", "given", "none, or a loss_recorder"
                )
            values = parse_losses(losses, len(checked))
        fresh = self._backend is None
        try:
            if self.server is not None:
                update = self._step_remote(checked, rows, values)
            elif values is None:
                update = self._embedded(rows).step(checked, rows)
            else:
                update = self._step_recording(checked, rows, values)
        except InvalidArgumentError:
            if fresh:
                self._forget()
            raise
        return update if update.dtype is rows.dtype else update.to(rows.dtype)

    @property
    def last_step(self) -> Optional[StepResult]:
        """What the last step found; None before the first, and with a gradient
        operator that is defined in Python."""
        return None if self._backend is None else self._backend.last_step()

    def close(self) -> None:
        """Frees the state; a session of this operator's own is deleted. Idempotent."""
        self._closed = True
        self._forget()

    def _forget(self) -> None:
        backend, self._backend = self._backend, None
        self._step_one = self._dtype = None
        if backend is not None:
            backend.close()

    def __enter__(self) -> PseudoMomentumOperator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _settings(self) -> dict[str, Any]:
        return {
            "num_vectors": self.num_vectors,
            "momentum": "pseudo",
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "max_vectors_per_step": self._max_vectors_per_step,
        }

    def _embedded(self, rows: Rows) -> Any:
        if self._backend is None:
            if self._native:
                settings = self._settings()
                settings["combiner"] = combiner_message(self.gradient_operator)
                self._backend = EmbeddedBackend(settings, rows)
            else:
                self._backend = VectorBackend(
                    self.gradient_operator, self.num_vectors, self.beta_1, self.beta_2, rows
                )
        if self._native and self._generation_changed():
            self._shorten()
        return self._backend

    def _generation_changed(self) -> bool:
        return self._step_one is None or self._generation != _process.generation

    def _shorten(self) -> None:
        backend = self._backend
        self._generation = _process.generation
        if backend.device.type == "cpu":
            self._step_one, self._dtype = backend.engine.step_one, backend.dtype

    def _step_recording(self, indexes: list[int], rows: Rows, losses: list[float]) -> torch.Tensor:
        recorder = self.loss_recorder
        assert recorder is not None
        before = copy.deepcopy(recorder)
        try:
            recorded = recorder.record_loss(indexes, losses)
            return self._embedded(rows).step(indexes, rows, recorded)
        except BaseException:
            recorder.__dict__.clear()
            recorder.__dict__.update(before.__dict__)
            raise

    def _step_remote(
        self, indexes: list[int], rows: Rows, losses: Optional[list[float]]
    ) -> torch.Tensor:
        from concord.session import RemoteBackend

        if self._backend is None:
            self._backend = RemoteBackend(self, self._settings(), self._remote)
        update, found = self._backend.step(indexes, rows, losses)
        if self.loss_recorder is not None:
            self.loss_recorder.current_losses = found.losses
        return update

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_step_one": None, "_dtype": None}
