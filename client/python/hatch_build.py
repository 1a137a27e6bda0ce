"""Puts the native module and the programs into a wheel, which they make one of
this platform. In a checkout they are those of build/ (deploy/setup.sh); an sdist
carries the sources in source/ and builds them first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROGRAMS = ("concord-server", "concord")


class NativeHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # Reads the checkout, where CMake writes.
            return
        here = Path(self.root)
        unpacked = here / "source"
        if unpacked.is_dir():
            _build(unpacked)
        source = unpacked if unpacked.is_dir() else here.parents[1]
        build = Path(os.environ.get("CONCORD_BUILD", source / "build"))
        modules = list((source / "client/python/concord").glob("_native*.so"))
        programs = [build / "bin" / name for name in PROGRAMS]
        missing = [str(path) for path in programs if not path.is_file()]
        if missing or not modules:
            raise RuntimeError(
                f"nothing built for the wheel ({', '.join(missing) or '_native*.so'} missing): "
                "run deploy/setup.sh first"
            )
        include = build_data["force_include"]
        for path in programs:
            include[str(path)] = f"concord/bin/{path.name}"
        if source == unpacked:
            kernels = source / "client/python/concord/libconcord_torch.so"
            for path in [*modules, *([kernels] if kernels.is_file() else [])]:
                include[str(path)] = f"concord/{path.name}"
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def _build(source: Path) -> None:
    build = source / "build"
    torch = subprocess.run(
        [sys.executable, "-c", "import torch"], stderr=subprocess.DEVNULL, check=False
    )
    subprocess.run(
        [
            "cmake",
            *("-S", source, "-B", build, "-G", "Ninja"),
            f"-DPython_EXECUTABLE={sys.executable}",
            "-DCONCORD_TESTS=OFF",
            f"-DCONCORD_TORCH={'ON' if torch.returncode == 0 else 'OFF'}",
        ],
        check=True,
    )
    targets = ["concord_python", *PROGRAMS]
    subprocess.run(["cmake", "--build", build, "--target", *targets], check=True)
