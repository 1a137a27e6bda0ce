"""Sessions on a server: jobs of one or several workers.

    session = concord.Session("127.0.0.1:7070", "heat", rank=rank, num_workers=3,
                              num_vectors=3)
    for batch in data:
        ... gradient of this worker's loss at the current parameters ...
        result = session.step({rank: gradient})
        apply_gradient_vector(network, result.update)
        optimizer.step()

All ranks get the same update, bit for bit. A step that raises was not applied
here and may be tried again; what is worth retrying has been retried already.
"""

from __future__ import annotations

import json
import secrets
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

import torch

from concord import _native, _process, _state, _trace
from concord._embedded import check_rows, dtype_name
from concord._inputs import Rows, parse_gradients, parse_indexes, parse_losses
from concord._options import (
    WIRE_DTYPES,
    as_json,
    derived_part,
    make_options,
    refuse_derived,
    resolve_server,
    session_message,
    skips_nonfinite,
    wire_type,
)
from concord._staging import Staging
from concord.errors import ConcordError, SessionNotFound, invalid
from concord.grad_operator import ConFIGOperator, GradientOperator
from concord.layout import Layout, layout_message, parse_layout
from concord.layout import num_parameters as layout_length
from concord.loss_recorder import LossRecorder
from concord.results import StepResult, step_result
from concord.step_watch import StepWatch

__all__ = ["Session", "server_info"]

_DEADLINE = 900.0  # Seconds for a step with all its retries.
_CONNECT = 20.0
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_CPU = torch.device("cpu")


