"""The systemd unit."""

import re
import shutil
import subprocess

import pytest

from deployment import DEPLOY, SERVER, flags, server_flags


def unit_with_built_server(folder):
    text = (DEPLOY / "systemd" / "concord-server.service").read_text()
    path = folder / "concord-server.service"
    path.write_text(text.replace("/usr/local/bin/concord-server", str(SERVER)))
    return path


def test_the_unit_starts_the_server_with_flags_that_it_has(tmp_path):
    command = re.search(r"^ExecStart=(.*)$", unit_with_built_server(tmp_path).read_text(), re.M)[1]
    program, *arguments = command.split()
    assert program == str(SERVER)
    assert flags(a for a in arguments if a.startswith("--")) <= server_flags()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this machine has no systemd")
def test_systemd_takes_the_unit_and_finds_it_well_enclosed(tmp_path):
    unit = unit_with_built_server(tmp_path)
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    # Tenths; 10 is a service that may do everything.
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
