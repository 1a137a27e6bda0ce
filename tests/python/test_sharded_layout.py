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


def layouts_apart(rank, size, spoil):
    """Something is wrong on rank 1 alone: the error, and whether the next step has the bits
    of an operator that was never asked."""
    operator, twin = (make("pseudo", group=dist.group.WORLD) for _ in range(2))
    for one in (operator, twin):
        one.calculate_gradient(torch.ones(M, 4, dtype=torch.float64) + rank)
    old = (("first", (3,)), ("second", (1,)))
    error = caught(lambda: operator.update_layout(*(spoil if rank == 1 else (old, old[::-1]))))
    grads = torch.eye(M, 4, dtype=torch.float64) + rank
    same = torch.equal(operator.calculate_gradient(grads), twin.calculate_gradient(grads))
    return described(error), same


@pytest.mark.parametrize(
    "spoil, text",
    [
        (((), ()), "previous = 0 elements"),
        (([("first", (3,))], [("first", (3,))]), "previous = 3 elements"),
        (([("first", (-3,))], [("first", (4,))]), r"old[0].shape = (-3,)"),
        (("first", "first"), "old must be a sequence"),
        (([("first", (4,))], [("first", (2, 2))]), "layout.segments[0].shape"),
    ],
)
def test_a_layout_that_is_wrong_on_one_rank_is_refused_on_all(spoil, text, ranks):
    for error, same in ranks.run(layouts_apart, 3, spoil):
        assert text in error["text"] and error["text"].startswith("rank 1: "), error
        assert same


def stages(rank, size):
    """Each rank has parameters of its own: pipeline stages."""
    operator = make("pseudo", group=dist.group.WORLD)
    mine = tuple((f"stage{rank}.{name}", (2 + rank,)) for name in ("weight", "bias"))
    left = mine[:1] if rank != 2 else ()
    updates = []
    for step in range(6):
        generator = torch.Generator().manual_seed(step)
        # Of stages 0, 1, 2, in both halves; the last one is frozen as a whole.
        halves = torch.randn(2, M, 9, generator=generator, dtype=torch.float64)
        own = [half[:, (0, 2, 5)[rank] : (2, 5, 9)[rank]] for half in halves]
        if step == 3:
            operator.update_layout(mine, left)
        if step >= 3:
            own = own[: len(left)]
        grads = torch.cat(own, dim=1) if own else torch.empty(M, 0, dtype=torch.float64)
        updates.append(operator.calculate_gradient(grads).numpy())
    return updates


def test_ranks_may_have_parameters_that_the_others_have_not(ranks):
    whole = make("pseudo")
    old = tuple((f"stage{r}.{n}", (2 + r,)) for r in range(3) for n in ("weight", "bias"))
    new = (old[0], old[2])
    of_ranks = ranks.run(stages, 3)
    for step in range(6):
        generator = torch.Generator().manual_seed(step)
        halves = torch.randn(2, M, 9, generator=generator, dtype=torch.float64)
        parts = [half[:, a:b] for a, b in ((0, 2), (2, 5), (5, 9)) for half in halves]
        if step == 3:
            whole.update_layout(old, new)
        if step >= 3:
            parts = [parts[0], parts[2]]
        expected = whole.calculate_gradient(torch.cat(parts, dim=1)).numpy()
        assert_close(np.concatenate([updates[step] for updates in of_ranks]), expected)


def replicated_move(rank, size, forget):
    """`shared` comes first, later last. The updates, or the error and whether the operator
    goes on as one that was not asked."""
    shared, own = ("shared", (3,)), (f"own{rank}", (4 + rank,))
    operator, twin = (make("pseudo", group=dist.group.WORLD, replicated=[(0, 3)]) for _ in range(2))
    updates = []
    for step in range(4):
        grads = torch.randn(M, 12, generator=torch.Generator().manual_seed(step)).double()
        parts = [grads[:, :3], grads[:, 3 + 4 * rank : 7 + 5 * rank]]
        if step == 2:
            where = None if rank == forget else [slice(4 + rank, 7 + rank)]
            move = (shared, own), (own, shared)
            error = caught(lambda move=move, where=where: operator.update_layout(
                *move, replicated=where))  # fmt: skip
            if error is not None:
                grads = torch.cat(parts, dim=1)
                same = operator.calculate_gradient(grads), twin.calculate_gradient(grads)
                return described(error), torch.equal(*same)
        update = operator.calculate_gradient(torch.cat(parts[:: 1 if step < 2 else -1], dim=1))
        if step < 2:
            twin.calculate_gradient(torch.cat(parts, dim=1))
            updates.append((update[:3].numpy(), update[3:].numpy()))
        else:
            updates.append((update[-3:].numpy(), update[:-3].numpy()))
    return updates


def test_what_is_replicated_may_move(ranks):
    whole = make("pseudo")
    one, other = ranks.run(replicated_move, 2, None)
    for step in range(4):
        grads = torch.randn(M, 12, generator=torch.Generator().manual_seed(step)).double()
        expected = whole.calculate_gradient(grads).numpy()
        assert np.array_equal(one[step][0], other[step][0])
        assert_close(np.concatenate([one[step][0], one[step][1], other[step][1]]), expected)


@pytest.mark.parametrize("forget", [0, 1])
def test_where_replicated_stretches_lie_has_to_be_said_anew(forget, ranks):
    for error, same in ranks.run(replicated_move, 2, forget):
        assert error["field"] == "replicated" and error["metadata"]["rank"] == str(forget)
        assert same


def unlike_states_move(rank, size):
    operator = make("pseudo", group=dist.group.WORLD, like=torch.empty(4, dtype=torch.float64))
    operator.calculate_gradient(torch.eye(M, 4, dtype=torch.float64))
    state = operator.state_dict()
    operator.calculate_gradient(torch.ones(M, 4, dtype=torch.float64))
    if rank == 1:
        operator.load_state_dict(state)
    layout = (("all", (4,)),)
    return described(caught(lambda: operator.update_layout(layout, layout)))


def test_ranks_that_have_loaded_different_states_are_told_before_anything_moves(ranks):
    for error in ranks.run(unlike_states_move, 2):
        assert error["field"] == "committed_step" and error["metadata"]["rank"] == "1"
