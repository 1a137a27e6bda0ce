"""One rank's part of sharded parameters: its engines, on the caller's own tensors.

A rank's vector consists of stretches. Those that other ranks have too are counted on
one of the ranks alone; where this one does not, they are an engine's of their own, whose
products are left out of the sum. All engines of all ranks are given the same sum, so
that they find the same coefficients. A rank without parameters has an engine of one
that is always zero, which adds nothing to any sum.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

import torch

from concord import _state
from concord._embedded import EmbeddedBackend, check_rows
from concord._inputs import SESSION_DTYPES, Rows
from concord.errors import invalid
from concord.layout import Layout, mover, num_parameters
from concord.results import StepResult, step_result

__all__ = ["Shard", "Staged", "stretches_of"]


class Stretch(NamedTuple):
    """Elements [begin, end) of this rank's vector."""

    begin: int
    end: int


class Staged(NamedTuple):
    """What a step's first phase leaves for the second one."""

    products: list[float]  # The lower triangle of K, of what this rank counts.
    update: torch.Tensor  # Of the rank's length; its contents are anything.
    kept: list[Rows]  # The gradients as the engines read them.


def stretches_of(slices: Sequence[Any], length: int, field: str) -> list[Stretch]:
    """Disjoint ones in rising order; slices or pairs (begin, end) within `length`."""
    found = []
    for i, part in enumerate(slices):
        begin, end = (part.start, part.stop) if isinstance(part, slice) else part
        step = part.step if isinstance(part, slice) else None
        begin = 0 if begin is None else begin
        end = length if end is None else end
        if step not in (None, 1) or not 0 <= begin <= end <= length:
            raise invalid(
                "INVALID_OPTION", f"{field}[{i}]", part, f"a stretch within 0 ... {length}"
            )
        if begin < end:
            found.append(Stretch(begin, end))
    found.sort()
    for before, after in zip(found, found[1:]):
        if before.end > after.begin:
            raise invalid("INVALID_OPTION", field, f"{before} and {after}", "no element twice")
    return found


def _rest(stretches: Sequence[Stretch], length: int) -> list[Stretch]:
    """What lies between them."""
    ends = [0, *(stretch.end for stretch in stretches)]
    begins = [*(stretch.begin for stretch in stretches), length]
    return [Stretch(begin, end) for begin, end in zip(ends, begins) if begin < end]


class _Part:
    """Some stretches of the vector, as one engine's."""

    def __init__(
        self, options: Mapping[str, Any], like: Rows, stretches: list[Stretch], counted: bool
    ) -> None:
        self.stretches, self.counted = stretches, counted
        self.backend = EmbeddedBackend({**options, "sharded": True}, self.rows(like))

    def take(self, vector: torch.Tensor) -> torch.Tensor:
        """The part of one of the rank's vectors; where it lies, if it is of one piece."""
        pieces = [vector[stretch.begin : stretch.end] for stretch in self.stretches]
        if not pieces:
            return torch.zeros(1, dtype=vector.dtype, device=vector.device)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def rows(self, rows: Rows) -> Rows:
        taken = [self.take(row) for row in rows.rows]
        return Rows(taken, rows.dtype, rows.device, taken[0].numel())

    def put(self, part: torch.Tensor, vector: torch.Tensor) -> None:
        """The other way round."""
        sizes = [stretch.end - stretch.begin for stretch in self.stretches]
        pieces = part.split(sizes) if sizes else ()
        for stretch, piece in zip(self.stretches, pieces):
            vector[stretch.begin : stretch.end] = piece

    def commit(self, update: torch.Tensor) -> None:
        """Commits, and writes this part of `update`."""
        if len(self.stretches) == 1:
            self.backend.commit(self.take(update))
            return
        part = torch.empty(self.backend.length, dtype=update.dtype, device=update.device)
        self.backend.commit(part)
        self.put(part, update)


