"""README's first example, word for word, on a small network: first_example.py README

Trains embedded, or on the server that CONCORD_SERVER names, and prints a digest of
the trained parameters.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import torch

import concord

readme = Path(sys.argv[1]).read_text()
imports = re.findall(r"^\+(from concord.*)$", readme, re.MULTILINE)
example = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
if len(imports) != 2 or example is None:
    sys.exit("README's first example is not where it was")
if "site-packages" not in concord.__file__:
    sys.exit(f"not the wheel's package: {concord.__file__}")

torch.manual_seed(0)
torch.set_num_threads(1)
network = torch.nn.Sequential(torch.nn.Linear(2, 20), torch.nn.Tanh(), torch.nn.Linear(20, 1))
loss_fns = [
    lambda net, x: (net(x) - x[:, :1] * x[:, 1:]).square().mean(),
    lambda net, x: net(x * torch.tensor([1.0, 0.0])).square().mean(),
]
data = [torch.rand(32, 2) for _ in range(400)]


def total() -> float:
    with torch.no_grad():
        return float(sum(loss(network, data[0]) for loss in loss_fns))


before = total()
exec("\n".join(imports) + "\n" + example[1])
after = total()
if not after < before / 2:
    sys.exit(f"the losses were {before} and are {after}")
parameters = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
print(hashlib.sha256(parameters.numpy().tobytes()).hexdigest())
