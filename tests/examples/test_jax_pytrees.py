"""The JAX example: it learns, and no vector is copied between JAX and Concord."""

import jax
import jax.numpy as jnp
import jax_pytrees as example
import pytest
from jax.flatten_util import ravel_pytree

from concord._inputs import parse_gradients
from concord.momentum_operator import PseudoMomentumOperator


@pytest.fixture(scope="module")
def vectors():
    tree, points = example.parameters(0), jnp.linspace(0.1, 0.9, 8)
    return [example.gradient(loss, tree, points) for loss in (example.residual, example.boundary)]


def test_the_example_learns_and_keeps_the_losses_free_of_conflict():
    tree, operator = example.train(300)
    assert example.error(tree) < 0.4 * example.error(example.parameters(0))
    found = operator.last_step
    assert found.step == 300 and found.conflict_free


def test_a_gradient_of_jax_is_read_where_it_lies(vectors):
    rows = parse_gradients(vectors, 2).rows
    assert [row.data_ptr() for row in rows] == [v.unsafe_buffer_pointer() for v in vectors]


def test_jax_takes_the_update_over_and_it_stays(vectors):
    operator = PseudoMomentumOperator(num_vectors=1)
    taken, copies = [], []
    for step in range(6):
        update = operator.calculate_gradient(0, vectors[step % 2])
        taken.append(jnp.from_dlpack(update))
        assert taken[-1].unsafe_buffer_pointer() == update.data_ptr(), "copied"
        copies.append(update.clone().numpy())
        del update
    for array, copy in zip(taken, copies):
        assert (array == copy).all()


def test_a_result_that_is_still_being_computed_is_waited_for():
    slow = jax.jit(lambda matrix: (matrix @ matrix @ matrix).sum(0))
    matrix = jnp.ones((700, 700))
    update = PseudoMomentumOperator(num_vectors=1).calculate_gradient(0, slow(matrix))
    assert (jnp.from_dlpack(update) > 0.99).all()  # g / (|g| + 1e-8)


def test_gradients_of_sixteen_bits_and_under_jit():
    operator = PseudoMomentumOperator(num_vectors=1)
    vector = jnp.linspace(1.0, 2.0, 50, dtype=jnp.bfloat16)
    assert jnp.from_dlpack(operator.calculate_gradient(0, vector)).dtype == jnp.bfloat16

    @jax.jit
    def inside(vector):
        return operator.calculate_gradient(0, vector)

    with pytest.raises(TypeError, match="cannot be taken by DLPack"):
        inside(vector)


def test_the_update_is_a_pytree_like_the_parameters():
    tree = example.parameters(3)
    vector, unravel = ravel_pytree(tree)
    update = PseudoMomentumOperator(num_vectors=1).calculate_gradient(0, vector)
    assert jax.tree.structure(unravel(jnp.from_dlpack(update))) == jax.tree.structure(tree)
