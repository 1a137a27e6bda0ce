"""Independent float64 answers: ConFIG by an m x m solve, M-ConFIG by its definition."""

import numpy as np


def config(rows, weights=None):
    """ConFIG of the rows (m, n), float64: direction of cosines w, projection length."""
    rows = np.asarray(rows, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1)
    keep = norms > 0
    if not keep.any():
        return np.zeros(rows.shape[1])
    units = rows[keep] / norms[keep, None]
    wanted = np.ones(len(norms)) if weights is None else np.asarray(weights, dtype=np.float64)
    cosines = units @ units.T
    inverse = np.linalg.pinv(cosines, rcond=1e-12, hermitian=True)
    direction = units.T @ (inverse @ wanted[keep])
    length = np.linalg.norm(direction)
    if length < 1e-12:
        return np.zeros(rows.shape[1])
    direction /= length
    return direction * (rows @ direction).sum()


class Momentum:
    """M-ConFIG exactly as it is defined, everything kept as float64 vectors."""

    def __init__(self, m, n, beta_1=0.9, beta_2=0.999):
        self.m, self.s, self.f = np.zeros((m, n)), np.zeros(n), np.zeros(n)
        self.updates, self.t = np.zeros(m, dtype=int), 0
        self.beta_1, self.beta_2 = beta_1, beta_2

    def step(self, indexes, gradients):
        for i, g in zip(indexes, gradients):
            self.m[i] = self.beta_1 * self.m[i] + (1 - self.beta_1) * np.asarray(g, np.float64)
            self.updates[i] += 1
        if (self.updates == 0).any():
            return np.zeros_like(self.s)
        self.t += 1
        r = config(self.m / (1 - self.beta_1**self.updates)[:, None])
        f = r * (1 - self.beta_1**self.t)
        pseudo = (f - self.beta_1 * self.f) / (1 - self.beta_1)
        self.f = f
        self.s = self.beta_2 * self.s + (1 - self.beta_2) * pseudo**2
        return r / (np.sqrt(self.s / (1 - self.beta_2**self.t)) + 1e-8)


def cosines(vector, rows):
    """Cosines between a vector and rows, float64."""
    vector, rows = np.asarray(vector, np.float64), np.asarray(rows, np.float64)
    return rows @ vector / (np.linalg.norm(rows, axis=1) * np.linalg.norm(vector))
