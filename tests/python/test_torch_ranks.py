"""Training on several ranks (processes, gloo): what all of them get, and how it is refused.

Reference: the same network in one process, where the batch is whole, without any of
concord.torch: a forward and a backward pass for each loss, and the operator.
"""

import os
import signal
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from concord import Session
from concord.errors import InvalidArgumentError, LayoutMismatch
from concord.momentum_operator import PseudoMomentumOperator
from concord.torch import (
    ConflictFree,
    ReplicasDiverged,
    SharedServer,
    per_loss_gradients,
    verify_replicas,
)

STEPS = 50
RATE = 1e-2


class Network(torch.nn.Module):
    """Three outputs; `unused` belongs to none of them, `frozen` is used by all."""

    def __init__(self, segment=None):
        super().__init__()
        self.trunk = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh())
        self.frozen = torch.nn.Linear(8, 8)
        self.frozen.requires_grad_(False)
        self.heads = torch.nn.ModuleList([torch.nn.Linear(8, 1) for _ in range(3)])
        self.unused = torch.nn.Linear(2, 2)
        self.segment = segment or (lambda trunk, x: trunk(x))

    def forward(self, x):
        features = torch.tanh(self.frozen(self.segment(self.trunk, x)))
        return torch.cat([head(features) for head in self.heads], dim=1)


def network(dtype=torch.float64, **options):
    torch.manual_seed(3)
    return Network(**options).to(dtype)


def points(step, dtype=torch.float64, count=16):
    generator = torch.Generator().manual_seed(100 + step)
    return torch.randn(count, 3, generator=generator, dtype=torch.float64).to(dtype)


def losses_of(net, x):
    out = net(x)
    return [
        (out[:, 0] - x[:, 0]).square().mean(),
        (out[:, 1] - x[:, 1].sin()).square().mean(),
        (out[:, 2] + x[:, 0]).square().mean(),
    ]


def flat(net):
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()]).clone()


def alone(steps=range(STEPS), dtype=torch.float64, present=lambda step, j: True):
    """The reference's parameters."""
    net = network(dtype)
    operator = PseudoMomentumOperator(3)
    trainable = [p for p in net.parameters() if p.requires_grad]
    for step in steps:
        rows, indexes = [], [j for j in range(3) if present(step, j)]
        for j in indexes:
            loss = losses_of(net, points(step, dtype))[j]
            found = torch.autograd.grad(loss, trainable, materialize_grads=True)
            rows.append(torch.cat([part.reshape(-1) for part in found]))
        update = operator.calculate_gradient(indexes, rows)
        with torch.no_grad():
            offset = 0
            for p in trainable:
                p -= RATE * update[offset : offset + p.numel()].view(p.shape)
                offset += p.numel()
    return flat(net)


def assert_equal_bits(results):
    for rank, one in enumerate(results[1:], 1):
        assert torch.equal(one, results[0]), f"rank {rank} differs from rank 0"


# How all ranks come to an update.


def make_operator(way, rank, size, server, name):
    if way == "embedded":
        return PseudoMomentumOperator(3), {}
    if way == "operator on a server":
        return PseudoMomentumOperator(3, server=server), {}
    options = {"max_ranks_per_vector": size} if way == "server averages" else {}
    session = Session(server, name, rank, size, 3, **options)
    return session, {"average": "server"} if way == "server averages" else {}


def train(rank, size, way, server, name, wrapped=True):
    net = network()
    operator, options = make_operator(way, rank, size, server, name)
    model = DistributedDataParallel(net) if wrapped else net
    cf = ConflictFree(model, operator, verify=1, **options)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for step in range(STEPS):
        cf.step(losses_of(model, points(step).chunk(size)[rank]))
        optimizer.step()
    operator.close()
    return flat(net)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("way", ["embedded", "session", "server averages", "operator on a server"])
def test_all_ranks_have_the_same_bits_and_train_as_one_process_does(ranks, server, way, size):
    found = ranks.run(train, size, way, server.unix, f"ddp-{way.replace(' ', '-')}-{size}")
    assert_equal_bits(found)
    torch.testing.assert_close(found[0], alone(), rtol=0, atol=1e-10)


def test_who_combines_makes_no_difference_in_any_bit(ranks, server):
    ways = ["embedded", "session", "operator on a server"]
    assert_equal_bits([ranks.run(train, 2, w, server.tcp, "same-" + w[:4])[1] for w in ways])


def test_a_module_that_is_not_wrapped_trains_the_same(ranks):
    found = ranks.run(train, 2, "embedded", None, None, False)
    assert_equal_bits([*found, *ranks.run(train, 2, "embedded", None, None)])