class Session:
    """One rank's part in a session. Used by one thread at a time.

    Args:
        server: "HOST:PORT" or "unix:/path"; default CONCORD_SERVER.
        name: The session's id, the same on all ranks; created if there is none.
            None: one of its own.
        rank, num_workers: This worker among those that make a round.
        num_vectors: Number of losses m.
        num_parameters, dtype: Length and precision (torch.float32 or float64) of
            every vector. None: those of the first gradient; a rank whose first
            step brings none has to say them.
        momentum: "pseudo" (M-ConFIG), "separate", or "none": each step combines
            exactly the gradients it brings.
        beta_1, beta_2, gradient_operator, loss_recorder, stale_after, min_relative_norm:
            As for PseudoMomentumOperator. A recorder of this object's is only a wish:
            the server records, see `StepResult.losses`.
        max_vectors_per_step: Most losses that one round brings; default m.
        round_timeout, send_timeout, idle_ttl: Seconds; default: the server's.
        min_workers, straggler_timeout: Ranks that suffice for a round, and the seconds
            that it then waits for the others; default: all, always.
        max_ranks_per_vector: Most ranks that bring the same loss in one round; their
            gradients are averaged by sample weight.
        gradient_type, update_type: Types in which gradients and updates travel, as a
            torch.dtype or its name: "bfloat16" or "float16" halves the bytes of a
            float32 session, whose state stays float32. Gradients of gradient_type are
            sent as they are, float32 ones are rounded to nearest (to even); the update
            is rounded once, on the server, and returned in the gradients' own type.
            Beyond float16's range it is infinite. Default: dtype.
        update_cosines: Whether results say the cosines between the update itself and
            the losses' vectors, which takes about a third of a large commit's time. A
            step that somebody watches has them all the same.
        on_nonfinite: "raise": a gradient or loss with NaN or Inf raises and the round
            waits for a better one. "skip": it makes the round a skipped step, which
            leaves the state as it is; every rank gets zeros and
            `StepResult.skipped_nonfinite`, and goes on with the next step.
        layout: What is inside the vectors, as `concord.layout_of` gives it. Ranks with
            another one, as with parameters in another order, are refused with the first
            segment that differs. num_parameters follows from it.
        update_history: Updates before the last that the server keeps for ranks that
            have fallen behind; one behind by more gets ResyncWeights.
        durability: "none", "checkpoint", or "step": what outlives the server. Default:
            the server's.
        checkpoint_steps, checkpoint_seconds, checkpoints_kept: When the server takes a
            checkpoint by itself, and how many it keeps (default 3).
        restore_from: Checkpoint that a new session begins with,
            "sessions/{id}/checkpoints/{step}".
        resume_step: Last step that was applied, for a worker that carries on.
        traceparent: The trace that the session's calls belong to, as W3C writes it; the
            server's log names it. Default: OpenTelemetry's current span when the session
            is connected, or the environment's TRACEPARENT.

    Closing (close, `with`, garbage collection) keeps the session on the server;
    `delete` ends it. A pickled Session is a handle on the same session at the
    same step, of which one at a time can be used.
    """

    def __init__(
        self,
        server: Optional[str] = None,
        name: Optional[str] = None,
        rank: int = 0,
        num_workers: int = 1,
        num_vectors: int = 1,
        num_parameters: Optional[int] = None,
        dtype: Optional[torch.dtype] = None,
        *,
        momentum: Union[str, dict[str, Any]] = "pseudo",
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        gradient_operator: GradientOperator = ConFIGOperator(),
        loss_recorder: Optional[LossRecorder] = None,
        max_vectors_per_step: Optional[int] = None,
        round_timeout: Optional[float] = None,
        send_timeout: Optional[float] = None,
        idle_ttl: Optional[float] = None,
        resume_step: Optional[int] = None,
        chunk_bytes: Optional[int] = None,
        shared_memory: bool = True,
        stale_after: int = 0,
        min_relative_norm: float = 0.0,
        min_workers: Optional[int] = None,
        straggler_timeout: Optional[float] = None,
        max_ranks_per_vector: Optional[int] = None,
        update_history: Optional[int] = None,
        durability: Optional[str] = None,
        checkpoint_steps: Optional[int] = None,
        checkpoint_seconds: Optional[float] = None,
        checkpoints_kept: Optional[int] = None,
        restore_from: Optional[str] = None,
        gradient_type: Union[str, torch.dtype, None] = None,
        update_type: Union[str, torch.dtype, None] = None,
        update_cosines: bool = False,
        on_nonfinite: str = "raise",
        layout: Optional[Sequence[Any]] = None,
        traceparent: str = "",
    ) -> None:
        address = resolve_server(server)
        if address is None:
            raise ValueError("a Session needs a server, by server= or CONCORD_SERVER")
        refuse_derived(derived_part(gradient_operator, loss_recorder))
        if not 0 <= rank < num_workers:
            raise invalid(
                "RANK_OUT_OF_RANGE", "rank", rank, f"0 ... num_workers - 1 = {num_workers - 1}"
            )
        if dtype is not None and dtype not in _DTYPES.values():
            raise invalid("INVALID_OPTION", "dtype", dtype, "torch.float32 or torch.float64")
        self._options: dict[str, Any] = {
            "gradient_operator": gradient_operator,
            "num_vectors": num_vectors,
            "momentum": momentum
            if isinstance(momentum, dict)
            else _momentum(momentum, beta_1, beta_2, stale_after, min_relative_norm),
            "max_vectors_per_step": max_vectors_per_step or 0,
            "loss_recorder": loss_recorder,
        }
        make_options(**self._options).validate()
        self.server = address
        self.rank = rank
        self.num_workers = num_workers
        self.num_vectors = num_vectors
        self._id = name.removeprefix("sessions/") if name else f"py-{secrets.token_hex(8)}"
        self._layout = None if layout is None else parse_layout("layout", layout)
        if self._layout is not None:
            covered = layout_length(self._layout)
            if num_parameters not in (None, covered):
                raise invalid(
                    "INVALID_OPTION", "num_parameters", num_parameters,
                    f"the layout's elements, {covered}",
                )  # fmt: skip
            num_parameters = covered
        self._sizes = (num_parameters, dtype)
        self._message = json.loads(
            session_message(
                num_workers=num_workers,
                round_timeout=round_timeout,
                send_timeout=send_timeout,
                idle_ttl=idle_ttl,
                min_workers=min_workers,
                straggler_timeout=straggler_timeout,
                max_ranks_per_vector=max_ranks_per_vector,
                update_history=update_history,
                durability=durability,
                checkpoint_steps=checkpoint_steps,
                checkpoint_seconds=checkpoint_seconds,
                checkpoints_kept=checkpoints_kept,
                gradient_type=gradient_type,
                update_type=update_type,
                update_cosines=update_cosines,
                on_nonfinite=on_nonfinite,
            )
        )
        self._settings: dict[str, Any] = {
            "restore_from": restore_from or "",
            "chunk_bytes": chunk_bytes or 0,
            "shared_memory": shared_memory,
        }
        self._skips = skips_nonfinite(on_nonfinite)
        self._travels = None
        if gradient_type is not None:
            self._travels = WIRE_DTYPES[wire_type("gradient_type", gradient_type)]
        self._traceparent = traceparent
        # What is known of the session: uid, epoch, resume_step.
        self._known: dict[str, Any] = {}
        if resume_step is not None:
            self._known["resume_step"] = resume_step
        self._attach_only = False
        self._native: Optional[_native.RemoteSession] = None
        self._staging = Staging()
        self._generation = _process.generation
        self._closed = False

    @property
    def name(self) -> str:
        """The session's resource name, "sessions/{id}"."""
        return f"sessions/{self._id}"

    @property
    def applied_step(self) -> int:
        """The last step that was handed out: what belongs into a checkpoint."""
        if self._native is not None:
            return self._native.applied_step
        return self._known.get("resume_step", 0)

    def connect(
        self,
        *,
        num_parameters: Optional[int] = None,
        dtype: Optional[torch.dtype] = None,
        layout: Optional[Sequence[Any]] = None,
        timeout: float = _CONNECT,
    ) -> Session:
        """Creates or finds the session and joins it now; n (or the layout) and dtype must be
        known, or are said here."""
        if layout is not None and self._layout is None:
            self._layout = parse_layout("layout", layout)
            num_parameters = layout_length(self._layout)
        count, kind = self._sizes
        count = num_parameters if count is None else count
        dtype = dtype if kind is None else kind
        if count is None:
            raise invalid("INVALID_OPTION", "num_parameters", None, "a count, or a first gradient")
        self._open(count, "float64" if dtype is torch.float64 else "float32", timeout)
        return self

    def step(
        self,
        grads: Union[Mapping[int, Any], tuple[Any, Any], None] = None,
        losses: Union[Mapping[int, Any], Sequence, float, None] = None,
        *,
        deadline: Optional[float] = None,
        sample_weights: Optional[Mapping[int, float]] = None,
        active: Optional[Sequence[int]] = None,
        traceparent: str = "",
    ) -> StepResult:
        """One step: brings gradients and losses, waits for the other ranks.

        Args:
            grads: {index: gradient}, or (indexes, grads). May be empty where
                other ranks bring some.
            losses: {index: value}, or values for the indexes of `grads`.
            deadline: Seconds for the step with all its retries; default 15 min.
            sample_weights: {index: weight} among several ranks' gradients and values
                of one loss; default 1.
            active: The losses that count in this step's combination; None: all. Ranks
                that name any name the same ones.
            traceparent: The trace that the step belongs to, as W3C writes it; default:
                OpenTelemetry's current span. The server's log tells of a step whose
                trace is sampled.
        """
        indexes, rows = self._gradients(grads)
        loss_indexes, values = self._losses(losses, indexes)
        counting: list[int] = []
        if active is not None:
            counting = parse_indexes(active, self.num_vectors)
            if not counting:
                raise invalid("INVALID_OPTION", "active", "none", "at least one loss, or None")
        update, found = self.step_rows(
            indexes, rows, loss_indexes, values, deadline, sample_weights, counting, traceparent
        )
        return step_result(found.as_dict(), update)

    def step_rows(
        self,
        indexes: list[int],
        rows: Optional[Rows],
        loss_indexes: list[int],
        losses: list[float],
        deadline: Optional[float] = None,
        sample_weights: Optional[Mapping[int, float]] = None,
        active: Sequence[int] = (),
        traceparent: str = "",
    ) -> tuple[torch.Tensor, _native.Found]:
        """As `step`, with inputs that are checked already; nothing is looked at."""
        native = self._live(rows)
        dtype = _DTYPES[native.dtype]
        sent = self._sent(rows, native)
        on_device = rows is not None and rows.device != _CPU
        landing = self._staging.landing(native.num_parameters, dtype) if on_device else None
        buffer, found = native.step(
            indexes,
            [row.data_ptr() for row in sent],
            _weights(sample_weights, indexes),
            loss_indexes,
            losses,
            _weights(sample_weights, loss_indexes),
            active,
            _DEADLINE if deadline is None else deadline,
            _as_sent(sent, native),
            0 if landing is None else landing.data_ptr(),
            traceparent or _trace.current(),
        )
        if landing is not None:
            assert rows is not None
            return self._staging.fetch(rows.device, rows.dtype), found
        update = torch.frombuffer(buffer, dtype=dtype)
        if rows is not None and rows.dtype is not dtype:
            update = update.to(dtype=rows.dtype)
        return update, found

    def empty_gradient(self) -> torch.Tensor:
        """A vector with any content, for `get_gradient_vector(network, out=...)`: in
        memory that a server on this machine reads where it lies, so that a step does
        not copy it. On the CPU, of the session's gradient_type. It may be written anew
        for every step; after a step that raised, take another. Elsewhere, and with
        more than 2 num_vectors of them at a time, an ordinary vector."""
        native = self._live(None)
        dtype = WIRE_DTYPES[native.gradient_type]
        buffer = native.take_gradient()
        if buffer is None:
            return torch.empty(native.num_parameters, dtype=dtype)
        return torch.frombuffer(buffer, dtype=dtype)

    def accumulate(
        self,
        grads: Union[Mapping[int, Any], tuple[Any, Any]],
        *,
        deadline: Optional[float] = None,
        sample_weights: Optional[Mapping[int, float]] = None,
    ) -> None:
        """One of several micro-batches of the coming step, whose last one `step` brings:
        the server sums their gradients in that order. The same losses and weights in all
        of them. AccumulationLost, from here or from `step`: begin the step again with
        its first micro-batch; nothing of it was kept."""
        indexes, rows = self._gradients(grads)
        native = self._live(rows)
        sent = self._sent(rows, native)
        native.accumulate(
            indexes,
            [row.data_ptr() for row in sent],
            _weights(sample_weights, indexes),
            _DEADLINE if deadline is None else deadline,
            _as_sent(sent, native),
        )

    def _gradients(self, grads: Any) -> tuple[list[int], Optional[Rows]]:
        if grads is None:
            return [], None
        if isinstance(grads, Mapping):
            pair: tuple[Any, Any] = (list(grads.keys()), list(grads.values()))
        elif isinstance(grads, tuple) and len(grads) == 2:
            pair = grads
        else:
            raise TypeError("grads must be {index: gradient} or (indexes, grads)")
        if isinstance(pair[0], (list, tuple)) and len(pair[0]) == 0:
            return [], None
        indexes = parse_indexes(pair[0], self.num_vectors)
        return indexes, parse_gradients(pair[1], len(indexes), (self._travels,))

    def _losses(self, losses: Any, indexes: list[int]) -> tuple[list[int], list[float]]:
        if losses is None:
            return [], []
        if self._options["loss_recorder"] is None:
            raise invalid("LOSSES_WITHOUT_RECORDER", "losses", "given", "none, or a loss_recorder")
        if isinstance(losses, Mapping):
            keys = parse_indexes(list(losses.keys()), self.num_vectors) if losses else []
            return keys, parse_losses(list(losses.values()), len(keys), nonfinite=self._skips)
        return indexes, parse_losses(losses, len(indexes), nonfinite=self._skips)

    def _sent(self, rows: Optional[Rows], native: _native.RemoteSession) -> list[torch.Tensor]:
        """The rows in this host's memory, where they fit the session."""
        if rows is None:
            return []
        check_rows(rows, native.num_parameters, _DTYPES[native.dtype])
        own, travels = _DTYPES[native.dtype], WIRE_DTYPES[native.gradient_type]
        dtype = travels if rows.rows[0].dtype is travels else own
        return self._staging.send(rows.rows, dtype)

    def _live(self, rows: Optional[Rows]) -> _native.RemoteSession:
        if self._closed:
            raise RuntimeError("the session is closed")
        if self._generation != _process.generation:
            raise RuntimeError(
                "this Session belongs to the parent process; a forked child needs one of its own"
            )
        if self._native is None:
            if rows is None:
                self.connect()
            else:
                count, dtype = self._sizes
                wanted = dtype_name(rows) if dtype is None else str(dtype).removeprefix("torch.")
                check_rows(rows, count or rows.length, _DTYPES[wanted])
                self._open(rows.length, wanted, _CONNECT)
        assert self._native is not None
        return self._native

    def _open(self, count: int, dtype: str, timeout: float) -> None:
        options = None
        if not self._attach_only:
            options = make_options(num_parameters=count, dtype=dtype, **self._options)
        self._native = _native.RemoteSession(
            _process.kernels(_CPU),
            server=self.server,
            session_id=self._id,
            options=options,
            rank=self.rank,
            timeout=timeout,
            traceparent=self._traceparent or _trace.current(),
            session_options=as_json(self._session_options()),
            **self._settings,
            **self._known,
        )
        self._generation = _process.generation

    def _session_options(self) -> dict[str, Any]:
        """A concord.v1.Session in JSON's terms, but for the operator and its sizes."""
        if self._layout is None:
            return self._message
        return {**self._message, "layout": layout_message(self._layout)}

    def update_layout(
        self,
        layout: Sequence[Any],
        previous: Optional[Sequence[Any]] = None,
        *,
        timeout: float = _DEADLINE,
    ) -> None:
        """Another layout from the next step on: parameters were frozen, unfrozen, added
        or have another order. By name, the momenta of those that stay are kept bit for
        bit, new ones begin with zeros. Every rank calls it, with the same layout and
        after the same step; one that does not, and goes on, gets EpochChanged.
        `previous`: what the session's layout is, which it must be told where it was made
        without one."""
        wanted = parse_layout("layout", layout)
        before = self._layout if previous is None else parse_layout("previous", previous)
        joined = self._native is not None or self._attach_only
        # Of the creation that this handle has joined, not of a later one of the name.
        uid = self._known.get("uid", "") if self._native is None else self._native.uid
        try:
            _native.update_layout(
                self.server,
                self.name,
                uid,
                as_json(layout_message(wanted)),
                "" if before is None else as_json(layout_message(before)),
                timeout,
            )
        except SessionNotFound:
            if joined:
                raise
            # It is made with the first step.
        if joined:
            self.resync()
            self._known["uid"] = uid
        self._layout = wanted
        self._sizes = (layout_length(wanted), self._sizes[1])

    def change(
        self,
        *,
        gradient_operator: Optional[GradientOperator] = None,
        timeout: float = _CONNECT,
        **momentum: Any,
    ) -> None:
        """Other options from the next step on: `gradient_operator`, `beta_1`, `beta_2`,
        `stale_after`, `min_relative_norm`. Every rank may ask for the same change."""
        options = dict(self._options)
        if gradient_operator is not None:
            refuse_derived(derived_part(gradient_operator, None))
            options["gradient_operator"] = gradient_operator
        if momentum:
            ((method, values),) = options["momentum"].items()
            unknown = set(momentum) - set(values)
            if unknown:
                raise TypeError(f"momentum {method!r} has no option {', '.join(sorted(unknown))}")
            options["momentum"] = {method: {**values, **momentum}}
        self._apply(options, timeout)

    def _apply(self, options: dict[str, Any], timeout: float = _CONNECT) -> None:
        make_options(**options).validate()
        if self._native is not None:
            native = self._live(None)
            native.update(
                make_options(num_parameters=native.num_parameters, dtype=native.dtype, **options),
                timeout,
            )
        self._options = options

    def checkpoint(self, *, timeout: float = _DEADLINE) -> dict[str, Any]:
        """Takes a checkpoint of the last committed step on the server's disk: its name,
        step, size_bytes and create_time. Steps may go on meanwhile."""
        return _native.create_checkpoint(self.server, self.name, timeout)

    def checkpoints(self, *, timeout: float = _CONNECT) -> list[dict[str, Any]]:
        """The session's checkpoints, by step."""
        return _native.list_checkpoints(self.server, self.name, timeout)

    def restore(self, checkpoint: str = "", *, timeout: float = _DEADLINE) -> int:
        """Puts the session back to a checkpoint, by default the newest; returns its
        step, whose weights this and all other ranks go on with. The others' next step
        raises EpochChanged; they call `resync`."""
        found = _native.restore_session(self.server, self.name, checkpoint, timeout)
        self.resync(found["committed_step"])
        return found["committed_step"]

    def resync(self, applied_step: Optional[int] = None) -> None:
        """Joins anew with the next step, with the weights of `applied_step` (default:
        those of the step that was applied last): after EpochChanged or ResyncWeights."""
        step = self.applied_step if applied_step is None else applied_step
        native, self._native = self._native, None
        if native is not None:
            self._sizes = (native.num_parameters, _DTYPES[native.dtype])
            native.close()
        self._known = {"resume_step": step}
        self._attach_only = True

    def watch(self, *, timeout: Optional[float] = None) -> StepWatch:
        """Follows the session's steps, all ranks' together; see `concord.watch`."""
        return StepWatch(
            self.server,
            self.name,
            uid="" if self._native is None else self._native.uid,
            timeout=timeout,
        )

    def state_dict(self, *, timeout: float = _DEADLINE) -> dict[str, Any]:
        """The last committed state, as tensors: for the job's own checkpoint."""
        return _state.unpack(_native.export_session(self.server, self.name, timeout))

    def load_state_dict(self, state: Mapping[str, Any], *, timeout: float = _DEADLINE) -> int:
        """Makes a state, of a session or an embedded operator, this session's, created if
        there is none; returns its step. The other ranks as for `restore`."""
        if self._native is None and not self._attach_only:
            first = next(tensor for name, tensor in state.items() if name != "metadata")
            self._sizes = (first.numel(), first.dtype)
            self.connect()
        found = _native.import_session(self.server, self.name, _state.pack(state), timeout)
        self.resync(found["committed_step"])
        return found["committed_step"]

    def leave(self, *, timeout: float = _CONNECT) -> None:
        """Goes for good, and closes: rounds that need not wait for all (`min_workers`)
        do not wait for this rank until a Session joins as it again."""
        self._live(None).leave(timeout)
        self.close()

    def close(self) -> None:
        """Ends this rank's connection; the session stays, and expects it back. Idempotent."""
        native, self._native = self._native, None
        self._closed = True
        if native is not None:
            if self._generation == _process.generation:
                self._known = _known(native)
                native.close()
            else:
                _process.abandoned.append(native)

    def delete(self, *, timeout: float = _CONNECT) -> None:
        """Ends the session on the server, for all ranks."""
        native = self._native
        if native is not None and self._generation == _process.generation:
            native.delete(timeout)
        self.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_native": None, "_staging": None}
        if self._native is not None:
            state["_known"] = _known(self._native)
            state["_attach_only"] = True
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._staging = Staging()
        self._generation = _process.generation


