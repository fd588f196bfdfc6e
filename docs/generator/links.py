"""Links of the guides: to files of the repository, which become pages of the book.

The guides are read in the repository too, where such a link opens the file.
"""

from __future__ import annotations

import re
from posixpath import normpath

from shared_tests.support.sources import ROOT

# Code is passed over: net[-1](x) is no link.
LINK = re.compile(
    r"^(?P<fence>`{3,}).*?^(?P=fence)|`[^`]*`|(?<=\]\()(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))",
    re.MULTILINE | re.DOTALL,
)


def linked(text: str, folder: str, pages: dict[str, str], depth: int = 1) -> tuple[str, set[str]]:
    """The text with its links leading to pages, and the files that need pages of their own.

    folder: of the text in the repository. pages: {path in the repository: page} of what has one.
    depth: how many folders above the page the book begins.
    """
    files: set[str] = set()
    up = "../" * depth

    def page(match: re.Match[str]) -> str:
        target, anchor = match["target"], match["anchor"] or ""
        if not target or "://" in target:
            return match[0]
        path = normpath(f"{folder}/{target}")
        if path in pages:
            return f"{up}{pages[path]}{anchor}"
        if not (ROOT / path).exists():
            raise ValueError(f"{folder}: expected a file of the repository, got {target}")
        files.add(path)
        return f"{up}source/{path}.md"

    return LINK.sub(page, text), files


def source_page(path: str) -> str:
    """A page with one file of the repository, or with the files of one of its folders."""
    here = ROOT / path
    files = sorted(here.glob("*.py")) if here.is_dir() else [here]
    parts = [f"---\norphan: true\n---\n\n# {path}\n"]
    fence = "`" * 6
    for file in files:
        text, name = file.read_text(encoding="utf-8"), file.relative_to(ROOT)
        language = {".py": "python", ".toml": "toml", ".json": "json"}.get(file.suffix, "text")
        caption = f":caption: {name}\n\n" if here.is_dir() else ""
        parts.append(f"{fence}{{code-block}} {language}\n{caption}{text}\n{fence}\n")
    return "\n".join(parts)
