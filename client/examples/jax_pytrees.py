"""M-ConFIG for a network in JAX: gradients of pytrees in, an update as a pytree out.

    .venv/bin/python client/examples/jax_pytrees.py [--steps 3000]

Poisson's equation u'' = -pi^2 sin(pi x) on [0, 1] with u = 0 at both ends, learnt from
two losses, one of them per step. A loss's gradient is a pytree like the parameters;
ravel_pytree makes one vector of it, which Concord reads where it lies (DLPack). The
update is a vector of Concord's own, which JAX takes over in the same way, and `unravel`
makes the pytree of it. Nothing is copied on the way.
"""

from __future__ import annotations

import argparse
from functools import partial

import jax
import jax.numpy as jnp
from concord.momentum_operator import PseudoMomentumOperator
from jax.flatten_util import ravel_pytree

LAYERS = (1, 32, 32, 1)


def parameters(seed: int) -> list[dict[str, jax.Array]]:
    keys = jax.random.split(jax.random.key(seed), len(LAYERS))
    return [
        {
            "w": jax.random.normal(key, (inputs, outputs)) / inputs**0.5,
            "b": jnp.zeros(outputs),
        }
        for key, inputs, outputs in zip(keys, LAYERS, LAYERS[1:])
    ]


def network(tree, x: jax.Array) -> jax.Array:
    """u at one x."""
    values = x[None]
    for layer in tree[:-1]:
        values = jnp.tanh(values @ layer["w"] + layer["b"])
    return (values @ tree[-1]["w"] + tree[-1]["b"])[0]


def residual(tree, x: jax.Array) -> jax.Array:
    """Mean square of u'' + pi^2 sin(pi x)."""
    second = jax.vmap(jax.grad(jax.grad(network, argnums=1), argnums=1), (None, 0))(
        tree, x
    )
    return jnp.mean((second + jnp.pi**2 * jnp.sin(jnp.pi * x)) ** 2)


def boundary(tree, x: jax.Array) -> jax.Array:
    """Mean square of u at the ends; takes no points."""
    return jnp.mean(jax.vmap(network, (None, 0))(tree, jnp.array([0.0, 1.0])) ** 2)


@partial(jax.jit, static_argnums=0)
def gradient(loss, tree, x: jax.Array) -> jax.Array:
    """One loss's gradient as a vector."""
    return ravel_pytree(jax.grad(loss)(tree, x))[0]


@jax.jit
def descend(tree, update, rate: float):
    """Plain gradient descent: the momentum is in the update."""
    return jax.tree.map(lambda value, step: value - rate * step, tree, update)


def error(tree) -> float:
    """Root mean square against sin(pi x)."""
    x = jnp.linspace(0.0, 1.0, 201)
    found = jax.vmap(network, (None, 0))(tree, x)
    return float(jnp.sqrt(jnp.mean((found - jnp.sin(jnp.pi * x)) ** 2)))


def train(steps: int, seed: int = 0):
    """The trained parameters, and the operator with what its last step found."""
    losses = (residual, boundary)
    tree = parameters(seed)
    _, unravel = ravel_pytree(tree)
    operator = PseudoMomentumOperator(num_vectors=len(losses))
    key = jax.random.key(seed + 1)
    for step in range(steps):
        key, draw = jax.random.split(key)
        turn = step % len(losses)
        vector = gradient(losses[turn], tree, jax.random.uniform(draw, (64,)))
        update = operator.calculate_gradient(turn, vector)
        rate = 2e-3 * (1 - step / steps)
        tree = descend(tree, unravel(jnp.from_dlpack(update)), rate)
    return tree, operator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=3000)
    steps = parser.parse_args().steps
    before = error(parameters(0))
    tree, operator = train(steps)
    cosine = operator.last_step.cosines[0, 1].item()
    print(f"error before {before:.3f}, after {steps} steps {error(tree):.5f}")
    print(f"cosine between the losses' momenta at the end {cosine:+.2f}")


if __name__ == "__main__":
    main()
