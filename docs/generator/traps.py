"""The rows of docs/porting.md: each trap, in every framework, and what to do about it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

CELLS = re.compile(r"(?<!\\)\|")
FIRST = re.compile(r'<a id="(?P<name>[\w-]+)"></a>\*\*[\w-]+\*\*(?:: (?P<title>.*))?')
NOTE = re.compile(r"^- \*\*(?P<names>[\w\-, ]+)\*\*: (?P<text>(?:.*\n)(?:  .*\n)*)", re.MULTILINE)


class Trap(NamedTuple):
    """One row. frameworks: {its name in the table's head: what it does}; note: the reasons."""

    name: str
    chapter: str
    title: str
    frameworks: dict[str, str]
    remedy: str
    note: str

    @property
    def place(self) -> str:
        """The anchor of its chapter in the guide."""
        return re.sub(r"[^\w\- ]", "", self.chapter.lower()).replace(" ", "-")


def traps(path: Path) -> list[Trap]:
    """All traps, in the order of the guide."""
    text = path.read_text(encoding="utf-8")
    notes = {
        name.strip(): match["text"]
        for match in NOTE.finditer(text)
        for name in match["names"].split(",")
    }
    found, chapter, head = [], "", []
    for line in text.splitlines():
        if line.startswith("## "):
            chapter = line.removeprefix("## ")
        elif line.startswith("| trap |"):
            head = [cell.strip() for cell in line.strip("|").split("|")][1:-1]
        elif line.startswith("| <a id="):
            first, *cells, remedy = [cell.strip() for cell in CELLS.split(line)[1:-1]]
            match = FIRST.fullmatch(first)
            assert match, f"expected a trap's name and title, got {first}"
            name, title = match["name"], match["title"] or match["name"].replace("-", " ")
            own = dict(zip(head, cells, strict=True))
            found.append(Trap(name, chapter, title, own, remedy, notes.get(name, "")))
    return found
