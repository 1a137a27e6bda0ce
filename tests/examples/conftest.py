"""Puts the examples on the path, also for the processes they start."""

import os
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "client" / "examples"))
# The fork server of multiprocessing looks for what it preloads here.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT / "client" / "examples"), *filter(None, [os.environ.get("PYTHONPATH")])]
)

torch.set_num_threads(1)
