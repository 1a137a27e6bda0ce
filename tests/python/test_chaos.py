"""The short run of tests/chaos: real processes, a death in each phase of a step."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "chaos"))

import chaos


def test_through_deaths_and_cuts_every_bit_is_as_in_an_undisturbed_run(tmp_path):
    counts = chaos.run(
        tmp_path,
        steps=70,
        length=200_003,
        seed=5,
        deaths=1,
        kills=2,
        worker_kills=2,
        cuts=4,
        between=2,
    )
    assert all(counts[f"server died at {phase}"] == 1 for phase in chaos.PHASES)
    assert counts["server killed at a random moment"] == 2
    assert counts["worker killed"] == 2
    assert counts["connection cut"] == 4


def test_in_shared_memory_every_bit_survives_the_deaths_of_either_side(tmp_path):
    counts = chaos.run(
        tmp_path,
        steps=50,
        length=200_003,
        seed=6,
        shared_memory=True,
        deaths=1,
        kills=2,
        worker_kills=3,
        cuts=0,
        between=2,
    )
    assert all(counts[f"server died at {phase}"] == 1 for phase in chaos.PHASES)
    assert counts["worker killed"] == 3


def test_the_comparison_finds_one_wrong_bit():
    calm = ([["a"], ["a"], ["a"]], {"momentum.0": torch.zeros(8)})
    other = ([["a"], ["b"], ["a"]], {"momentum.0": torch.zeros(8)})
    other[1]["momentum.0"][3] = -0.0
    assert chaos.differences(calm, calm) == []
    assert chaos.differences(calm, other) == ["the updates that rank 1 applied", "momentum.0"]
