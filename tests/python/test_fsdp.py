"""Networks under fully_shard: every rank combines its part, against one process with the
whole network and all ranks' batches."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

from concord.layout import layout_of
from concord.momentum_operator import PseudoMomentumOperator
from concord.torch import ConflictFree
from concord.torch.fsdp import ShardedParameters
from test_methods import ALL, M
from test_sharded import GRAM

BATCH = 6


class Network(torch.nn.Module):
    """Biases of one element and of seven, so that parts are unequal and some are empty; a
    scale that FSDP may leave alone, a parameter that no loss needs, a frozen one."""

    def __init__(self, width):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))
        self.first = torch.nn.Linear(5, width)
        self.second = torch.nn.Linear(width, 3)
        self.unused = torch.nn.Parameter(torch.ones(2))
        self.frozen = torch.nn.Parameter(torch.ones(4), requires_grad=False)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x))) * self.scale


def network(width=7):
    torch.manual_seed(4)
    return Network(width).double()


def batch_of(step, rank):
    generator = torch.Generator().manual_seed(1000 * step + rank)
    return torch.randn(BATCH, 5, generator=generator, dtype=torch.float64)


def losses_of(model, x):
    y = model(x)
    return [
        (y[:, 0] ** 2).mean(),
        (y[:, 1] - 1).abs().mean(),
        (y[:, 2] - x[:, 0]).square().mean(),
        (y.sum(dim=1) + x[:, 1]).square().mean(),
    ]


def sharded_network(ignored):
    model = network()
    mesh = DeviceMesh.from_group(dist.group.WORLD, "cpu")
    left_alone = {model.scale} if ignored else set()
    for layer in (model.first, model.second):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh, ignored_params=left_alone)
    return model


def train(model, parameters, operator, steps, begin=0, batch=batch_of):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for step in range(begin, begin + steps):
        losses = losses_of(model, batch(step, dist.get_rank()))
        parameters.put(operator.calculate_gradient(parameters.gradients(losses)))
        optimizer.step()


def whole(model):
    """All parameters, the same order as in one process."""
    return [
        (p.full_tensor() if isinstance(p, DTensor) else p).detach().numpy().copy()
        for p in model.parameters()
    ]


def operator_of(parameters, **options):
    return PseudoMomentumOperator(
        M, server="", process_group=parameters.process_group,
        replicated=parameters.replicated, **options,
    )  # fmt: skip


def fsdp_run(rank, size, steps, ignored):
    model = sharded_network(ignored)
    parameters = ShardedParameters(model.named_parameters())
    operator = operator_of(parameters)
    train(model, parameters, operator, steps)
    return whole(model), operator.last_step.coefficients.tolist(), parameters.length


def turn(model, step, at):
    """Freezes and unfreezes a part at the steps `at`; whether it did now."""
    if step in at:
        for parameter in (model.scale, model.second.weight, model.first.bias):
            parameter.requires_grad_(step == at[1])
    return step in at


def freezing_run(rank, size, steps, at):
    model = sharded_network(True)
    parameters = ShardedParameters(model.named_parameters())
    operator = operator_of(parameters)
    coefficients = []
    for step in range(steps):
        if turn(model, step, at):
            before, parameters = parameters, ShardedParameters(model.named_parameters())
            operator.update_layout(
                before.layout, parameters.layout, replicated=parameters.replicated
            )
        train(model, parameters, operator, 1, begin=step)
        coefficients.append(operator.last_step.coefficients.tolist())
    return whole(model), coefficients


@pytest.mark.parametrize("size", [2, 3])
def test_freezing_at_20_and_unfreezing_at_40_is_what_one_process_does(size, ranks):
    at = (20, 40)
    expected = one_process_run(size, 50, at)
    answers = ranks.run(freezing_run, size, 50, at)
    for parameters, coefficients in answers:
        assert coefficients == answers[0][1]
        for found, right in zip(parameters, expected):
            assert np.linalg.norm(found - right) <= 1e-12 * max(1, np.linalg.norm(right))


def gradients_of(model, ranks, step):
    """All ranks' batches together, on the whole network: (M, n)."""
    trained = [p for p in model.parameters() if p.requires_grad]
    rows = []
    for loss in losses_of(model, torch.cat([batch_of(step, rank) for rank in range(ranks)])):
        grads = torch.autograd.grad(
            loss, trained, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        rows.append(torch.cat([g.reshape(-1) for g in grads]))
    return torch.stack(rows)


def methods_run(rank, size):
    """Three steps of every method, on the same gradients: updates and coefficients."""
    model = sharded_network(size != 2)
    parameters = ShardedParameters(model.named_parameters())
    steps = [parameters.gradients(losses_of(model, batch_of(step, rank))) for step in range(3)]
    result = {}
    for name in GRAM:
        operator = operator_of(parameters, gradient_operator=ALL[name]())
        result[name] = []
        for grads in steps:
            parameters.put(operator.calculate_gradient(grads))
            update = [p.grad for p in model.parameters() if p.requires_grad]
            whole = [g.full_tensor() if isinstance(g, DTensor) else g for g in update]
            result[name].append(
                (
                    torch.cat([g.reshape(-1) for g in whole]).numpy(),
                    operator.last_step.coefficients.tolist(),
                )
            )
    return result


@pytest.mark.parametrize("size", [2, 3, 4])
def test_every_gram_method_gives_a_model_s_parts_of_the_whole_update(size, ranks):
    answers = ranks.run(methods_run, size)
    model = network()
    for name in GRAM:
        operator = PseudoMomentumOperator(M, server="", gradient_operator=ALL[name]())
        for step in range(3):
            expected = operator.calculate_gradient(gradients_of(model, size, step)).numpy()
            for answer in answers:
                update, coefficients = answer[name][step]
                assert coefficients == answers[0][name][step][1], name
                distance = np.linalg.norm(update - expected)
                assert distance <= 1e-12 * max(1, np.linalg.norm(expected)), name


def one_process_run(ranks, steps, at=(), width=7):
    """Batches of all ranks together: the mean of the ranks' means."""
    model = network(width)
    layout = layout_of(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    operator = PseudoMomentumOperator(M, server="")
    for step in range(steps):
        if turn(model, step, at):
            before, layout = layout, layout_of(model)
            operator.update_layout(before, layout)
            trained = [p for p in model.parameters() if p.requires_grad]
        update = operator.calculate_gradient(gradients_of(model, ranks, step))
        with torch.no_grad():
            for p, piece in zip(trained, update.split([p.numel() for p in trained])):
                p -= 1e-2 * piece.view(p.shape)
    return [p.detach().numpy() for p in model.parameters()]


@pytest.mark.parametrize("size, ignored", [(2, False), (3, True), (4, True)])
def test_fifty_steps_under_fsdp_are_those_of_one_process(size, ignored, ranks):
    answers = ranks.run(fsdp_run, size, 50, ignored)
    expected = one_process_run(size, 50)
    for parameters, coefficients, _ in answers:
        assert coefficients == answers[0][1]
        for found, mine, right in zip(parameters, answers[0][0], expected):
            assert np.array_equal(found, mine)
            assert np.linalg.norm(found - right) <= 1e-12 * max(1, np.linalg.norm(right))
    # Parts that differ in length.
    assert len({length for _, _, length in answers}) > 1


def save_run(rank, size, directory, steps):
    model = sharded_network(True)
    parameters = ShardedParameters(model.named_parameters())
    operator = operator_of(parameters)
    train(model, parameters, operator, steps)
    state = {"model": model.state_dict(), "operator": parameters.stateful(operator)}
    dcp.save(state, checkpoint_id=directory)
    # Where the ranks stay as many, the next steps are the same bits.
    train(model, parameters, operator, 3, begin=steps)
    return whole(model)


def loaded(directory):
    """What `save_run` has saved, on these ranks."""
    model = sharded_network(True)
    parameters = ShardedParameters(model.named_parameters())
    operator = operator_of(parameters, like=parameters.like())
    state = {"model": model.state_dict(), "operator": parameters.stateful(operator)}
    dcp.load(state, checkpoint_id=directory)
    model.load_state_dict(state["model"])
    return model, parameters, operator


def load_run(rank, size, directory, begin):
    model, parameters, operator = loaded(directory)
    momentum = operator.state_dict()
    train(model, parameters, operator, 3, begin=begin)
    return whole(model), momentum["committed_step"].item(), operator.last_step.step


@pytest.mark.parametrize("size", [4, 2])
def test_a_checkpoint_of_four_ranks_is_loaded_by_four_and_by_two(size, tmp_path, ranks):
    expected = ranks.run(save_run, 4, str(tmp_path), 5)[0]
    for parameters, committed, step in ranks.run(load_run, size, str(tmp_path), 5):
        assert (committed, step) == (5, 8)
        if size == 4:
            for found, right in zip(parameters, expected):
                assert np.array_equal(found, right)


def half_a_job(rank, size, directory):
    """Two ranks go on with four ranks' batches: as four would, to rounding."""
    model, parameters, operator = loaded(directory)

    def two_batches(step, rank):
        return torch.cat([batch_of(step, 2 * rank), batch_of(step, 2 * rank + 1)])

    train(model, parameters, operator, 3, begin=5, batch=two_batches)
    return whole(model)


def test_on_another_number_of_ranks_the_same_training_goes_on(tmp_path, ranks):
    expected = ranks.run(save_run, 4, str(tmp_path), 5)[0]
    for parameters in ranks.run(half_a_job, 2, str(tmp_path)):
        for found, right in zip(parameters, expected):
            assert np.linalg.norm(found - right) <= 1e-12 * max(1, np.linalg.norm(right))


# ---- other ways to shard ----


def hybrid_run(rank, size, steps):
    """Two copies of the model, each in two parts."""
    model = network()
    mesh = DeviceMesh("cpu", [[0, 1], [2, 3]], mesh_dim_names=("copies", "parts"))
    for layer in (model.first, model.second):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh, ignored_params={model.scale})
    parameters = ShardedParameters(model.named_parameters())
    operator = operator_of(parameters)
    train(model, parameters, operator, steps)
    found = dist.get_world_size(parameters.process_group), parameters.length
    return whole(model), operator.last_step.coefficients.tolist(), found


def test_copies_of_a_sharded_model_train_as_one_process_does(ranks):
    answers = ranks.run(hybrid_run, 4, 20)
    expected = one_process_run(4, 20)
    for parameters, coefficients, (in_group, length) in answers:
        assert in_group == 2 and coefficients == answers[0][1]
        assert length < sum(p.numel() for p in network().parameters() if p.requires_grad)
        for found, right in zip(parameters, expected):
            assert np.linalg.norm(found - right) <= 1e-12 * max(1, np.linalg.norm(right))


def tensor_parallel_run(rank, size, steps):
    model = network(width=8)  # torch wants equal parts here.
    mesh = DeviceMesh.from_group(dist.group.WORLD, "cpu")
    plan = {"first": ColwiseParallel(), "second": RowwiseParallel()}
    parallelize_module(model, mesh, plan)
    # All ranks have the same batch: nothing is left to average.
    parameters = ShardedParameters(model.named_parameters(), average=False)
    operator = operator_of(parameters)
    train(model, parameters, operator, steps, batch=lambda step, rank: batch_of(step, 0))
    return whole(model), operator.last_step.coefficients.tolist(), parameters.replicated


@pytest.mark.parametrize("size", [2, 4])
def test_tensor_parallel_layers_train_as_one_process_does(size, ranks):
    expected = one_process_run(1, 20, width=8)
    answers = ranks.run(tensor_parallel_run, size, 20)
    for parameters, coefficients, replicated in answers:
        assert coefficients == answers[0][1]
        assert len(replicated) == 3  # The second bias, the scale, what no loss needs.
        for found, right in zip(parameters, expected):
            assert np.linalg.norm(found - right) <= 1e-12 * max(1, np.linalg.norm(right))


def used_as_whole(rank, size):
    one = FullyShardedDataParallel(torch.nn.Linear(2, 2), device_id=torch.device("cpu"))
    errors = []
    for model in (sharded_network(False), one):
        try:
            ConflictFree(model, PseudoMomentumOperator(M, server=""))
        except TypeError as error:
            errors.append(str(error))
    return errors


def test_a_sharded_model_is_not_taken_for_a_whole_one(ranks):
    for two, one in ranks.run(used_as_whole, 2):
        assert "scale is a DTensor" in two and "in FullyShardedDataParallel" in one
        assert "ShardedParameters" in two and "ShardedParameters" in one


def test_what_is_no_sharded_model_is_refused():
    with pytest.raises(ValueError, match="one mesh, one dimension"):
        ShardedParameters(network().named_parameters())
