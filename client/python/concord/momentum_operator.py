"""Momentum operators: some losses' gradients per step in, one update out.

The update is rescaled element-wise like Adam's: use it with plain SGD.
"""

from __future__ import annotations

import contextlib
import copy
import math
import operator
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

import torch

from concord import _process
from concord._conflictfree import state_of
from concord._embedded import EmbeddedBackend, check_rows
from concord._inputs import (
    HALF_DTYPES,
    SESSION_DTYPES,
    Rows,
    is_gradients,
    parse_gradients,
    parse_indexes,
    parse_losses,
    parse_out,
)
from concord._options import (
    WIRE_DTYPES,
    derived_from_engine,
    derived_part,
    make_options,
    methods_message,
    refuse_derived,
    skips_nonfinite,
    wire_type,
)
from concord._options import resolve_server as _resolve_server
from concord._state import metadata_of
from concord._vectors import VectorBackend
from concord.errors import InvalidArgumentError, invalid

# What the module of the conflictfree package offers by the way.
from concord.grad_operator import *  # noqa: F403
from concord.grad_operator import ConFIGOperator, GradientOperator
from concord.layout import parse_layout
from concord.length_model import *  # noqa: F403
from concord.loss_recorder import (
    EngineLossRecorder,
    LatestLossRecorder,
    LossRecorder,
    MomentumLossRecorder,
)
from concord.results import StepResult
from concord.utils import *  # noqa: F403
from concord.utils import put_gradients
from concord.weight_model import *  # noqa: F403

__all__ = [
    "LatestLossRecorder",
    "MomentumLossRecorder",
    "MomentumOperator",
    "PseudoMomentumOperator",
    "SeparateMomentumOperator",
]

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
        _check_beta("beta_1", beta_1)
        _check_beta("beta_2", beta_2)
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
        **options: Any,
    ) -> None:
        """Makes the step's update the network's gradients. `options`: further
        arguments of calculate_gradient."""
        update = self.calculate_gradient(indexes, grads, losses, **options)
        # A derived class may return a tensor that it, or the caller, keeps.
        if type(self).calculate_gradient is not EngineMomentumOperator.calculate_gradient:
            update = update.detach().clone()
        put_gradients(network, update, "skip", "pad_value")


class _Call(NamedTuple):
    """A step's arguments, checked."""

    indexes: list[int]
    rows: Rows
    losses: Optional[list[float]]
    active: list[int]
    target: Optional[torch.Tensor]  # `out`, as a plain tensor.
    direct: Optional[torch.Tensor]  # The same where the engine can write into it by itself.

    def nonfinite(self) -> list[int]:
        """The losses with NaN or Inf."""
        losses = self.losses or [0.0] * len(self.indexes)
        return [
            index
            for index, row, loss in zip(self.indexes, self.rows.rows, losses)
            if not (math.isfinite(loss) and torch.isfinite(row).all())
        ]

    def result(self, update: torch.Tensor, out: Optional[torch.Tensor]) -> torch.Tensor:
        """What the step returns."""
        if out is not None:
            assert self.target is not None
            if update is not self.direct:
                self.target.copy_(update)
            return out
        return update if update.dtype is self.rows.dtype else update.to(self.rows.dtype)


