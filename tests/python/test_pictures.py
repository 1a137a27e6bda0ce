"""The paths that the pictures of docs/operators.md show, without the drawing."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from concord.grad_operator import ConFIGOperator
from concord.methods import MeanOperator

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def problem():
    spec = importlib.util.spec_from_file_location("two_losses", DOCS / "pictures/two_losses.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_gradients_are_the_losses_own(problem):
    for point in map(np.array, problem.STARTS):
        for i, step in enumerate(np.eye(2) * 1e-6):
            slope = (problem.losses(point + step) - problem.losses(point - step)) / 2e-6
            np.testing.assert_allclose(problem.gradients(point)[:, i], slope, rtol=1e-6, atol=1e-8)


def test_on_the_front_the_gradients_oppose_each_other(problem):
    for point in problem.pareto_front(20)[1:-1]:
        first, second = problem.gradients(point)
        cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
        assert cosine == pytest.approx(-1, abs=1e-9)


def test_config_ends_on_the_front_from_every_start_whatever_the_scales(problem):
    for start in problem.STARTS:
        paths = [
            problem.trajectory(ConFIGOperator, start, 300, scales=np.array([1.0, scale]))
            for scale in (1.0, 4.0)
        ]
        for path in paths:
            assert problem.distances_to_front(path[-1:]) < 0.02
        assert np.linalg.norm(paths[0][-1] - paths[1][-1]) < 0.05


def test_config_lets_no_loss_rise_on_the_way_and_the_mean_does(problem):
    for start in problem.STARTS:
        path = problem.trajectory(ConFIGOperator, start, 300)
        far = problem.distances_to_front(path[:-1]) > 0.1
        assert (np.diff(problem.losses(path), axis=0)[far] < 0).all()
    path = problem.trajectory(MeanOperator, problem.STARTS[0], 300)
    far = problem.distances_to_front(path[:-1]) > 0.1
    assert (np.diff(problem.losses(path), axis=0)[far] > 0).any()


def test_the_means_end_follows_the_larger_loss(problem):
    ends = [
        problem.trajectory(MeanOperator, problem.STARTS[0], 300, scales=np.array(scales))[-1]
        for scales in ([4.0, 1.0], [1.0, 4.0])
    ]
    for end, minimum in zip(ends, problem.MINIMA):
        assert np.linalg.norm(end - minimum) < 0.5


def test_every_picture_is_small_and_shown():
    page = (DOCS / "operators.md").read_text()
    pictures = list((DOCS / "pictures").glob("*.svg"))
    assert pictures
    for picture in pictures:
        assert f"(pictures/{picture.name})" in page
        assert picture.stat().st_size < 150_000
