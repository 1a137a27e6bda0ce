"""What is compared, and the learning rates that each method is offered at first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from concord.grad_operator import ConFIGOperator, GradientOperator
from concord.methods import (
    AlignedMTLOperator,
    CAGradOperator,
    DBMTLOperator,
    FairGradOperator,
    GradVacOperator,
    IMTLGOperator,
    MGDAOperator,
    NashMTLOperator,
    PCGradOperator,
    SumOperator,
    UPGradOperator,
)

# Each twice the one before; contest.tune goes on where the best is the first or the last.
# SGD, with momentum 0.9, is another scale than the others.
_ADAM_RATES = tuple(1e-3 * 2**i for i in range(6))
_SGD_RATES = tuple(1e-2 * 2**i for i in range(6))


@dataclass(frozen=True)
class Method:
    """`kind` says what a step is, and what it costs:

    adam, sgd      the summed loss: one backward pass a step
    combined       both gradients, combined, then Adam: two passes a step
    momentum       one loss in turn, combined as momenta, plain descent: one pass a step
    """

    name: str
    kind: str
    operator: Optional[Callable[[], GradientOperator]] = None

    @property
    def rates(self) -> tuple[float, ...]:
        return _SGD_RATES if self.kind == "sgd" else _ADAM_RATES


_COMBINERS: dict[str, Callable[[], GradientOperator]] = {
    "ConFIG": ConFIGOperator,
    "PCGrad": PCGradOperator,
    "GradVac": GradVacOperator,
    "IMTLG": IMTLGOperator,
    "MGDA": MGDAOperator,
    "UPGrad": UPGradOperator,
    "CAGrad": CAGradOperator,
    "NashMTL": NashMTLOperator,
    "FairGrad": FairGradOperator,
    "AlignedMTL": AlignedMTLOperator,
    "DBMTL": DBMTLOperator,
}
_UNDER_MOMENTUM = ("ConFIG", "PCGrad", "MGDA", "UPGrad", "NashMTL")

METHODS = {
    method.name: method
    for method in (
        Method("sum, Adam", "adam"),
        Method("sum, SGD", "sgd"),
        *(Method(f"{name}, Adam", "combined", make) for name, make in _COMBINERS.items()),
        *(Method(f"M-{name}", "momentum", _COMBINERS[name]) for name in _UNDER_MOMENTUM),
        Method("M-sum", "momentum", SumOperator),
    )
}