# What goes wrong without, and how it is found.


def naive(rank, size):
    """One forward pass through DDP, and a backward pass for each loss."""
    net = network()
    model = DistributedDataParallel(net, find_unused_parameters=True)
    operator = PseudoMomentumOperator(2)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    verify_replicas(model)
    for step in range(5):
        losses = losses_of(model, points(step).chunk(size)[rank])[:2]
        rows = []
        for j, loss in enumerate(losses):
            optimizer.zero_grad()
            loss.backward(retain_graph=j == 0)
            rows.append(
                torch.cat(
                    [
                        (torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1)
                        for p in net.parameters()
                        if p.requires_grad
                    ]
                )
            )
        update = operator.calculate_gradient(rows)
        with torch.no_grad():
            offset = 0
            for p in net.parameters():
                if p.requires_grad:
                    p -= RATE * update[offset : offset + p.numel()].view(p.shape)
                    offset += p.numel()
    drifted = flat(net)
    with pytest.raises(ReplicasDiverged, match=r"rank 1 differ.*trunk\.0\.weight on") as found:
        verify_replicas(model)
    assert found.value.metadata == {"ranks": "1", "segment": "trunk.0.weight"}
    # The same before the next step of a job that looks.
    cf = ConflictFree(net, PseudoMomentumOperator(3), verify=1)
    with pytest.raises(ReplicasDiverged, match="rank 1"):
        cf.step(losses_of(net, points(9)))
    return drifted


def test_two_backward_passes_under_ddp_drift_apart_and_verify_finds_it(ranks):
    one, other = ranks.run(naive, 2)
    assert not torch.equal(one, other)


def drifting(rank, size, every, at):
    net = network()
    cf = ConflictFree(net, PseudoMomentumOperator(3), verify=every)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for step in range(8):
        if step == at and rank == 2:
            with torch.no_grad():
                net.heads[1].bias += 1e-15
        try:
            cf.step(losses_of(net, points(step).chunk(size)[rank]))
        except ReplicasDiverged as error:
            return step, error.metadata
        optimizer.step()
    return None


@pytest.mark.parametrize("every, at, found", [(1, 4, 4), (3, 4, 6), (0, 4, None)])
def test_a_last_bit_on_one_rank_of_three_is_found_at_the_next_look(ranks, every, at, found):
    wanted = None
    if found is not None:
        wanted = (found, {"ranks": "2", "segment": "heads.1.bias"})
    assert ranks.run(drifting, 3, every, at) == [wanted] * 3


def exchanged(rank, size):
    names = ["first", "second", "third"]
    if rank == 1:
        names[1:] = names[:0:-1]
    net = torch.nn.ModuleDict({name: torch.nn.Linear(2, 2) for name in names})
    with pytest.raises(LayoutMismatch) as found:
        ConflictFree(net, PseudoMomentumOperator(2))
    return str(found.value), found.value.metadata


def test_ranks_with_exchanged_parameters_are_refused_with_the_first_that_differs(ranks):
    for message, metadata in ranks.run(exchanged, 3):
        assert metadata["ranks"] == "1"
        assert metadata["segment"] == "segment 2 is third.weight [2, 2], not second.weight [2, 2]"
        assert metadata["segment"] in message


# NaN and Inf.


def overflowing(rank, size, bad, scaled, way="embedded", server=None, name=None):
    """Ten good batches, with bad ones between: (parameters, skipped, scale)."""
    net = network(torch.float32)
    operator, _ = make_operator(way, rank, size, server, name)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10) if scaled else None
    cf = ConflictFree(net, operator, on_nonfinite="skip", scaler=scaler, verify=1)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    skipped, good, step = [], 0, 0
    while good < 10:
        step += 1
        overflow = step in bad
        x = points(good, torch.float32, 12).chunk(size)[rank]
        losses = losses_of(net, x)
        if overflow and rank == 1:
            losses[2] = losses[2] * 1e38 * 1e38
        result = cf.step(losses)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        skipped.append(result.skipped_nonfinite)
        good += not overflow
    operator.close()
    return flat(net), skipped, scaler and scaler.get_scale()


