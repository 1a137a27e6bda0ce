"""The digits demo, short: the data, the network, every method, the table of the page."""

import json
import math
import sys

import pytest
import torch
from digits import __main__ as program
from digits.contest import known_rates, search, tune
from digits.data import evaluated, split
from digits.methods import METHODS
from digits.network import TASKS, Network
from digits.report import markdown, summary
from digits.training import Outcome, Run, train

from conftest import ROOT


def test_every_digit_is_in_one_part_of_the_split():
    parts = split()
    assert [len(part.labels) for part in parts.values()] == [900, 300, 597]
    assert list(parts) == ["training", "validation", "test"]
    together = torch.cat([part.labels for part in parts.values()])
    # As many of each as there are in the package: none is drawn twice.
    assert together.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_a_pair_is_two_digits_side_by_side():
    part = split()["test"]
    pairs = part.draw(50, torch.Generator().manual_seed(3))
    for picture, left, right in zip(pairs.pictures.view(50, 8, 16), *pairs.labels):
        for half, label in ((picture[:, :8], left), (picture[:, 8:], right)):
            same = (part.pictures == half).all(dim=(1, 2)) & (part.labels == label)
            assert same.any()


def test_all_are_tested_on_the_same_pairs():
    assert evaluated("test") is evaluated("test")
    assert len(evaluated("test").labels[0]) == 4000


def test_the_network_has_1964_parameters_and_a_head_for_each_task():
    network, pairs = Network(1), split()["training"].draw(32, torch.Generator().manual_seed(0))
    left, right = network.losses(pairs)
    gradients = [network.gradient(left, keep=True), network.gradient(right)]
    assert gradients[0].shape == network.flat.shape == (1964,)
    weights, biases = (slice(1964 - 20 - 240, 1964 - 20), slice(1964 - 20, 1964))
    for task, gradient in enumerate(gradients):
        for part in (gradient[weights].view(12, 20), gradient[biases].view(1, 20)):
            heads = part.split(10, dim=1)
            assert heads[task].any() and not heads[1 - task].any()


@pytest.mark.parametrize("task", range(len(TASKS)))
def test_a_loss_falls_along_its_own_negative_gradient(task):
    network, pairs = Network(2), split()["training"].draw(64, torch.Generator().manual_seed(0))
    before = network.losses(pairs)[task]
    gradient = network.gradient(before)
    network.flat.sub_(gradient, alpha=1e-2)
    expected = 1e-2 * gradient.square().sum().item()
    fall = (before - network.losses(pairs)[task]).item()
    assert fall == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_within_the_same_number_of_passes(method):
    outcome = train(Run(method, known_rates()[method], seed=1, passes=160, reports=4))
    assert [used for used, _ in outcome.history] == [40, 80, 120, 160]
    assert min(outcome.accuracy) > 0.2  # By chance 0.1.
    assert outcome.accuracy == outcome.history[-1][1]
    if METHODS[method].kind in ("adam", "sgd"):
        assert outcome.conflicts is None
    else:
        assert 0 <= outcome.conflicts <= 1


def test_a_seed_says_all():
    runs = [train(Run("M-ConFIG", 4e-3, seed, passes=40)) for seed in (5, 5, 6)]
    assert runs[0] == runs[1] and runs[0].history != runs[2].history


def test_rates_are_searched_on_digits_and_seeds_of_their_own():
    runs = search({"M-ConFIG": [1e-3, 2e-3]}, passes=40)
    assert {run.part for run in runs} == {"validation"}
    assert not {run.seed for run in runs} & {1, 2, 3, 4, 5}
    assert [run.rate for run in runs] == [1e-3, 1e-3, 2e-3, 2e-3]


@pytest.mark.parametrize(("best", "rounds"), [(4e-3, 1), (32e-3, 2), (128e-3, 4), (0.25e-3, 4)])
def test_the_search_goes_on_until_the_best_rate_has_a_worse_one_on_either_side(best, rounds):
    asked = []

    def run(runs):
        asked.append({run.rate for run in runs})
        return [Outcome(run, [-abs(math.log(run.rate / best))] * 2, [], None) for run in runs]

    assert tune(["M-ConFIG"], 40, run) == {"M-ConFIG": best}
    tried = set().union(*asked)
    assert {best / 2, best * 2} <= tried and len(asked) == rounds
    assert sum(map(len, asked)) == len(tried), "a rate was tried twice"


def test_every_method_has_a_rate_that_was_found():
    assert set(known_rates()) == set(METHODS)


def test_the_program_writes_table_outcomes_and_picture(tmp_path, monkeypatch, capsys):
    outcomes, picture = tmp_path / "found.json", tmp_path / "found.png"
    arguments = ["--seeds", "1", "2", "--passes", "40", "--processes", "1"]
    arguments += ["--json", str(outcomes), "--plot", str(picture)]
    arguments += ["--methods", "sum, Adam", "M-ConFIG"]
    monkeypatch.setattr(sys, "argv", ["digits", *arguments])
    assert program.main() == 0
    assert len(json.loads(outcomes.read_text())) == 4
    assert markdown(summary(json.loads(outcomes.read_text()))) in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    # Once more, from the file.
    monkeypatch.setattr(sys, "argv", ["digits", "--show", str(outcomes)])
    assert program.main() == 0
    assert markdown(summary(json.loads(outcomes.read_text()))) in capsys.readouterr().out


def test_the_pages_table_is_that_of_its_outcomes():
    outcomes = json.loads((ROOT / "docs" / "digits.json").read_text())
    assert {outcome["run"]["seed"] for outcome in outcomes} == {1, 2, 3, 4, 5}
    assert {outcome["run"]["passes"] for outcome in outcomes} == {4000}
    rows = summary(outcomes)
    assert {row.method: row.rate for row in rows} == known_rates()
    assert markdown(rows) in (ROOT / "docs" / "digits.md").read_text()
