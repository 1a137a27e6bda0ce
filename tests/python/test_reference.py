"""The reference pages against the programs, both ways: flags, commands and metrics."""

import re
import shlex
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
import torch

import concord
from conftest import SERVER, Server

ROOT = Path(__file__).resolve().parents[2]
CONCORD = SERVER.with_name("concord")


def rows(page, head):
    """The cells of the table under the line `head` of a page in docs/."""
    lines = (ROOT / "docs" / page).read_text().splitlines()
    start = lines.index(head) + 2
    found = []
    for line in lines[start:]:
        if not line.startswith("|"):
            return found
        found.append([cell.strip() for cell in re.split(r"(?<= )\|", line[1:-1])])
    return found


def section(title):
    """The lines of a section of the reference page."""
    text = (ROOT / "docs" / "reference.md").read_text()
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def documented_flags(title):
    cells = re.findall(r"^\| (`--[^|]*) \|", section(title), re.MULTILINE)
    return {flag for cell in cells for flag in re.findall(r"`(--[a-z-]+)`", cell)}


def help_of(*command):
    done = subprocess.run([*map(str, command), "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def flags(text):
    return set(re.findall(r"^ +(?:-\w,)?(--[a-z-]+)", text, re.MULTILINE))


def subcommands(text):
    return re.findall(r"^  ([a-z]+) ", text.split("Subcommands:")[-1], re.MULTILINE)


def test_every_flag_of_the_server_is_documented_and_there():
    assert flags(help_of(SERVER)) == documented_flags("concord-server")


def commands_of_the_command_line():
    """The words of each, like ["sessions", "list"]."""
    commands = []
    for name in subcommands(help_of(CONCORD)):
        below = help_of(CONCORD, name)
        nested = subcommands(below) if "Subcommands:" in below else []
        commands += [[name, inner] for inner in nested] or [[name]]
    return commands


def test_every_command_and_flag_of_the_command_line_is_documented_and_there():
    commands = commands_of_the_command_line()
    documented = [
        row[0].strip("`").split()[1:] for row in rows("reference.md", "| command | what |")
    ]
    assert sorted(documented) == sorted(commands)
    offered = flags(help_of(CONCORD)).union(*(flags(help_of(CONCORD, *c)) for c in commands))
    assert offered == documented_flags("concord")


def completion(shell):
    done = subprocess.run([CONCORD, "completion", shell], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def completed(*words):
    """What bash offers in the place of the last word."""
    line = " ".join(map(shlex.quote, ["concord", *words]))
    script = [
        completion("bash"),
        f"COMP_WORDS=({line}) COMP_CWORD={len(words)}",
        'if _concord; then printf "%s\\n" "${COMPREPLY[@]}"; fi',
    ]
    done = subprocess.run(["bash", "-u", "-c", "\n".join(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("command", [[], *commands_of_the_command_line()], ids=" ".join)
def test_bash_completes_every_command_and_flag(command):
    text = help_of(CONCORD, *command)
    expected = flags(text) | set(subcommands(text) if "Subcommands:" in text else [])
    assert set(completed(*command, "")) == expected


def test_bash_completes_the_word_that_was_begun():
    assert completed("sessions", "list", "--tls-c") == ["--tls-ca", "--tls-cert"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_every_command_and_flag_is_in_the_other_shells_completions(shell):
    script = completion(shell)
    for command in commands_of_the_command_line():
        for word in command:
            assert re.search(rf"(?:-a |'){word}\b", script), word
        for flag in flags(help_of(CONCORD, *command)):
            written = flag if shell == "zsh" else f"-l {flag[2:]} "
            assert written in script, (command, flag)
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """The metrics of a server that has done a step."""
    place = tmp_path_factory.mktemp("metrics")
    server = Server(place, "--metrics-listen=127.0.0.1:0", f"--state-dir={place}/state")
    try:
        with concord.Session(server.tcp, "heat", num_vectors=1, num_parameters=10) as session:
            session.step({0: torch.ones(10)})
            address = next(
                found[1]
                for line in server.log
                if (found := re.search(r'listening_for_metrics","address":"(.+?)"', line))
            )
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
                yield answer.read().decode()
    finally:
        server.stop()


def test_every_metric_is_documented_with_its_type_and_labels_and_there(scraped):
    served = dict(re.findall(r"^# TYPE (\S+) (\S+)$", scraped, re.MULTILINE))
    table = rows("metrics.md", "| metric | type | labels | what |")
    assert {row[0].strip("`"): row[1] for row in table} == served
    for name, kind, labels, _ in table:
        bare = name.strip("`") + ("_count" if kind == "histogram" else "")
        samples = re.findall(rf"^{bare}(?:{{(.*)}})? \S+$", scraped, re.MULTILINE)
        assert samples, name
        for sample in samples:
            # Label names stand before their values, which follow a colon.
            expected = re.findall(r"`(\w+)`", labels.split(":")[0])
            assert sorted(re.findall(r"(\w+)=", sample)) == sorted(expected), name
        if ":" in labels and "status code" not in labels:
            values = set(re.findall(r"`(\w+)`", labels.split(":")[1]))
            assert {re.search(r'="(\w+)"', sample)[1] for sample in samples} == values, name


def test_every_metric_of_the_alert_rules_is_served(scraped):
    rules = (ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text()
    expressions = re.findall(r"expr: (?:\|\n((?:          .*\n)+)|(.*)\n)", rules)
    assert expressions
    served = set(re.findall(r"^# TYPE (\S+)", scraped, re.MULTILINE)) | {"up"}
    for expression in ("".join(parts) for parts in expressions):
        used = set(re.findall(r"\b((?:concord|process)_\w+|up)\b", expression))
        assert used and used <= served, expression
