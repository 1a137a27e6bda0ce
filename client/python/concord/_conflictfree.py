"""The state of the conflictfree package's PseudoMomentumOperator as Concord's."""

from __future__ import annotations

from typing import Any

import torch

from concord.errors import invalid

__all__ = ["state_of"]

# f is kept there as a vector in the operator's own type, here as coefficients of the
# momenta that it was made of: what rounding leaves outside of their span.
_ROUNDING = 1e-3


def state_of(peer: Any, num_vectors: int, beta_1: float, beta_2: float) -> dict[str, Any]:
    """The tensors of a state_dict; empty where `peer` has not taken a step.

    Raises InvalidArgumentError, naming the attribute that does not fit.
    """
    for name, expected in {
        "num_vectors": num_vectors,
        "beta_1": beta_1,
        "beta_2": beta_2,
    }.items():
        found = getattr(peer, name, None)
        if found != expected:
            raise invalid("INVALID_OPTION", f"peer.{name}", found, f"{expected}")
    if peer.m is None:
        return {}
    state = {f"momentum.{i}": momentum.detach() for i, momentum in enumerate(peer.m)}
    state["second_momentum"] = peer.s.detach()
    momenta = torch.stack([momentum.double() for momentum in state.values()][:num_vectors])
    gram = momenta @ momenta.T
    live = int(peer.t)
    # f = sum c_i m_i, by least squares: unique but for momenta that depend on others.
    previous = torch.zeros(num_vectors, dtype=torch.float64, device=gram.device)
    if live > 0:
        f = peer.fake_m.detach().double()
        previous = torch.linalg.pinv(gram, hermitian=True, rtol=1e-12) @ (momenta @ f)
        outside = torch.linalg.vector_norm(f - momenta.T @ previous)
        if outside > _ROUNDING * torch.linalg.vector_norm(f):
            raise invalid(
                "INVALID_OPTION",
                "peer.fake_m",
                f"{outside:.3g} outside of the momenta's span",
                "the result of a gradient operator that combines them",
            )
    updates = torch.tensor(peer.t_grads, dtype=torch.int64)
    # Steps in which losses were missing are not counted there: at least as many as this.
    committed = torch.tensor(max(live, int(updates.max())), dtype=torch.int64)
    state["gram"] = gram.cpu()
    state["updates"] = updates
    state["last_updates"] = committed.expand(num_vectors).clone()
    state["coefficients"] = (previous / (1 - beta_1**live) if live else previous).cpu()
    state["previous"] = previous.cpu()
    for name in ("scales", "combiner", "recorder"):
        state[name] = torch.zeros(0, dtype=torch.float64)
    state["live_steps"] = torch.tensor(live, dtype=torch.int64)
    state["committed_step"] = committed
    correction = 1 / (1 - beta_2**live) if live else 1.0
    state["correction"] = torch.tensor(correction, dtype=torch.float64)
    return state