@pytest.mark.parametrize("way", ["embedded", "session", "server averages"])
@pytest.mark.parametrize("scaled", [True, False])
def test_an_overflow_on_one_rank_is_skipped_by_all_as_if_it_had_not_been(
    ranks, server, scaled, way
):
    name = f"overflow-{way.replace(' ', '-')}-{scaled:d}"
    found = ranks.run(overflowing, 3, (1, 7, 8), scaled, way, server.unix, name)
    undisturbed = ranks.run(overflowing, 3, (), scaled, way, server.unix, name + "-not")
    assert_equal_bits([parameters for parameters, _, _ in [*found, *undisturbed]])
    wanted = [((1, 2),) if step in (1, 7, 8) else () for step in range(1, 14)]
    assert [skipped for _, skipped, _ in found] == [wanted] * 3
    if scaled:
        assert [scale for _, _, scale in found] == [2.0**7] * 3


def raising(rank, size):
    net = network()
    operator = PseudoMomentumOperator(3)
    cf = ConflictFree(net, operator)
    cf.step(losses_of(net, points(0).chunk(size)[rank]))
    before = [p.grad.clone() for p in net.parameters() if p.requires_grad]
    losses = losses_of(net, points(1).chunk(size)[rank])
    if rank == 1:
        losses[0] = losses[0] * torch.nan
    with pytest.raises(InvalidArgumentError, match=r"NON_FINITE.*rank 1: loss 0") as found:
        cf.step(losses)
    assert found.value.metadata["ranks"] == "1"
    for one, other in zip(before, (p.grad for p in net.parameters() if p.requires_grad)):
        assert torch.equal(one, other)
    assert operator.last_step.step == 1
    return cf.step(losses_of(net, points(2).chunk(size)[rank])).update


def undisturbed(rank, size):
    net = network()
    cf = ConflictFree(net, PseudoMomentumOperator(3))
    cf.step(losses_of(net, points(0).chunk(size)[rank]))
    return cf.step(losses_of(net, points(2).chunk(size)[rank])).update


def test_nan_on_one_rank_raises_on_all_and_changes_nothing(ranks):
    assert_equal_bits([*ranks.run(raising, 2), *ranks.run(undisturbed, 2)])


# Losses that batches, or ranks, do not have.


def every_third(rank, size):
    net = network()
    cf = ConflictFree(net, PseudoMomentumOperator(3))
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for step in range(12):
        losses = losses_of(net, points(step).chunk(size)[rank])
        if step % 3 == 2:
            losses[1] = None
        result = cf.step(losses)
        assert result.indexes == ([0, 2] if step % 3 == 2 else [0, 1, 2])
        optimizer.step()
    return flat(net)


def test_a_loss_missing_from_every_third_batch_keeps_its_momentum(ranks):
    found = ranks.run(every_third, 2)
    assert_equal_bits(found)
    wanted = alone(range(12), present=lambda step, j: step % 3 != 2 or j != 1)
    torch.testing.assert_close(found[0], wanted, rtol=0, atol=1e-12)


def some_ranks_only(rank, size):
    net = network()
    x = points(0).chunk(size)[rank]
    losses = losses_of(net, x)
    weights = [1.0, 1.0, 1.0 + rank]
    if rank != 1:
        losses[1] = None
    vectors = per_loss_gradients(losses, net, weights=weights).vectors
    return torch.stack(vectors)


def test_a_loss_that_some_ranks_bring_is_averaged_over_those_by_weight(ranks):
    found = ranks.run(some_ranks_only, 3)
    assert_equal_bits(found)
    net = network()
    own = [
        torch.stack(per_loss_gradients(losses_of(net, part), net, None).vectors)
        for part in points(0).chunk(3)
    ]
    wanted = torch.stack(
        [
            (own[0][0] + own[1][0] + own[2][0]) / 3,
            own[1][1],
            (own[0][2] + 2 * own[1][2] + 3 * own[2][2]) / 6,
        ]
    )
    torch.testing.assert_close(found[0], wanted, rtol=1e-13, atol=1e-15)


# Heads, micro-batches, checkpoints.


def with_heads(rank, size, micro_batches):
    net = network()
    model = DistributedDataParallel(net, find_unused_parameters=True)
    cf = ConflictFree(model, PseudoMomentumOperator(3), shared=net.trunk)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for step in range(10):
        *parts, last = points(step).chunk(size)[rank].chunk(micro_batches)
        for part in parts:
            cf.accumulate(losses_of(model, part))
        cf.step(losses_of(model, last))
        assert all(p.grad is None for p in net.unused.parameters())
        optimizer.step()
    return flat(net)


