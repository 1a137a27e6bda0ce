"""Two losses of two parameters whose Pareto front is known in closed form.

    L_i(x) = s_i log(1 + q_i(x)),   q_i(x) = (x - a_i)' A_i (x - a_i)

Not convex, each with one minimum, a_i. The gradient of L_i is a positive multiple of
A_i (x - a_i), so the losses oppose each other exactly at

    x(t) = ((1-t) A_1 + t A_2)^-1 ((1-t) A_1 a_1 + t A_2 a_2),   0 <= t <= 1,

whatever the scales s_i. They differ, as those of a network's losses do.
"""

from __future__ import annotations

import math
from typing import Callable

import numpy as np
import torch
from concord.grad_operator import GradientOperator

MINIMA = np.array([[-2.0, 0.5], [2.0, 0.0]])
CURVATURES = np.array([[[0.5, 0.2], [0.2, 2.0]], [[2.0, -0.6], [-0.6, 0.6]]])
SCALES = np.array([1.0, 4.0])
STARTS = ((-2.6, 3.4), (2.2, 3.6), (3.6, 1.6), (-3.6, -1.6), (0.8, -3.2))

# A step goes this far at most; see trajectory.
RATE = 0.1
FIRST_STEP = 0.08


def losses(points: np.ndarray, scales: np.ndarray = SCALES) -> np.ndarray:
    """Both losses, (..., 2), at points (..., 2)."""
    offsets = points[..., None, :] - MINIMA
    forms = np.einsum("...ij,ijk,...ik->...i", offsets, CURVATURES, offsets)
    return scales * np.log1p(forms)


def gradients(point: np.ndarray, scales: np.ndarray = SCALES) -> np.ndarray:
    """Both gradients at one point, as rows."""
    offsets = point - MINIMA
    halves = np.einsum("ijk,ik->ij", CURVATURES, offsets)
    forms = np.einsum("ij,ij->i", halves, offsets)
    return (scales / (1 + forms))[:, None] * 2 * halves


def pareto_front(count: int = 200) -> np.ndarray:
    """Points of the Pareto front, from the first loss's minimum to the second's."""
    part = np.linspace(0, 1, count)[:, None, None]
    first, second = (1 - part) * CURVATURES[0], part * CURVATURES[1]
    right = first @ MINIMA[0] + second @ MINIMA[1]
    return np.linalg.solve(first + second, right[..., None])[..., 0]


def distances_to_front(points: np.ndarray) -> np.ndarray:
    """Distance of each of the points (k, 2) to the front, to some 1e-3."""
    return np.linalg.norm(points[:, None] - pareto_front(2000), axis=-1).min(axis=1)


def trajectory(
    make_operator: Callable[[], GradientOperator],
    start: tuple[float, float],
    steps: int = 600,
    scales: np.ndarray = SCALES,
) -> np.ndarray:
    """The way down from `start`, (steps + 1, 2), by an operator of its own.

    Methods differ in the length of their direction; what is compared is where it
    points. A step is RATE times the direction, shortened to a length that falls from
    FIRST_STEP to nothing along a cosine.
    """
    operator = make_operator()
    points = [np.array(start)]
    for step in range(steps):
        rows = torch.from_numpy(gradients(points[-1], scales))
        move = RATE * operator.calculate_gradient(rows).numpy()
        longest = FIRST_STEP * math.cos(0.5 * math.pi * step / steps)
        length = float(np.linalg.norm(move))
        points.append(points[-1] - move * min(1.0, longest / length if length else 1.0))
    return np.array(points)
