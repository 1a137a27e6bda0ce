"""From Python's operator classes to the engine's options."""

from __future__ import annotations

import json
import math
import os
from typing import Any, Optional

import torch

from concord import _native
from concord.errors import invalid
from concord.loss_recorder import ENGINE_RECORDERS, EngineLossRecorder, LossRecorder

WIRE_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def resolve_server(server: Optional[str]) -> Optional[str]:
    """`server`, else CONCORD_SERVER, else None; "" means embedded in any case."""
    if server is None:
        server = os.environ.get("CONCORD_SERVER")
    return server or None


def derived_part(gradient_operator: Any, loss_recorder: Optional[LossRecorder]) -> Optional[object]:
    """The first part whose arithmetic is the user's own Python, if any."""
    part = derived_from_engine(gradient_operator)
    if part is None and loss_recorder is not None and type(loss_recorder) not in ENGINE_RECORDERS:
        return loss_recorder
    return part


def derived_from_engine(gradient_operator: Any) -> Optional[object]:
    """The operator, or a part of it, where that is not the engine's."""
    from concord._engine_operator import EngineOperator

    if type(gradient_operator) not in EngineOperator.known:
        return gradient_operator
    return gradient_operator._derived_part()


def refuse_derived(part: Optional[object]) -> None:
    """A server computes what it knows, not a class of this process."""
    if part is not None:
        raise TypeError(
            f"{type(part).__module__}.{type(part).__qualname__} is defined in Python and works "
            "embedded only; against a server use concord's own operators, weights, lengths and "
            "recorders (server='' keeps this operator embedded)"
        )


def combiner_message(gradient_operator: Any) -> str:
    """The engine's gradient operator as a concord.v1.CombinerOptions in JSON."""
    return as_json(gradient_operator._message())


def as_json(message: Any) -> str:
    """JSON as protobuf reads it: numbers that are not finite are strings."""
    return json.dumps(_finite(message))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return value


def methods_message(
    gradient_operator: Any,
    momentum: dict[str, Any],
    loss_recorder: Optional[LossRecorder] = None,
) -> str:
    """The methods of an operator as a concord.v1.OperatorOptions in JSON.

    A recorder of the user's own is not the engine's; what it records is handed over
    step by step, as the latest values.
    """
    message: dict[str, Any] = {"combiner": gradient_operator._message(), "momentum": momentum}
    if isinstance(loss_recorder, EngineLossRecorder):
        message["loss_recorder"] = loss_recorder._message()
    elif loss_recorder is not None:
        message["loss_recorder"] = {"latest": {}}
    return as_json(message)


def session_message(
    *,
    durability: Optional[str],
    checkpoint_steps: Optional[int],
    checkpoint_seconds: Optional[float],
    checkpoints_kept: Optional[int],
    gradient_type: Any = None,
    update_type: Any = None,
    update_cosines: bool = False,
    on_nonfinite: str = "raise",
    **fields: Optional[float],
) -> str:
    """What a new session is given beside its operator, as a concord.v1.Session in JSON.

    None leaves a field to the server. Fields named *_timeout and idle_ttl are seconds.
    """
    message: dict[str, Any] = {"update_cosines": True} if update_cosines else {}
    for name, value in fields.items():
        if value is not None:
            is_duration = name.endswith(("_timeout", "_ttl"))
            message[name] = _duration(name, value) if is_duration else _count(name, value)
    for name, value in (("gradient_type", gradient_type), ("update_type", update_type)):
        if value is not None:
            message[name] = wire_type(name, value).upper()
    if skips_nonfinite(on_nonfinite):
        message["on_nonfinite"] = "NON_FINITE_SKIP"
    if durability is not None:
        if durability not in ("none", "checkpoint", "step"):
            raise invalid("INVALID_OPTION", "durability", durability, "none, checkpoint or step")
        message["durability"] = f"DURABILITY_{durability.upper()}"
    policy: dict[str, Any] = {}
    if checkpoint_steps is not None:
        policy["every_steps"] = _count("checkpoint_steps", checkpoint_steps)
    if checkpoint_seconds is not None:
        policy["every"] = _duration("checkpoint_seconds", checkpoint_seconds)
    if checkpoints_kept is not None:
        policy["keep"] = _count("checkpoints_kept", checkpoints_kept)
    if policy:
        message["checkpoints"] = policy
    return as_json(message)


def skips_nonfinite(on_nonfinite: str) -> bool:
    """Whether NaN and Inf skip a step instead of being refused."""
    if on_nonfinite not in ("raise", "skip"):
        raise invalid("INVALID_OPTION", "on_nonfinite", on_nonfinite, "raise or skip")
    return on_nonfinite == "skip"


def wire_type(field: str, value: Any) -> str:
    """An element type on the wire, given by its name or as a torch.dtype."""
    name = str(value).removeprefix("torch.")
    if name not in WIRE_DTYPES:
        raise invalid("INVALID_OPTION", field, value, ", ".join(WIRE_DTYPES))
    return name


def _count(field: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise invalid("INVALID_OPTION", field, value, "a count >= 0")
    return value


def _duration(field: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e10:
        raise invalid("INVALID_OPTION", field, value, "seconds > 0")
    return f"{value:.9f}s"


def make_options(
    gradient_operator: Any,
    *,
    num_vectors: int,
    num_parameters: int = 1,
    dtype: str = "float32",
    momentum: dict[str, Any],
    max_vectors_per_step: int = 0,
    loss_recorder: Optional[LossRecorder] = None,
    sharded: bool = False,
) -> _native.Options:
    """Options of an operator whose parts are all the engine's."""
    return _native.make_options(
        num_vectors=num_vectors,
        num_parameters=num_parameters,
        dtype=dtype,
        max_vectors_per_step=max_vectors_per_step,
        methods=methods_message(gradient_operator, momentum, loss_recorder),
        sharded=sharded,
    )
