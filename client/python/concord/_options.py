"""From Python's operator classes to the engine's options."""

from __future__ import annotations

import os
from typing import Any, Optional

from concord import _native
from concord.length_model import ProjectionLength
from concord.loss_recorder import LatestLossRecorder, LossRecorder
from concord.weight_model import EqualWeight, GivenWeight


def resolve_server(server: Optional[str]) -> Optional[str]:
    """`server`, else CONCORD_SERVER, else None; "" means embedded in any case."""
    if server is None:
        server = os.environ.get("CONCORD_SERVER")
    return server or None


def derived_part(gradient_operator: Any, loss_recorder: Optional[LossRecorder]) -> Optional[object]:
    """The first part whose arithmetic is the user's own Python, if any."""
    part = derived_from_config(gradient_operator)
    if part is None and loss_recorder is not None and type(loss_recorder) is not LatestLossRecorder:
        return loss_recorder
    return part


def derived_from_config(gradient_operator: Any) -> Optional[object]:
    """The operator, or its weight or length model, where that is not the engine's."""
    from concord.grad_operator import ConFIGOperator

    if type(gradient_operator) is not ConFIGOperator:
        return gradient_operator
    if type(gradient_operator.weight_model) not in (EqualWeight, GivenWeight):
        return gradient_operator.weight_model
    if type(gradient_operator.length_model) is not ProjectionLength:
        return gradient_operator.length_model
    return None


def refuse_derived(part: Optional[object]) -> None:
    """A server computes what it knows, not a class of this process."""
    if part is not None:
        raise TypeError(
            f"{type(part).__module__}.{type(part).__qualname__} is defined in Python and works "
            "embedded only; against a server use concord's own operators, weights, lengths and "
            "recorders (server='' keeps this operator embedded)"
        )


def make_options(
    gradient_operator: Any,
    *,
    num_vectors: int,
    num_parameters: int = 1,
    dtype: str = "float32",
    momentum: str,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    max_vectors_per_step: int = 0,
    recorder: bool = False,
) -> _native.Options:
    """Options of an operator whose parts are all the engine's."""
    model = gradient_operator.weight_model
    return _native.make_options(
        num_vectors=num_vectors,
        num_parameters=num_parameters,
        dtype=dtype,
        max_vectors_per_step=max_vectors_per_step,
        momentum=momentum,
        beta_1=beta_1,
        beta_2=beta_2,
        weights=list(model.weights) if isinstance(model, GivenWeight) else None,
        recorder="latest" if recorder else None,
    )
