"""The command line as a process: `concord operators`, and the documentation's table."""

import json
import os
import subprocess
from pathlib import Path

import pytest

import concord
import concord.grad_operator
import concord.methods

ROOT = Path(__file__).resolve().parents[2]
CONCORD = Path(os.environ.get("CONCORD_BUILD", ROOT / "build")) / "bin" / "concord"


def run(*arguments):
    return subprocess.run([CONCORD, *arguments], capture_output=True, text=True, timeout=60)


def listed(*arguments):
    done = run("operators", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def names(entries):
    return [entry["name"] for entry in entries]


def test_the_table_has_a_line_for_everything_that_the_json_lists():
    done = run("operators")
    assert done.returncode == 0 and done.stderr == ""
    first_words = [line.split()[0] for line in done.stdout.splitlines() if line.strip()]
    for key, entries in listed().items():
        if key != "version":
            assert set(names(entries)) <= set(first_words)


def test_every_method_that_python_offers_is_listed():
    offered = {*concord.methods.__all__, "ConFIGOperator"}
    assert offered <= set(names(listed()["combiners"]))


def test_every_combiner_comes_with_its_facts():
    for combiner in listed()["combiners"]:
        assert combiner["kind"] in ("linear", "columns")
        for fact in ("family", "conflict_free", "scale_invariant", "formula"):
            assert combiner[fact], (combiner["name"], fact)


def test_the_documentations_table_tells_the_same_facts():
    facts = {method["name"]: method for method in listed()["combiners"]}
    described = {}
    lines = (ROOT / "docs" / "operators.md").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| operator |"))
    columns = [cell.strip() for cell in lines[start].strip("|").split("|")]
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = [
            cell.strip().replace("\0", "|")
            for cell in line.replace("\\|", "\0").strip("|").split("|")
        ]
        row = dict(zip(columns, cells))
        described[row["operator"] + "Operator"] = row
    assert set(described) == set(facts)
    for name, row in described.items():
        fact = facts[name]
        assert row["family"] == fact["family"], name
        assert row["coefficients"] == fact["formula"], name
        assert row["free"] == fact["conflict_free"], name
        assert row["scale"] == fact["scale_invariant"], name
        assert row["state"] == (fact["state"] or "\u2013"), name


@pytest.mark.parametrize("address", ["tcp", "unix"])
def test_a_server_says_what_it_has(server, address):
    built_in, of_server = listed(), listed(f"--server={getattr(server, address)}")
    assert of_server["combiners"] == built_in["combiners"]
    assert of_server["momentum_operators"] == built_in["momentum_operators"]
    assert of_server["server"] == getattr(server, address)
    assert of_server["device"] == "cpu"
    table = run("operators", f"--server={server.tcp}")
    assert table.returncode == 0 and server.tcp in table.stdout.splitlines()[0]


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["operators", "--server=127.0.0.1:1"], "--server=127.0.0.1:1: "),
        (["operators", "--server=unix:/nowhere/socket", "--json"], "unix:/nowhere/socket"),
        (["operators", "--server=nonsense"], "HOST:PORT"),
        (["operators", "--timeout=soon"], "a duration like"),
        (["operators", "--other"], "--other"),
        (["combiners"], "combiners"),
        ([], "subcommand"),
    ],
)
def test_errors_go_to_stderr_with_another_status(arguments, text):
    done = run(*arguments)
    assert done.returncode != 0
    assert text in done.stderr
    assert done.stdout == ""


def test_output_that_cannot_be_written_is_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [CONCORD, "operators"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 1
    assert "stdout" in done.stderr


def test_the_version_is_the_python_packages():
    assert run("--version").stdout.strip() == concord.__version__