def _momentum(
    method: str, beta_1: float, beta_2: float, stale_after: int, min_relative_norm: float
) -> dict[str, Any]:
    """A concord.v1.MomentumOptions in JSON's terms."""
    if method == "none":
        return {"none": {}}
    if method not in ("pseudo", "separate"):
        raise invalid("INVALID_OPTION", "momentum", method, "pseudo, separate or none")
    if isinstance(stale_after, bool) or not isinstance(stale_after, int) or stale_after < 0:
        raise invalid("INVALID_OPTION", "stale_after", stale_after, "a count >= 0")
    return {
        method: {
            "beta_1": beta_1,
            "beta_2": beta_2,
            "stale_after": stale_after,
            "min_relative_norm": min_relative_norm,
        }
    }


def _weights(weights: Optional[Mapping[int, float]], indexes: Sequence[int]) -> list[float]:
    return [float((weights or {}).get(index, 1.0)) for index in indexes]


def _as_sent(sent: list[torch.Tensor], native: _native.RemoteSession) -> bool:
    """Whether the rows are of the type in which they travel."""
    return bool(sent) and sent[0].dtype is WIRE_DTYPES[native.gradient_type]


def _known(native: _native.RemoteSession) -> dict[str, Any]:
    return {"uid": native.uid, "epoch": native.epoch, "resume_step": native.applied_step}