class Shard:
    """This rank's engines. A step is `stage`, then `finish` or `reset`."""

    def __init__(
        self,
        options: Mapping[str, Any],
        like: Rows,
        replicated: Sequence[Any],
        counts: bool,
        rank: int,
        ranks: int,
    ) -> None:
        """`options`: keywords of _native.make_options, without n and dtype. `like`: rows of
        the vector's length, type and device. `counts`: whether this rank counts the
        `replicated` stretches."""
        self.dtype = SESSION_DTYPES[like.dtype]
        self.device, self.length = like.device, like.length
        self._rank, self._ranks = rank, ranks
        self._options, self._counts = dict(options), counts
        self.committed_steps = 0
        shared = stretches_of(replicated, like.length, "replicated")
        self.replicated_length = sum(end - begin for begin, end in shared)
        own = _rest([] if counts else shared, like.length)
        self._parts = []
        if own or counts or not shared:
            self._parts.append(_Part(options, like, own, counted=True))
        if shared and not counts:
            self._parts.append(_Part(options, like, shared, counted=False))

    def stage(self, indexes: list[int], rows: Rows, out: Optional[torch.Tensor]) -> Staged:
        """Ingests the gradients; on an error nothing stays staged."""
        check_rows(rows, self.length, self.dtype)
        if rows.device != self.device:
            raise invalid("DATA_TYPE_MISMATCH", "grads[0].device", rows.device, f"{self.device}")
        products: list[float] = []
        kept = []
        try:
            for part in self._parts:
                kept.append(part.rows(rows))
                found = part.backend.ingest(indexes, kept[-1])
                if part.counted or not products:
                    products = found if part.counted else [0.0] * len(found)
            return Staged(products, self._result() if out is None else out, kept)
        except BaseException:
            self.reset()
            raise

    def finish(
        self,
        staged: Staged,
        products: Sequence[float],
        losses: Optional[list[float]],
        active: Sequence[int],
    ) -> torch.Tensor:
        """Solves with the sum over all ranks, and commits. An error of a solve is the same
        on every rank, and leaves the state as it was."""
        try:
            for part in self._parts:
                part.backend.solve(products, losses, active)
            for part in self._parts:
                part.commit(staged.update)
        except BaseException:
            self.reset()
            raise
        self.committed_steps += 1
        return staged.update

    def reset(self) -> None:
        """Gives up what is staged."""
        for part in self._parts:
            part.backend.engine.reset()

    def _result(self) -> torch.Tensor:
        whole = self._parts[0]
        if self.device.type == "cpu" and whole.backend.length == self.length:
            return torch.frombuffer(whole.backend.engine.result_buffer(), dtype=self.dtype)
        return torch.empty(self.length, dtype=self.dtype, device=self.device)

    def numbers_checksum(self) -> int:
        """Of the committed state but for its vectors: the same on every rank."""
        return self._parts[0].backend.engine.numbers_checksum()

    def reconfigure(self, options: Mapping[str, Any]) -> None:
        """Other methods from the next step on; `options` as for the constructor."""
        for part in self._parts:
            part.backend.reconfigure({**options, "sharded": True})
        self._options = dict(options)

    def state(self) -> dict[str, Any]:
        """The committed state: its numbers, and this rank's vectors as tensors."""
        exported = [part.backend.state() for part in self._parts]
        return {
            **exported[0],
            **{
                kind: [
                    self._whole([state[kind][i] for state in exported])
                    for i in range(len(exported[0][kind]))
                ]
                for kind in ("momenta", "others")
            },
        }

    def moved(self, previous: Layout, layout: Layout, replicated: Sequence[Any]) -> Shard:
        """One with this state under another layout, but for the Gram matrix, which is zero
        until `take_products`. This one stays as it is."""
        move, length = mover(previous, layout, self.length), num_parameters(layout)
        like = torch.empty(length, dtype=self.dtype, device=self.device)
        found = Shard(
            self._options,
            Rows([like], self.dtype, self.device, length),
            replicated,
            self._counts,
            self._rank,
            self._ranks,
        )
        state = self.state()
        m = len(state["gram"])
        state["gram"] = [[0.0] * m for _ in range(m)]
        for kind in ("momenta", "others"):
            state[kind] = [move(vector) for vector in state[kind]]
        found._import(state)
        found.committed_steps = self.committed_steps
        return found

    def products(self) -> list[float]:
        """The lower triangle of the Gram matrix of what this rank counts, taken anew."""
        m = int(self._options["num_vectors"])
        products = [0.0] * (m * (m + 1) // 2)
        for part in self._parts:
            triangle = part.backend.engine.retake_gram()
            if part.counted and triangle:  # Empty where nothing is kept.
                products = triangle
        return products

    def take_products(self, products: Sequence[float]) -> None:
        """Makes the sum of all ranks' triangles the Gram matrix."""
        for part in self._parts:
            state = part.backend.state()
            values = iter(products)
            for i, row in enumerate(state["gram"]):
                for j in range(i + 1):
                    row[j] = state["gram"][j][i] = next(values)
            part.backend.engine.import_state(state)

    def _import(self, state: Mapping[str, Any]) -> None:
        """Makes what `state` gave the committed one."""
        for part in self._parts:
            own = dict(state)
            for kind in ("momenta", "others"):
                own[kind] = [part.take(vector).numpy().tobytes() for vector in state[kind]]
            part.backend.engine.import_state(own)

    def _whole(self, pieces: Sequence[bytes]) -> torch.Tensor:
        vector = torch.empty(self.length, dtype=self.dtype)
        for part, piece in zip(self._parts, pieces):
            part.put(torch.frombuffer(bytearray(piece), dtype=self.dtype), vector)
        return vector

    def _names(self) -> list[str]:
        return self._parts[0].backend.engine.vector_names()

    def state_dict(self) -> dict[str, Any]:
        """The committed state as tensors. This rank's vectors are called
        "momentum.0.rank2" and so on, all else is the same on every rank."""
        metadata = self._parts[0].backend.metadata()
        options = json.loads(metadata["options"])
        del options["num_parameters"]  # An engine's.
        metadata = {"options": json.dumps(options), "ranks": str(self._ranks)}
        names = self._names()
        state = _state.from_engine(self.state(), names, metadata)
        # torch.distributed.checkpoint loads tensors into tensors of their size, which a
        # method's memory begins without.
        state["combiner"] = state["combiner"].tolist()
        return {
            (f"{name}.rank{self._rank}" if name in names else name): value
            for name, value in state.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Makes `state` the committed one; on an error nothing changed. Not collective."""
        ranks = state.get("metadata", {}).get("ranks", "none")
        if ranks != str(self._ranks):
            raise invalid(
                "INVALID_OPTION", "state['metadata']['ranks']", ranks,
                f"{self._ranks}: a sharded operator's state, of as many ranks",
            )  # fmt: skip
        vectors = {}
        for name in self._names():
            own = f"{name}.rank{self._rank}"
            vector = state.get(own)
            if not isinstance(vector, torch.Tensor) or vector.dtype is not self.dtype:
                found = getattr(vector, "dtype", "none")
                raise invalid("INVALID_OPTION", f"state[{own!r}]", found, f"{self.dtype}")
            if tuple(vector.shape) != (self.length,):
                raise invalid(
                    "LENGTH_MISMATCH", f"state[{own!r}].shape", tuple(vector.shape),
                    f"({self.length},)",
                )  # fmt: skip
            vectors[name] = vector
        numbers = {name: value for name, value in state.items() if ".rank" not in name}
        numbers["combiner"] = torch.as_tensor(state["combiner"], dtype=torch.float64)
        before = [part.backend.state() for part in self._parts]
        try:
            for part in self._parts:
                own_vectors = {name: part.take(vector) for name, vector in vectors.items()}
                part.backend.load_state_dict({**numbers, **own_vectors})
        except BaseException:
            for part, old in zip(self._parts, before):
                part.backend.engine.import_state(old)
            raise
        self.committed_steps = int(state["committed_step"])

    def last_step(self) -> Optional[StepResult]:
        """The last committed step; its update was handed out and is not kept."""
        found = self._parts[0].backend.engine.committed()
        return None if found is None else step_result(found, None)

    def close(self) -> None:
        for part in self._parts:
            part.backend.close()
