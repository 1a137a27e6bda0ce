"""What MkDocs calls: adds the pages that are made of the repository, and sends links there."""

from __future__ import annotations

import logging
import re

from mkdocs.structure.files import File, Files

import cpp_page
import proto_pages
import python_pages
import repository
import source_pages

log = logging.getLogger("mkdocs.hooks.concord")

# A list right behind a paragraph's line is one on GitHub, and text in Python's Markdown.
_LIST_IN_TEXT = re.compile(r"<p>(?:(?!</p>).)*\n(?:[*+-]|\d+\.) ", re.DOTALL)


def on_files(files: Files, config, **_) -> Files:
    made = {"index.md": repository.text_of(repository.README)}
    made |= python_pages.pages() | proto_pages.pages() | cpp_page.pages()
    written = {file.src_uri: file.content_string for file in files.documentation_pages()}
    made |= source_pages.pages({**written, **made})
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    style = repository.ROOT / "deploy" / "docs" / "site.css"
    files.append(File.generated(config, style.name, abs_src_path=str(style)))
    return files


def on_page_markdown(markdown: str, page, **_) -> str:
    uri = page.file.src_uri
    if page.file.generated_by and uri != "index.md":
        return markdown

    def broken(target: str) -> None:
        log.warning("%s links to %s, which is not there", repository.origin(uri), target)

    return repository.with_links(uri, markdown, broken)


def on_page_content(html: str, page, **_) -> str:
    found = _LIST_IN_TEXT.search(re.sub(r"<pre.*?</pre>", "", html, flags=re.DOTALL))
    if found:
        log.warning(
            "%s: a list needs an empty line before it: …%s",
            repository.origin(page.file.src_uri),
            found[0][-60:].strip(),
        )
    return html
