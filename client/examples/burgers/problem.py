"""Burgers' equation: where it is asked to hold, and its exact solution.

    u_t + u u_x = nu u_xx    x in [-1, 1], t in [0, 1], nu = 0.01 / pi
    u(x, 0) = -sin(pi x)     u(-1, t) = u(1, t) = 0

A steep front forms at x = 0 from t = 1/pi on: small residuals there pull the
network elsewhere than the initial condition does, so the losses conflict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

VISCOSITY = 0.01 / np.pi
LOSS_NAMES = ("residual", "initial", "boundary")
RESIDUAL_POINTS = 500
CONDITION_POINTS = 50  # Each of initial and boundary.


def latin_hypercube(count: int, dimensions: int, rng: np.random.Generator) -> np.ndarray:
    """(count, dimensions) points in [0, 1): one in each of `count` slices of every axis."""
    slices = np.stack([rng.permutation(count) for _ in range(dimensions)], axis=1)
    return (slices + rng.random((count, dimensions))) / count


class PointSampler:
    """Draws the points at which one loss is taken, new ones for every iteration."""

    def __init__(self, seed: int, loss: int) -> None:
        self._rng = np.random.default_rng([seed, loss])
        self._draw = (self._residual, self._initial, self._boundary)[loss]

    def draw(self) -> torch.Tensor:
        """Rows (x, t): 500 of the residual, 50 of the initial or boundary condition."""
        return torch.from_numpy(self._draw().astype(np.float32))

    @property
    def state(self) -> dict[str, Any]:
        """What the next draws depend on; to be set in a sampler of the same loss."""
        return dict(self._rng.bit_generator.state)

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state

    def _residual(self) -> np.ndarray:
        return latin_hypercube(RESIDUAL_POINTS, 2, self._rng) * (2, 1) - (1, 0)

    def _initial(self) -> np.ndarray:
        points = np.zeros((CONDITION_POINTS, 2))
        points[:, 0] = 2 * latin_hypercube(CONDITION_POINTS, 1, self._rng)[:, 0] - 1
        return points

    def _boundary(self) -> np.ndarray:
        points = np.ones((CONDITION_POINTS, 2))
        points[::2, 0] = -1
        points[:, 1:] = latin_hypercube(CONDITION_POINTS, 1, self._rng)
        return points


def exact_solution(x: np.ndarray, t: np.ndarray, nodes: int = 64) -> np.ndarray:
    """u(x, t) by the Cole-Hopf transformation and Gauss-Hermite quadrature, float64.

        u = - int sin(pi (x-y)) f(x-y) exp(-y^2 / 4 nu t) dy
            / int f(x-y) exp(-y^2 / 4 nu t) dy,    f(y) = exp(-cos(pi y) / (2 pi nu))

    `x` and `t` broadcast. 64 and 128 nodes agree to better than 1e-9.
    """
    x, t = np.broadcast_arrays(np.asarray(x, float), np.asarray(t, float))
    z, weight = np.polynomial.hermite.hermgauss(nodes)
    shifted = np.pi * (x[..., None] - np.sqrt(4 * VISCOSITY * t)[..., None] * z)
    exponent = -np.cos(shifted) / (2 * np.pi * VISCOSITY)
    kernel = weight * np.exp(exponent - exponent.max(axis=-1, keepdims=True))
    return -(np.sin(shifted) * kernel).sum(-1) / kernel.sum(-1)


@dataclass(frozen=True)
class TestGrid:
    """Where the error is taken: 201 x 50 points, the exact solution on them."""

    __test__ = False  # Not a test case, whatever pytest thinks of the name.

    x: np.ndarray  # (201,)
    t: np.ndarray  # (50,)
    inputs: torch.Tensor  # (t * x, 2), rows (x, t)
    exact: torch.Tensor  # (t * x,)

    @staticmethod
    def make() -> TestGrid:
        x, t = np.linspace(-1, 1, 201), np.linspace(0, 1, 50)
        grid_t, grid_x = np.meshgrid(t, x, indexing="ij")
        inputs = np.stack([grid_x.ravel(), grid_t.ravel()], axis=1)
        exact = exact_solution(grid_x, grid_t).ravel()
        return TestGrid(
            x,
            t,
            torch.tensor(inputs, dtype=torch.float32),
            torch.tensor(exact, dtype=torch.float32),
        )

    def error(self, predicted: torch.Tensor) -> float:
        """Mean squared error."""
        return (predicted - self.exact).square().mean().item()
