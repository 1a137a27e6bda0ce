"""Pages of the sources that other pages link to."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

import repository

_LANGUAGES = {
    ".cc": "cpp", ".h": "cpp", ".proto": "protobuf", ".py": "python", ".sh": "bash",
    ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".md": "markdown", ".toml": "toml",
    ".go": "go", ".rb": "ruby", ".java": "java",
}  # fmt: skip
_HEAD = "---\nsearch:\n  exclude: true\n---\n\n"


def pages(written: Mapping[str, str]) -> dict[str, str]:
    """Of all files and folders that the pages `written` link to."""
    made: dict[str, str] = {}
    for page, markdown in written.items():
        for path in repository.linked(page, markdown):
            if repository.exists(path) and repository.place(path).startswith("source/"):
                made |= _pages_of(path)
    return made


def _pages_of(path: str) -> dict[str, str]:
    if path in repository.tracked():
        return {repository.place(path): _file_page(path)}
    made, rows = {}, []
    for name in repository.folders_below(path):
        made |= _pages_of(name)
        rows.append(f"| [{posixpath.basename(name)}/]({posixpath.basename(name)}/index.md) | |")
    for name in filter(repository.is_text, repository.files_below(path)):
        made |= _pages_of(name)
        rows.append(
            f"| [{posixpath.basename(name)}]({posixpath.basename(name)}.md) | {_about(name)} |"
        )
    listing = "\n".join([f"{_HEAD}# {path}\n", "| file | |", "|---|---|", *rows, ""])
    return {**made, repository.place(path): listing}


def _file_page(path: str) -> str:
    language = _LANGUAGES.get(posixpath.splitext(path)[1], "text")
    fence = "`" * 8  # More than any file has.
    return f"{_HEAD}# {path}\n\n{fence}{language}\n{repository.text_of(path).rstrip()}\n{fence}\n"


def _about(path: str) -> str:
    """The first sentence of the comment that a file begins with, of a header or a script."""
    mark = {".h": r"//", ".proto": r"//", ".py": r'(?:""")?', ".sh": r"#"}.get(
        posixpath.splitext(path)[1], r"(?!)"
    )
    lines = []
    for line in repository.text_of(path).splitlines():
        found = re.match(rf"{mark}\s?(?!!)(\S.*)", line)
        if found:
            lines.append(found[1].strip('" '))
        elif lines or (not line.startswith(("#!", "syntax", "#")) and line):
            break
    sentence = re.split(r"(?<=[\w)'\"])\.(?: (?=[A-Z])|$)", " ".join(lines))[0]
    return escaped(sentence.rstrip(",:"))


def escaped(text: str) -> str:
    """Plain text as Markdown, also in a table's cell. `Code` stays code."""
    parts = re.split(r"(`[^`\n]+`)", text)
    for i, part in enumerate(parts):
        special = (
            r"([|])" if part.startswith("`") and part.endswith("`") else r"([\\`*_{}\[\]<>|#])"
        )
        parts[i] = re.sub(special, r"\\\1", part)
    return "".join(parts)
