"""Every gradient method through Python: alone, under momentum, embedded and served."""

import copy
import json
import pickle

import conflictfree.grad_operator as peer
import numpy as np
import pytest
import torch

import concord
from concord import methods
from concord._engine_operator import EngineOperator
from concord.errors import InvalidArgumentError
from concord.grad_operator import ConFIGOperator, IMTLG_update, PCGrad_update
from concord.length_model import TrackSpecific
from concord.momentum_operator import PseudoMomentumOperator
from concord.weight_model import RandomWeight

M = 4

STATELESS = {
    "ConFIG": ConFIGOperator,
    "PCGrad": methods.PCGradOperator,
    "PCGrad, given order": lambda **kw: methods.PCGradOperator([3, 1, 0, 2], **kw),
    "IMTLG": methods.IMTLGOperator,
    "MGDA": methods.MGDAOperator,
    "UPGrad": methods.UPGradOperator,
    "UPGrad, preference": lambda **kw: methods.UPGradOperator([1, 2, 3, 4], 1e-4, **kw),
    "DualProj": methods.DualProjOperator,
    "CAGrad": methods.CAGradOperator,
    "NashMTL": methods.NashMTLOperator,
    "FairGrad": lambda **kw: methods.FairGradOperator(2.0, **kw),
    "AlignedMTL": methods.AlignedMTLOperator,
    "AlignedMTL, rmse": lambda **kw: methods.AlignedMTLOperator(scale="rmse", **kw),
    "Krum": lambda **kw: methods.KrumOperator(1, 2, **kw),
    "Mean": methods.MeanOperator,
    "Sum": methods.SumOperator,
    "Constant": lambda **kw: methods.ConstantOperator([0.5, 1, 2, 4], **kw),
    "DBMTL": methods.DBMTLOperator,
    "TrimmedMean": lambda **kw: methods.TrimmedMeanOperator(1, **kw),
    "ConFIG, tracked length": lambda **kw: ConFIGOperator(length_model=TrackSpecific(2), **kw),
}
STATEFUL = {
    "PCGrad, random order": lambda **kw: methods.PCGradOperator(seed=7, **kw),
    "GradVac": methods.GradVacOperator,
    "GradVac, random order": lambda **kw: methods.GradVacOperator(0.1, seed=2**64 - 1, **kw),
    "NashMTL, every third step": lambda **kw: methods.NashMTLOperator(update_every=3, **kw),
    "Random": lambda **kw: methods.RandomOperator(5, **kw),
    "CRMOGM": lambda **kw: methods.CRMOGMOperator(methods.UPGradOperator(), 0.7, **kw),
    "CRMOGM around GradVac": lambda **kw: methods.CRMOGMOperator(
        methods.GradVacOperator(), initial_weights=[1, 2, 3, 4], **kw
    ),
    "GradDrop": lambda **kw: methods.GradDropOperator(9, [0, 0.5, 1, 0], **kw),
    "ConFIG, random weights": lambda **kw: ConFIGOperator(RandomWeight(4), **kw),
}
ALL = STATELESS | STATEFUL


def random_rows(seed, m=M, n=300):
    return torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_every_method_of_the_engine_is_here():
    made = {type(make()) for make in ALL.values()}
    assert made == EngineOperator.known


def test_a_server_lists_every_method(server):
    listed = concord.session.server_info(server.tcp)["combiners"]
    assert sorted(listed) == sorted(cls.__name__ for cls in EngineOperator.known)


@pytest.mark.parametrize("name", STATELESS)
def test_a_server_combines_to_the_same_bits(name, server):
    rows = random_rows(1).float()
    embedded = STATELESS[name](server="").calculate_gradient(rows)
    served = STATELESS[name](server=server.tcp).calculate_gradient(rows)
    assert torch.equal(embedded, served)
    assert bool(embedded.any())


@pytest.mark.parametrize("name", STATEFUL)
def test_a_method_that_remembers_is_refused_for_single_combinations_on_a_server(name, server):
    with pytest.raises(ValueError, match="remembers its steps"):
        STATEFUL[name](server=server.tcp).calculate_gradient(random_rows(1))


@pytest.mark.parametrize("name", ALL)
def test_momentum_over_every_method_is_the_same_embedded_and_served(name, server):
    generator = torch.Generator().manual_seed(3)
    operators = [
        PseudoMomentumOperator(M, gradient_operator=ALL[name](), server=address)
        for address in ("", server.tcp)
    ]
    for _ in range(12):
        count = int(torch.randint(1, M + 1, (), generator=generator))
        indexes = torch.randperm(M, generator=generator)[:count].tolist()
        grads = torch.randn(count, 200, generator=generator)
        embedded, served = (each.calculate_gradient(indexes, grads) for each in operators)
        assert torch.equal(embedded, served)
        assert torch.isfinite(embedded).all()
    for each in operators:
        each.close()


