"""Parameters sharded over ranks, in real processes, against the same operators over
whole vectors in this one."""

import os
import pickle
import signal

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

from concord.errors import EpochChanged, FailedPreconditionError, StepAhead
from concord.grad_operator import ConFIGOperator, GradientOperator
from concord.loss_recorder import LatestLossRecorder, LossRecorder, MomentumLossRecorder
from concord.methods import GradDropOperator
from concord.momentum_operator import PseudoMomentumOperator, SeparateMomentumOperator
from concord.torch import ShardedGradientOperator
from concord.weight_model import DynamicWeightAverage
from rank_processes import Ranks
from test_methods import ALL, M

N = 257
# Where the vector is cut, by the number of ranks: unequal parts, one of them empty.
CUTS = {2: [0, 100, N], 3: [0, 3, 3, N], 4: [0, 37, 37, 210, N]}
GRAM = [name for name in ALL if name not in ("GradDrop", "TrimmedMean")]
KINDS = {"pseudo": PseudoMomentumOperator, "separate": SeparateMomentumOperator}


def steps(kind, seed=0, count=8, n=N, dtype=torch.float64):
    """Random losses of each step and their gradients."""
    generator = torch.Generator().manual_seed(seed)
    for step in range(count):
        k = int(torch.randint(1, M + 1, (), generator=generator))
        k = M if step == 2 or kind == "none" else k
        indexes = torch.randperm(M, generator=generator)[:k].tolist()
        grads = torch.randn(k, n, generator=generator, dtype=torch.float64).to(dtype)
        yield (list(range(M)) if kind == "none" else indexes), grads


def make(kind, name="ConFIG", group=None, **options):
    if kind in KINDS:
        return KINDS[kind](
            M, gradient_operator=ALL[name](), server="", process_group=group, **options
        )
    return ShardedGradientOperator(ALL[name](), M, process_group=group, **options)


def calculate(operator, kind, indexes, grads):
    arguments = (grads,) if kind == "none" else (indexes, grads)
    return operator.calculate_gradient(*arguments)


def part_of(grads, cuts=None):
    cuts = cuts or CUTS[dist.get_world_size()]
    rank = dist.get_rank()
    return grads[..., cuts[rank] : cuts[rank + 1]]


def found(operator):
    last = operator.last_step
    return {
        name: getattr(last, name).tolist()
        for name in ("coefficients", "gram", "cosines", "direction_cosines")
    } | {"step": last.step, "length": last.length}


def sharded_run(rank, size, kind, name, seed=0, **options):
    operator = make(kind, name, dist.group.WORLD, **options)
    return [
        (calculate(operator, kind, indexes, part_of(grads)).numpy(), found(operator))
        for indexes, grads in steps(kind, seed)
    ]


def whole_run(kind, name, seed=0):
    operator = ALL[name]() if kind == "none" else make(kind, name)
    return [
        calculate(operator, kind, indexes, grads).numpy() for indexes, grads in steps(kind, seed)
    ]


def assert_close(update, expected, bound=1e-12):
    assert np.linalg.norm(update - expected) <= bound * max(1, np.linalg.norm(expected))


@pytest.mark.parametrize("name", GRAM)
def test_every_gram_method_gives_the_parts_of_the_whole_update(name, ranks):
    for kind, size in (("pseudo", 4), ("separate", 3), ("none", 2)):
        of_ranks = ranks.run(sharded_run, size, kind, name)
        for step, expected in enumerate(whole_run(kind, name)):
            assert_close(np.concatenate([rank[step][0] for rank in of_ranks]), expected)
            # Coefficients and all else that is small: the same bits.
            assert all(rank[step][1] == of_ranks[0][step][1] for rank in of_ranks)


def test_one_rank_alone_has_the_bits_of_an_operator_that_is_not_sharded(ranks):
    for kind in (*KINDS, "none"):
        (alone,) = ranks.run(whole_on_one_rank, 1, kind)
        for update, expected in zip(alone, whole_run(kind, "ConFIG")):
            assert np.array_equal(update, expected)


