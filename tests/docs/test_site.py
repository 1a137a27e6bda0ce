"""The site's parts: navigation, links, and that the generated pages leave nothing out.

deploy/docs.sh builds all of it, with warnings as errors.
"""

import re
import sys

import griffe
import pytest
import yaml

from fences import DOCS, ROOT, fences

sys.path.insert(0, str(ROOT / "deploy" / "docs"))
import comments
import cpp_page
import hooks
import proto_pages
import python_pages
import repository
import source_pages

CONFIG = yaml.safe_load((ROOT / "deploy" / "docs" / "mkdocs.yml").read_text())
READ_IN_THE_REPOSITORY = ["README.md", *(f"docs/{path.name}" for path in DOCS.glob("*.md"))]


def in_navigation(entry):
    if isinstance(entry, str):
        return {entry}
    parts = entry.values() if isinstance(entry, dict) else entry
    return set().union(*map(in_navigation, parts))


def test_every_page_has_a_place_in_the_navigation():
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    made = set(python_pages.pages()) | set(proto_pages.pages()) | set(cpp_page.pages())
    assert in_navigation(CONFIG["nav"]) == written | made | {"index.md"}


@pytest.mark.parametrize("path", READ_IN_THE_REPOSITORY)
def test_links_lead_somewhere_in_the_repository(path):
    page = "index.md" if path == "README.md" else path.removeprefix("docs/")
    for target in repository.linked(page, repository.text_of(path)):
        assert repository.exists(target), f"{path} links to {target}"


def test_links_are_turned_to_where_things_are_on_the_site():
    broken = []
    text = (
        "[a](rounds.md) [`b`](../proto/concord/v1/step.proto#join) [c](../README.md) "
        "[d](../operators/combine) [e](https://example.org) [f](../gone.md)\n"
        "```\n[g](../README.md)\n```\n"
    )
    found = repository.with_links("design.md", text, broken.append)
    assert found == (
        "[a](rounds.md) [`b`](api/proto/step.md#join) [c](index.md) "
        "[d](source/operators/combine/index.md) [e](https://example.org) [f](../gone.md)\n"
        "```\n[g](../README.md)\n```\n"
    )
    assert broken == ["../gone.md"]
    readme = repository.with_links("index.md", "[a](docs/rounds.md)", broken.append)
    assert readme == "[a](rounds.md)"


def test_what_pages_link_to_has_a_page():
    made = source_pages.pages({"design.md": "[a](../operators/combine) [b](../deploy/lib.sh)"})
    assert "source/operators/combine/config.h.md" in made
    listing = made["source/operators/combine/index.md"]
    assert "| [config.h](config.h.md) | ConFIG: the direction with equal" in listing
    assert "```bash\n" in made["source/deploy/lib.sh.md"]
    below = source_pages.pages({"examples.md": "[a](../client/examples)"})
    assert "[cpp/](cpp/index.md)" in below["source/client/examples/index.md"]
    assert "source/client/examples/cpp/two_losses.cc.md" in below


def test_every_part_of_the_protocol_is_described():
    pages = proto_pages.pages()
    for path in (ROOT / "proto" / "concord" / "v1").glob("*.proto"):
        text = re.sub(r"//.*|reserved .*", "", path.read_text())
        page = pages[f"api/proto/{path.stem}.md"]
        for name in re.findall(r"^ *(?:message|enum|service) (\w+)", text, re.MULTILINE):
            assert re.search(rf"^##+ (?:\w+\.)*{name} ", page, re.MULTILINE), name
        for name in re.findall(r"(\w+) = \d+(?: \[.*\])?;|rpc (\w+)\(", text):
            assert f"| `{''.join(name)}` |" in page, name


def test_comments_of_the_protocol_arrive():
    page = proto_pages.pages()["api/proto/step.md"]
    assert "| `rank` | uint32 | 2 | In \\[0, num\\_workers). |" in page
    assert "[DataType](operators.md#datatype)" in page
    assert "The `Step` stream: one per worker (rank), many steps on it" in page


def test_the_cpp_page_has_the_public_headers_and_no_others():
    headers = cpp_page.public_headers()
    assert {"client/cpp/client.h", "client/cpp/session.h"} <= set(headers)
    assert not [name for name in headers if name.endswith("_impl.h")]
    page = cpp_page.pages()["api/cpp.md"]
    assert page.count("```") % 2 == 0
    for header in headers:
        for name in re.findall(r"^(?:class|struct) (\w+)", repository.text_of(header), re.M):
            assert re.search(rf"^(class|struct) {name}\b", page, re.M), name


def test_comments_of_attributes_are_their_docstrings():
    package = griffe.load(
        "concord.results",
        search_paths=[ROOT / "client" / "python"],
        extensions=griffe.load_extensions(comments.Comments),
    )
    attributes = package["StepResult"].attributes
    assert attributes["step"].docstring.value == "The first step is 1."
    assert attributes["direction_cosines"].docstring.value.startswith("Between the direction (")
    assert attributes["attempts"].docstring is None


def test_a_list_that_only_github_shows_as_one_is_noticed(caplog):
    class Page:
        class file:
            src_uri = "design.md"

    hooks.on_page_content("<p>Three:\n* one</p>", Page)
    assert "docs/design.md: a list needs an empty line" in caplog.text
    caplog.clear()
    hooks.on_page_content("<p>Three:</p>\n<pre>\n* one</pre><p>a * b</p>", Page)
    assert not caplog.text


def test_the_code_of_the_examples_page_runs():
    for fence in fences("examples.md"):
        exec(compile(fence.code, "examples.md", "exec"), {})
