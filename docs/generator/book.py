"""The pages of the book, made of the repository's files and of what was measured."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from docs.generator import examples, programs
from docs.generator.links import linked, source_page
from docs.generator.programs import TITLES
from docs.generator.reference import reference
from docs.generator.sources import beside, implementations
from docs.generator.speed import speed
from docs.generator.traps import Trap, traps
from docs.generator.tried import TRIED, copy_files
from docs.generator.verdict import agrees, in_browser, verdict
from fourfold.definition import BACKENDS, Definition
from fourfold.project import definitions
from shared_tests.backends.browser import carries
from shared_tests.repository import PACKAGES
from shared_tests.support.sources import ROOT

DOCS = ROOT / "docs"
HERE = Path(__file__).parent
COUNTS = {1: "One", 2: "Two", 3: "Three", 4: "Four"}


@dataclass(frozen=True)
class Measured:
    """What pages may say of numbers, and what they let a reader try.

    effects: {backend: {component: {mutant: its effect}}}.
    outputs: {backend: {page: what each of its blocks of code printed}}.
    models: a folder of docs.generator.models.
    benchmarks: the report of `nox -s bench`; empty where it was not run.
    """

    parity: Mapping[str, Any]
    effects: Mapping[str, Any]
    outputs: programs.Outputs
    models: Path
    benchmarks: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Book:
    """All pages. `write` gives each a file below a folder that Sphinx then builds."""

    measured: Measured
    pages: dict[str, str] = field(default_factory=dict)  # {path below the folder: text}

    def write(self, folder: Path) -> int:
        """Write all pages, and what Sphinx needs beside them. Returns how many pages."""
        found = [one for one in definitions() if implementations(one.component)]
        every = traps(DOCS / "porting.md")
        for definition in found:
            self._add_component(definition, every)
        self._add_traps(every)
        guides = [path.stem for path in sorted(DOCS.glob("*.md"))]
        for name in guides:
            self.pages[f"guides/{name}.md"] = self._page(f"{name}.md")
        chapters = [path.stem for path in sorted(DOCS.glob("chapters/*.md"))]
        for name in chapters:
            self.pages[f"chapters/{name}.md"] = self._page(f"chapters/{name}.md")
        modules = reference()
        described = {one.component for one in found}
        for module, entries in modules.items():
            component = _title(self.pages[f"components/{module}.md"]) if module in described else ""
            given = {"module": module, "entries": entries, "component": component}
            self.pages[f"reference/{module}.md"] = _render("reference.md.jinja", **given)
        names = {"chapters": chapters, "components": [one.component for one in found]}
        self.pages["print.md"] = _render("print.md.jinja", **names)
        self.pages["index.md"] = _render(
            "index.md.jinja",
            **names,
            guides=guides,
            modules=list(modules),
            count=len(self.measured.parity["rows"]),
            ok=self.measured.parity["ok"],
        )
        shutil.copytree(HERE / "site", folder, ignore=shutil.ignore_patterns("__pycache__"))
        copy_files(self.measured.models, folder / "_static")
        for path, text in self.pages.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        return len(self.pages)

    def _add_component(self, definition: Definition, every: list[Trap]) -> None:
        name, parity = definition.component, self.measured.parity
        found, lines = implementations(name), verdict(parity, name)
        own = {one.path for one in found} | {path for one in found for path in one.parts}
        prose = self._page(f"components/{name}.md")
        self.pages[f"components/{name}.md"] = _render(
            "component.md.jinja",
            name=name,
            prose=prose,
            lines=lines,
            agrees=agrees(parity, name),
            in_browser=in_browser(parity, name),
            browser=parity.get("browser", "not run: the report is older than that"),
            browsed=any(carries(name, one.name) for one in definition.operations),
            backends=[one for one in BACKENDS if any(one in line.cells for line in lines)],
            made=parity["made"],
            modes=parity["modes"],
            found=found,
            mutants=definition.mutants,
            backend_of={package: backend for backend, package in PACKAGES.items()},
            effects=self.measured.effects,
            speed=speed(self.measured.benchmarks, name),
            timed=self.measured.benchmarks.get("benchmarks", {}).get(name),
            benchmarks_made=self.measured.benchmarks.get("made"),
            traps=[one for one in every if any(path in one.note for path in own)],
            tried=TRIED.get(name),
        )
        self.pages[f"beside/{name}.md"] = _render(
            "beside.md.jinja", name=name, title=_title(prose), found=found, rows=beside(found)
        )

    def _add_traps(self, every: list[Trap]) -> None:
        for trap in every:
            note = self._linked(re.sub(r"\n  ", "\n", trap.note), "docs")
            path = f"traps/{trap.name}.md"
            shown = self._page(path)
            self.pages[path] = _render("trap.md.jinja", trap=trap, note=note, shown=shown)
        chapters = {
            chapter: list(some) for chapter, some in groupby(every, key=lambda trap: trap.chapter)
        }
        self.pages["traps/index.md"] = _render("traps.md.jinja", chapters=chapters)

    def _page(self, page: str) -> str:
        """What is written by hand, with what its code prints, and links that lead to pages."""
        path = DOCS / page
        text = examples.run(path.read_text(encoding="utf-8"), path)
        text = programs.shown(text, page, self.measured.outputs)
        return self._linked(text, Path("docs", page).parent.as_posix())

    def _linked(self, text: str, folder: str) -> str:
        """The text with links that lead to pages; the files it links to become pages."""
        text, files = linked(text, folder, written_pages())
        self.pages |= {f"source/{path}.md": source_page(path) for path in files}
        return text


@cache
def written_pages() -> dict[str, str]:
    """{file of the repository: page} of what is written by hand and other pages lead to."""
    found = {f"docs/{path.name}": f"guides/{path.name}" for path in DOCS.glob("*.md")}
    for folder in ("chapters", "components"):
        found |= {
            f"docs/{folder}/{path.name}": f"{folder}/{path.name}"
            for path in DOCS.glob(f"{folder}/*.md")
        }
    return found


def _title(prose: str) -> str:
    return next(line for line in prose.splitlines() if line.startswith("# ")).removeprefix("# ")


def number(value: Any) -> str:
    """A number to read; words, such as inf, as they are."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _indent_all(text: str, prefix: str) -> str:
    return "\n".join(prefix + line for line in text.splitlines()) or prefix.rstrip()


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    made.filters |= {"number": number, "indent_all": _indent_all}
    made.globals |= {"titles": TITLES, "counts": COUNTS}
    return made


TEMPLATES = _environment()


def _render(template: str, **given: Any) -> str:
    return TEMPLATES.get_template(template).render(**given)
