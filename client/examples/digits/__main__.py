"""python -m digits: see --help, and digits/__init__.py for where to look."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from digits.contest import RATES, contest, known_rates, run_all, tune
from digits.methods import METHODS
from digits.report import draw, markdown, summary
from digits.training import Outcome, Run


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="digits",
        description="Two digits in one picture, two losses: the summed loss and the gradient "
        "methods with the same number of backward passes.",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, metavar="M")
    parser.add_argument("--passes", type=int, default=4000, help="backward passes of a run")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="where every run's outcome goes")
    parser.add_argument("--show", type=Path, help="such a file, in place of runs")
    parser.add_argument("--plot", type=Path, help="where the picture goes (PNG)")
    parser.add_argument(
        "--tune", action="store_true", help="search for the rates first, and keep them"
    )
    arguments = parser.parse_args()
    if arguments.passes < 4:
        parser.error("--passes must be at least 4: two steps of two losses")
    return arguments


def main() -> int:
    arguments = _arguments()
    torch.set_num_threads(1)
    console = Console()
    if arguments.show:
        outcomes = json.loads(arguments.show.read_text())
    else:
        outcomes = [outcome.as_json() for outcome in _run(arguments, console)]
    table = markdown(summary(outcomes))
    console.print(table, markup=False, highlight=False, soft_wrap=True)
    if arguments.json:
        # A run a line.
        arguments.json.write_text("[\n" + ",\n".join(map(json.dumps, outcomes)) + "\n]\n")
    if arguments.plot:
        draw(arguments.plot, outcomes)
    return 0


def _run(arguments: argparse.Namespace, console: Console) -> list[Outcome]:
    def outcomes_of(title: str, runs: list[Run]) -> list[Outcome]:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task(title, total=len(runs))
            return run_all(runs, arguments.processes, lambda _: progress.advance(task))

    rates = known_rates()
    if arguments.tune:
        rates |= tune(arguments.methods, arguments.passes, lambda runs: outcomes_of("rates", runs))
        RATES.write_text(json.dumps(rates, indent=2) + "\n")
    return outcomes_of(
        "methods", contest(arguments.methods, rates, arguments.seeds, arguments.passes)
    )


if __name__ == "__main__":
    sys.exit(main())
