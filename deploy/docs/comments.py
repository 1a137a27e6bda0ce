"""A class's attributes are described by comments, which the Python pages show as docstrings."""

from __future__ import annotations

import re
from typing import Any

from griffe import Attribute, Docstring, Extension


class Comments(Extension):
    """Takes the comment above an attribute, and the one behind it on its line."""

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        if attr.docstring or attr.lineno is None or not (attr.parent and attr.parent.is_class):
            return
        lines = attr.lines_collection[attr.filepath]
        above = []
        for line in reversed(lines[: attr.lineno - 1]):
            if not line.strip().startswith("#"):
                break
            above.insert(0, line.strip().lstrip("# "))
        behind = re.findall(r"  # (.*)$", lines[(attr.endlineno or attr.lineno) - 1])
        text = "\n".join([*above, *behind])
        if text:
            attr.docstring = Docstring(text, lineno=attr.lineno, parent=attr)
