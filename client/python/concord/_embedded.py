"""The engine in this process, on the caller's own tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

import torch

from concord import _native, _process, _state
from concord._inputs import SESSION_DTYPES, Rows
from concord.errors import invalid
from concord.layout import Layout, bare, num_parameters
from concord.results import StepResult, step_result

_DTYPE_NAMES = {torch.float32: "float32", torch.float64: "float64"}
_HALF_NAMES = {torch.float16: "float16", torch.bfloat16: "bfloat16"}


def dtype_name(rows: Rows) -> str:
    """The session's element type for these gradients."""
    return _DTYPE_NAMES[SESSION_DTYPES[rows.dtype]]


def check_rows(rows: Rows, length: int, dtype: torch.dtype) -> None:
    """Refuses gradients of another length or precision than the first ones."""
    if rows.length != length:
        raise invalid("LENGTH_MISMATCH", "grads[0].length", rows.length, f"{length}")
    if SESSION_DTYPES[rows.dtype] is not dtype:
        raise invalid("DATA_TYPE_MISMATCH", "grads[0].dtype", rows.dtype, f"{dtype}")


class EmbeddedBackend:
    """Whole steps on a native engine; the state survives pickle, deepcopy and fork."""

    def __init__(self, options: dict[str, Any], rows: Rows) -> None:
        """`options`: keywords of _native.make_options, without n and dtype."""
        self._settings = {
            **options,
            "num_parameters": rows.length,
            "dtype": dtype_name(rows),
        }
        self.dtype = SESSION_DTYPES[rows.dtype]
        self.device = rows.device
        self.length = rows.length
        self._make()

    def _make(self) -> None:
        self._generation = _process.generation
        self._engine: _native.Engine = _native.Engine(
            _native.make_options(**self._settings), _process.kernels(self.device)
        )

    @property
    def engine(self) -> _native.Engine:
        """The native engine; in a forked child a copy with kernels of its own."""
        if self._generation != _process.generation:
            parents = self._engine
            _process.abandoned.append(parents)
            state = parents.export_state()
            self._make()
            self._engine.import_state(state)
        return self._engine

    def step(
        self,
        indexes: list[int],
        rows: Rows,
        losses: Optional[list[float]] = None,
        update_cosines: bool = False,
        active: Sequence[int] = (),
        out: Optional[torch.Tensor] = None,
    ) -> torch.Tensor:
        """One committed step. `losses`: recorded values of all losses, for an engine
        with a recorder. `out`: where the update goes, in the session's element type."""
        check_rows(rows, self.length, self.dtype)
        if rows.device != self.device:
            raise invalid("DATA_TYPE_MISMATCH", "grads[0].device", rows.device, f"{self.device}")
        addresses = [row.data_ptr() for row in rows.rows]
        recorded = losses or []
        half = _HALF_NAMES.get(rows.rows[0].dtype, "")
        extras = (update_cosines, range(len(recorded)), recorded, active, half)
        if self.device.type == "cpu":
            if out is not None:
                self.engine.step_into(indexes, addresses, *extras, out.data_ptr())
                return out
            buffer = self.engine.step(indexes, addresses, *extras)
            return torch.frombuffer(buffer, dtype=self.dtype)
        if out is None:
            out = torch.empty(self.length, dtype=self.dtype, device=self.device)
        with self._after_caller():
            self.engine.step_into(indexes, addresses, *extras, out.data_ptr())
        return out

    def update_layout(self, previous: Layout, layout: Layout) -> None:
        """The state under another layout, from the next step on."""
        settings = {**self._settings, "num_parameters": num_parameters(layout)}
        self._engine = _native.engine_with_layout(
            self.engine, _native.make_options(**settings), bare(previous), bare(layout)
        )
        self._settings = settings
        self.length = settings["num_parameters"]

    # The two phases of a step, where the settings say that the engine is sharded.

    def ingest(self, indexes: list[int], rows: Rows) -> list[float]:
        """Stages gradients of this engine's length and type. The lower triangle of what
        they bring to the Gram matrix. They have to stay as they are until `commit`."""
        addresses = [row.data_ptr() for row in rows.rows]
        half = _HALF_NAMES.get(rows.rows[0].dtype, "")
        with self._after_caller():
            return self.engine.ingest(indexes, addresses, half)

    def solve(
        self, products: Sequence[float], losses: Optional[list[float]], active: Sequence[int]
    ) -> None:
        """Solves what is staged, with the sum of all engines' triangles."""
        recorded = losses or []
        self.engine.solve(products, range(len(recorded)), recorded, active)

    def commit(self, out: torch.Tensor) -> None:
        """Makes the solved step the state and writes its update to `out`."""
        with self._after_caller():
            self.engine.commit(out.data_ptr())

    @contextlib.contextmanager
    def _after_caller(self) -> Iterator[None]:
        """The engine has streams of its own: whatever makes the gradients, or still uses
        the memory of an update, comes before it. It is done when it returns."""
        if self.device.type == "cpu":
            yield
            return
        with torch.cuda.device(self.device):
            torch.cuda.current_stream(self.device).synchronize()
            yield

    def reconfigure(self, options: dict[str, Any]) -> None:
        """Other methods from the next step on; `options` as for the constructor."""
        settings = {**self._settings, **options}
        self.engine.reconfigure(_native.make_options(**settings))
        self._settings = settings

    def state(self) -> dict[str, Any]:
        """Everything that the committed state consists of, as copies."""
        return self.engine.export_state()

    def state_dict(self) -> dict[str, Any]:
        """The committed state as tensors (concord._state)."""
        return _state.from_engine(self.state(), self.engine.vector_names(), self.metadata())

    def metadata(self) -> dict[str, str]:
        """A state's own."""
        return _state.metadata_of(self._settings)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Makes `state` the committed one; on an error nothing changed."""
        self.engine.import_state(_state.engine_state(state, self.engine.vector_names()))

    def method_state(self) -> list[float]:
        """What the gradient method remembers."""
        return self.engine.export_state()["combiner"]

    def restore_method(self, state: list[float]) -> None:
        """Makes `state` (empty: that of a new method) what the method remembers."""
        self.engine.import_state({**self.engine.export_state(), "combiner": state})

    def last_step(self) -> Optional[StepResult]:
        """The last committed step; its update was handed out and is not kept."""
        found = self.engine.committed()
        return None if found is None else step_result(found, None)

    def close(self) -> None:
        del self._engine

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engine": self.engine.export_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make()
        self._engine.import_state(state["_engine"])
