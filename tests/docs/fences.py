"""Fenced code of Markdown pages."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Fence(NamedTuple):
    language: str
    title: str
    code: str


def fences(page):
    text = (DOCS / page).read_text()
    assert text.count("\n```") == 2 * len(_FENCE.findall(text)), "a fence of another form"
    return [Fence(*found) for found in _FENCE.findall(text)]
