"""`concord-server` and `concord`, as the wheel carries them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["command_line", "path_of", "server"]

_PACKAGE = Path(__file__).resolve().parent


def path_of(name: str) -> Path:
    """Where a program is; FileNotFoundError where it is not."""
    program = _PACKAGE / "bin" / name
    if not program.is_file():  # An editable install: the checkout's own build.
        program = _PACKAGE.parents[2] / "build" / "bin" / name
    if not program.is_file():
        raise FileNotFoundError(
            f"{name}: there is no such program in {_PACKAGE / 'bin'} nor {program.parent}"
        )
    return program


def _run(name: str) -> None:
    try:
        program = path_of(name)
    except FileNotFoundError as error:
        sys.exit(str(error))
    # Becomes the program: signals and exit codes are its own.
    os.execv(program, [name, *sys.argv[1:]])


def server() -> None:
    _run("concord-server")


def command_line() -> None:
    _run("concord")
