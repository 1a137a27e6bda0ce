"""python -m burgers: see --help, and burgers/__init__.py for where to look."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from burgers.contest import ADAM, CONCORD, Contest, Side
from burgers.contestant import Recipe
from burgers.display import Display
from burgers.problem import TestGrid
from burgers.report import draw, table_of_seeds, table_of_sides
from burgers.server import DEFAULT_PROGRAM, REPOSITORY


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="burgers",
        description="Burgers' equation learnt by three workers through a Concord server, "
        "beside Adam on the summed loss with equal CPU time, and M-ConFIG in one process.",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="default: 1")
    parser.add_argument("--iterations", type=int, default=10_000, help="of M-ConFIG")
    parser.add_argument("--server", type=Path, default=DEFAULT_PROGRAM, help="the program")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "demo-output")
    arguments = parser.parse_args()
    if arguments.iterations < 3:
        parser.error("--iterations must be at least 3: one per loss")
    if not arguments.server.is_file():
        parser.error(f"there is no {arguments.server}; build it with ./deploy/setup.sh")
    return arguments


def main() -> int:
    arguments = _arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    console = Console()
    grid = TestGrid.make()
    contests: dict[int, dict[str, Side]] = {}
    for seed in arguments.seeds:
        begin = time.monotonic()
        contest = Contest(Recipe(seed, arguments.iterations), grid)
        display = Display(console, f"Burgers' equation, seed {seed}", contest.sides.values())
        with display:
            contest.run(arguments.server, arguments.output / f"server-{seed}.log", display.update)
        contests[seed] = contest.sides
        picture = arguments.output / f"burgers-{seed}.png"
        draw(picture, grid, contest.sides)
        console.print(table_of_sides(seed, contest.sides))
        concord, adam = contest.sides[CONCORD], contest.sides[ADAM]
        console.print(
            f"CPU time of Adam / Concord {adam.cpu / concord.cpu:.3f}; "
            f"the three replicas are bitwise equal (SHA-256 {concord.digests[0][:16]}); "
            f"picture: {picture}; {time.monotonic() - begin:.0f} s",
            highlight=False,
            soft_wrap=True,
        )
    if len(contests) > 1:
        console.print(table_of_seeds(contests))
    return 0


if __name__ == "__main__":
    sys.exit(main())