def whole_on_one_rank(rank, size, kind):
    operator = make(kind, group=dist.group.WORLD)
    return [calculate(operator, kind, indexes, grads).numpy() for indexes, grads in steps(kind)]


# ---- bytes ----


def bytes_handed_over(rank, size, n, recording):
    """Of every collective of three steps."""
    handed, others = [], []
    genuine = dist.all_reduce

    def counting(tensor, *arguments, **options):
        handed.append(tensor.numel() * tensor.element_size())
        return genuine(tensor, *arguments, **options)

    recorder = LatestLossRecorder(M) if recording else None
    operator = PseudoMomentumOperator(
        M, loss_recorder=recorder, server="", process_group=dist.group.WORLD
    )
    patched = {"all_reduce": counting}
    for name in ("all_gather_object", "all_gather", "broadcast", "reduce", "send", "barrier"):
        patched[name] = lambda *_, _name=name, **__: others.append(_name)
    before = {name: getattr(dist, name) for name in patched}
    try:
        for name, function in patched.items():
            setattr(dist, name, function)
        for step in range(3):
            grads = torch.randn(M, n, generator=torch.Generator().manual_seed(step))
            operator.calculate_gradient(grads, [1.0] * M if recording else None)
    finally:
        for name, function in before.items():
            setattr(dist, name, function)
    assert not others
    return handed


