"""conflictfree's documentation, with the package's name exchanged."""

import pytest
import torch

NETWORK = [2, 20, 20, 1]


def network(seed=0):
    torch.manual_seed(seed)
    layers = []
    for i, o in zip(NETWORK, NETWORK[1:]):
        layers += [torch.nn.Linear(i, o), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


def problem(net):
    """Three losses over a batch, and batches."""
    loss_fns = [
        lambda x: (net(x) - x[:, :1] * x[:, 1:]).square().mean(),
        lambda x: (net(x * torch.tensor([1.0, 0.0]))).square().mean(),
        lambda x: (net(-x) - net(x)).square().mean(),
    ]
    generator = torch.Generator().manual_seed(1)
    return loss_fns, [torch.rand(32, 2, generator=generator) for _ in range(200)]


def total(loss_fns, batch):
    with torch.no_grad():
        return float(sum(f(batch) for f in loss_fns))


@pytest.mark.parametrize("update", ["apply", "update_gradient"])
def test_the_reference_pages_loop_trains(update, where):
    from concord.momentum_operator import PseudoMomentumOperator
    from concord.utils import apply_gradient_vector, get_gradient_vector

    net = network()
    loss_fns, dataset = problem(net)
    before = total(loss_fns, dataset[0])
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    operator = PseudoMomentumOperator(num_vector=len(loss_fns), **where)
    for input_i in dataset:
        grads = []
        for loss_fn in loss_fns:
            optimizer.zero_grad()
            loss_i = loss_fn(input_i)
            loss_i.backward()
            grads.append(get_gradient_vector(net))
        if update == "apply":
            g_config = operator.calculate_gradient(grads)
            apply_gradient_vector(net, g_config)
        else:
            operator.update_gradient(net, grads)
        optimizer.step()
    operator.close()
    assert total(loss_fns, dataset[0]) < 0.5 * before


def test_one_loss_per_step_trains(where):
    from concord.momentum_operator import PseudoMomentumOperator
    from concord.utils import apply_gradient_vector, get_gradient_vector

    net = network()
    loss_fns, dataset = problem(net)
    before = total(loss_fns, dataset[0])
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with PseudoMomentumOperator(num_vectors=len(loss_fns), **where) as operator:
        for global_step, input_i in enumerate(dataset):
            optimizer.zero_grad()
            index = global_step % len(loss_fns)
            loss = loss_fns[index](input_i)
            loss.backward()
            g_config = operator.calculate_gradient(index, get_gradient_vector(net))
            apply_gradient_vector(net, g_config)
            optimizer.step()
    assert total(loss_fns, dataset[0]) < 0.5 * before


def test_selectors_and_recorder_as_documented(where):
    from concord.loss_recorder import LatestLossRecorder
    from concord.momentum_operator import PseudoMomentumOperator
    from concord.utils import OrderedSliceSelector, get_gradient_vector

    net = network()
    loss_fns, dataset = problem(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    selector = OrderedSliceSelector()
    recorder = LatestLossRecorder(len(loss_fns))
    before = total(loss_fns, dataset[0])
    with PseudoMomentumOperator(len(loss_fns), loss_recorder=recorder, **where) as operator:
        for input_i in dataset:
            indexes, chosen = selector.select(2, loss_fns)
            grads, losses = [], []
            for loss_fn in chosen:
                optimizer.zero_grad()
                loss_i = loss_fn(input_i)
                losses.append(loss_i)
                loss_i.backward()
                grads.append(get_gradient_vector(net))
            operator.update_gradient(net, indexes, grads, losses)
            optimizer.step()
    assert all(loss > 0 for loss in recorder.current_losses)
    assert total(loss_fns, dataset[0]) < 0.5 * before


@pytest.mark.parametrize("form", ["operator", "update_gradient", "function", "double"])
def test_config_without_momentum_trains_with_adam(form):
    from concord.grad_operator import ConFIG_update, ConFIG_update_double, ConFIGOperator
    from concord.utils import apply_gradient_vector, get_gradient_vector

    net = network()
    loss_fns, dataset = problem(net)
    if form == "double":
        loss_fns = loss_fns[:2]
    before = total(loss_fns, dataset[0])
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    operator = ConFIGOperator()
    for input_i in dataset:
        grads = []
        for loss_fn in loss_fns:
            optimizer.zero_grad()
            loss_i = loss_fn(input_i)
            loss_i.backward()
            grads.append(get_gradient_vector(net))
        if form == "update_gradient":
            operator.update_gradient(net, grads)
        elif form == "operator":
            apply_gradient_vector(net, operator.calculate_gradient(grads))
        elif form == "function":
            apply_gradient_vector(net, ConFIG_update(grads))
        else:
            apply_gradient_vector(net, ConFIG_update_double(*grads))
        optimizer.step()
    assert total(loss_fns, dataset[0]) < 0.5 * before


def test_every_name_of_the_served_modules_exists():
    import conflictfree.utils

    import concord
    import concord.utils

    for name in ("get_para_vector", "get_gradient_vector", "apply_gradient_vector",
                 "apply_gradient_vector_para_based", "apply_para_vector", "get_cos_similarity",
                 "unit_vector", "transfer_coef_double", "estimate_conflict", "has_zero",
                 "OrderedSliceSelector", "RandomSliceSelector"):  # fmt: skip
        assert hasattr(conflictfree.utils, name) and hasattr(concord.utils, name)
    for name in concord.__all__:
        assert hasattr(concord, name)