def heads_alone():
    net = network()
    operator = PseudoMomentumOperator(3)
    trunk = list(net.trunk.parameters())
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for step in range(10):
        optimizer.zero_grad()
        losses = losses_of(net, points(step))
        rows = [
            torch.cat([g.reshape(-1) for g in torch.autograd.grad(x, trunk, retain_graph=True)])
            for x in losses
        ]
        sum(losses).backward()
        offset, update = 0, operator.calculate_gradient(rows)
        for p in trunk:
            p.grad = update[offset : offset + p.numel()].view(p.shape)
            offset += p.numel()
        optimizer.step()
    return flat(net)


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_heads_and_micro_batches_train_as_one_process_with_whole_batches(ranks, micro_batches):
    found = ranks.run(with_heads, 2, micro_batches)
    assert_equal_bits([*found, *ranks.run(with_heads, 2, micro_batches)])
    torch.testing.assert_close(found[0], heads_alone(), rtol=0, atol=1e-10)


def checkpointed(rank, size):
    def segment(trunk, x):
        return checkpoint(trunk, x.requires_grad_(), use_reentrant=True)

    net = network(segment=segment)
    model = DistributedDataParallel(net)
    cf = ConflictFree(model, PseudoMomentumOperator(3), use_backward=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for step in range(10):
        x = points(step).chunk(size)[rank].clone()
        with model.no_sync():
            losses = losses_of(model, x)
        cf.step(losses)
        optimizer.step()
    with pytest.raises(RuntimeError, match=r"inside model\.no_sync\(\)"):
        cf.step(losses_of(model, points(0)))
    return flat(net)


def test_reentrant_checkpoints_under_ddp(ranks):
    found = ranks.run(checkpointed, 2)
    assert_equal_bits(found)
    torch.testing.assert_close(found[0], alone(range(10)), rtol=0, atol=1e-10)


def static_graph(rank, size):
    model = DistributedDataParallel(network(), static_graph=True)
    with pytest.raises(ValueError, match="static_graph"):
        ConflictFree(model, PseudoMomentumOperator(3))


def test_ddp_with_a_static_graph_is_refused(ranks):
    ranks.run(static_graph, 2)


# One server for all ranks.


# What tells these servers from others of the machine.
MARK = f"--idle-ttl={os.getpid()}s"


def servers(mark):
    """Process ids of the servers with that flag."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if command[0].endswith(b"concord-server") and mark.encode() in command:
                found.add(int(entry.name))
    return found


def sharing(rank, size, mark):
    with SharedServer(options=["--threads=1", "--device=cpu", mark]) as server:
        assert (server.rank, server.num_workers) == (rank, size)
        assert server.started == (rank == 0)
        net = network()
        session = server.session("shared", num_vectors=3)
        cf = ConflictFree(net, session)
        optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
        for step in range(10):
            part = points(step).chunk(size)[rank]  # Not as many points on each.
            cf.step(losses_of(net, part), weights=float(len(part)))
            optimizer.step()
        session.close()
        running = servers(mark)
        dist.barrier()
    return server.address, running, flat(net)


def test_ranks_of_a_machine_share_one_server_that_ends_with_them(ranks):
    found = ranks.run(sharing, 3, MARK)
    addresses, running, parameters = zip(*found)
    assert len(set(addresses)) == 1
    assert [len(some) for some in running] == [1, 1, 1]
    assert not servers(MARK)
    assert not Path(addresses[0].removeprefix("unix:")).parent.exists()
    assert_equal_bits(parameters)
    torch.testing.assert_close(parameters[0], alone(range(10)), rtol=0, atol=1e-10)


def found_by_address(rank, size, address):
    with SharedServer(address=address if rank == 0 else None, per="job") as server:
        return server.address, server.started, server.rank, server.num_workers


def test_a_server_that_rank_0_names_is_everybodys(ranks, server):
    found = ranks.run(found_by_address, 2, server.tcp)
    assert found == [(server.tcp, False, 0, 2), (server.tcp, False, 1, 2)]


def refused_flag(rank, size):
    with pytest.raises(RuntimeError, match="concord-server ended with status"):
        SharedServer(options=["--threads=0"])


def test_a_server_that_does_not_start_is_told_to_all_ranks(ranks):
    ranks.run(refused_flag, 2)


def start_and_stay(pipe, mark):
    server = SharedServer(options=["--threads=1", "--device=cpu", mark])
    pipe.send(server.address)
    signal.pause()


def test_the_server_of_a_rank_that_is_killed_ends_with_it():
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=start_and_stay, args=(theirs, MARK))
    process.start()
    assert ours.poll(60)
    ours.recv()
    (server,) = servers(MARK)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    gone = time.monotonic() + 30
    while server in servers(MARK) and time.monotonic() < gone:
        time.sleep(0.05)
    assert server not in servers(MARK)
