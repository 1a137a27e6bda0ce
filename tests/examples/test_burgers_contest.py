"""The demo end to end, short: real processes, a real server."""

import os
from pathlib import Path

import pytest
from burgers.contest import ADAM, CONCORD, EMBEDDED, Contest
from burgers.contestant import Recipe, error
from burgers.network import LOSSES, Network
from burgers.problem import PointSampler, TestGrid

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("CONCORD_BUILD", ROOT / "build")) / "bin" / "concord-server"


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    contest = Contest(Recipe(seed=1, iterations=150, reports=20), TestGrid.make())
    contest.run(PROGRAM, tmp_path_factory.mktemp("contest") / "server.log", lambda: None)
    return contest.sides


def test_three_replicas_stay_bitwise_equal(sides):
    assert len(sides[CONCORD].digests) == 3
    assert len(set(sides[CONCORD].digests)) == 1


def test_every_side_gets_better_than_the_untrained_network(sides):
    network = Network(1)
    before = sum(
        loss(network, PointSampler(1, index).draw()).item() for index, loss in enumerate(LOSSES)
    )
    for side in sides.values():
        assert sum(side.history[-1].report.losses) < 0.9 * before
        assert 0 < side.error < 0.9 * error(network, TestGrid.make())


def test_the_workers_learn_what_the_same_method_in_one_process_learns(sides):
    # Same draws, same arithmetic; a band all the same, not bits.
    assert sides[CONCORD].iteration == sides[EMBEDDED].iteration == 150
    assert sides[CONCORD].error == pytest.approx(sides[EMBEDDED].error, rel=0.05)


def test_adam_gets_the_workers_cpu_time(sides):
    # Within one of its iterations (tens of milliseconds on a busy machine).
    assert sides[ADAM].cpu >= 0.99 * sides[CONCORD].cpu
    assert sides[ADAM].cpu <= sides[CONCORD].cpu + 0.3


def test_cosines_between_the_losses_are_reported(sides):
    for name in (CONCORD, EMBEDDED):
        cosines = sides[name].history[-1].report.cosines
        assert len(cosines) == 3
        assert all(-1 <= cosine <= 1 for cosine in cosines)
