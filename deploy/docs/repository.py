"""Files of the repository, as pages see them: what they link to, and where that is on the site."""

from __future__ import annotations

import posixpath
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = "README.md"
PROTO = "proto/concord/v1"

# A link's target, outside of fenced code.
_LINKS = re.compile(
    r"^(?P<fence>```+|~~~+).*?^(?P=fence)"
    r"|(?<=\])\((?P<target>[^()\s#:]+)(?P<anchor>#[^()\s]*)?\)",
    re.MULTILINE | re.DOTALL,
)


@cache
def tracked() -> frozenset[str]:
    """Files that git knows, or would with `git add`."""
    found = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return frozenset(name for name in found.stdout.split("\0") if (ROOT / name).is_file())


def files_below(folder: str) -> list[str]:
    """The files of a folder itself, without those of folders in it."""
    return sorted(name for name in tracked() if posixpath.dirname(name) == folder)


def folders_below(folder: str) -> list[str]:
    """The folders in a folder."""
    inner = [name[len(folder) + 1 :] for name in tracked() if name.startswith(f"{folder}/")]
    return sorted({f"{folder}/{name.split('/')[0]}" for name in inner if "/" in name})


def exists(path: str) -> bool:
    return path in tracked() or any(name.startswith(f"{path}/") for name in tracked())


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def is_text(path: str) -> bool:
    try:
        text_of(path)
    except UnicodeDecodeError:
        return False
    return True


def origin(page: str) -> str:
    """Where a page of the site lies in the repository."""
    return README if page == "index.md" else f"docs/{page}"


def _resolved(page: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin(page)), target))


def linked(page: str, markdown: str) -> Iterator[str]:
    """Paths in the repository that a page links to."""
    for found in _LINKS.finditer(markdown):
        if found["target"]:
            yield _resolved(page, found["target"])


def place(path: str) -> str:
    """Where something of the repository is on the site."""
    if path == README:
        return "index.md"
    if path == PROTO:
        return "api/proto/index.md"
    folder, name = posixpath.split(path)
    stem, extension = posixpath.splitext(name)
    if folder == PROTO:
        return f"api/proto/{stem}.md"
    if folder == "docs" or (path.startswith("docs/") and extension not in (".py", ".toml")):
        return posixpath.relpath(path, "docs")
    return f"source/{path}.md" if path in tracked() else f"source/{path}/index.md"


def with_links(page: str, markdown: str, on_broken: Callable[[str], None]) -> str:
    """The page with links to where things are on the site."""

    def on_site(found: re.Match[str]) -> str:
        target = found["target"]
        if not target:
            return found[0]
        path = _resolved(page, target)
        if not exists(path):
            on_broken(target)
            return found[0]
        relative = posixpath.relpath(place(path), posixpath.dirname(page) or ".")
        return f"({relative}{found['anchor'] or ''})"

    return _LINKS.sub(on_site, markdown)
