"""Pages of the Python package, one a public module, which mkdocstrings fills in."""

from __future__ import annotations

import ast

import repository

_PACKAGE = "client/python/concord"


def pages() -> dict[str, str]:
    made, rows = {}, []
    for name, path in _modules().items():
        tree = ast.parse(repository.text_of(path))
        whole = "inherited_members: false"
        options = whole if path.endswith("__init__.py") else _options(tree)
        made[f"api/python/{name}.md"] = (
            f"# concord.{name}\n\n::: concord.{name}\n    options: {{{options}}}\n"
        )
        docstring = ast.get_docstring(tree) or ""
        rows.append(f"| [`concord.{name}`]({name}.md) | {docstring.splitlines()[0]} |")
    head = "# Python\n\nWhat the modules have stands in `concord` itself, too, but for\n"
    head += "`methods`, `utils`, `errors`, `aggregation` and `torch`.\n\n"
    head += "| module | what |\n|---|---|\n"
    made["api/python/index.md"] = head + "\n".join(rows) + "\n"
    return made


def _options(tree: ast.Module) -> str:
    """Which of a module's names are shown: its own classes and functions and those of
    private modules, with what they inherit from classes that are not shown."""
    exported = _exported(tree)
    own = []
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            own.append(node.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("concord._"):
            own += [alias.name for alias in node.names if alias.name in exported]
    own = [name for name in own if not name.startswith("_") and name in (exported or own)]
    return f"inherited_members: true, members: [{', '.join(own)}]"


def _exported(tree: ast.Module) -> list[str]:
    """__all__, where a module has one."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def _modules() -> dict[str, str]:
    """Public modules and packages: {name: path}."""
    found = {}
    for path in sorted(repository.tracked()):
        parts = path.removeprefix(f"{_PACKAGE}/").removesuffix(".py").split("/")
        if not path.startswith(f"{_PACKAGE}/") or not path.endswith(".py"):
            continue
        name = parts[0]
        if not name.startswith("_") and parts[1:] in ([], ["__init__"]):
            found[name] = path
    return found
