"""The examples of training jobs, as programs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "client" / "examples"

pytestmark = pytest.mark.slow


def run(*command, cwd=None):
    """What a program of this Python's prints."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def on_ranks(size, *command):
    return ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}", *command)


def test_the_plain_loop_ends_with_the_same_bits_on_all_ranks_with_a_server_and_without():
    program = (EXAMPLES / "train_ddp.py", "--steps=100")
    embedded = run(*on_ranks(2, *program))
    served = run(*on_ranks(2, *program, "--server"))
    digests = re.findall(r"rank [01]: (\w{16})", embedded + served)
    assert len(digests) == 4 and len(set(digests)) == 1
    assert "step   100" in embedded


def lightning_losses(text):
    found = dict(re.findall(r"(loss/\d) ([\d.]+)", text))
    return [float(found[f"loss/{position}"]) for position in range(2)]


@pytest.mark.parametrize("options", [(), ("--devices=2", "--accumulate=2")])
def test_the_lightning_callback_trains(tmp_path, options):
    pytest.importorskip("lightning")
    said = run(EXAMPLES / "train_lightning.py", f"--output={tmp_path}", *options, cwd=tmp_path)
    # A network that says 0 has losses of 2/3 and 1/3.
    sums, largest = lightning_losses(said)
    assert sums < 0.1 and largest < 0.1


@pytest.mark.parametrize("size, accumulate", [(1, 2), (2, 1)])
def test_the_trainer_of_hugging_face_trains(tmp_path, size, accumulate):
    pytest.importorskip("transformers")
    program = (
        EXAMPLES / "train_huggingface.py",
        f"--output={tmp_path}",
        "--steps=150",
        f"--accumulate={accumulate}",
    )
    said = run(*(program if size == 1 else on_ranks(size, *program)))
    losses = [float(loss) for loss in re.findall(r"'loss': '?([\d.]+)", said)]
    # The two of a network that guesses are 2 log(2) = 1.39; the first is a mean over 50 steps.
    assert len(losses) == 3 and losses[-1] < losses[0] / 2 < 1.39 / 2
