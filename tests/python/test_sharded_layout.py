"""Layouts of parameters that are sharded over ranks: freezing, unfreezing, another order."""

import numpy as np
import pytest
import torch
import torch.distributed as dist

from concord.grad_operator import ConFIGOperator
from test_methods import M
from test_sharded import KINDS, assert_close, caught, described, found, make

WHOLE = (("first", (90,)), ("second", (7, 11)), ("third", (90,)))
# The ranks' shares of each; rank 2 has nothing at all.
SHARES = {"first": (40, 50, 0), "second": (77, 0, 0), "third": (30, 60, 0)}
LEFT = ("third", "second")  # In another order, too.


def sharded_freezing(rank, size, kind):
    def local(names):
        return tuple((name, (SHARES[name][rank],)) for name in names)

    def mine(grads, names):
        widths = [sum(SHARES[name]) for name in names]
        parts = []
        for name, part in zip(names, grads.split(widths, dim=1)):
            begin = sum(SHARES[name][:rank])
            parts.append(part[:, begin : begin + SHARES[name][rank]])
        return torch.cat(parts, dim=1)

    names = tuple(name for name, _ in WHOLE)
    operator = make(kind, group=dist.group.WORLD)
    results = []
    for step, grads in enumerate(freezing_gradients(kind)):
        if step == 20:
            operator.update_layout(local(names), local(LEFT))
        if step == 40:
            operator.update_layout(local(LEFT), local(names))
        used = LEFT if 20 <= step < 40 else names
        update = operator.calculate_gradient(mine(grads, used))
        parts = update.split([SHARES[name][rank] for name in used])
        results.append(({n: p.numpy() for n, p in zip(used, parts)}, found(operator)))
    return results


def freezing_gradients(kind):
    generator = torch.Generator().manual_seed(17)
    for step in range(60):
        count = sum(sum(SHARES[name]) for name in (LEFT if 20 <= step < 40 else SHARES))
        yield torch.randn(M, count, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kind", [*KINDS, "none"])
def test_sharded_parameters_are_frozen_at_20_and_unfrozen_at_40(kind, ranks):
    shapes = dict(WHOLE)
    left = tuple((name, shapes[name]) for name in LEFT)
    whole = make(kind) if kind in KINDS else None
    of_ranks = ranks.run(sharded_freezing, 3, kind)
    for step, grads in enumerate(freezing_gradients(kind)):
        if whole is None:
            expected = ConFIGOperator().calculate_gradient(grads)
        else:
            if step == 20:
                whole.update_layout(WHOLE, left)
            if step == 40:
                whole.update_layout(left, WHOLE)
            expected = whole.calculate_gradient(grads)
        used = LEFT if 20 <= step < 40 else tuple(shapes)
        update = np.concatenate([rank[step][0][name] for name in used for rank in of_ranks])
        assert_close(update, expected.numpy())
        assert all(rank[step][1] == of_ranks[0][step][1] for rank in of_ranks)


def layouts_apart(rank, size):
    operator, twin = (make("pseudo", group=dist.group.WORLD) for _ in range(2))
    mine = torch.ones(M, 4, dtype=torch.float64)
    for one in (operator, twin):
        one.calculate_gradient(mine)
    old = (("first", (3,)), ("second", (1,)))
    other_order = caught(lambda: operator.update_layout(old, old if rank else old[::-1]))
    wrong = (("first", (3,)),) if rank == 1 else old
    wrong_length = caught(lambda: operator.update_layout(wrong, wrong))
    grads = torch.eye(M, 4, dtype=torch.float64) + rank
    same = torch.equal(operator.calculate_gradient(grads), twin.calculate_gradient(grads))
    return described(other_order), described(wrong_length), same


def test_layouts_that_differ_between_ranks_are_refused_everywhere(ranks):
    for other_order, wrong_length, same in ranks.run(layouts_apart, 2):
        assert other_order["field"] == "layout" and other_order["metadata"]["rank"] == "1"
        assert wrong_length["field"] == "previous" and wrong_length["metadata"]["rank"] == "1"
        assert same
