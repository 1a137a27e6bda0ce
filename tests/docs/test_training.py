"""The page on training jobs: its code runs, and names what there is."""

import re

import torch

import concord.torch
from fences import DOCS, fences


def test_the_code_of_the_page_runs_from_top_to_bottom(capsys):
    torch.manual_seed(0)
    names = {}
    for fence in fences("training.md"):
        exec(compile(fence.code, "training.md", "exec"), names)
    for loss in names["losses_of"](names["network"], torch.rand(64, 2)):
        assert loss.item() < 0.2
    assert names["result"].skipped_nonfinite == ()


def test_everything_public_is_on_the_page():
    words = set(re.findall(r"\w+", (DOCS / "training.md").read_text()))
    results = {"LossGradients", "Step"}
    assert set(concord.torch.__all__) - results <= words
