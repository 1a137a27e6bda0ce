"""The installed C++ client: found by find_package, used out of the tree."""

import subprocess

import pytest

from conftest import ROOT, SERVER

BUILD = SERVER.parents[1]


def run(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    directory = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", BUILD, "--prefix", directory)
    return directory


def test_a_project_out_of_the_tree_builds_and_trains(prefix, tmp_path, server):
    run(
        "cmake",
        *("-S", ROOT / "client/examples/cpp", "-B", tmp_path, "-G", "Ninja"),
        f"-DCMAKE_PREFIX_PATH={prefix}",
    )
    run("cmake", "--build", tmp_path)
    told = run(tmp_path / "two_losses", server.tcp)
    assert told.count("conflict-free") == 20


def test_the_installed_package_names_neither_the_sources_nor_the_build(prefix):
    files = [path for path in prefix.rglob("*.cmake") if path.is_file()]
    assert {"ConcordConfig.cmake", "ConcordTargets.cmake"} <= {path.name for path in files}
    for path in files:
        text = path.read_text()
        assert str(ROOT) not in text and str(BUILD) not in text, path


def test_the_programs_are_installed(prefix):
    for program in ("concord-server", "concord"):
        assert run(prefix / "bin" / program, "--version").strip()
