"""The network (2 -> 5 x 50 tanh -> 1) and the three losses.

Parameters live in one flat vector, of which the layers are views: an update is
one addition. The residual needs u_x, u_t and u_xx; they are carried forward
through the layers together with u (one matrix product for all four) in place of
differentiating twice, with the derivatives of a layer written out. The losses
are the usual ones; this way they cost half the time, for every method alike.
"""

from __future__ import annotations

import torch

from burgers.problem import VISCOSITY

WIDTHS = (2, 50, 50, 50, 50, 50, 1)


class _JetLayer(torch.autograd.Function):
    """tanh(A w + b) with derivatives: (4, N, in) -> (4, N, out).

    The four are value, d/dx, d/dt and d2/dx2.
    """

    @staticmethod
    def forward(ctx, jets, weight, bias):  # type: ignore[override]
        z = (jets.reshape(-1, weight.shape[0]) @ weight).view(4, -1, weight.shape[1])
        z[0] += bias
        value = torch.tanh(z[0])
        slope = 1 - value * value
        out = z * slope
        out[0] = value
        out[3].addcmul_(value * out[1], z[1], value=-2)
        ctx.save_for_backward(jets, weight, z, value, slope)
        return out

    @staticmethod
    def backward(ctx, grad):  # type: ignore[override]
        jets, weight, z, value, slope = ctx.saved_tensors
        curvature = grad[3] * z[1]
        inner = (grad[1:] * z[1:]).sum(0).mul_(value)
        inner.addcmul_(curvature * z[1], torch.addcmul(slope, value, value, value=-2))
        back = grad.clone()
        back[0].sub_(inner, alpha=2)
        back[1].addcmul_(value, curvature, value=-4)
        back *= slope
        flat = back.view(-1, weight.shape[1])
        into = (flat @ weight.T).view_as(jets) if ctx.needs_input_grad[0] else None
        return into, jets.reshape(-1, weight.shape[0]).T @ flat, back[0].sum(0)


class Network:
    """All parameters are `flat` (10,401 of them), Glorot-normal from `seed`."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        parts: list[torch.Tensor] = []
        for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
            scale = (2 / (inputs + outputs)) ** 0.5
            parts += [
                scale * torch.randn(inputs * outputs, generator=generator),
                torch.zeros(outputs),
            ]
        self.flat = torch.cat(parts)
        self._leaves: list[torch.Tensor] = []
        offset = 0
        for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
            for shape in ((inputs, outputs), (outputs,)):
                size = torch.Size(shape).numel()
                view = self.flat[offset : offset + size].view(shape)
                self._leaves.append(view.detach().requires_grad_())
                offset += size
        self._layers = list(zip(self._leaves[::2], self._leaves[1::2]))

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """u at the rows (x, t) of `inputs`."""
        hidden = inputs
        for weight, bias in self._layers[:-1]:
            hidden = torch.tanh(torch.addmm(bias, hidden, weight))
        weight, bias = self._layers[-1]
        return torch.addmm(bias, hidden, weight)[:, 0]

    def derivatives(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """u, u_x, u_t and u_xx at the rows of `inputs`."""
        jets = inputs.new_zeros(4, *inputs.shape)
        jets[0], jets[1, :, 0], jets[2, :, 1] = inputs, 1, 1
        for weight, bias in self._layers[:-1]:
            jets = _JetLayer.apply(jets, weight, bias)
        weight, bias = self._layers[-1]
        u, u_x, u_t, u_xx = (jets @ weight)[..., 0].unbind(0)
        return u + bias, u_x, u_t, u_xx

    def gradient(self, loss: torch.Tensor) -> torch.Tensor:
        """Of `loss` by all parameters, one flat vector (zero where one has no part in it)."""
        found = torch.autograd.grad(loss, self._leaves, materialize_grads=True)
        return torch.cat([part.reshape(-1) for part in found])


def residual_loss(network: Network, points: torch.Tensor) -> torch.Tensor:
    u, u_x, u_t, u_xx = network.derivatives(points)
    return (u_t + u * u_x - VISCOSITY * u_xx).square().mean()


def initial_loss(network: Network, points: torch.Tensor) -> torch.Tensor:
    wanted = -torch.sin(torch.pi * points[:, 0])
    return (network(points) - wanted).square().mean()


def boundary_loss(network: Network, points: torch.Tensor) -> torch.Tensor:
    return network(points).square().mean()


# In the order of problem.LOSS_NAMES.
LOSSES = (residual_loss, initial_loss, boundary_loss)
