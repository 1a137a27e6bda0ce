"""docs/tutorial.md, done as it says: every file, every command, every output."""

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from fences import ROOT, fences

BUILD = Path(os.environ.get("CONCORD_BUILD", ROOT / "build"))
ADDRESS = "127.0.0.1:50051"
MARK = "----- end of a block"


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def like(line):
    """A pattern: numbers and digests may be others, and with them the columns' widths."""
    line = " ".join(line.split())
    number = r"(?<![a-zA-Z.:\d-])[+-]?\d+(?:\.\d+)?"
    parts = re.split(rf"(\b[0-9a-f]{{12}}\b|{number})", line)
    return "".join(
        re.escape(part) if i % 2 == 0 else r"[0-9a-f]{12}" if len(part) == 12 else r"[+-]?[\d.e-]+"
        for i, part in enumerate(parts)
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """[(commands, expected output, output)] of each block of commands."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "build").symlink_to(BUILD)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    address, blocks = free_address(), []
    for fence in fences("tutorial.md"):
        code = fence.code.replace(ADDRESS, address)
        if fence.language == "python":
            (folder / fence.title).write_text(code)
        elif fence.language == "sh":
            blocks.append([code, ""])
        else:
            assert fence.language == "text" and not blocks[-1][1]
            blocks[-1][1] = code
    script = f"\nprintf '%s\\n' '{MARK}'\n".join(commands for commands, _ in blocks)
    environment = {name: os.environ[name] for name in os.environ if "CONCORD" not in name}
    ran = subprocess.run(
        ["bash", "-euo", "pipefail"],
        input=script,
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    outputs = ran.stdout.split(f"{MARK}\n")
    assert len(outputs) == len(blocks)
    return [(*block, output) for block, output in zip(blocks, outputs)]


def test_every_command_says_what_the_page_shows(done):
    for commands, expected, output in done:
        for shown, found in zip(expected.splitlines(), output.splitlines(), strict=True):
            assert re.fullmatch(like(shown), " ".join(found.split())), f"{commands}\n{output}"


def test_the_first_cosines_are_those_of_the_page(done):
    _, expected, output = done[0]
    assert output == expected


def test_both_workers_have_the_same_weights_each_time(done):
    runs = [re.findall(r"step (\d+).*weights (\w+)", output) for _, _, output in done]
    for run in filter(None, runs):
        assert len(run) == 2 and len(set(run)) == 1
    assert [run[0][0] for run in runs if run] == ["300", "600"]


def test_the_error_is_as_small_as_shown(done):
    for _, expected, output in done:
        shown, found = (
            re.findall(r"largest error (\S+?),?\s", text) for text in (expected, output)
        )
        assert all(float(b) < 1.5 * float(a) + 0.005 for a, b in zip(shown, found))