_ONE: list[float] = [1.0]
_NONE: list[Any] = []


class RemoteBackend:
    """A momentum operator's steps on a server."""

    def __init__(self, owner: Any, settings: dict[str, Any], remote: dict[str, Any]) -> None:
        self._deadline = remote["deadline"]
        self._session = Session(
            owner.server,
            remote["name"],
            remote["rank"],
            remote["num_workers"],
            gradient_operator=owner.gradient_operator,
            resume_step=remote["resume_step"],
            gradient_type=remote["gradient_type"],
            update_type=remote["update_type"],
            on_nonfinite=remote["on_nonfinite"],
            **settings,
        )
        self._found: Optional[_native.Found] = None
        # Only a session that nobody else can know of is this operator's to delete.
        self._finalizer: Any = None
        self._own = remote["name"] is None

    def step(
        self,
        indexes: list[int],
        rows: Rows,
        losses: Optional[list[float]],
        active: Sequence[int] = (),
    ) -> tuple[torch.Tensor, _native.Found]:
        loss_indexes = indexes if losses is not None else []
        try:
            update, self._found = self._session.step_rows(
                indexes, rows, loss_indexes, losses or [], self._deadline, active=active
            )
        finally:
            native = self._session._native
            if self._own and self._finalizer is None and native is not None:
                self._finalizer = weakref.finalize(
                    self, _delete_quietly, native, _process.generation
                )
        return update, self._found

    def step_one(self, index: int, address: int, count: int) -> _native.ResultBuffer:
        """As `step` with one plain vector in this host's memory, of `dtype`; the update's
        memory."""
        session = self._session
        native = session._live(None)
        if not 0 <= index < session.num_vectors:
            parse_indexes(index, session.num_vectors)  # Says what is wrong.
        if count != native.num_parameters:
            raise invalid("LENGTH_MISMATCH", "grads[0].length", count, f"{native.num_parameters}")
        buffer, self._found = native.step(
            [index], [address], _ONE, _NONE, _NONE, _NONE, _NONE,
            _DEADLINE if self._deadline is None else self._deadline,
            False, 0, _trace.current(),
        )  # fmt: skip
        return buffer

    @property
    def dtype(self) -> torch.dtype:
        """The session's, once a step has been taken."""
        native = self._session._live(None)
        return _DTYPES[native.dtype]

    def reconfigure(self, owner: Any) -> None:
        """Makes the owner's options the session's from the next step on."""
        self._session._apply({"gradient_operator": owner.gradient_operator, **owner._settings()})

    def state_dict(self) -> dict[str, Any]:
        return self._session.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._session.load_state_dict(state)
        self._found = None

    def update_layout(self, previous: Layout, layout: Layout) -> None:
        self._session.update_layout(layout, previous)
        self._found = None

    def last_step(self) -> Optional[StepResult]:
        return None if self._found is None else step_result(self._found.as_dict(), None)

    def close(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._session.close()

    def __getstate__(self) -> dict[str, Any]:
        # The copy needs the session: from now on only its idle_ttl ends it.
        if self._finalizer is not None:
            self._finalizer.detach()
        self._own = False
        return {**self.__dict__, "_finalizer": None, "_found": None}


def _delete_quietly(native: _native.RemoteSession, generation: int) -> None:
    """The server may be gone, and then so is the session."""
    if generation != _process.generation:
        _process.abandoned.append(native)
        return
    try:
        native.delete(2.0)
    except ConcordError:
        native.close()


def combine(server: str, gradient_operator: GradientOperator, rows: Rows) -> torch.Tensor:
    """A stateless combination on a server."""
    options = make_options(
        gradient_operator,
        num_vectors=len(rows.rows),
        num_parameters=rows.length,
        dtype=dtype_name(rows),
        momentum={"none": {}},
    )
    sent = Staging().send(rows.rows, rows.rows[0].dtype)
    buffer = _native.combine(
        server, options, _process.kernels(_CPU), [row.data_ptr() for row in sent], _DEADLINE
    )
    return torch.frombuffer(buffer, dtype=sent[0].dtype)


def server_info(server: Optional[str] = None, *, timeout: float = _CONNECT) -> dict[str, Any]:
    """Version, device, threads, methods and use of a server."""
    address = resolve_server(server)
    if address is None:
        raise ValueError("server_info needs a server, by server= or CONCORD_SERVER")
    return _native.server_info(address, timeout)
