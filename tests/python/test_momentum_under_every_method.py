"""Both momentum operators under every method: against their definition in float64, and
bit for bit between the engine in this process and a server's."""

import numpy as np
import pytest
import torch

from concord.momentum_operator import PseudoMomentumOperator, SeparateMomentumOperator
from test_methods import ALL, M

STEPS = 100
N = 257


class Plain:
    """The momenta by their definition, everything kept as float64 vectors. What combines
    the rows is the method alone, in float64, one step after the other."""

    def __init__(self, method, beta_1=0.9, beta_2=0.999):
        self.method = method
        self.beta_1, self.beta_2 = beta_1, beta_2
        self.m = np.zeros((M, N))
        self.updates = np.zeros(M, dtype=int)

    def combined(self, rows):
        return self.method.calculate_gradient(torch.from_numpy(rows)).numpy()

    def first(self, indexes, gradients):
        for i, g in zip(indexes, gradients):
            self.m[i] = self.beta_1 * self.m[i] + (1 - self.beta_1) * g
            self.updates[i] += 1

    def corrected(self):
        return self.m / (1 - self.beta_1**self.updates)[:, None]


class PlainPseudo(Plain):
    def __init__(self, method):
        super().__init__(method)
        self.s, self.f, self.t = np.zeros(N), np.zeros(N), 0

    def step(self, indexes, gradients):
        self.first(indexes, gradients)
        if (self.updates == 0).any():
            return np.zeros(N)
        self.t += 1
        r = self.combined(self.corrected())
        f = r * (1 - self.beta_1**self.t)
        pseudo = (f - self.beta_1 * self.f) / (1 - self.beta_1)
        self.f = f
        self.s = self.beta_2 * self.s + (1 - self.beta_2) * pseudo**2
        return r / (np.sqrt(self.s / (1 - self.beta_2**self.t)) + 1e-8)


class PlainSeparate(Plain):
    def __init__(self, method):
        super().__init__(method)
        self.v = np.zeros((M, N))

    def step(self, indexes, gradients):
        self.first(indexes, gradients)
        for i, g in zip(indexes, gradients):
            self.v[i] = self.beta_2 * self.v[i] + (1 - self.beta_2) * g**2
        if (self.updates == 0).any():
            return np.zeros(N)
        scale = np.sqrt(self.v / (1 - self.beta_2**self.updates)[:, None]) + 1e-8
        return self.combined(self.corrected() / scale)


KINDS = {
    "Pseudo": (PseudoMomentumOperator, PlainPseudo),
    "Separate": (SeparateMomentumOperator, PlainSeparate),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_steps_of_random_subsets_follow_the_definition(kind, name, server):
    made, plain = KINDS[kind]
    embedded = made(M, gradient_operator=ALL[name](), server="")
    served = made(M, gradient_operator=ALL[name](), server=server.tcp)
    expected = plain(ALL[name](server=""))
    generator = torch.Generator().manual_seed(11)
    worst = 0.0
    for step in range(STEPS):
        count = int(torch.randint(1, M + 1, (), generator=generator))
        indexes = torch.randperm(M, generator=generator)[:count].tolist()
        grads = torch.randn(count, N, generator=generator, dtype=torch.float64)
        update = embedded.calculate_gradient(indexes, grads)
        assert torch.equal(update, served.calculate_gradient(indexes, grads)), f"step {step}"
        want = expected.step(indexes, grads.numpy())
        error = np.abs(update.numpy() - want).max() / max(1, np.abs(want).max())
        worst = max(worst, error)
    served.close()
    print(f"{kind}, {name}: worst error {worst:.1e} of max(1, |out|)")
    assert worst <= 1e-10
