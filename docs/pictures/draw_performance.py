"""Draws docs/performance.md's plots and writes its tables, from measured figures.

`.venv/bin/python docs/pictures/draw_performance.py`: reads docs/performance/*.json (what
concord-bench, bench_python.py and bench_methods.py wrote with --json), draws the PNGs
beside this file, and puts the tables between the page's markers. `--check` only compares
the tables.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1]
PAGE = DOCS / "performance.md"

Measured = dict[str, Any]
Cells = Sequence[Sequence[str]]


def load(name: str) -> Measured:
    return json.loads((DOCS / "performance" / f"{name}.json").read_text())


def milliseconds(figure: Measured | None) -> str:
    if figure is None:
        return "-"
    return f"{figure['median']:.3g} ({figure['low']:.3g} … {figure['high']:.3g})"


def size(n: int) -> str:
    return f"{n:,}"


def markdown(head: Sequence[str], rows: Cells) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def engine_table(name: str) -> str:
    rows = []
    for row in load(name)["rows"]:
        target = row.get("target")
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else "-"
        wanted = "-"
        if target is not None and target["against"] == "ms":
            wanted = f"≤ {target['limit']:g} ms"
        elif target is not None:
            wanted = f"≤ {target['limit']:g} x {target['against']}"
        rows.append(
            [row["kind"], size(row["n"]), str(row["m"]), milliseconds(row["concord"]),
             milliseconds(row.get("fused_floor")), milliseconds(row.get("raw_echo")), ratio, wanted]
        )  # fmt: skip
    head = ["kind", "n", "m", "Concord, ms", "floor, ms", "echo, ms", "ratio", "aim"]
    return markdown(head, rows)


CONTENDERS = {
    "embedded": "Concord embedded",
    "shared": "Concord in shared memory",
    "tcp": "Concord over TCP",
    "gram_torch": "gram_torch",
    "conflictfree": "conflictfree",
}


def python_table() -> str:
    rows = [
        [size(row["n"]), *(milliseconds(row.get(name)) for name in CONTENDERS)]
        + [f"{row['factors'][pair]:.1f} x" for pair in ("gram_torch/embedded", "gram_torch/tcp")]
        for row in load("python")["rows"]
    ]
    head = ["n", *(f"{title}, ms" for title in CONTENDERS.values())]
    return markdown([*head, "gram_torch / embedded", "gram_torch / TCP"], rows)


def processes_table() -> str:
    rows = []
    for row in load("processes")["rows"]:
        target = row["target"]
        rows.append(
            [row["kind"], size(row["n"]), str(row["m"]), milliseconds(row["concord"]),
             milliseconds(row["embedded"]), milliseconds(row["copy"]),
             milliseconds(row.get("raw_echo")), f"{row['ratio']:.2f}",
             f"≤ {target['limit']:g} x {target['against']}"]
        )  # fmt: skip
    head = ["kind", "n", "m", "Concord, ms", "embedded, ms", "copy, ms", "echo, ms", "ratio", "aim"]
    return markdown(head, rows)


def stateless_table() -> str:
    rows = []
    for row in load("stateless")["aggregation"]:
        if not row["targets"]:
            continue
        least = {target["peer"]: target["at_least"] for target in row["targets"]}
        for peer, factor in row["factors"].items():
            rows.append(
                [row["method"], milliseconds(row["concord"]), f"{row['off']['concord']:.0e}",
                 peer, milliseconds(row[peer]), f"{row['off'][peer]:.0e}", f"{factor:.1f} x",
                 f"≥ {least[peer]:.3g} x"]
            )  # fmt: skip
    head = ["method", "Concord, ms", "off by", "peer", "peer, ms", "off by", "faster", "aim"]
    return markdown(head, rows)


TABLES = {
    "engine": lambda: engine_table("engine"),
    "losses": lambda: engine_table("losses"),
    "threads": lambda: engine_table("threads"),
    "processes": processes_table,
    "python": python_table,
    "stateless": stateless_table,
}


def with_tables(page: str) -> str:
    for name, table in TABLES.items():
        marked = re.compile(rf"(<!-- table: {name} -->\n)(?:\|[^\n]*\n)*(<!-- end -->)")
        page, count = marked.subn(lambda found, t=table: f"{found[1]}{t()}\n{found[2]}", page)
        if count != 1:
            raise ValueError(f"{PAGE.name} has {count} places for the table {name!r}")
    return page


def draw() -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style = {"font.family": "sans-serif", "font.size": 9, "axes.titlesize": 10}
    colours = ("#0b6e99", "#15803d", "#c2410c", "#6b21a8", "#57534e")
    with matplotlib.rc_context(style):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
        rows = [row for row in load("engine")["rows"] if row["m"] == 3]
        lines = {
            "embedded": [(r["n"], r["concord"]) for r in rows if r["kind"] == "embedded"],
            "two fused loops": [(r["n"], r["fused_floor"]) for r in rows if "fused_floor" in r],
            "over TCP": [(r["n"], r["concord"]) for r in rows if r["kind"] == "streamed"],
            "bare echo": [(r["n"], r["raw_echo"]) for r in rows if "raw_echo" in r],
        }
        for (title, points), colour in zip(lines.items(), colours):
            ordered = sorted({n: f["median"] for n, f in points}.items())
            style_of = "--" if title in ("two fused loops", "bare echo") else "-"
            left.loglog(*zip(*ordered), style_of, marker="o", markersize=3, color=colour,
                        label=title)  # fmt: skip
        left.set(title="From C++, m = 3", xlabel="parameters", ylabel="ms a step")
        rows = load("python")["rows"]
        for (name, title), colour in zip(CONTENDERS.items(), colours):
            points = [(row["n"], row[name]["median"]) for row in rows if name in row]
            right.loglog(*zip(*points), marker="o", markersize=3, color=colour, label=title)
        right.set(title="From Python, m = 3", xlabel="parameters")
        for axes in (left, right):
            axes.legend(frameon=False)
            axes.grid(True, which="major", linewidth=0.3)
        figure.savefig(
            Path(__file__).with_name("performance.png"), dpi=110, metadata={"Software": None}
        )
        plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if tables differ")
    arguments = parser.parse_args()
    page = PAGE.read_text()
    written = with_tables(page)
    if arguments.check:
        return int(written != page)
    PAGE.write_text(written)
    draw()
    return 0


if __name__ == "__main__":
    sys.exit(main())
