"""Live progress: a table that is redrawn, or plain lines where output is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Optional

from rich.console import Console
from rich.live import Live
from rich.table import Table

from burgers.contest import Side
from burgers.problem import LOSS_NAMES

_LINE_EVERY = 5.0  # Seconds between two lines, where output is no terminal.


class Display:
    """Shows `sides` at every `update`, for as long as a `with` lasts."""

    def __init__(self, console: Console, title: str, sides: Iterable[Side]) -> None:
        self._console = console
        self._title = title
        self._sides = list(sides)
        self._live: Optional[Live] = None
        self._last = 0.0
        if console.is_terminal:
            self._live = Live(self._table(), console=console, auto_refresh=False)

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.__enter__()
        else:
            self._console.print(self._title)
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, value, trace)

    def update(self) -> None:
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
        elif time.monotonic() - self._last > _LINE_EVERY:
            self._last = time.monotonic()
            for side in self._sides:
                if side.history and not side.done:
                    line = "  " + "  ".join(_cells(side))
                    self._console.print(line, highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table(title=self._title)
        table.add_column("method")
        for heading in ("iterations", "CPU s", "MSE", *LOSS_NAMES):
            table.add_column(heading, justify="right")
        table.add_column("cosines r-i, r-b, i-b")
        for side in self._sides:
            table.add_row(*_cells(side))
        return table


def _cells(side: Side) -> list[str]:
    """Name, iterations, CPU, error, losses, cosines between the losses' momenta."""
    cells = [f"{side.name:<20}", f"{side.iteration:>6}", f"{side.cpu:6.1f} s"]
    if not side.history:
        return cells + [""] * (2 + len(LOSS_NAMES))
    report = side.history[-1].report
    return [
        *cells,
        f"{report.error:.5f}",
        *(f"{loss:.1e}" for loss in report.losses),
        " ".join(f"{cosine:+.2f}" for cosine in report.cosines),
    ]
