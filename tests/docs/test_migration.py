"""The migration pages: their programs run before and after, their names exist."""

import importlib
import re
import sys
import warnings

import conflictfree.grad_operator
import pytest
import torch
import torchjd.aggregation

import concord.aggregation
import concord.grad_operator
import concord.methods
from fences import DOCS, ROOT

sys.path.insert(0, str(ROOT / "client" / "examples"))
from burgers.server import DEFAULT_PROGRAM, Server

PAGES = ("migration_conflictfree.md", "migration_torchjd.md")
ADDRESS = "127.0.0.1:50051"
_DIFF = re.compile(r"<!-- (the same|differs): (\w+) -->\n```diff\n(.*?)^```$", re.M | re.S)
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)

DIFFS = [(page, *found) for page in PAGES for found in _DIFF.findall((DOCS / page).read_text())]


@pytest.fixture
def address(tmp_path):
    with Server(DEFAULT_PROGRAM, tmp_path / "server.log") as running:
        yield running.address


def one_side(diff, other):
    """The program without the lines of the other side."""
    lines = [line for line in diff.splitlines() if not line.startswith(other)]
    return "\n".join(line[1:] for line in lines)


def run(program):
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cvxpy's, of how torchjd states its programs.
        exec(compile(program, "the page", "exec"), names)
    return names


@pytest.mark.parametrize(("page", "how", "name", "diff"), DIFFS)
def test_a_change_does_what_the_page_says_of_it(page, how, name, diff, request):
    before = one_side(diff, "+")
    after = one_side(diff, "-")
    if ADDRESS in after:
        after = after.replace(ADDRESS, request.getfixturevalue("address"))
    found = [run(program)[name] for program in (before, after)]
    if how == "differs":
        assert not torch.allclose(*found, equal_nan=True)
    elif ADDRESS in diff:
        assert torch.equal(*found), "bit for bit"
    else:
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_every_change_of_the_pages_is_run():
    for page in PAGES:
        text = (DOCS / page).read_text()
        assert text.count("```diff") == sum(found[0] == page for found in DIFFS) > 0
        for program in _PYTHON.findall(text):
            run(program)


def named(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_every_name_in_conflictfrees_table_is_there():
    paths = re.findall(r"`((?:conflictfree|concord)\.[\w.]+)`", (DOCS / PAGES[0]).read_text())
    assert len(paths) > 20
    for path in paths:
        assert named(path)


def test_torchjds_table_has_all_its_aggregators_and_says_what_stands_for_them():
    text = (DOCS / PAGES[1]).read_text()
    rows = re.findall(r"^\| `(\w+)` \| (`\w+`|–) \| (`\w+(?:\(.*\))?`|–) \|$", text, re.M)  # noqa: RUF001
    theirs = {name for name in torchjd.aggregation.__all__ if "Aggregator" not in name}
    alone = {name for name in theirs if name.removesuffix("Weighting") not in theirs - {name}}
    assert {row[0] for row in rows} == {name for name in alone if name != "Weighting"}
    for name, ours, operator in rows:
        if ours == "–":  # noqa: RUF001
            with pytest.raises(AttributeError, match="does not serve"):
                getattr(concord.aggregation, name)
            continue
        assert ours == f"`{name}`" and getattr(concord.aggregation, name)
        scope = {**vars(concord.methods), **vars(concord.grad_operator)}
        if "(" in operator:
            assert eval(operator.strip("`"), scope).reg_eps == 1e-4
        else:
            assert operator.strip("`") in scope


def test_conflictfree_refuses_what_the_page_says():
    operator = conflictfree.momentum_operator.PseudoMomentumOperator(2)
    with pytest.raises(AssertionError):
        operator.calculate_gradient([0], [torch.ones(3)], [1.0])
