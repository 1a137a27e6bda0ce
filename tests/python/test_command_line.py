"""The command line as a process: `concord operators`, and the documentation's table."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

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


def test_sessions_are_tended_from_the_command_line(durable_server, tmp_path):
    server = f"--server={durable_server.tcp}"
    with concord.Session(durable_server.tcp, name="heat", num_vectors=2, num_parameters=3) as job:
        first = job.step({0: torch.ones(3), 1: torch.arange(3.0)}).update
        listed = run("sessions", "list", server)
        assert listed.returncode == 0
        head, line = (text.split() for text in listed.stdout.splitlines())
        assert head[:4] == ["session", "step", "losses", "parameters"]
        assert line[:4] == ["sessions/heat", "1", "2", "3"]
        described = run("sessions", "describe", "heat", server)
        assert "pseudo" in described.stdout and "config" in described.stdout.lower()
        taken = run("sessions", "checkpoint", "sessions/heat", server)
        assert taken.stdout == "sessions/heat/checkpoints/1\n"
        assert run("sessions", "checkpoints", "heat", server).stdout == taken.stdout
        state = tmp_path / "heat.safetensors"
        assert run("sessions", "export", "heat", state, server).returncode == 0
        assert state.stat().st_size > 0
        job.step({0: torch.ones(3)})
    restored = run("sessions", "restore", "heat", "sessions/heat/checkpoints/1", server, "--json")
    found = json.loads(restored.stdout)
    assert (found["committed_step"], found["epoch"]) == ("1", "2")
    found = json.loads(run("sessions", "import", "heat", state, server, "--json").stdout)
    assert (found["committed_step"], found["epoch"]) == ("1", "3")
    with concord.Session(
        durable_server.tcp, name="heat", num_vectors=2, num_parameters=3, resume_step=0
    ) as job:
        assert torch.equal(job.step({}).update, first)
    deleted = run("sessions", "delete", "heat", server)
    assert (deleted.returncode, deleted.stdout, deleted.stderr) == (0, "", "")
    assert run("sessions", "list", server, "--json").stdout == ""


def test_statistics_tell_what_sessions_did_and_where_the_time_went(durable_server):
    server = f"--server={durable_server.tcp}"
    with concord.Session(durable_server.tcp, name="heat", num_vectors=2, num_parameters=3) as job:
        job.step({0: torch.ones(3)})
        for _ in range(3):
            job.step({0: torch.ones(3), 1: torch.arange(3.0)})
    told = json.loads(run("statistics", server, "--json").stdout)
    assert told["total"]["steps"]["warming_up"] == "1"
    assert told["total"]["steps"]["conflict_free"] == "3"
    (session,) = told["sessions"]
    assert session["session"] == "sessions/heat"
    assert session["statistics"]["steps"] == told["total"]["steps"]
    assert session["statistics"]["answers"]["update"] == "4"
    for phase in ("receive", "ingest", "wait", "solve", "commit", "send"):
        assert session["statistics"][phase]["count"] == "4"
        assert session["statistics"][phase]["sum"].endswith("s")
    text = run("statistics", server)
    assert text.returncode == 0 and text.stdout.startswith("since 2")
    counts, times = (part.splitlines() for part in text.stdout.split("\n\n")[1:])
    assert [line.split("  ")[1] for line in counts[1:]] == ["the whole server", "sessions/heat"]
    assert counts[2].split()[:7] == ["sessions/heat", "3", "0", "0", "1", "0", "4"]
    assert times[0].split() == ["mean", "receive", "ingest", "wait", "solve", "commit", "send"]
    alone = run("statistics", "heat", server)
    assert "the whole server" not in alone.stdout and "sessions/heat" in alone.stdout
    assert run("statistics", "nowhere", server).returncode == 3


def test_exit_codes_tell_scripts_what_was_wrong(server, tmp_path):
    assert run("health", f"--server={server.tcp}").stdout == "serving\n"
    assert run("health", f"--server=unix:{tmp_path}/nobody").returncode == 2
    gone = run("sessions", "describe", "nowhere", f"--server={server.tcp}")
    assert gone.returncode == 3 and "nowhere" in gone.stderr
    assert run("sessions", "export", "nowhere", tmp_path, f"--server={server.tcp}").returncode == 3
    assert run("sessions", f"--server={server.tcp}").returncode > 100
