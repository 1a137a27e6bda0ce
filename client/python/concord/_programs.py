"""`concord-server` and `concord`, as the wheel carries them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["command_line", "server"]

_PACKAGE = Path(__file__).resolve().parent


def _run(name: str) -> None:
    program = _PACKAGE / "bin" / name
    if not program.is_file():  # An editable install: the checkout's own build.
        program = _PACKAGE.parents[2] / "build" / "bin" / name
    if not program.is_file():
        sys.exit(f"{name}: there is no such program in {_PACKAGE / 'bin'} nor {program.parent}")
    # Becomes the program: signals and exit codes are its own.
    os.execv(program, [name, *sys.argv[1:]])


def server() -> None:
    _run("concord-server")


def command_line() -> None:
    _run("concord")
