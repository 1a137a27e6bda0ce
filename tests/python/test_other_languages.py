"""Workers in other languages: the bits of every update, also through the server's death."""

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import concord
from conftest import SERVER

ROOT = Path(__file__).resolve().parents[2]
STEPS = 20
EXAMPLES = ROOT / "client" / "examples"
sys.path.insert(0, str(ROOT / "tests" / "chaos"))

from job import Server  # noqa: E402

# What a language's stubs and build need; deploy/setup_languages.sh installs it.
TOOLS = {
    "go": ["go", "protoc-gen-go", "protoc-gen-go-grpc"],
    "java": ["javac", "grpc_java_plugin"],
    "ruby": ["ruby", "grpc_ruby_plugin"],
    "python": ["grpc_python_plugin"],
}
LIBRARIES = {
    "go": "/usr/share/gocode/src/google.golang.org/grpc",
    "java": "/usr/share/java/grpc-netty.jar",
    "ruby": "/usr/share/doc/ruby-grpc",
}


def command(language):
    """The worker's command, built."""
    if language == "concord":
        return [sys.executable, EXAMPLES / "twenty_steps.py"]
    if language == "cpp":
        return [SERVER.with_name("example_twenty_steps")]
    missing = [tool for tool in TOOLS[language] if shutil.which(tool) is None]
    library = LIBRARIES.get(language)
    if library is not None and not Path(library).exists():
        missing.append(library)
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (deploy/setup_languages.sh)")
    built = subprocess.run(
        [EXAMPLES / "build.sh", language], capture_output=True, text=True, timeout=600
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return [ROOT / "build" / "examples" / language / "twenty_steps"]


def run(worker, *arguments):
    return subprocess.Popen(
        [*worker, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def digest_of(process):
    out, problems = process.communicate(timeout=300)
    assert process.returncode == 0, problems
    return out.strip()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
    one = Server(tmp_path_factory.mktemp("languages"), f"--listen={address}")
    one.tcp = address
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def undisturbed(server):
    wait_for_step(server, None)
    return digest_of(run(command("concord"), server.tcp, "undisturbed"))


def wait_for_step(server, session, step=0):
    """Until the server answers, and the session has come to that step and not to its end."""
    deadline = time.monotonic() + 120
    listed = [SERVER.with_name("concord"), "sessions", "describe", session or "none"]
    while time.monotonic() < deadline:
        done = subprocess.run(
            [*listed, f"--server={server.tcp}", "--json"], capture_output=True, text=True
        )
        if done.returncode == (3 if session is None else 0):
            told = json.loads(done.stdout or "{}").get("committed_step", step)
            if step <= int(told) < STEPS:
                return
        time.sleep(0.02)
    raise TimeoutError(f"{session} has not come to step {step}: {done.stdout} {done.stderr}")


@pytest.mark.parametrize("language", ["concord", "cpp", "python", "go", "ruby", "java"])
def test_every_language_gets_the_same_bits_though_the_server_dies(server, undisturbed, language):
    worker = command(language)
    process = run(worker, server.tcp, f"disturbed-{language}", "300")
    try:
        wait_for_step(server, f"disturbed-{language}", 5)
        server.kill()
        server.start()
        assert digest_of(process) == undisturbed
    finally:
        process.kill()
        process.communicate()
    with concord.watch(server.tcp, f"disturbed-{language}", timeout=20) as watch:
        assert next(watch).result.step == STEPS
