"""All methods and seeds, and the search for the rates; runs go to several processes."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean

import torch

from digits.methods import METHODS
from digits.training import Outcome, Run, train

RATES = Path(__file__).with_name("rates.json")
# Of the search, and of nothing else.
TUNING_SEEDS = (101, 102)


def known_rates() -> dict[str, float]:
    """What the search found."""
    return json.loads(RATES.read_text())


def contest(
    methods: Iterable[str], rates: dict[str, float], seeds: Sequence[int], passes: int
) -> list[Run]:
    return [Run(name, rates[name], seed, passes) for name in methods for seed in seeds]


def tune(
    methods: Iterable[str], passes: int, run: Callable[[list[Run]], list[Outcome]]
) -> dict[str, float]:
    """Every method's best rate, on digits and seeds kept for that. The rates that are
    tried go on, doubled or halved, until the best has a worse one on either side."""
    tried: list[Outcome] = []
    wanted = {name: set(METHODS[name].rates) for name in methods}
    while any(wanted.values()):
        tried += run(search(wanted, passes))
        best = best_rates(tried)
        for name in wanted:
            known = {outcome.run.rate for outcome in tried if outcome.run.method == name}
            wanted[name] = {best[name] / 2, best[name] * 2} - known
    return best


def search(rates: Mapping[str, Iterable[float]], passes: int) -> list[Run]:
    return [
        Run(name, rate, seed, passes, part="validation")
        for name, of_method in rates.items()
        for rate in sorted(of_method)
        for seed in TUNING_SEEDS
    ]


def best_rates(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """By the mean accuracy over both tasks and the seeds, the same rule for all."""
    found: dict[str, dict[float, list[float]]] = {}
    for outcome in outcomes:
        of_method = found.setdefault(outcome.run.method, {})
        of_method.setdefault(outcome.run.rate, []).append(fmean(outcome.accuracy))
    return {
        name: max(of_method, key=lambda rate: fmean(of_method[rate]))
        for name, of_method in found.items()
    }


def run_all(
    runs: Sequence[Run], processes: int, on_outcome: Callable[[Outcome], None]
) -> list[Outcome]:
    """Outcomes in the order of `runs`."""
    outcomes = []
    for outcome in _outcomes(runs, processes):
        on_outcome(outcome)
        outcomes.append(outcome)
    return outcomes


def _outcomes(runs: Sequence[Run], processes: int) -> Iterator[Outcome]:
    if processes == 1:
        yield from map(train, runs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield from pool.map(train, runs)