@pytest.mark.parametrize("name", STATEFUL)
def test_a_copy_remembers_what_the_operator_remembers(name):
    operator = STATEFUL[name]()
    operator.calculate_gradient(random_rows(1))
    copies = [copy.deepcopy(operator), pickle.loads(pickle.dumps(operator))]
    for seed in (2, 3):
        expected = operator.calculate_gradient(random_rows(seed))
        for each in copies:
            assert torch.equal(each.calculate_gradient(random_rows(seed)), expected)


def test_random_weights_differ_from_step_to_step_and_by_seed():
    rows = torch.eye(3, dtype=torch.float64)
    first, second = methods.RandomOperator(1), methods.RandomOperator(2)
    weights = [op.calculate_gradient(rows) for op in (first, first, second)]
    for each in weights:
        assert float(each.sum()) == pytest.approx(1)
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(methods.RandomOperator(1).calculate_gradient(rows), weights[0])


@pytest.mark.parametrize("m", [2, 3, 5])
def test_pcgrad_and_imtlg_are_conflictfrees(m, float64_default):
    rows = random_rows(10 + m, m)
    pairs = [
        (PCGrad_update(rows), peer.PCGradOperator().calculate_gradient(rows)),
        (IMTLG_update(rows), peer.IMTLGOperator().calculate_gradient(rows)),
    ]
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["MGDA", "UPGrad", "DualProj"])
def test_no_product_with_a_gradient_is_negative(name):
    for seed in range(20):
        rows = random_rows(seed, n=6)
        products = rows @ STATELESS[name]().calculate_gradient(rows)
        assert float(products.min()) >= -1e-9 * float(rows.square().sum()), f"seed {seed}"


def test_nashmtl_solves_its_equations():
    rows = random_rows(4, n=20)
    direction = methods.NashMTLOperator(max_norm=0).calculate_gradient(rows)
    # d = G'a with G d = 1/a.
    a = 1 / (rows @ direction)
    torch.testing.assert_close(rows.T @ a, direction, rtol=1e-9, atol=1e-9)
    assert float(direction.norm()) == pytest.approx(np.sqrt(M))
    clipped = methods.NashMTLOperator().calculate_gradient(rows)
    assert float(clipped.norm()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: methods.CAGradOperator(-1), "combiner.cagrad.c"),
        (lambda: methods.CAGradOperator(float("nan")), "combiner.cagrad.c"),
        (lambda: methods.FairGradOperator(1e9), "combiner.fairgrad.alpha"),
        (lambda: methods.GradVacOperator(2), "combiner.gradvac.beta"),
        (lambda: methods.UPGradOperator([1, 0]), "combiner.upgrad.preference[1]"),
        (lambda: methods.UPGradOperator(reg_eps=-1), "combiner.upgrad.reg_eps"),
        (lambda: methods.DualProjOperator(reg_eps=float("inf")), "combiner.dualproj.reg_eps"),
        (lambda: methods.ConstantOperator([float("nan")]), "combiner.constant.weights[0]"),
        (lambda: methods.NashMTLOperator(-1), "combiner.nash_mtl.max_norm"),
        (lambda: methods.NashMTLOperator(update_every=0), "update_every"),
        (lambda: methods.AlignedMTLOperator(scale="max"), "scale"),
        (lambda: methods.KrumOperator(n_selected=0), "combiner.krum.n_selected"),
        (lambda: methods.KrumOperator(-1), "n_byzantine"),
        (lambda: methods.PCGradOperator([0, 0]), "combiner.pcgrad.order"),
        (lambda: methods.RandomOperator(-1), "seed"),
    ],
)
def test_an_option_out_of_range_is_named_when_the_operator_is_made(make, field):
    with pytest.raises(InvalidArgumentError) as raised:
        make()
    assert raised.value.field.startswith(field)


def test_order_and_seed_exclude_each_other():
    with pytest.raises(ValueError, match="not both"):
        methods.PCGradOperator([0, 1], seed=1)


def test_a_class_derived_from_a_method_runs_embedded_and_is_refused_by_a_server(server):
    class Halved(methods.MGDAOperator):
        def calculate_gradient(self, grads, losses=None):
            return super().calculate_gradient(grads, losses) / 2

    rows = random_rows(6)
    whole = methods.MGDAOperator().calculate_gradient(rows)
    torch.testing.assert_close(Halved().calculate_gradient(rows), whole / 2)
    with pytest.raises(TypeError, match="Halved"):
        PseudoMomentumOperator(M, gradient_operator=Halved(), server=server.tcp)


def test_the_options_travel_as_the_contract_has_them():
    message = methods.UPGradOperator([1, 2], 0.5)._message()
    assert json.loads(json.dumps(message)) == {"upgrad": {"preference": [1.0, 2.0], "regEps": 0.5}}
