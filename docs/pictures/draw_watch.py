"""Takes docs/watch.md's pictures: `concord watch` in real terminals, of a real session.

`.venv/bin/python docs/pictures/draw_watch.py` (needs tmux) runs a server, three ranks
that bring their losses and one of which is slow, and `concord watch` in terminals of
80 x 24 and 200 x 50; once while the server is dead, and once when it is back. What
tmux has on its screens is drawn, character by character.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import concord
import matplotlib
import torch
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "chaos"))

from job import Server  # noqa: E402

FONT = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSansMono.ttf"
CELL = (9, 18)  # Pixels of a character.
PAPER, INK = (24, 24, 27), (228, 228, 231)
COLOURS = {31: (248, 113, 113), 32: (74, 222, 128), 33: (250, 204, 21)}
LENGTH = 10_401

Colour = tuple[int, int, int]


class Job:
    """Three ranks of a session that share `m` losses, until it is stopped."""

    def __init__(self, where: str, name: str, m: int) -> None:
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(where, name, m, rank), daemon=True)
            for rank in range(3)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, where: str, name: str, m: int, rank: int) -> None:
        session = concord.Session(
            where, name, rank=rank, num_workers=3, num_vectors=m, num_parameters=LENGTH,
            loss_recorder=concord.LatestLossRecorder(m), round_timeout=60.0, durability="step",
        )  # fmt: skip
        generator = torch.Generator().manual_seed(rank)
        common = torch.randn(LENGTH, generator=torch.Generator().manual_seed(9))
        mine = [index for index in range(m) if index % 3 == rank]
        own = torch.randn(len(mine), LENGTH, generator=generator)
        step = 0
        while not self._over.is_set():
            noise = torch.randn(len(mine), LENGTH, generator=generator)
            lean = torch.tensor([[1.0 if index % 2 else -0.6] for index in mine])
            gradients = own + lean * common + 0.5 * noise
            losses = {index: (index + 1) * 0.99**step for index in mine}
            time.sleep(0.06 if rank == 2 else 0.04)  # The backward pass.
            session.step(dict(zip(mine, gradients)), losses)
            step += 1

    def stop(self) -> None:
        self._over.set()


class Window:
    """tmux with `concord watch` in a terminal of that size."""

    def __init__(self, where: str, name: str, columns: int, rows: int) -> None:
        self._name = f"concord-{columns}x{rows}-{time.monotonic_ns()}"
        watch = f"{ROOT}/build/bin/concord watch {name} --server={where}"
        self._tmux(
            "-u", "new-session", "-d", "-s", self._name, "-x", str(columns), "-y", str(rows), watch
        )
        self.size = (columns, rows)

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", *arguments], check=True, capture_output=True, text=True)
        return done.stdout

    def wait_for(self, pattern: str) -> str:
        """The screen, with its colours, once it shows that."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            screen = self._tmux("capture-pane", "-e", "-p", "-t", self._name)
            if re.search(pattern, re.sub(r"\x1b\[[0-9;]*m", "", screen)):
                return screen
            time.sleep(0.1)
        raise TimeoutError(f"no {pattern!r} on the screen:\n{screen}")

    def close(self) -> None:
        self._tmux("send-keys", "-t", self._name, "q")


def of_256(number: int) -> Colour:
    """A colour of the cube that 16 to 231 name."""
    levels = (0, 95, 135, 175, 215, 255)
    number -= 16
    return levels[number // 36], levels[number // 6 % 6], levels[number % 6]


def cells(line: str) -> Iterator[tuple[str, Colour, Colour]]:
    """Each character with its colours."""
    ink, paper, dim = INK, PAPER, False
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if not part.startswith("\x1b"):
            shown = tuple(value * 6 // 10 for value in ink) if dim else ink
            yield from ((letter, shown, paper) for letter in part)
            continue
        codes = [int(code or 0) for code in part[2:-1].split(";")]
        while codes:
            code = codes.pop(0)
            if code in (38, 48):
                codes.pop(0)
                colour = of_256(codes.pop(0))
                ink, paper = (colour, paper) if code == 38 else (ink, colour)
            elif code == 0:
                ink, paper, dim = INK, PAPER, False
            elif code == 2:
                dim = True
            elif code in (39, 49):
                ink, paper = (INK, paper) if code == 39 else (ink, PAPER)
            elif code in COLOURS:
                ink = COLOURS[code]


def draw(screen: str, size: tuple[int, int], name: str) -> None:
    columns, rows = size
    width, height = CELL
    font = ImageFont.truetype(str(FONT), 15)
    picture = Image.new("RGB", (columns * width, rows * height), PAPER)
    pen = ImageDraw.Draw(picture)
    for y, line in enumerate(screen.splitlines()[:rows]):
        for x, (letter, ink, paper) in enumerate(cells(line)):
            corner = (x * width, y * height)
            if paper != PAPER:
                pen.rectangle([corner, (corner[0] + width - 1, corner[1] + height - 1)], fill=paper)
            pen.text(corner, letter, font=font, fill=ink)
    picture.quantize(64).save(HERE / name, optimize=True)
    print(f"docs/pictures/{name}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        where = f"unix:{server.socket}"
        jobs = [Job(where, "heat", 3), Job(where, "many", 8)]
        small, large = Window(where, "heat", 80, 24), Window(where, "many", 200, 50)
        draw(large.wait_for(r"step [1-9]\d\d"), large.size, "watch_200x50.png")
        draw(small.wait_for(r"step [1-9]\d\d"), small.size, "watch_80x24.png")
        server.kill()
        draw(small.wait_for(r"gone for [3-9] s"), small.size, "watch_gone.png")
        server.start()
        draw(small.wait_for(r"steps/s\s+conflict-free"), small.size, "watch_back.png")
        for window in (small, large):
            window.close()
        for job in jobs:
            job.stop()
        time.sleep(1)  # The last steps.
        server.stop()


if __name__ == "__main__":
    main()
