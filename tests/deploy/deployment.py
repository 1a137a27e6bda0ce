"""What the tests of deploy/ share: its files, and the server's flags."""

import functools
import os
import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SERVER = Path(os.environ.get("CONCORD_BUILD", ROOT / "build")) / "bin" / "concord-server"


def load(path):
    return yaml.safe_load((DEPLOY / path).read_text())


@functools.cache
def compose():
    return load("compose.yaml")


def dockerfile_stage(name):
    """The instructions of a stage of the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    return re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", text, re.M | re.S)[1]


def flags(arguments):
    return {argument.split("=")[0] for argument in arguments}


@functools.cache
def server_flags():
    done = subprocess.run([SERVER, "--help"], capture_output=True, text=True, check=True)
    return set(re.findall(r"^ +(?:-\w,)?(--[a-z-]+)", done.stdout, re.MULTILINE))