class EngineMomentumOperator(MomentumOperator):
    """Base class of the operators whose momenta are the engine's: everything but
    what they are called. See PseudoMomentumOperator for the arguments."""

    # The field of a concord.v1.MomentumOptions.
    _method = ""
    # What the properties of their names show; set by the base class's constructor.
    _beta_1: float
    _beta_2: float
    _gradient_operator: GradientOperator

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
        stale_after: int = 0,
        min_relative_norm: float = 0.0,
        gradient_type: Union[str, torch.dtype, None] = None,
        update_type: Union[str, torch.dtype, None] = None,
        on_nonfinite: str = "raise",
        process_group: Any = None,
        replicated: Sequence[Any] = (),
        counts: Optional[bool] = None,
        like: Optional[torch.Tensor] = None,
    ) -> None:
        self._backend: Any = None
        self._shards: Any = None
        beginning: Any = contextlib.nullcontext()
        if process_group is not None:
            from concord.torch._steps import ShardedSteps

            self._shards = ShardedSteps(process_group, replicated, counts)
            # What is wrong on one rank is raised on all.
            beginning = self._shards.beginning(self, like)
        elif len(replicated) or counts is not None or like is not None:
            raise ValueError("replicated=, counts= and like= are for a process_group=")
        with beginning:
            if (num_vectors is None) == (num_vector is None):
                raise TypeError("give num_vectors, or its alias num_vector")
            m = num_vectors if num_vectors is not None else num_vector
            super().__init__(m, beta_1, beta_2, gradient_operator, loss_recorder)  # type: ignore[arg-type]
            self._stale_after = _steps(stale_after)
            self._min_relative_norm = float(min_relative_norm)
            self._skips = skips_nonfinite(on_nonfinite)
            # The step that was skipped last, embedded.
            self._skipped: Optional[StepResult] = None
            self.server = _resolve_server(server)
            self._max_vectors_per_step = max_vectors_per_step or 0
            self._native = derived_from_engine(gradient_operator) is None
            self._validate()
            if self._shards is not None:
                self._shards.check(self)
            if self.server is not None:
                refuse_derived(derived_part(gradient_operator, loss_recorder))
            elif session is not None:
                raise ValueError("session= needs a server, by server= or CONCORD_SERVER")
            elif gradient_type is not None or update_type is not None:
                raise ValueError(
                    "gradient_type= and update_type= say how vectors travel to a server; "
                    "give one by server= or CONCORD_SERVER"
                )
            self._remote = {
                "name": session,
                "rank": rank,
                "num_workers": num_workers,
                "deadline": deadline,
                "resume_step": resume_step,
                "gradient_type": gradient_type,
                "update_type": update_type,
                "on_nonfinite": on_nonfinite,
            }
            self._travels = (
                None
                if gradient_type is None
                else WIRE_DTYPES[wire_type("gradient_type", gradient_type)]
            )
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
        *,
        active: Optional[Sequence[int]] = None,
        out: Optional[torch.Tensor] = None,
    ) -> torch.Tensor:
        """One step: the update, a tensor of its own like the gradients.

        Two forms: `(indexes, grads, losses=None)`, or `(grads, losses=None)` with
        one gradient for every loss in order. Gradients are vectors (n,), stacked
        (k, n), or a list: torch's, numpy's, or any that offer DLPack (JAX, CuPy), which
        are read where they lie. Zeros until every loss has been seen. `active`: the
        losses that count in this step's combination, None for all; the others'
        momenta move on all the same. `out`: a contiguous tensor that the update is
        written into and that is returned; it may be a gradient of this step. A step
        that raises changes nothing.
        """
        # One plain contiguous vector on the CPU: no list, no copy.
        if (
            type(indexes) is int
            and type(grads) is _Tensor
            and losses is None
            and active is None
            and out is None
            and grads.dtype is self._dtype
            and grads.is_cpu
            and grads.layout is _strided
            and grads.dim() == 1
            and grads.is_contiguous()
            and not grads.is_neg()
            and self._generation == _process.generation
        ):
            try:
                buffer = self._step_one(indexes, grads.data_ptr(), grads.numel())
            except InvalidArgumentError:
                if not self._skips or self.server is not None:
                    raise
            else:
                return _frombuffer(buffer, dtype=self._dtype)
        return self._calculate(indexes, grads, losses, active, out)

    def _calculate(
        self,
        indexes: Any,
        grads: Any,
        losses: Any,
        active: Optional[Sequence[int]],
        out: Optional[torch.Tensor],
    ) -> torch.Tensor:
        if self._shards is not None:
            return self._shards.step(
                self, lambda: self._parse(indexes, grads, losses, active, out), out
            )
        call = self._parse(indexes, grads, losses, active, out)
        fresh = self._backend is None
        try:
            if self.server is not None:
                update = self._step_remote(call.indexes, call.rows, call.losses, call.active)
            elif not all(map(math.isfinite, call.losses or ())):
                update = self._skip(call)
            elif call.losses is None:
                update = self._embedded(call.rows).step(
                    call.indexes, call.rows, active=call.active, out=call.direct
                )
            else:
                update = self._step_recording(call)
        except InvalidArgumentError as error:
            if fresh:
                self._forget()
            if error.reason != "NON_FINITE" or not self._skips or self.server is not None:
                raise
            update = self._skip(call, error)
        return call.result(update, out)

    def _parse(
        self,
        indexes: Any,
        grads: Any,
        losses: Any,
        active: Optional[Sequence[int]],
        out: Optional[torch.Tensor],
    ) -> _Call:
        """Everything of a step that can be checked before it."""
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
        if self.server is not None:
            keeps: Container[Optional[torch.dtype]] = (self._travels,)
        else:
            keeps = HALF_DTYPES if self._native else ()
        rows = parse_gradients(grads, len(checked), keeps, empty=self._shards is not None)
        values = None
        if losses is not None:
            if self.loss_recorder is None:
                raise invalid(
                    "LOSSES_WITHOUT_RECORDER", "losses", "given", "none, or a loss_recorder"
                )
            values = parse_losses(losses, len(checked), nonfinite=self._skips)
        counting: list[int] = []
        if active is not None:
            counting = parse_indexes(active, self.num_vectors)
            if not counting:
                raise invalid("INVALID_OPTION", "active", "none", "at least one loss, or None")
        target = None if out is None else parse_out(out, rows)
        # What the engine can write into by itself.
        direct = None
        if target is not None and SESSION_DTYPES[rows.dtype] is target.dtype:
            direct = target
        return _Call(checked, rows, values, counting, target, direct)

    @property
    def skips_nonfinite(self) -> bool:
        """Whether steps with NaN or Inf are skipped (`on_nonfinite`)."""
        return self._skips

    @property
    def last_step(self) -> Optional[StepResult]:
        """What the last step found; None before the first, and with a gradient
        operator that is defined in Python. Of a step that on_nonfinite="skip" has
        skipped, `skipped_nonfinite`; embedded, such a step has no number of its own,
        `step` stays that of the last one that counted."""
        last = None if self._backend is None else self._backend.last_step()
        skipped = self._skipped
        if skipped is not None and skipped.step == (0 if last is None else last.step):
            return skipped
        return last

    def _skip(self, call: _Call, error: Optional[InvalidArgumentError] = None) -> torch.Tensor:
        """The update of a step with NaN or Inf, which changes nothing; `error` is what
        refused it, and is raised where what the step brings is not the reason."""
        if self._backend is not None:
            check_rows(call.rows, self._backend.length, self._backend.dtype)
        found = call.nonfinite()
        if not found and error is not None:
            raise error
        return self._note_skipped([(0, index) for index in found], call)

    def _note_skipped(self, found: Sequence[tuple[int, int]], call: _Call) -> torch.Tensor:
        """Makes `last_step` tell of (rank, loss) that a step was skipped for; its update."""
        self._skipped = None
        last = self.last_step
        recorder = self.loss_recorder
        none = torch.zeros(0, dtype=torch.float64)
        self._skipped = StepResult(
            update=None,
            step=0 if last is None else last.step,
            warming_up=False,
            coefficients=none,
            conflict_free=False,
            pareto_stationary=False,
            rank=0,
            length=0.0,
            gram=none.reshape(0, 0),
            cosines=none.reshape(0, 0),
            direction_cosines=none,
            update_cosines=none,
            losses=[] if recorder is None else list(recorder.current_losses),
            skipped_nonfinite=tuple(found),
        )
        rows = call.rows
        return torch.zeros(rows.length, dtype=SESSION_DTYPES[rows.dtype], device=rows.device)

    def state_dict(self) -> dict[str, Any]:
        """The committed state, as tensors by name and a dictionary of strings
        ("metadata"): for the job's own checkpoint, beside model and optimiser. Empty
        before the first step (with `like`: never). Of an operator on a server it is the
        session's; of a sharded one it has this rank's vectors, under names of its own."""
        if self._backend is None:
            return {}
        self._refuse_python_state()
        state = self._backend.state_dict()
        recorder = self.loss_recorder
        if self.server is None and isinstance(recorder, EngineLossRecorder):
            state["recorder"] = torch.tensor(recorder.state(), dtype=torch.float64)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state of an operator with the same options, embedded or on a
        server; on an error nothing changed."""
        if not state:
            self._forget()
            return
        if self._closed:
            raise RuntimeError("the operator is closed")
        self._refuse_python_state()
        self._skipped = None
        fresh = self._backend is None
        try:
            if self.server is not None:
                self._remote_backend().load_state_dict(state)
                return
            backend = (
                self._embedded(parse_gradients([_any_vector(state)], 1))
                if self._shards is None
                else self._shards.shard(self, self._shards.vector_of(state))
            )
            recorder = self.loss_recorder
            if not isinstance(recorder, EngineLossRecorder):
                backend.load_state_dict(state)
                return
            before = recorder.state()
            recorder.restore(state["recorder"].tolist())
            # The engine's own gets the recorder's values with every step.
            own = torch.tensor(backend.state()["recorder"], dtype=torch.float64)
            try:
                backend.load_state_dict({**state, "recorder": own})
            except BaseException:
                recorder.restore(before)
                raise
        except InvalidArgumentError:
            if fresh:
                self._forget()
            raise

    def update_layout(
        self,
        old: Sequence[Any],
        new: Sequence[Any],
        *,
        replicated: Optional[Sequence[Any]] = None,
    ) -> None:
        """Another layout of the vectors from the next step on, as `concord.layout_of`
        gives it: parameters were frozen, unfrozen, added or have another order. By name,
        the momenta and second momenta of those that stay are kept bit for bit, new ones
        begin with zeros; counts go on. On a server every rank calls it after the same
        step. With a process_group= it is collective; layouts are those of each rank's
        part, and `replicated` its slices from then on. On an error nothing changed."""
        if self._shards is not None:
            self._shards.update_layout(self, old, new, replicated)
            return
        if replicated is not None:
            raise ValueError("replicated= is for a process_group=")
        previous, layout = parse_layout("old", old), parse_layout("new", new)
        if self._closed:
            raise RuntimeError("the operator is closed")
        if self.server is not None:
            self._remote_backend().update_layout(previous, layout)
        elif self._backend is not None:
            self._backend.update_layout(previous, layout)
        self._skipped = None
        self._step_one = self._dtype = None

    def _refuse_python_state(self) -> None:
        if not self._native:
            raise TypeError(
                "the state of an operator whose gradient_operator is defined in Python is kept "
                "by pickle alone"
            )

    def close(self) -> None:
        """Frees the state; a session of this operator's own is deleted. Idempotent."""
        self._closed = True
        self._forget()

    def _forget(self) -> None:
        backend, self._backend = self._backend, None
        self._skipped = None
        self._step_one = self._dtype = None
        if backend is not None:
            backend.close()

    def __enter__(self) -> EngineMomentumOperator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _momentum_message(self) -> dict[str, Any]:
        """A concord.v1.MomentumOptions in JSON's terms."""
        return {
            self._method: {
                "beta_1": self._beta_1,
                "beta_2": self._beta_2,
                "stale_after": self._stale_after,
                "min_relative_norm": self._min_relative_norm,
            }
        }

    def _settings(self) -> dict[str, Any]:
        """Keywords of make_options and Session, but for the gradient operator."""
        return {
            "num_vectors": self.num_vectors,
            "momentum": self._momentum_message(),
            "max_vectors_per_step": self._max_vectors_per_step,
            "loss_recorder": self.loss_recorder,
        }

    def _engine_settings(self) -> dict[str, Any]:
        """Keywords of EmbeddedBackend. The recorder's own object records here; its
        values are handed over as the latest ones."""
        handed = None if self.loss_recorder is None else LossRecorder(self.num_vectors)
        return {
            "num_vectors": self.num_vectors,
            "max_vectors_per_step": self._max_vectors_per_step,
            "methods": methods_message(self.gradient_operator, self._momentum_message(), handed),
        }

    def _validate(self) -> None:
        if self._native:
            make_options(
                self.gradient_operator,
                num_parameters=1,
                sharded=self._shards is not None,
                **self._settings(),
            ).validate()

    def _change(self, name: str, value: Any) -> None:
        """One option's new value, from the next step on; on an error the old one stays."""
        old = getattr(self, name, None)
        setattr(self, name, value)
        if not hasattr(self, "_closed"):  # Under construction.
            return
        try:
            if name == "_gradient_operator":
                native = derived_from_engine(value) is None
                if native != self._native and self._backend is not None:
                    raise TypeError(
                        "an operator that has begun to step stays with gradient operators "
                        + ("of the engine" if self._native else "defined in Python")
                    )
                self._native = native
                if self.server is not None:
                    refuse_derived(derived_from_engine(value))
            if self._shards is not None:
                self._shards.check(self)
            self._validate()
            if self._backend is None:
                return
            if self.server is not None:
                self._backend.reconfigure(self)
            elif self._native:
                self._backend.reconfigure(self._engine_settings())
            else:
                self._backend.reconfigure(self)
        except BaseException:
            setattr(self, name, old)
            self._native = derived_from_engine(self._gradient_operator) is None
            raise

    @property
    def beta_1(self) -> float:
        """Decay of the first momenta. A new value holds from the next step on, in
        1 - beta_1^t for all t, as in torch.optim.Adam; `t` goes on to count all
        updates."""
        return self._beta_1

    @beta_1.setter
    def beta_1(self, value: float) -> None:
        _check_beta("beta_1", value)
        self._change("_beta_1", float(value))

    @property
    def beta_2(self) -> float:
        """Decay of the second momentum; a new value as for beta_1."""
        return self._beta_2

    @beta_2.setter
    def beta_2(self, value: float) -> None:
        _check_beta("beta_2", value)
        self._change("_beta_2", float(value))

    @property
    def gradient_operator(self) -> GradientOperator:
        """What combines the momenta; another one from the next step on. Its memory
        goes on where the method stays the same."""
        return self._gradient_operator

    @gradient_operator.setter
    def gradient_operator(self, value: GradientOperator) -> None:
        if not callable(getattr(value, "calculate_gradient", None)):
            raise TypeError(f"gradient_operator must be a GradientOperator, not {value!r}")
        self._change("_gradient_operator", value)

    @property
    def stale_after(self) -> int:
        """Steps without an update after which a loss is left out; 0: never."""
        return self._stale_after

    @stale_after.setter
    def stale_after(self, value: int) -> None:
        self._change("_stale_after", _steps(value))

    @property
    def min_relative_norm(self) -> float:
        """Losses so short, of the longest, are left out; 0: none."""
        return self._min_relative_norm

    @min_relative_norm.setter
    def min_relative_norm(self, value: float) -> None:
        self._change("_min_relative_norm", float(value))

    def _state(self) -> Optional[dict[str, Any]]:
        if self.server is not None:
            raise AttributeError("the momenta of this operator live on its server")
        return None if self._backend is None else self._backend.state()

    def _vectors(self, parts: Sequence[Any]) -> list[torch.Tensor]:
        backend = self._backend
        return [
            part
            if isinstance(part, _Tensor)
            else _frombuffer(bytearray(part), dtype=backend.dtype).to(backend.device)
            for part in parts
        ]

    @property
    def m(self) -> Optional[list[torch.Tensor]]:
        """The first momenta, copies; None before the first step."""
        state = self._state()
        return None if state is None else self._vectors(state["momenta"])

    @property
    def t_grads(self) -> list[int]:
        """How often each loss has been updated."""
        state = self._state()
        return [0] * self.num_vectors if state is None else list(state["updates"])

    @property
    def all_initialized(self) -> bool:
        """Whether every loss has been seen."""
        return 0 not in self.t_grads

    def _seconds(self) -> Optional[list[torch.Tensor]]:
        state = self._state()
        if state is None:
            return None
        return self._vectors(state["seconds"] if "seconds" in state else state["others"])

    def _embedded(self, rows: Rows) -> Any:
        if self._backend is None:
            if self._native:
                self._backend = EmbeddedBackend(self._engine_settings(), rows)
            else:
                self._backend = VectorBackend(self, rows)
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

    def _step_recording(self, call: _Call) -> torch.Tensor:
        assert call.losses is not None
        with self._recording(call.indexes, call.losses) as recorded:
            return self._embedded(call.rows).step(
                call.indexes, call.rows, recorded, active=call.active, out=call.direct
            )

    @contextlib.contextmanager
    def _recording(self, indexes: list[int], losses: list[float]) -> Iterator[list[float]]:
        """All recorded losses with these; on an error the recorder is as it was."""
        recorder = self.loss_recorder
        assert recorder is not None
        before = copy.deepcopy(recorder)
        try:
            yield recorder.record_loss(indexes, losses)
        except BaseException:
            recorder.__dict__.clear()
            recorder.__dict__.update(before.__dict__)
            raise

    def _step_remote(
        self,
        indexes: list[int],
        rows: Rows,
        losses: Optional[list[float]],
        active: list[int],
    ) -> torch.Tensor:
        backend = self._remote_backend()
        update, found = backend.step(indexes, rows, losses, active)
        if self.loss_recorder is not None:
            self.loss_recorder.current_losses = found.losses
        elif self._generation_changed():
            self._generation = _process.generation
            self._step_one, self._dtype = backend.step_one, backend.dtype
        return update

    def _remote_backend(self) -> Any:
        from concord.session import RemoteBackend

        if self._backend is None:
            self._backend = RemoteBackend(self, self._settings(), self._remote)
        return self._backend

    def __getstate__(self) -> dict[str, Any]:
        if self._shards is not None:
            raise TypeError("a sharded operator's state is kept by state_dict(), not by pickle")
        return {**self.__dict__, "_step_one": None, "_dtype": None}


