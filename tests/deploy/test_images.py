"""The Dockerfiles, read and not built: deploy/test-containers.sh builds them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deployment import DEPLOY, ROOT, SERVER, dockerfile_stage, flags, server_flags


@pytest.mark.parametrize("path", ["Dockerfile", "deploy/prometheus/Dockerfile"])
def test_hadolint_has_nothing_to_say(path):
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, f"--config={ROOT / '.hadolint.yaml'}", ROOT / path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_images_are_built_from_packages_that_setup_installs():
    wanted = re.search(r"^PACKAGES=\((.*?)^\)", (DEPLOY / "setup.sh").read_text(), re.M | re.S)[1]
    installed = re.search(r"no-install-recommends(.*?)&&", dockerfile_stage("toolchain"))[1]
    assert set(installed.split()) <= set(wanted.split())


def test_all_that_the_dockerfile_copies_is_there_and_none_of_it_ignored():
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    assert copied
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
        parents = [source, *map(str, Path(source).parents)]
        assert not set(parents) & set(ignored), source


def test_the_image_starts_the_server_with_flags_that_it_has():
    runtime = dockerfile_stage("runtime")
    entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", runtime, re.M)[1])
    assert entry[0] == SERVER.name
    assert flags(entry[1:]) <= server_flags()
    # The health check asks at an address at which this server listens.
    address = re.search(r"^ENV CONCORD_SERVER=(\S+)$", runtime, re.M)[1]
    assert f"--listen={address}" in entry


@pytest.mark.parametrize("target", ["cpu", "cuda", "worker"])
def test_no_image_runs_as_root(target):
    assert re.search(r"^USER 10001:10001$", dockerfile_stage(target), re.M)