@pytest.mark.parametrize("recording", [False, True])
def test_a_step_hands_over_m_m_numbers_and_a_few_whatever_n_is(recording, ranks):
    """The triangle of K, four words with their squares, a count; losses where recorded."""
    predicted = 8 * (M * (M + 1) // 2 + 2 * 4 + 1 + (M if recording else 0))
    for n in (10, 30_000):
        for handed in ranks.run(bytes_handed_over, 2, n, recording):
            assert handed == [predicted] * 3


# ---- refusals ----


def caught(function):
    try:
        function()
    except Exception as error:
        return error
    return None


def described(error):
    fields = ("code", "reason", "field", "value", "accepted", "metadata")
    detail = {name: getattr(error, name, None) for name in fields}
    return {"type": type(error).__name__, "text": str(error), **detail}


def refused_step(rank, size, kind, spoil, of_rank):
    """A step that `spoil` makes wrong on one rank, then one more; the first one's error
    and the bits of the second, and of the same without the first."""
    operator, twin = (make(kind, group=dist.group.WORLD) for _ in range(2))
    sequence = list(steps(kind, seed=5))
    for indexes, grads in sequence[:4]:
        for each in (operator, twin):
            calculate(each, kind, indexes, part_of(grads))
    indexes, grads = sequence[4]
    mine = part_of(grads).clone()
    bad = (indexes, mine)
    if rank == of_rank:
        bad = SPOILS[spoil](indexes, mine)
    error = caught(lambda: calculate(operator, kind, *bad))
    after = [
        calculate(each, kind, indexes, part_of(grads)).numpy()
        for indexes, grads in sequence[5:]
        for each in (operator, twin)
    ]
    return described(error), operator.last_step.step, after


def with_nan(indexes, grads):
    grads[-1, 7] = float("nan")
    return indexes, grads


SPOILS = {
    "NaN": with_nan,
    "too short": lambda indexes, grads: (indexes, grads[:, 1:]),
    "float32": lambda indexes, grads: (indexes, grads.float()),
    "one gradient less": lambda indexes, grads: (indexes, grads[1:]),
    "not numbers": lambda indexes, grads: (indexes, "gradients"),
    "two dimensions": lambda indexes, grads: (indexes, [grads]),
}


@pytest.mark.parametrize("spoil", SPOILS)
@pytest.mark.parametrize("kind", [*KINDS, "none"])
def test_what_one_rank_refuses_all_ranks_raise_and_no_state_moves(spoil, kind, ranks):
    if kind == "none" and spoil == "one gradient less":
        spoil = "too short"
    answers = ranks.run(refused_step, 4, kind, spoil, 2)
    first = answers[0][0]
    for error, step, after in answers:
        assert error == first
        assert error["text"].startswith("rank 2: ")
        assert step == 7
        for update, expected in zip(after[::2], after[1::2]):
            assert np.array_equal(update, expected)
    if spoil == "NaN":
        assert first["type"] == "InvalidArgumentError"
        assert (first["reason"], first["metadata"]["rank"]) == ("NON_FINITE", "2")
    if spoil == "not numbers":
        assert first["type"] == "TypeError"


def first_step_refused(rank, size):
    operator = make("pseudo", group=dist.group.WORLD)
    grads = torch.full((M, 10), float("inf") if rank == 1 else 1.0)
    error = caught(lambda: operator.calculate_gradient(grads))
    # Nothing is left of it: another length and type are as good.
    update = operator.calculate_gradient(torch.eye(M, 20, dtype=torch.float64))
    return described(error)["reason"], update.shape[0], operator.last_step.step


def test_a_first_step_that_is_refused_leaves_nothing(ranks):
    assert ranks.run(first_step_refused, 3) == [("NON_FINITE", 20, 1)] * 3


def several_refuse(rank, size):
    operator = make("pseudo", group=dist.group.WORLD)
    grads = torch.ones(M, 5)
    if rank > 0:
        grads[0, 0] = float("nan")
    return described(caught(lambda: operator.calculate_gradient(grads)))


def test_the_first_rank_that_refuses_is_named_and_all_are_listed(ranks):
    for error in ranks.run(several_refuse, 4):
        assert error["text"].startswith("rank 1: NON_FINITE")
        assert error["metadata"]["ranks"] == "1, 2, 3"


def different_losses(rank, size, what):
    operator = make("pseudo", group=dist.group.WORLD)
    operator.calculate_gradient(torch.eye(M, 6))
    indexes, options = [0, 1], {}
    if what == "indexes" and rank == 1:
        indexes = [0, 2]
    if what == "active":
        options["active"] = [1] if rank == 1 else [0]
    if what == "beta_1" and rank == 1:
        operator.beta_1 = 0.8
    error = caught(lambda: operator.calculate_gradient(indexes, torch.ones(2, 6), **options))
    operator.beta_1 = 0.9
    operator.calculate_gradient(indexes=[0, 1], grads=torch.ones(2, 6))
    return described(error) | {"step": operator.last_step.step}


@pytest.mark.parametrize(
    "what, reason",
    [("indexes", "INVALID_OPTION"), ("active", "ACTIVE_MISMATCH"), ("beta_1", "INVALID_OPTION")],
)
def test_ranks_that_bring_different_things_are_told_which(what, reason, ranks):
    for error in ranks.run(different_losses, 3, what):
        assert (error["reason"], error["field"]) == (reason, what)
        assert error["metadata"] == {"rank": "1", "ranks": "1"}
        assert "as on rank 0" in error["accepted"]
        assert error["step"] == 2


def different_options(rank, size, name, values):
    options = {name: values[rank]}
    error = caught(
        lambda: PseudoMomentumOperator(M, server="", process_group=dist.group.WORLD, **options)
    )
    # The ranks are together still.
    return described(error), make("pseudo", group=dist.group.WORLD).calculate_gradient(
        torch.eye(M, 4)
    ).shape[0]


@pytest.mark.parametrize(
    "name, values, field, text",
    [
        ("beta_2", [0.999, 0.99], "beta_2", "0.99 on rank 1"),
        ("stale_after", [0, 3], "stale_after", "3 on rank 1"),
        ("gradient_operator", [ConFIGOperator(), ALL["Mean"]()], "gradient_operator", "mean"),
        ("beta_1", [0.9, 2.0], "beta_1", "rank 1: INVALID_OPTION: beta_1 = 2.0"),
        ("replicated", [[slice(0, 2)], "here"], "", "rank 1: "),
    ],
)
def test_options_have_to_agree_when_operators_are_made(name, values, field, text, ranks):
    if name == "replicated":
        values = [[slice(0, 2)], [slice(0, 99)]]
        answers = ranks.run(replicated_beyond_the_end, 2, values)
    else:
        answers = ranks.run(different_options, 2, name, values)
    for error, length in answers:
        assert error == answers[0][0]
        assert error["reason"] == "INVALID_OPTION"
        assert error["field"] == (field or "replicated[0]")
        assert text in error["text"]
        assert length == 4


def replicated_beyond_the_end(rank, size, values):
    mine = values[rank]
    operator = make("pseudo", group=dist.group.WORLD, replicated=mine)
    error = caught(lambda: operator.calculate_gradient(torch.eye(M, 4)))
    return described(error), 4


def unlike_states(rank, size, of_one_rank_alone):
    operator = make("pseudo", group=dist.group.WORLD, like=torch.empty(6))
    start = operator.state_dict()
    operator.calculate_gradient(torch.eye(M, 6))
    one_step = operator.state_dict()
    if of_one_rank_alone == "step" and rank == 1:
        operator.load_state_dict(start)
    if of_one_rank_alone == "numbers" and rank == 1:
        operator.load_state_dict({**one_step, "gram": one_step["gram"] * 2})
    error = caught(lambda: operator.calculate_gradient(torch.eye(M, 6)))
    operator.load_state_dict(one_step)
    operator.calculate_gradient(torch.eye(M, 6))
    return error, operator.last_step.step


def test_ranks_that_have_loaded_different_states_are_told_so(ranks):
    for error, step in ranks.run(unlike_states, 2, "step"):
        assert isinstance(error, StepAhead)
        assert (error.field, error.metadata["rank"], step) == ("committed_step", "1", 2)
    for error, step in ranks.run(unlike_states, 2, "numbers"):
        assert isinstance(error, EpochChanged)
        assert isinstance(error, FailedPreconditionError)
        assert (error.field, step) == ("state", 2)


class OwnOperator(GradientOperator):
    def calculate_gradient(self, grads, losses=None):
        return grads[0]


class OwnRecorder(LossRecorder):
    def record_loss(self, losses_indexes, losses):
        return self.current_losses


def what_cannot_be_sharded(rank, size):
    def made(**options):
        return described(
            caught(lambda: PseudoMomentumOperator(2, process_group=dist.group.WORLD, **options))
        )

    operator = PseudoMomentumOperator(2, server="", process_group=dist.group.WORLD)
    setter = caught(lambda: setattr(operator, "gradient_operator", GradDropOperator()))
    return [
        made(server="", gradient_operator=GradDropOperator()),
        made(server="", gradient_operator=OwnOperator()),
        made(server="", loss_recorder=OwnRecorder(2)),
        made(server="127.0.0.1:1"),
        described(setter),
        described(caught(lambda: pickle.dumps(operator))),
    ]


def test_what_a_gram_matrix_is_not_enough_for_is_refused(ranks):
    for columns, own, recorder, server, setter, copies in ranks.run(what_cannot_be_sharded, 2):
        for refused in (columns, setter):
            assert (refused["reason"], refused["field"]) == ("INVALID_OPTION", "combiner")
            assert "works element by element" in refused["text"]
        assert (own["type"], recorder["type"], copies["type"]) == ("TypeError",) * 3
        assert "OwnOperator" in own["text"] and "OwnRecorder" in recorder["text"]
        assert server["type"] == "ValueError" and "server=''" in server["text"]


def test_a_process_group_is_needed_for_what_is_said_of_parts():
    with pytest.raises(ValueError, match="process_group="):
        PseudoMomentumOperator(2, replicated=[slice(0, 1)])
    with pytest.raises(ValueError, match="process_group="):
        PseudoMomentumOperator(2, like=torch.empty(3))
    with pytest.raises(TypeError, match="ProcessGroup"):
        PseudoMomentumOperator(2, process_group="world")


# ---- replicated parameters ----


def replicated_run(rank, size, kind, counts):
    """Own elements, replicated ones, own ones, replicated ones; rank 1 has none of its own."""
    operator = make(
        kind, group=dist.group.WORLD, counts=counts[rank] if counts else None,
        replicated=[slice(*pair) for pair in layout(rank)[1]],
    )  # fmt: skip
    result = []
    for indexes, grads in steps(kind, seed=7, n=60):
        update = calculate(operator, kind, indexes, local(grads, rank, size))
        result.append((update.numpy(), found(operator)))
    return result, {k: v.tolist() for k, v in operator.state_dict().items() if "momentum" in k}


def layout(rank):
    """Stretches of a rank's vector: its own, and the replicated ones (15 elements)."""
    if rank == 1:
        return [], [(0, 10), (10, 15)]
    return [(0, 4), (14, 19)], [(4, 14), (19, 24)]


def local(grads, rank, size):
    """A rank's vector: of 60 elements the last 15 are on every rank."""
    shared = grads[..., 45:]
    if rank == 1:
        return shared
    at = 9 * (rank if rank == 0 else rank - 1)
    own = grads[..., at : at + 9]
    return torch.cat([own[..., :4], shared[..., :10], own[..., 4:], shared[..., 10:]], dim=-1)


def whole_of(grads, size):
    """What all ranks have together, each element once."""
    return torch.cat([grads[..., : 9 * (size - 1)], grads[..., 45:]], dim=-1)


def split(update, rank):
    own, shared = (
        np.concatenate([update[begin:end] for begin, end in stretches] or [update[:0]])
        for stretches in layout(rank)
    )
    return own, shared


@pytest.mark.parametrize("counts", [None, [False, False, True]])
@pytest.mark.parametrize("kind", [*KINDS, "none"])
def test_replicated_parameters_count_once_and_are_the_same_bits_everywhere(kind, counts, ranks):
    answers = ranks.run(replicated_run, 3, kind, counts)
    operator = ConFIGOperator() if kind == "none" else make(kind)
    for step, (indexes, grads) in enumerate(steps(kind, seed=7, n=60)):
        expected = calculate(operator, kind, indexes, whole_of(grads, 3)).numpy()
        parts = [split(answers[rank][0][step][0], rank) for rank in range(3)]
        shared = parts[0][1]
        assert all(np.array_equal(part[1], shared) for part in parts)
        assert_close(np.concatenate([*(part[0] for part in parts), shared]), expected)
        assert all(rank[0][step][1] == answers[0][0][step][1] for rank in answers)
    if kind != "none":
        momenta = [
            split(np.array(state[f"momentum.0.rank{rank}"]), rank)[1]
            for rank, (_, state) in enumerate(answers)
        ]
        assert all(np.array_equal(each, momenta[0]) for each in momenta)


def replicated_of_other_length(rank, size):
    length = 3 if rank == 0 else 2
    operator = make("pseudo", group=dist.group.WORLD, replicated=[(0, length)])
    return described(caught(lambda: operator.calculate_gradient(torch.eye(M, 6))))


def test_what_is_replicated_has_to_be_as_long_on_every_rank(ranks):
    for error in ranks.run(replicated_of_other_length, 2):
        assert (error["reason"], error["field"], error["value"]) == (
            "LENGTH_MISMATCH", "replicated", "2",
        )  # fmt: skip


# ---- losses, types, memory ----


def recording_run(rank, size, per_rank):
    operator = PseudoMomentumOperator(
        M, gradient_operator=ConFIGOperator(DynamicWeightAverage()), server="",
        loss_recorder=MomentumLossRecorder(M, 0.5), process_group=dist.group.WORLD,
    )  # fmt: skip
    result = []
    for step, (_, grads) in enumerate(steps("none", seed=9)):
        losses = [float(i + 1 + step % 3) + (rank - 1.5 if per_rank else 0) for i in range(M)]
        update = operator.calculate_gradient(part_of(grads), losses)
        result.append((update.numpy(), operator.loss_recorder.current_losses))
    return result, operator.last_step.losses


@pytest.mark.parametrize("per_rank", [False, True])
def test_losses_are_averaged_over_the_ranks(per_rank, ranks):
    answers = ranks.run(recording_run, 4, per_rank)
    whole = PseudoMomentumOperator(
        M, gradient_operator=ConFIGOperator(DynamicWeightAverage()), server="",
        loss_recorder=MomentumLossRecorder(M, 0.5),
    )  # fmt: skip
    for step, (_, grads) in enumerate(steps("none", seed=9)):
        losses = [float(i + 1 + step % 3) for i in range(M)]
        expected = whole.calculate_gradient(grads, losses).numpy()
        assert_close(np.concatenate([rank[0][step][0] for rank in answers]), expected)
        for rank in answers:
            assert rank[0][step][1] == pytest.approx(whole.loss_recorder.current_losses, 1e-14)
    assert all(rank[1] == answers[0][1] for rank in answers)


def a_loss_that_is_not_finite(rank, size):
    operator = PseudoMomentumOperator(
        M, server="", loss_recorder=MomentumLossRecorder(M), process_group=dist.group.WORLD
    )
    operator.calculate_gradient(torch.eye(M, 5), [1.0] * M)
    before = operator.loss_recorder.state()
    bad = float("nan") if rank == 0 else 1.0
    error = caught(lambda: operator.calculate_gradient([0], torch.ones(1, 5), [bad]))
    return described(error), operator.loss_recorder.state() == before


def test_a_loss_that_is_not_finite_is_not_recorded_anywhere(ranks):
    for error, same in ranks.run(a_loss_that_is_not_finite, 2):
        assert error["reason"] == "NON_FINITE" and error["text"].startswith("rank 0: ")
        assert same


def types_and_memory(rank, size):
    result = {}
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        operator = make("pseudo", group=dist.group.WORLD, replicated=[(0, 2), (5, 6)])
        grads = torch.randn(M, 9 + rank, generator=torch.Generator().manual_seed(1)).to(dtype)
        out = torch.empty(9 + rank, dtype=dtype)
        update = operator.calculate_gradient(grads.clone(), out=out)
        again = make("pseudo", group=dist.group.WORLD, replicated=[(0, 2), (5, 6)])
        plain = again.calculate_gradient(grads)
        result[str(dtype)] = update is out and bool(torch.equal(out, plain)), str(plain.dtype)
        # Updates own their memory.
        kept = plain.clone()
        again.calculate_gradient(grads * 2)
        assert torch.equal(plain, kept)
    return result


def test_half_gradients_and_out_are_as_ever(ranks):
    for result in ranks.run(types_and_memory, 2):
        assert all(same and found == dtype for dtype, (same, found) in result.items())


# ---- states ----


def checkpoint_run(rank, size, kind, directory):
    """Eight steps; the state after four through torch.distributed.checkpoint into another
    operator, which goes on."""
    mine = torch.empty(part_of(torch.empty(N)).shape[0], dtype=torch.float64)
    replicated = [(0, min(3, len(mine)))] if rank != 1 else [(0, 0)]
    options = {"replicated": replicated, "counts": rank == 0}
    operator = make(kind, "GradVac", dist.group.WORLD, **options)
    resumed = make(kind, "GradVac", dist.group.WORLD, like=mine, **options)
    result = []
    for step, (indexes, grads) in enumerate(steps(kind, seed=11)):
        mine = part_of(grads)
        result.append(calculate(operator, kind, indexes, mine).numpy())
        if step == 3:
            dcp.save({"operator": operator.state_dict()}, checkpoint_id=directory)
            dist.barrier()
            dcp.load({"operator": resumed}, checkpoint_id=directory)
        if step > 3:
            again = calculate(resumed, kind, indexes, mine).numpy()
            assert np.array_equal(again, result[-1])
    return resumed.last_step.step


@pytest.mark.parametrize("kind", KINDS)
def test_torch_distributed_checkpoint_saves_and_loads_a_state(kind, tmp_path, ranks):
    assert ranks.run(checkpoint_run, 4, kind, str(tmp_path)) == [8] * 4


def states_that_do_not_fit(rank, size):
    operator = make("pseudo", group=dist.group.WORLD)
    twin = make("pseudo", group=dist.group.WORLD)
    grads = torch.randn(M, 6, generator=torch.Generator().manual_seed(3))
    for each in (operator, twin):
        each.calculate_gradient(grads)
    state = operator.state_dict()
    own = f"momentum.1.rank{rank}"
    plain = PseudoMomentumOperator(M, server="")
    plain.calculate_gradient(grads)
    errors = [
        caught(lambda bad=bad: operator.load_state_dict(bad))
        for bad in (
            {**state, "metadata": {**state["metadata"], "ranks": "3"}},
            {**state, own: torch.zeros(7)},
            {**state, own: torch.zeros(6, dtype=torch.float64)},
            {name: value for name, value in state.items() if name != own},
            plain.state_dict(),
            {**state, "gram": state["gram"][:2, :2]},
        )
    ]
    update, expected = (each.calculate_gradient([1], grads[:1]) for each in (operator, twin))
    return [described(error) for error in errors], bool(torch.equal(update, expected))


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(ranks):
    for errors, same in ranks.run(states_that_do_not_fit, 2):
        assert all(error["type"] == "InvalidArgumentError" for error in errors)
        assert "ranks" in errors[0]["field"] and errors[0]["value"] == "3"
        assert errors[1]["reason"] == "LENGTH_MISMATCH"
        assert "momentum.1.rank" in errors[2]["field"]
        assert same


def training(rank, size, directory, die_at):
    """Ten steps, a state on the disk after each; rank 1 kills itself before step `die_at`."""
    like = torch.empty(0 if rank == 1 else N - 3, dtype=torch.float64)
    operator = PseudoMomentumOperator(M, server="", process_group=dist.group.WORLD, like=like)
    begin = 0
    if os.path.exists(f"{directory}/rank{rank}.pt"):
        steps_done = min(
            torch.load(f"{directory}/rank{r}.pt")["committed_step"].item() for r in range(2)
        )
        operator.load_state_dict(torch.load(f"{directory}/rank{rank}.step{steps_done}.pt"))
        begin = steps_done
    updates = []
    for step, (indexes, grads) in enumerate(steps("pseudo", seed=13, count=10)):
        if step < begin:
            continue
        if step == die_at:
            dist.barrier()  # Both have written their states.
            if rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
        mine = grads[:, 3:] if rank == 0 else grads[:, :0]
        updates.append(operator.calculate_gradient(indexes, mine).numpy())
        for name in (f"rank{rank}.pt", f"rank{rank}.step{step + 1}.pt"):
            torch.save(operator.state_dict(), f"{directory}/{name}")
    return begin, updates


def test_a_rank_is_killed_and_all_resume_bit_for_bit(tmp_path, ranks):
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    expected = ranks.run(training, 2, str(undisturbed), -1)
    broken = tmp_path / "broken"
    broken.mkdir()
    others = Ranks()
    with pytest.raises(pytest.fail.Exception, match="rank"):
        others.run(training, 2, str(broken), 6)
    try:
        resumed = others.run(training, 2, str(broken), -1)
    finally:
        others.stop()
    for (begin, updates), (_, whole) in zip(resumed, expected):
        assert begin == 6
        assert len(updates) == 4
        for update, right in zip(updates, whole[6:]):
            assert np.array_equal(update, right)