class PseudoMomentumOperator(EngineMomentumOperator):
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
        gradient_type, update_type: Types in which vectors travel to the server and
            back, "bfloat16" or "float16" for half the bytes; see concord.Session.
        max_vectors_per_step: Most losses that a step brings; default m.
        deadline: Seconds that a step against a server may take; default 15 min.
        resume_step: Last step that was applied, where a worker carries on.
        on_nonfinite: "raise": a gradient or loss with NaN or Inf raises. "skip": its
            step changes nothing, the update is zeros, and `last_step.skipped_nonfinite`
            says which losses it was; on a server the whole round is skipped, see
            concord.Session. For loops that scale their losses.
        stale_after: A loss that was last updated more than so many steps ago is left
            out of the combination; 0: never.
        min_relative_norm: A loss whose momentum is at most so long, of the longest,
            is left out; 0: none. (A momentum whose gradients have stopped keeps its
            direction, and with it its vote.)
        process_group: Parameters are sharded over the ranks of this
            torch.distributed group (or DeviceMesh of one dimension); see concord.torch.
            Every rank makes the operator, and every step, with its own part of the
            gradients.
        replicated: Slices of this rank's vector that hold what every rank of the group
            has too: counted once in norms and products.
        counts: Whether this rank counts what is `replicated`; default: the first rank does.
        like: A tensor of this rank's length, type and device: there is a state from the
            start, for a checkpoint to be loaded into.

    beta_1, beta_2, gradient_operator, stale_after and min_relative_norm may be set
    between steps; `m`, `s`, `fake_m`, `t`, `t_grads` and `all_initialized` show an
    embedded operator's state as copies.

    A pickled operator carries its state. Against a server the copy is another
    handle on the same session, which the operator then no longer deletes.
    """

    _method = "pseudo"

    @property
    def s(self) -> Optional[torch.Tensor]:
        """The second momentum, a copy; None before the first step."""
        seconds = self._seconds()
        return None if seconds is None else seconds[0]

    @property
    def t(self) -> int:
        """The number of live steps: those since every loss has been seen."""
        state = self._state()
        return 0 if state is None else state["live_steps"]

    @property
    def fake_m(self) -> Optional[torch.Tensor]:
        """The combined direction times 1 - beta_1^t, of the last live step."""
        state = self._state()
        if state is None:
            return None
        if "smoothed" in state:
            return state["smoothed"]
        factors = state["previous"]
        vectors = self._vectors(
            state["momenta"] if len(factors) == self.num_vectors and len(state["others"]) == 1
            else state["others"][1:]
        )  # fmt: skip
        total = torch.zeros_like(vectors[0], dtype=torch.float64)
        for factor, vector in zip(factors, vectors):
            total += factor * vector.double()
        return total.to(vectors[0].dtype)

    def load_conflictfree(self, peer: Any) -> None:
        """Goes on where a PseudoMomentumOperator of the conflictfree package stands: its
        momenta, second momentum and counts; the same number of losses and betas. Losses
        are recorded anew. On an error nothing changed."""
        state = state_of(peer, self.num_vectors, self._beta_1, self._beta_2)
        if state:
            first = state["momentum.0"]
            state["metadata"] = metadata_of(
                {
                    "num_vectors": self.num_vectors,
                    "num_parameters": first.numel(),
                    "dtype": str(first.dtype).removeprefix("torch."),
                    "methods": methods_message(
                        self.gradient_operator, self._momentum_message(), self.loss_recorder
                    ),
                }
            )
            if isinstance(self.loss_recorder, EngineLossRecorder):
                recorded = self.loss_recorder.state()
                state["recorder"] = torch.tensor(recorded, dtype=torch.float64)
        self.load_state_dict(state)


class SeparateMomentumOperator(EngineMomentumOperator):
    """First and second momentum for every loss; the rescaled momenta are combined.

    As the conflictfree package's documentation describes its operator of that name
    (which cannot be constructed there); the result is the combination itself, not
    rescaled again. Arguments as for PseudoMomentumOperator. Twice the memory per loss,
    and its authors prefer PseudoMomentumOperator. Use it with plain SGD.
    """

    _method = "separate"

    @property
    def s(self) -> Optional[list[torch.Tensor]]:
        """The second momenta, copies; None before the first step."""
        seconds = self._seconds()
        return None if seconds is None else seconds[: self.num_vectors]


def _any_vector(state: Mapping[str, Any]) -> torch.Tensor:
    for name, tensor in state.items():
        if name.startswith("momentum."):
            return tensor
    raise invalid("INVALID_OPTION", "state", ", ".join(state), "a state_dict with momenta")


def _steps(stale_after: int) -> int:
    count = operator.index(stale_after)
    if not 0 <= count < 2**63:
        raise invalid("INVALID_OPTION", "stale_after", stale_after, "a count >= 0")
    return count


def _check_beta(name: str, beta: float) -> None:
    if not 0 <= beta < 1:
        raise invalid("INVALID_OPTION", name, beta, "in [0, 1)")
