"""The page of the C++ client: its public headers, which are their own manuals."""

from __future__ import annotations

import posixpath
import re

import repository
from source_pages import escaped

_FIRST = "client/cpp/client.h"


def pages() -> dict[str, str]:
    parts = [
        "# C++\n\nThe client's public headers; each is the manual of what it declares. "
        "`#include` them as they are named here.\n"
    ]
    for path in public_headers():
        comment, rest = _split(repository.text_of(path))
        parts.append(f"## {path}\n\n{_prose(comment)}\n\n```cpp\n{rest}\n```\n")
    return {"api/cpp.md": "\n".join(parts)}


def public_headers() -> list[str]:
    """client.h, and what of the client's it includes."""
    found: list[str] = []
    waiting = [_FIRST]
    while waiting:
        path = waiting.pop(0)
        if path in found:
            continue
        found.append(path)
        included = re.findall(r'^#include "(\S+)"', repository.text_of(path), re.MULTILINE)
        waiting += [name for name in included if posixpath.dirname(name) == "client/cpp"]
    return found


def _split(text: str) -> tuple[list[str], str]:
    """The comment at the top, and the declarations without guard and includes."""
    lines = text.splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("//"))
    comment = [line[2:] for line in lines[:end]]
    rest = [line for line in lines[end:] if not re.match(r"#(ifndef|define|endif|include)", line)]
    return comment, re.sub(r"\n{3,}", "\n\n", "\n".join(rest)).strip("\n")


def _prose(comment: list[str]) -> str:
    """Paragraphs; what is indented is code."""
    blocks, code = [], False
    for line in comment:
        text = line[1:] if line.startswith(" ") else line
        indented = text.startswith("  ") or (code and not text)
        if indented and not code:
            blocks.append("\n```cpp")
        elif code and not indented:
            blocks.append("```\n")
        code = indented
        blocks.append(text[2:] if code else escaped(text))
    return "\n".join([*blocks, *(["```"] if code else [])])
